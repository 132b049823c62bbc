"""The degradations of `unblur.physics.degrade` for whole batches, on the processor or an accelerator.

What is drawn, and the taps and kernels that follow, come from there; here is only the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unblur.physics import degrade as named
from unblur.physics.convolve import Border, border_index
from unblur.physics.degrade import Draw
from unblur.physics.kernels import fixed_point, gaussian_taps
from unblur.physics.noise import jpeg, shot_read_noise
from unblur.physics.varying import blur_image

Arithmetic: TypeAlias = Literal["fixed-point", "float", "rounded"]

#: How the Gaussian degradations compute, and the border that they have; all others go the general way.
_GAUSSIAN: MappingProxyType[str, tuple[Arithmetic, Border]] = MappingProxyType(
    {
        "cifar-u03-u8": ("fixed-point", "reflect101"),
        "reds-k3": ("fixed-point", "reflect101"),
        "reds-k7": ("fixed-point", "reflect101"),
        "reds-k11": ("fixed-point", "reflect101"),
        "cifar-int123-f32": ("float", "reflect101"),
        "cifar-u03-f32": ("float", "reflect101"),
        "halfnormal5-u8": ("rounded", "replicate"),
    }
)


def degrade(sharp: Tensor, draws: Sequence[Draw]) -> tuple[Tensor, Tensor]:
    """Degrade a batch, and return it with what a perfect restoration would be.

    Shape: uint8 (N, 3, H, W) in; twice float32 (N, 3, H, W) in [0, 1] out, on the device of `sharp`. One draw
    for each picture, of any degradations.
    """
    kinds = [_GAUSSIAN.get(draw.degradation) for draw in draws]
    target = to_float(sharp)
    if len(set(kinds)) == 1:
        return _group(sharp, target, draws, kinds[0])
    blurred = torch.empty_like(target)
    for kind in set(kinds):
        index = torch.tensor([i for i, of in enumerate(kinds) if of == kind], device=sharp.device)
        chosen = [draws[i] for i in index.tolist()]
        blurred[index], target[index] = _group(sharp[index], target[index], chosen, kind)
    return blurred, target


def is_batched(name: str) -> bool:
    """Whether a degradation runs wholly on the device that the pictures are on."""
    return named.get(name).name in _GAUSSIAN


def to_float(pixels: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1], as `unblur.image.from_array` does."""
    return pixels.float().mul_(1 / 255)


def blur_separably(pictures: Tensor, taps: Tensor, border: Border) -> Tensor:
    """Convolve picture i with outer(taps[i], taps[i]).

    Shape: float32 (N, C, H, W) and (N, k), k odd; (N, C, H, W) out. Each pass is one product with a dense matrix a
    picture, border folded in: at the sizes that networks are trained at, nothing is faster.
    """
    down = _matrices(taps, pictures.shape[2], border)
    across = _matrices(taps, pictures.shape[3], border)
    return down[:, None] @ pictures @ across.transpose(1, 2)[:, None]


def convolve(pictures: Tensor, kernels: Tensor, border: Border = "reflect101") -> Tensor:
    """Convolve picture i with kernels[i], by FFT.

    Shape: float32 (N, C, H, W) and (N, k, k), k odd; (N, C, H, W) out.
    """
    radius = kernels.shape[-1] // 2
    height, width = pictures.shape[2:]
    rows = torch.from_numpy(border_index(height, radius, radius, border)).to(pictures.device)
    columns = torch.from_numpy(border_index(width, radius, radius, border)).to(pictures.device)
    padded = pictures[:, :, rows][:, :, :, columns]
    grid = (height + 2 * radius, width + 2 * radius)
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=grid)[:, None]
    # The kernel's corner lies at the origin, so that the valid part starts where the kernel ends.
    return torch.fft.irfft2(spectrum, s=grid)[:, :, 2 * radius :, 2 * radius :]


