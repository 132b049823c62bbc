import numpy as np
import pytest
import torch

from unblur.image import from_array
from unblur.lab import degrade
from unblur.physics import degrade as named
from unblur.physics import kernels
from unblur.physics.convolve import convolve

COUNT = 12
#: Where results are rounded to 8 bits, float32 sums that differ in the last bit may fall on two sides of a half.
ROUNDED = {"halfnormal5-u8", "mixed-u8", "uniform-u8"}


def batch(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (COUNT, height, width, 3), np.uint8)


def tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))


def draws_of(name: str, pictures: np.ndarray, seed: int) -> list[named.Draw]:
    degradation = named.get(name)
    return [
        degradation.draw(np.random.default_rng([seed, i]), picture.shape)
        for i, picture in enumerate(pictures)
    ]


@pytest.mark.parametrize("size", [(32, 32), (20, 45)])
@pytest.mark.parametrize("name", list(named.DEGRADATIONS))
def test_batches_agree_with_physics(name: str, size: tuple[int, int], rng: np.random.Generator) -> None:
    pictures = batch(rng, *size)
    blurred, target = degrade.degrade(tensor(pictures), draws_of(name, pictures, seed=4))
    assert blurred.dtype == target.dtype == torch.float32
    differing = 0
    for i, picture in enumerate(pictures):
        image = from_array(picture)
        expected, draw = named.degrade(image, name, seed=4, index=i)
        ours = blurred[i].numpy().transpose(1, 2, 0)
        error = np.abs(ours - expected)
        assert error.max() < (1 / 255 + 1e-6 if name in ROUNDED else 1e-5)
        differing += int((error > 1e-5).sum())
        reference = named.reference(image, draw)
        assert np.abs(target[i].numpy().transpose(1, 2, 0) - reference).max() < 1e-6
    # A JPEG spreads one such pixel over its block.
    assert differing <= (0.002 if name == "mixed-u8" else 1e-4) * blurred.numel()


def test_eight_bit_opencv_blur_is_exact(rng: np.random.Generator) -> None:
    pictures = batch(rng, 33, 27)
    blurred, _ = degrade.degrade(tensor(pictures), draws_of("cifar-u03-u8", pictures, seed=9))
    for i, picture in enumerate(pictures):
        expected, _ = named.degrade(from_array(picture), "cifar-u03-u8", seed=9, index=i)
        assert np.array_equal(blurred[i].numpy().transpose(1, 2, 0), expected)


def test_degradations_may_be_mixed_in_a_batch(rng: np.random.Generator) -> None:
    pictures = batch(rng, 24, 24)
    names = ["reds-k3", "cifar-u03-f32", "sharp", "halfnormal5-u8"] * 3
    draws = [
        named.get(name).draw(np.random.default_rng([1, i]), pictures[i].shape) for i, name in enumerate(names)
    ]
    together, _ = degrade.degrade(tensor(pictures), draws)
    for i, draw in enumerate(draws):
        alone, _ = degrade.degrade(tensor(pictures[i : i + 1]), [draw])
        assert torch.allclose(together[i], alone[0], atol=1e-6)


@pytest.mark.parametrize("border", ["reflect101", "reflect", "replicate", "zero", "circular"])
def test_taps_of_any_length_and_border(border: str, rng: np.random.Generator) -> None:
    # Longer than the picture is wide, and not symmetric: a flipped kernel would show.
    rows = [rng.random(n) for n in (1, 5, 23)]
    rows = [row / row.sum() for row in rows]
    pictures = rng.random((3, 9, 14, 3), np.float32)
    taps = degrade._stack(rows)
    ours = degrade.blur_separably(tensor(pictures), taps, border)  # type: ignore[arg-type]
    for i, row in enumerate(rows):
        kernel = np.outer(row, row).astype(np.float32)
        expected = convolve(pictures[i], kernel, border=border)  # type: ignore[arg-type]
        assert np.abs(ours[i].numpy().transpose(1, 2, 0) - expected).max() < 1e-5


@pytest.mark.parametrize("length", [1, 3, 5, 7, 9, 11, 17, 19])
def test_taps_of_every_length_alone(length: int, rng: np.random.Generator) -> None:
    row = rng.random(length)
    row /= row.sum()
    stacked = degrade._stack([row])
    assert stacked.shape[1] % 2 == 1
    pictures = rng.random((1, 8, 8, 3), np.float32)
    ours = degrade.blur_separably(tensor(pictures), stacked, "reflect")[0].numpy().transpose(1, 2, 0)
    expected = convolve(pictures[0], np.outer(row, row).astype(np.float32), border="reflect")
    assert np.abs(ours - expected).max() < 1e-5


@pytest.mark.parametrize("size", [1, 3, 9, 31])
def test_fft_convolution(size: int, rng: np.random.Generator) -> None:
    pictures = rng.random((2, 17, 26, 3), np.float32)
    own = [kernels.check_kernel(rng.random((size, size))) for _ in range(2)]
    ours = degrade.convolve(tensor(pictures), torch.from_numpy(np.stack(own)))
    for i, kernel in enumerate(own):
        expected = convolve(pictures[i], kernel)
        assert np.abs(ours[i].numpy().transpose(1, 2, 0) - expected).max() < 1e-5
