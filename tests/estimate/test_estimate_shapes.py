"""Motion and defocus."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unblur.estimate import disk_radius, estimate_blur, linear_motion
from unblur.image import Image, quantise
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, gaussian, motion


def turn(one: float, other: float) -> float:
    """Degrees between two directions of lines."""
    return abs((one - other + 90) % 180 - 90)


@pytest.mark.parametrize(("length", "angle"), [(7, 0), (9, 30), (11, 90), (15, 120), (21, 170), (40, 75)])
def test_motion(astronaut: Image, length: float, angle: float) -> None:
    found = linear_motion(quantise(convolve(astronaut, motion(length, angle))))
    assert found is not None
    assert turn(found.angle, angle) < 2
    assert found.length == pytest.approx(length, abs=max(0.5, 0.03 * length))
    assert found.confidence > 0.5


def test_angles_go_up_from_the_right(camera: Image) -> None:
    """A streak from lower left to upper right on the screen is at +45 degrees."""
    streak = np.fliplr(np.eye(15, dtype=np.float32))[None]
    image = ndimage.convolve(camera[:, :, 0], streak[0] / 15)[:, :, None]
    found = linear_motion(quantise(image))
    assert found is not None
    assert turn(found.angle, 45) < 2


def test_no_motion_in_sharp_or_round_blur(astronaut: Image, camera: Image) -> None:
    for image in (astronaut, camera):
        for kernel in (None, gaussian(1.0), gaussian(2.5), disk(4)):
            found = linear_motion(image if kernel is None else quantise(convolve(image, kernel)))
            assert found is not None
            assert found.confidence < 0.1


def test_pictures_with_a_direction_are_not_moving() -> None:
    """Wind-swept noise: strongly directional, without the zeros of a uniform motion."""
    noise = np.random.default_rng(2).standard_normal((300, 300))
    swept = ndimage.gaussian_filter(noise, (0.6, 5.0)) + 0.2 * ndimage.gaussian_filter(noise, 0.6)
    image = quantise((0.5 + 0.15 * swept / swept.std()).astype(np.float32)[:, :, None])
    assert estimate_blur(image).kind != "motion"


def test_too_small_for_motion(astronaut: Image) -> None:
    assert linear_motion(astronaut[:40, :40]) is None
    assert linear_motion(np.full((200, 200, 3), 0.5, np.float32)) is None


@pytest.mark.parametrize("radius", [1.5, 2.3, 3.0, 4.7, 7.0, 12.0])
def test_disk(astronaut: Image, radius: float) -> None:
    found, confidence = disk_radius(quantise(convolve(astronaut, disk(radius))))
    assert found == pytest.approx(radius, abs=max(0.1, 0.03 * radius))
    assert confidence > 0.9


@pytest.mark.parametrize("sigma", [0.0, 0.7, 1.0, 2.0, 3.5])
def test_a_gaussian_is_no_disk(astronaut: Image, sigma: float) -> None:
    image = quantise(convolve(astronaut, gaussian(sigma))) if sigma else astronaut
    assert disk_radius(image)[1] < 0.1


def test_disk_of_nothing() -> None:
    assert disk_radius(np.zeros((8, 8, 1), np.float32)) == (0.0, 0.0)
