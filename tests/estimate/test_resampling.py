"""Pictures that were enlarged are told from blurred ones, and left alone."""

from __future__ import annotations

import numpy as np
import pytest
import pyvips
import skimage.data
from numpy.typing import NDArray
from scipy import ndimage

import unblur
from unblur.estimate import analyse, jpeg, resampling
from unblur.image import from_array, to_array
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, gaussian, motion

KERNELS = ("nearest", "linear", "cubic", "lanczos3")


def enlarged(factor: float, kernel: str) -> NDArray[np.uint8]:
    """Of a photograph's own size, made from one that is so many times as small."""
    picture = pyvips.Image.new_from_array(skimage.data.astronaut())
    small = picture.resize(1 / factor, kernel="lanczos3")
    return small.resize(
        picture.width / small.width, vscale=picture.height / small.height, kernel=kernel
    ).numpy()


def compressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    data = pyvips.Image.new_from_array(pixels).jpegsave_buffer(Q=quality)
    return pyvips.Image.new_from_buffer(data, "").numpy()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("factor", "frequency"), [(1.3, 0.231), (1.5, 1 / 3), (1.4, 0.286), (2.0, 0.5), (3.0, 1 / 3)]
)
def test_an_enlarged_picture_is_told(factor: float, frequency: float, kernel: str) -> None:
    found = resampling(from_array(enlarged(factor, kernel)))
    assert found is not None
    # A factor leaves multiples of its frequency as well.
    multiples = [abs(k * frequency - round(k * frequency)) for k in (1, 2)]
    assert min(abs(found - one) for one in multiples) < 0.01


@pytest.mark.parametrize("cut", [(0, 0), (3, 6)])
@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_an_enlarged_picture_is_told_under_jpeg(factor: float, cut: tuple[int, int]) -> None:
    pixels = compressed(enlarged(factor, "cubic"), 90)[cut[0] :, cut[1] :]
    image = from_array(np.ascontiguousarray(pixels))
    assert resampling(image, jpeg(image)) is not None


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
@pytest.mark.parametrize("quality", [0, 75, 90])
def test_other_pictures_are_not_told_so(name: str, quality: int) -> None:
    scene = from_array(getattr(skimage.data, name)())
    for kernel in (None, gaussian(0.8), gaussian(2.0), disk(3.0), motion(9.0, 0.0)):
        pixels = to_array(scene if kernel is None else convolve(scene, kernel), np.uint8)
        image = from_array(compressed(pixels, quality) if quality else pixels)
        assert resampling(image, jpeg(image)) is None


def test_a_demosaicked_picture_is_not_told_so() -> None:
    scene = skimage.data.astronaut().astype(np.float32)
    y, x = np.indices(scene.shape[:2])
    seen = [(y % 2 == 0) & (x % 2 == 0), (y + x) % 2 == 1, (y % 2 == 1) & (x % 2 == 1)]
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
    square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4
    planes = [
        ndimage.convolve(scene[..., c] * mask, weights)
        for c, (mask, weights) in enumerate(zip(seen, (square, cross, square), strict=True))
    ]
    assert resampling(from_array(np.round(np.stack(planes, axis=2)).astype(np.uint8))) is None


def test_stripes_are_not_an_enlargement() -> None:
    scene = skimage.data.astronaut().astype(np.float32)
    scene += 20 * (np.arange(512) % 3 == 0)[None, :, None]
    assert resampling(from_array(np.clip(scene, 0, 255).astype(np.uint8))) is None


@pytest.mark.parametrize("side", [64, 96, 128, 192])
def test_small_pieces_of_other_pictures_are_not_told_so(side: int) -> None:
    scenes = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    for scene in scenes:
        for top, left in ((0, 0), (90, 30), (60, 200)):
            piece = compressed(np.ascontiguousarray(scene[top : top + side, left : left + side]), 85)
            assert resampling(from_array(piece), jpeg(from_array(piece))) is None


def test_too_small_a_picture_tells_nothing() -> None:
    assert resampling(from_array(enlarged(2.0, "cubic")[:63])) is None


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_enlarged_picture_is_left_alone_and_the_reason_given(kernel: str) -> None:
    pixels = enlarged(2.0, kernel)
    result = unblur.restore(pixels)
    assert result.method == "none"
    assert np.array_equal(result.image, pixels)
    assert "enlarged" in result.left_alone[0]
    assert result.blur.kind == "none"
    assert result.blur.to_dict()["resampled"] == pytest.approx(0.5, abs=0.01)
    assert analyse(from_array(pixels)).to_dict()["resampled"] == pytest.approx(0.5, abs=0.01)
    insisted = unblur.restore(pixels, sigma=0.8)
    assert insisted.method == "auto"


def test_a_large_picture_is_looked_at_in_its_middle() -> None:
    tiled = np.tile(enlarged(2.0, "cubic"), (3, 3, 1))
    assert resampling(from_array(tiled)) is not None
