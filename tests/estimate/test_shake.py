"""The kernel of camera shake from one picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage import data as pictures

from unblur.errors import ImageError, OptionError
from unblur.estimate.shake import (
    CROP,
    Shake,
    agreement,
    excess,
    informative_crops,
    shake_blur,
    shake_kernel,
    turned,
)
from unblur.image import from_array, quantise
from unblur.physics import kernels
from unblur.physics.convolve import convolve

SIDE = math.isqrt(CROP)


@pytest.fixture(scope="module")
def scene():
    return from_array(pictures.camera()[100:356, 120:376])


@pytest.fixture(scope="module")
def drawn():
    return kernels.shake(15, np.random.default_rng(3))


@pytest.fixture(scope="module")
def found(scene, drawn) -> Shake:
    return shake_kernel(quantise(convolve(scene, drawn)), size=23)


def test_kernel_is_found(found, drawn):
    assert agreement(found.kernel, drawn) > 0.9
    assert agreement(kernels.gaussian(2.0), drawn) < 0.8  # the measure tells kernels apart


def test_kernel_keeps_the_conventions(found):
    kernel = found.kernel
    assert kernel.dtype == np.float32
    assert kernel.shape[0] == kernel.shape[1] <= 27
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    at = np.arange(len(kernel)) - len(kernel) // 2
    assert abs(at @ kernel.sum(axis=1)) < 0.25
    assert abs(at @ kernel.sum(axis=0)) < 0.25


def test_same_picture_same_kernel(scene, drawn, found):
    again = shake_kernel(quantise(convolve(scene, drawn)), size=23)
    assert (again.kernel == found.kernel).all()
    assert again.confidence == found.confidence


def test_a_kernel_is_told_from_itself_turned_by_half_a_turn(scene, drawn, found):
    blurred = quantise(convolve(scene, drawn))
    mirrored = np.ascontiguousarray(found.kernel[::-1, ::-1])
    assert turned(blurred, found.kernel) > 0.05
    assert turned(blurred, mirrored) == pytest.approx(-turned(blurred, found.kernel))
    assert turned(blurred, kernels.motion(9.0, 30.0)) == math.inf


@pytest.mark.parametrize("shape", [(1, 1, 3), (20, 200, 1), (64, 64, 3)])
def test_nothing_to_tell(shape):
    found = shake_kernel(np.full(shape, 0.5, np.float32))
    assert found.kernel.shape == (1, 1)
    assert found.confidence == 0


def test_everything_is_saturated():
    assert shake_kernel(np.ones((64, 64, 3), np.float32)).confidence == 0


@pytest.mark.parametrize("size", [4, 3, 12, -5])
def test_size_is_odd(scene, size):
    with pytest.raises(OptionError, match="size"):
        shake_kernel(scene, size=size)


def test_no_image():
    with pytest.raises(ImageError):
        shake_kernel(np.zeros((50, 50), np.float32))


def test_crop_is_where_the_edges_are():
    rng = np.random.default_rng(0)
    plane = np.full((800, 900), 0.5, np.float32)
    here = slice(304, 304 + SIDE), slice(496, 496 + SIDE)
    plane[here] += rng.uniform(-0.2, 0.2, (SIDE, SIDE)).astype(np.float32)
    (crop, known), *others = informative_crops(plane, np.ones(plane.shape, bool))
    assert not others  # nothing is to be seen elsewhere
    assert crop.shape == known.shape == (SIDE, SIDE)
    assert crop.std() > 0.9 * plane[here].std()
    # Edges that are saturated count for nothing.
    saturated = np.ones(plane.shape, bool)
    saturated[here] = False
    plane[:200, :200] += rng.uniform(-0.05, 0.05, (200, 200)).astype(np.float32)
    ((_, known),) = informative_crops(plane, saturated)
    assert known.all()


def test_second_crop_lies_apart():
    rng = np.random.default_rng(0)
    plane = rng.uniform(0, 0.01, (400, 1200)).astype(np.float32)
    plane[:, 384 : 384 + SIDE] *= 40
    plane[:, 384 + SIDE :] *= 20
    known = np.ones(plane.shape, bool)
    (first, _), (second, seen) = informative_crops(plane, known)
    assert first.shape == second.shape == seen.shape == (SIDE, SIDE)
    assert first.std() > 1.3 * second.std() > 0.05
    assert not np.shares_memory(first, second)
    assert len(informative_crops(plane[:, 300:1000], known[:, 300:1000])) == 1  # no room
    plane[:, 384 + SIDE :] = 0.5
    assert len(informative_crops(plane, known)) == 1  # no edges


@pytest.fixture(scope="module")
def pair():
    """A picture of two scenes with nothing between them, and two paths of one size."""
    scene = from_array(pictures.camera()[100:420, 120:440])
    picture = np.concatenate([scene, np.full_like(scene, 0.5), scene[:, ::-1]], axis=1)
    return picture, [kernels.shake(15, np.random.default_rng(seed)) for seed in (3, 4)]


def test_even_shake_is_believed(pair):
    picture, (one, _) = pair
    found = shake_kernel(quantise(convolve(picture, one)), size=23)
    assert agreement(found.kernel, one) > 0.85
    assert found.confidence > 0.5


def test_uneven_motion_is_not_believed(pair):
    picture, (one, other) = pair
    seen = np.concatenate([convolve(picture, one)[:, :480], convolve(picture, other)[:, 480:]], axis=1)
    found = shake_kernel(quantise(seen), size=23)
    assert agreement(found.kernel, one) > 0.9  # right where it was looked for, and yet
    assert found.confidence < 0.1


@pytest.mark.parametrize("shift", [(0, 0), (2, -3)])
def test_agreement_does_not_mind_shifts(shift):
    kernel = kernels.embed(kernels.shake(9, np.random.default_rng(1)), 17)
    assert agreement(kernel, np.roll(kernel, shift, (0, 1))) == pytest.approx(1, abs=1e-6)


def test_blur_says_what_to_reckon_with(scene):
    blur = shake_blur(scene[:100, :100])
    assert blur.kind == "shake"
    assert blur.kernel is not None
    assert blur.parameters["size"] == len(blur.kernel)
    assert 0.005 <= blur.noise < 0.05
    nothing = shake_blur(np.full((40, 40, 3), 0.5, np.float32))
    assert (nothing.kind, nothing.confidence, nothing.kernel) == ("none", 0, None)


def test_confidence_tells_a_shaken_picture_from_a_sharp_one(scene, found):
    assert found.confidence > 0.5
    assert shake_kernel(scene[:160, :160], size=15).confidence < 0.5


def test_wrong_kernels_amplify_too_much(scene, drawn):
    plane = convolve(scene, drawn)[:, :, 0]
    assert excess(plane, drawn) < -0.1
    assert excess(plane, np.ascontiguousarray(drawn.T[::-1])) > excess(plane, drawn) + 0.2
    assert excess(scene[:, :, 0], drawn) > excess(plane, drawn) + 0.5
