"""The network that tells kinds of blur: what it says, and that it is what its trainer says it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unblur.estimate import analyse, estimate_blur
from unblur.estimate.learned import ANGLES, KINDS, RADII, features, guess_blur
from unblur.estimate.spectrum import spectrum
from unblur.image import Image, quantise
from unblur.methods import METHODS
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, gaussian, motion, shake

KERNELS = {
    "oblique": gaussian(2.6, 0.8, 35),
    "disk": disk(3.4),
    "motion": motion(14, 115),
    "shake": shake(21, np.random.default_rng(3)),
}


@pytest.mark.parametrize("kind", ["none", *KERNELS])
def test_kind(astronaut: Image, kind: str) -> None:
    image = quantise(convolve(astronaut, KERNELS[kind])) if kind in KERNELS else astronaut
    guess = guess_blur(image)
    assert guess is not None
    assert max(KINDS, key=lambda one: guess.chances[one]) == kind
    assert sum(guess.chances.values()) == pytest.approx(1, abs=1e-6)


def test_sizes_and_directions(astronaut: Image) -> None:
    seen = {kind: guess_blur(quantise(convolve(astronaut, kernel))) for kind, kernel in KERNELS.items()}
    oblique, disk_, line = seen["oblique"], seen["disk"], seen["motion"]
    assert oblique is not None
    assert disk_ is not None
    assert line is not None
    assert oblique.sigma == pytest.approx(2.6, rel=0.25)
    assert oblique.sigma_y == pytest.approx(0.8, rel=0.4)
    assert abs((oblique.axis - 35 + 90) % 180 - 90) < 10
    assert disk_.radius == pytest.approx(3.4, rel=0.2)
    assert line.length == pytest.approx(14, rel=0.2)
    assert abs((line.angle - 115 + 90) % 180 - 90) < 8


def test_a_turned_picture_has_a_turned_spectrum(rng: np.random.Generator) -> None:
    """A quarter of a turn moves the planes of the features by half of their angles, and changes no fact."""
    image = quantise(convolve(rng.random((128, 128, 1), np.float32), motion(9, 20)))
    straight, turned = (
        features(found, spectrum(one, 2), 0.01)
        for one in (image, np.ascontiguousarray(np.rot90(image)))
        if (found := spectrum(one)) is not None
    )
    assert straight[0].shape == (4, ANGLES, len(RADII))
    # Windows lie on a grid that starts at one corner: turned, they are not quite the same windows.
    assert np.abs(np.roll(straight[0], ANGLES // 2, axis=1) - turned[0]).mean() < 0.15
    assert straight[1] == pytest.approx(turned[1], abs=0.2)


def test_an_oblique_gaussian_is_found_whole(astronaut: Image) -> None:
    blur = estimate_blur(quantise(convolve(astronaut, gaussian(2.4, 1.0, 60))))
    assert blur.kind == "gaussian"
    assert blur.parameters["sigma"] == pytest.approx(2.4, rel=0.1)
    assert blur.parameters["sigma_y"] == pytest.approx(1.0, rel=0.15)
    assert blur.parameters["angle"] == pytest.approx(60, abs=4)


def test_a_shake_has_no_formula(astronaut: Image) -> None:
    image = quantise(convolve(astronaut, KERNELS["shake"]))
    found = analyse(image).blur
    assert (found.kind, found.kernel) == ("shake", None)
    assert found.noise is not None


def test_nothing_to_go_by() -> None:
    assert guess_blur(np.full((100, 100, 3), 0.5, np.float32)) is None
    assert guess_blur(np.zeros((8, 8, 1), np.float32)) is None


def test_small_enough_to_travel() -> None:
    weights = Path(guess_blur.__code__.co_filename).with_name("learned.npz")
    assert weights.stat().st_size < 2_000_000


def test_blind_parametric_brings_back_an_oblique_blur(camera: Image) -> None:
    from unblur import restore
    from unblur.metrics import psnr

    sharp = camera[128:384, 128:384]
    blurred = quantise(convolve(camera, gaussian(2.4, 1.0, 60)))[128:384, 128:384]
    result = restore(blurred, "blind-parametric")
    assert result.method == "blind-parametric"
    assert METHODS["blind-parametric"].careful
    gained = psnr(sharp, result.image, data_range=1) - psnr(sharp, blurred, data_range=1)
    assert gained > 1.5
