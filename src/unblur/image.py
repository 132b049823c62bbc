"""What an image is, and the way from other arrays to it and back.

An *image* is a float32 array of shape (H, W, C) with C in 1 or 3 (RGB order), display-referred
(gamma-encoded as in the file), nominally in [0, 1]. Nothing here guesses a range: the dtype says it.
uint8 means 0..255, uint16 means 0..65535, a float array means [0, 1].
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from unblur.errors import ImageError

Image: TypeAlias = NDArray[np.float32]
"""float32 (H, W, C), C in 1 or 3, [0, 1]."""

Rounding: TypeAlias = Literal["nearest", "floor"]

LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Rec. 601 luma of gamma-encoded RGB."""

#: Largest value of each integer dtype that may hold an image.
INTEGER_MAX: dict[np.dtype[Any], int] = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}

#: Standard deviation of the arithmetic behind float32 pixels, in [0, 1] units.
_ARITHMETIC_NOISE = 3e-8

#: A float picture may leave [0, 1] by this much (resampling overshoot, say) before it counts as another range.
FLOAT_SLACK = 0.5


def check_image(image: NDArray[Any], what: str = "image") -> Image:
    """Return `image` if it keeps the contract, else raise.

    Shape: (H, W, C), C in 1 or 3, H and W at least 1. dtype float32. All values finite.
    Raises ImageError naming `what`.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.float32:
        raise ImageError(f"{what}: expected a float32 array, got {_describe(image)}")
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ImageError(f"{what}: expected shape (H, W, 1) or (H, W, 3), got {image.shape}")
    if not np.isfinite(image).all():
        raise ImageError(f"{what}: has NaN or infinite pixels")
    return image


def from_array(array: NDArray[Any], what: str = "image") -> Image:
    """Turn a uint8, uint16 or float array, (H, W) or (H, W, C) with C in 1 or 3, into an image.

    Floats must be finite and within [0, 1] (an overshoot of up to 0.5 is clipped). The result may share
    memory with a float32 input.
    Raises ImageError for any other shape, dtype or range.
    """
    if not isinstance(array, np.ndarray):
        raise ImageError(f"{what}: expected a numpy array, got {type(array).__name__}")
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ImageError(f"{what}: expected shape (H, W), (H, W, 1) or (H, W, 3), got {array.shape}")
    hwc = array[:, :, None] if array.ndim == 2 else array
    if (top := INTEGER_MAX.get(hwc.dtype)) is not None:
        return np.multiply(hwc, np.float32(1.0 / top), dtype=np.float32)
    if hwc.dtype not in (np.float16, np.float32, np.float64):
        raise ImageError(f"{what}: expected dtype uint8, uint16 or float in [0, 1], got {array.dtype}")
    image = hwc.astype(np.float32, copy=False)
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"{what}: has NaN or infinite pixels")
    if low < -FLOAT_SLACK or high > 1 + FLOAT_SLACK:
        raise ImageError(
            f"{what}: float pixels must lie in [0, 1], got [{low:.4g}, {high:.4g}]; divide by the white level first"
        )
    return np.clip(image, 0, 1) if low < 0 or high > 1 else image


def to_array(image: Image, dtype: DTypeLike, rounding: Rounding = "nearest") -> NDArray[Any]:
    """Turn an image into `dtype`: clipped to [0, 1], scaled and rounded for integers.

    Shape: (H, W, C) in, (H, W, C) out. `rounding` is "nearest" (half up) or "floor".
    Raises ImageError for a dtype that cannot hold an image.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.clip(image, 0, 1).astype(dtype, copy=False)
    top = INTEGER_MAX.get(dtype)
    if top is None:
        raise ImageError(f"cannot write an image as {dtype}; use uint8, uint16 or a float type")
    scaled = np.clip(image, 0, 1) * np.float32(top)
    if rounding == "nearest":
        scaled += np.float32(0.5)
    return scaled.astype(dtype)


def quantise(image: Image, levels: int = 255, rounding: Rounding = "nearest") -> Image:
    """Round an image to `levels` + 1 equal steps of [0, 1], as storing it in an integer file would.

    Shape: any, kept. Values are clipped to [0, 1] first.
    """
    scaled = np.clip(image, 0, 1) * np.float32(levels)
    stepped = np.floor(scaled + np.float32(0.5 if rounding == "nearest" else 0.0))
    return np.divide(stepped, np.float32(levels), dtype=np.float32)


def rounding_noise(dtype: DTypeLike) -> float:
    """Standard deviation of what storing an image as `dtype` adds, in [0, 1] units; for floats that of arithmetic."""
    top = INTEGER_MAX.get(np.dtype(dtype))
    return _ARITHMETIC_NOISE if top is None else 1 / (top * 12**0.5)


def luma(image: Image) -> NDArray[np.float32]:
    """Rec. 601 luma plane of an image. Shape: (H, W, C) in, (H, W) out."""
    if image.shape[2] == 1:
        return image[:, :, 0]
    plane: NDArray[np.float32] = image @ LUMA_WEIGHTS
    return plane


def _describe(thing: object) -> str:
    return f"{thing.dtype} {thing.shape}" if isinstance(thing, np.ndarray) else type(thing).__name__