def _group(
    sharp: Tensor, target: Tensor, draws: Sequence[Draw], kind: tuple[Arithmetic, Border] | None
) -> tuple[Tensor, Tensor]:
    if kind is None:
        return _general(target, draws)
    arithmetic, border = kind
    fixed = arithmetic == "fixed-point"
    rows = [_taps(draw.blur.parameters["sigma"], _kernel(draw).shape[0], fixed) for draw in draws]
    taps = _stack(rows).to(sharp.device)
    if fixed:
        # Exact in float32: every partial sum is a whole number below 2^24.
        sums = blur_separably(sharp.float(), taps, border)
        return sums.add_(1 << 15).mul_(1 / (1 << 16)).floor_().mul_(1 / 255), target
    blurred = blur_separably(target, taps, border)
    return (_eight_bits(blurred) if arithmetic == "rounded" else blurred), target


def _general(target: Tensor, draws: Sequence[Draw]) -> tuple[Tensor, Tensor]:
    """Kernels of one size at a time by FFT; blur that varies, noise and JPEG picture by picture."""
    blurred = target.clone()
    by_size: dict[int, list[int]] = {}
    for i, draw in enumerate(draws):
        if draw.blur.kernel is not None:
            by_size.setdefault(draw.blur.kernel.shape[0], []).append(i)
        elif draw.blur.kind != "none":
            blurred[i] = _tensor(blur_image(_image(target[i]), draw.blur))
    for members in by_size.values():
        kernels = torch.from_numpy(np.stack([_kernel(draws[i]) for i in members])).to(target.device)
        blurred[members] = convolve(target[members], kernels)
    target = target.clone()
    for i, draw in enumerate(draws):
        if draw.degradation == "sharp":
            continue
        if draw.exposure != 1:
            target[i] = _eight_bits(target[i] * draw.exposure)
            blurred[i] *= draw.exposure
        if draw.noise:
            rng = np.random.default_rng(draw.noise_seed)
            noisy = shot_read_noise(_image(blurred[i]), draw.noise**2, draw.noise * 0.5**0.5, rng)
            blurred[i] = _tensor(noisy)
        blurred[i] = (
            _eight_bits(blurred[i]) if draw.jpeg is None else _tensor(jpeg(_image(blurred[i]), draw.jpeg))
        )
    return blurred, target


def _kernel(draw: Draw) -> NDArray[np.float32]:
    assert draw.blur.kernel is not None
    return draw.blur.kernel


# Blurs that are drawn once come back every epoch.
@lru_cache(maxsize=1 << 16)
def _taps(sigma: float, size: int, fixed: bool) -> NDArray[np.floating]:
    taps = gaussian_taps(sigma, size=size)
    return fixed_point(taps) if fixed else taps


def _eight_bits(pictures: Tensor) -> Tensor:
    return pictures.clamp(0, 1).mul_(255).add_(0.5).floor_().mul_(1 / 255)


def _image(picture: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(picture.cpu().numpy().transpose(1, 2, 0))


def _tensor(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _stack(taps: Sequence[NDArray[np.floating]]) -> Tensor:
    """Rows of different odd lengths, centred among zeros. Shape: float32 (N, k), k one more than a power of two."""
    # Few lengths: `_places` keeps something for each.
    longest = 1 + (1 << (max(len(row) for row in taps) - 2).bit_length())
    stacked = np.zeros((len(taps), longest), np.float32)
    for i, row in enumerate(taps):
        margin = (longest - len(row)) // 2
        stacked[i, margin : longest - margin] = row
    return torch.from_numpy(stacked)


def _matrices(taps: Tensor, length: int, border: Border) -> Tensor:
    """For each row of taps the matrix that convolves a line. Shape: (N, k) in, (N, length, length) out."""
    places = _places(taps.shape[1], length, border, taps.device)
    return (taps @ places).view(-1, length, length)


@lru_cache(maxsize=64)
def _places(size: int, length: int, border: Border, device: torch.device) -> Tensor:
    """How often tap j weighs pixel q in pixel p of the result. Shape: (size, length * length)."""
    radius = size // 2
    source = border_index(length, radius, radius, border)
    places = torch.zeros(size, length, length)
    for tap in range(size):
        pixels = np.arange(length)
        used = source[pixels + size - 1 - tap]
        inside = torch.from_numpy(used >= 0)
        places[tap, torch.from_numpy(pixels)[inside], torch.from_numpy(used)[inside]] = 1
    return places.view(size, -1).to(device)
