"""What `auto` does with pictures that were blurred by arithmetic alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from unblur import files, restore
from unblur.classical.canvas import find_border
from unblur.estimate import Estimate, analyse
from unblur.image import Image, from_array, to_array
from unblur.methods import photograph
from unblur.methods.photograph import find, look
from unblur.metrics import psnr
from unblur.physics.blur import Blur, Kind
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, gaussian, motion, shake


def test_a_thumbnail_comes_back_though_its_borders_do_not_look_mirrored(astronaut: Image) -> None:
    reduced = astronaut[:510, :510].reshape(85, 6, 85, 6, 3).mean((1, 3))
    sharp = (np.round(255 * reduced[33:65, 30:62]) / 255).astype(np.float32)
    kernel = gaussian(1.0, rule="opencv-f32")
    blurred = convolve(sharp, kernel, border="reflect101")
    assert find_border(blurred, kernel, 3e-8) == "unknown"
    found = restore(blurred)
    assert found.blur.parameters["sigma"] == 1.0
    assert np.abs(found.image - sharp).max() < 0.5 / 255


@pytest.mark.parametrize(("seed", "side"), [(25, 17), (54, 13)])
def test_a_shake_that_looks_like_a_line_is_told_by_what_a_line_leaves_unexplained(
    seed: int, side: int
) -> None:
    scene = from_array(skimage.data.chelsea()[:288, :288])
    rng = np.random.default_rng(seed)
    assert side == 2 * int(rng.integers(4, 12)) + 1
    blurred = _rounded(convolve(scene, shake(side, rng)))
    told = analyse(blurred)
    assert told.blur.kind == "motion"
    assert told.unexplained > 0.25
    found = restore(blurred)
    assert found.blur.kind == "shake"
    seen = look(blurred)
    assert str(seen.blur) == str(found.blur)
    assert seen.noise == found.blur.noise
    assert seen.unexplained < told.unexplained
    before, as_line, after = (
        psnr(scene, image, data_range=1)
        for image in (blurred, restore(blurred, kernel=told.blur.kernel).image, found.image)
    )
    assert as_line < before < after - 2


@pytest.mark.parametrize(
    ("blur", "doubtful"),
    [
        (Blur("disk", {"radius": 1.2}), True),
        (Blur("disk", {"radius": 3.0}), False),
        (Blur("gaussian", {"sigma": 0.7}), True),
        (Blur("gaussian", {"sigma": 1.0, "sigma_y": 2.0}), False),
        (Blur("motion", {"length": 20.0, "angle": 3.0}), True),
        (Blur("none"), False),
    ],
)
def test_what_a_shake_can_look_like(blur: Blur, doubtful: bool) -> None:
    assert photograph._can_be_a_shake(blur) is doubtful


def test_the_example_is_told_for_what_it_is() -> None:
    scene = skimage.data.chelsea()
    blurred = to_array(convolve(from_array(scene), gaussian(1.8)), np.uint8)
    example = files.Source.open(Path(__file__).parents[2] / "examples" / "cat.png").read()
    assert np.abs(blurred.astype(int) - example).max() <= 1
    blur = find(from_array(example))
    assert blur.kind == "gaussian"
    assert blur.parameters["sigma"] == pytest.approx(1.8, abs=0.05)


def test_a_line_that_explains_little_stays_one() -> None:
    blurred = _rounded(convolve(from_array(skimage.data.chelsea()[:288, :288]), motion(9.0, 30.0)))
    assert analyse(blurred).unexplained > 0.1
    assert find(blurred).kind == "motion"


@pytest.mark.parametrize(("sigma", "narrower"), [(1.0, True), (2.0, False)])
def test_a_gaussian_under_jpeg_that_may_be_a_small_disk_is_taken_out_as_a_narrower_one(
    astronaut: Image, sigma: float, narrower: bool
) -> None:
    pixels = to_array(convolve(astronaut, gaussian(sigma)), np.uint8)
    compressed = from_array(files.decode(files.encode(pixels, ".jpg", quality=80)))
    told, found = analyse(compressed), find(compressed)
    assert told.jpeg_quality == pytest.approx(80, abs=2)
    share = photograph._NARROWER if narrower else 1
    assert found.kind == "gaussian"
    assert found.parameters["sigma"] == pytest.approx(share * told.blur.parameters["sigma"])
    assert find(from_array(pixels)).parameters == analyse(from_array(pixels)).blur.parameters


@pytest.mark.parametrize(
    ("unexplained", "confidence", "kind"), [(0.15, 0.9, "disk"), (0.2, 0.9, "shake"), (0.2, 0.0, "disk")]
)
def test_a_wide_disk_that_explains_nothing_gives_way_to_a_shake(
    unexplained: float, confidence: float, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = Blur("disk", {"radius": 3.0}, disk(3.0))
    assert _found_beside_a_shake(wide, unexplained, 1.0, confidence, monkeypatch) == kind


@pytest.mark.parametrize("kind", ["shake", "motion"])
@pytest.mark.parametrize(("way", "told"), [(0.01, "none"), (0.1, "shake")])
def test_a_shake_that_may_be_the_wrong_way_round_is_none(
    kind: Kind, way: float, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photograph, "turned", lambda image, kernel: way)
    seen = Blur("shake", confidence=0.9) if kind == "shake" else Blur(kind, {}, motion(9.0, 30.0))
    assert _found_beside_a_shake(seen, 0.2, 1.0, 0.9, monkeypatch) == told


@pytest.mark.parametrize(
    ("noise_ratio", "confidence", "kind"), [(1.2, 0.3, "motion"), (1.8, 0.3, "none"), (1.8, 0.9, "shake")]
)
def test_a_line_that_asks_for_more_noise_than_there_is_is_none(
    noise_ratio: float, confidence: float, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Blur("motion", {"length": 9.0, "angle": 30.0}, motion(9.0, 30.0))
    assert _found_beside_a_shake(line, 0.08, noise_ratio, confidence, monkeypatch) == kind


def _found_beside_a_shake(
    blur: Blur, unexplained: float, noise_ratio: float, confidence: float, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The kind that is believed where the estimate is this, and a shake explains the picture far better."""
    told = Estimate(blur, 1.0, 0.5, 0.01, unexplained=unexplained, noise_ratio=noise_ratio)
    monkeypatch.setattr(photograph, "analyse", lambda image: told)
    monkeypatch.setattr(
        photograph, "shake_blur", lambda image: Blur("shake", {}, motion(5.0, 0.0), confidence=confidence)
    )
    monkeypatch.setattr(photograph, "explains_worse", lambda plane, one, other: 0.5)
    return find(np.zeros((64, 64, 3), np.float32)).kind


def _rounded(image: Image) -> Image:
    return from_array(to_array(image, np.uint8))
