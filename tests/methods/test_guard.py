"""When a restored picture is believed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from unblur import restore
from unblur.engine import Plan
from unblur.image import Image
from unblur.methods import METHODS, photograph
from unblur.methods.guard import GRID, guard, reach
from unblur.physics import kernels
from unblur.physics.blur import Blur
from unblur.physics.convolve import convolve

KERNEL = kernels.gaussian(1.5)


@pytest.fixture
def sharp(astronaut: Image) -> Image:
    return np.ascontiguousarray(0.1 + 0.8 * astronaut[:192, 100:292])


def noisy(image: Image, deviation: float) -> Image:
    noise = np.random.default_rng(0).normal(0, deviation, image.shape)
    return np.clip(image + noise, 0, 1).astype(np.float32)


def test_colours_may_move_by_the_noise_that_is_seen_not_by_what_is_only_told(sharp: Image) -> None:
    moved = sharp + np.float32(1.9 / 255)
    blurred = convolve(sharp, KERNEL)
    for noise in (0.0, 0.02):
        assert guard(blurred, moved, Blur("gaussian", {"sigma": 1.5}, KERNEL, noise=noise)).fell_back > 0.9
    seen = guard(noisy(blurred, 0.02), moved, Blur("gaussian", {"sigma": 1.5}, KERNEL, noise=0.02))
    assert seen.fell_back == 0


def test_the_kernel_of_a_shake_is_nowhere_quite_right(sharp: Image) -> None:
    blurred = convolve(sharp, KERNEL)
    for moved, fell_back in ((1.7, 0), (3.6, 1)):
        shake = Blur("shake", kernel=KERNEL, noise=0.007)
        found = guard(blurred, sharp + np.float32(moved / 255), shake)
        assert round(found.fell_back) == fell_back
    told = guard(blurred, sharp + np.float32(1.7 / 255), Blur("kernel", kernel=KERNEL, noise=0.007))
    assert told.fell_back > 0.9


def test_a_part_is_checked_as_in_the_whole(sharp: Image) -> None:
    blurred = convolve(sharp, KERNEL)
    restored = sharp.copy()
    restored[84:110, 90:120] += 0.05  # wrong beside the part that is looked at, and within it
    blur = Blur("gaussian", {"sigma": 1.5}, KERNEL, noise=0.002)
    assert reach(blur) % GRID == 0
    part = slice(64, 128), slice(64, 128)
    seen = tuple(slice(one.start - reach(blur), one.stop + reach(blur)) for one in part)
    inside = tuple(slice(reach(blur), -reach(blur)) for _ in part)
    whole = guard(blurred, restored, blur).image[part]
    assert np.abs(whole - restored[part]).max() > 0.01
    np.testing.assert_allclose(guard(blurred[seen], restored[seen], blur).image[inside], whole, atol=1e-6)


def test_what_is_saturated_is_no_witness(sharp: Image) -> None:
    bright = sharp.copy()
    bright[40:70, 60:100] = 1  # a window
    blurred = convolve(bright, KERNEL)
    blur = Blur("gaussian", {"sigma": 1.5}, KERNEL, noise=0.002)
    inside = np.s_[50:60, 75:85]
    restored = bright.copy()
    restored[inside] = 0.9  # nothing there says that it is wrong
    assert guard(blurred, restored, blur).image[55, 80, 0] == pytest.approx(0.9)
    restored[140:160, 140:160] += 0.1  # here everything does
    assert np.allclose(guard(blurred, restored, blur).image[150, 150], blurred[150, 150])


def test_the_light_of_what_was_brighter_than_the_file_can_say_is_no_mistake(sharp: Image) -> None:
    scene = sharp.copy()
    scene[40:70, 60:100] = 1.2  # a window
    blurred = np.clip(convolve(scene, KERNEL), 0, 1)
    blur = Blur("gaussian", {"sigma": 1.5}, KERNEL, noise=0.002)
    best = np.clip(scene, 0, 1)
    assert np.abs(convolve(best, KERNEL) - blurred).max() > 0.04  # beside it, where nothing is saturated
    believed = guard(blurred, best, blur)
    assert believed.fell_back == 0
    assert np.array_equal(believed.image, best)
    # Light that is too much, and light that lacks where nothing is saturated, are mistakes as ever.
    for sign, near in ((1, (38, 80)), (-1, (150, 150))):
        wrong = best.copy()
        wrong[near[0] - 12 : near[0], near[1] - 6 : near[1] + 6] += np.float32(sign * 0.1)
        checked = guard(blurred, wrong, blur).image
        place = near[0] - 6, near[1]
        assert np.abs(checked[place] - blurred[place]).max() < 0.01


def test_a_blur_that_explains_nothing_leaves_everything(sharp: Image) -> None:
    pixels = np.round(255 * convolve(sharp, kernels.motion(9, 0))).astype(np.uint8)
    wrong = Blur("motion", {"length": 21, "angle": 80}, kernels.motion(21, 80), confidence=1.0, noise=0.002)
    row = dataclasses.replace(METHODS["auto"], find=lambda image: wrong)
    result = dataclasses.replace(Plan.make(), row=row).restore(pixels)
    assert np.array_equal(result.image, pixels)
    assert result.method == "none"
    assert result.left_alone == ("everything: the restored pixels did not explain the blurred ones",)
    insisted = restore(pixels, kernel=kernels.motion(9, 0))
    assert not np.array_equal(insisted.image, pixels)


@pytest.mark.parametrize("shaken", [True, False])
def test_a_line_that_is_not_sure_gives_way_to_a_shake_that_explains_more(
    astronaut: Image, shaken: bool
) -> None:
    line = Blur("motion", {"length": 9, "angle": 30}, kernels.motion(9, 30), confidence=0.74, noise=0.002)
    kernel = kernels.shake(13, np.random.default_rng(4)) if shaken else line.kernel
    assert kernel is not None
    found = photograph._or_shake(convolve(astronaut, kernel), line, least=0.2, compressed=False)
    assert found.kind == ("shake" if shaken else "motion")


@pytest.mark.parametrize("sure", [True, False])
def test_a_line_is_given_up_where_no_shake_is_found_unless_it_leaves_little(
    astronaut: Image, sure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Blur("motion", {"length": 9, "angle": 30}, kernels.motion(9, 30), confidence=0.74, noise=0.002)
    nothing = Blur("shake", {}, kernels.motion(5, 0), confidence=0.1, noise=0.002)
    monkeypatch.setattr(photograph, "shake_blur", lambda image: nothing)
    found = photograph._or_shake(
        convolve(astronaut, line.kernel), line, least=0.0 if sure else 0.2, compressed=False
    )
    assert found.kind == ("motion" if sure else "none")


@pytest.mark.parametrize(("better", "kind"), [(0.05, "motion"), (0.14, "none"), (0.3, "shake")])
def test_neither_is_right_where_a_shake_explains_a_little_more(
    astronaut: Image, better: float, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Blur("motion", {"length": 9, "angle": 30}, kernels.motion(9, 30), confidence=0.74, noise=0.002)
    shake = Blur("shake", {}, kernels.motion(5, 0), confidence=0.9, noise=0.002)
    monkeypatch.setattr(photograph, "shake_blur", lambda image: shake)
    monkeypatch.setattr(photograph, "explains_worse", lambda plane, one, other: better)
    found = photograph._or_shake(convolve(astronaut, line.kernel), line, least=0.2, compressed=False)
    assert found.kind == kind
