"""Named degradations: how the data sets of the published systems, and our own, are blurred.

A degradation draws everything that is random for one image, then applies it. Image `index` of a set with
`seed` has its own generator, so it can be made again alone.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from unblur.errors import OptionError
from unblur.image import Image, from_array, rounding_noise, to_array
from unblur.physics import kernels
from unblur.physics.blur import NO_BLUR, Blur, Kernel, Kind
from unblur.physics.convolve import gaussian_blur, gaussian_blur_u8
from unblur.physics.noise import clip_highlights, jpeg, shot_read_noise
from unblur.physics.varying import blur_image, grid_blur, grid_weights, rotation_zoom

Shape: TypeAlias = tuple[int, ...]

#: Standard deviation of rounding to 8 bits.
ROUNDING = rounding_noise(np.uint8)


@dataclass(frozen=True, eq=False)
class Draw:
    """What was drawn for one image.

    `blur` carries the kernel and, as its `noise`, the deviation of noise and rounding together. `noise` is the
    standard deviation of shot and read noise at mid-grey (0: none), made from `noise_seed`; `jpeg` a quality
    or None; `exposure` the factor before clipping. `seed` and `index` are those given to `degrade`.
    """

    degradation: str
    blur: Blur
    noise: float = 0.0
    noise_seed: int = 0
    jpeg: int | None = None
    exposure: float = 1.0
    seed: int | None = None
    index: int | None = None

    def to_row(self) -> dict[str, str | int | float | None]:
        """The draw as one flat table row; the same columns for every degradation."""
        numbers = ("sigma", "sigma_y", "angle", "radius", "length", "size")
        return {
            "degradation": self.degradation,
            "seed": self.seed,
            "index": self.index,
            "kind": self.blur.kind,
            "parts": " + ".join(dict.fromkeys(map(str, self.blur.parts))) or None,
            **{name: self.blur.parameters.get(name) for name in numbers},
            "noise": self.noise,
            "noise_seed": self.noise_seed,
            "jpeg": self.jpeg,
            "exposure": self.exposure,
        }


@dataclass(frozen=True)
class Degradation:
    """A named way to blur: `draw(rng, shape)` chooses everything random, `apply(image, draw)` does it."""

    name: str
    description: str
    draw: Callable[[np.random.Generator, Shape], Draw]
    apply: Callable[[Image, Draw], Image]


def degrade(image: Image, name: str, seed: int, index: int = 0) -> tuple[Image, Draw]:
    """Degrade an image as image `index` of a set made with `seed`.

    Shape: (H, W, C), kept. `name` is one of `DEGRADATIONS`. Compare restorations with `reference`, which
    differs from `image` where the draw has an exposure.
    Raises OptionError for an unknown name or a negative seed or index.
    """
    degradation = get(name)
    if seed < 0 or index < 0:
        raise OptionError(f"seed and index must be 0 or more, got {seed} and {index}")
    draw = degradation.draw(np.random.default_rng([seed, index]), image.shape)
    draw = replace(draw, seed=seed, index=index)
    return degradation.apply(image, draw), draw


def reference(image: Image, draw: Draw) -> Image:
    """What a perfect restoration of the degraded `image` would be: the image itself under the draw's exposure.

    Shape: (H, W, C), kept.
    """
    return image if draw.exposure == 1 else _eight_bits(clip_highlights(image, draw.exposure))


def get(name: str) -> Degradation:
    """The degradation of that name; underscores count as hyphens.

    Raises OptionError, naming the nearest, for an unknown name.
    """
    if (found := DEGRADATIONS.get(name.lower().replace("_", "-"))) is not None:
        return found
    near = difflib.get_close_matches(name.lower().replace("_", "-"), DEGRADATIONS, n=1, cutoff=0)
    raise OptionError(
        f"unknown degradation {name!r}; did you mean {near[0]!r}? One of {', '.join(DEGRADATIONS)}"
    )


def _eight_bits(image: Image) -> Image:
    """As writing an 8-bit file and reading it again: equal pixels are equal to the last bit."""
    return from_array(to_array(image, np.uint8))


def _known(kind: Kind, **parameters: float) -> Blur:
    return Blur(kind, parameters, kernel=kernels.from_parameters(kind, parameters))


# Gaussian blur of the published systems


def _gaussian(
    name: str,
    description: str,
    sigma: Callable[[np.random.Generator], float],
    apply: Callable[[Image, Draw], Image],
    *,
    size: int | None = None,
    kernel: Callable[..., Kernel] = kernels.gaussian_u8,
    noise: float = ROUNDING,
) -> Degradation:
    def draw(rng: np.random.Generator, shape: Shape) -> Draw:
        drawn = sigma(rng)
        return Draw(name, Blur("gaussian", {"sigma": drawn}, kernel=kernel(drawn, size=size), noise=noise))

    return Degradation(name, description, draw, apply)


def _sigma_and_size(draw: Draw) -> tuple[float, int]:
    assert draw.blur.kernel is not None
    return draw.blur.parameters["sigma"], draw.blur.kernel.shape[0]


def _apply_opencv_u8(image: Image, draw: Draw) -> Image:
    sigma, size = _sigma_and_size(draw)
    return from_array(gaussian_blur_u8(to_array(image, np.uint8), sigma, size=size))


def _apply_float(image: Image, draw: Draw) -> Image:
    sigma, size = _sigma_and_size(draw)
    return gaussian_blur(image, sigma, size=size)


def _apply_matlab_u8(image: Image, draw: Draw) -> Image:
    sigma, size = _sigma_and_size(draw)
    return _eight_bits(gaussian_blur(image, sigma, size=size, border="replicate"))


# The blur zoo of mixed-u8


def _isotropic(rng: np.random.Generator) -> Blur:
    return _known("gaussian", sigma=rng.uniform(0.3, 4))


def _anisotropic(rng: np.random.Generator) -> Blur:
    along, across = rng.uniform(0.3, 4, size=2)
    return _known("gaussian", sigma=along, sigma_y=across, angle=rng.uniform(0, 180))


def _defocus(rng: np.random.Generator) -> Blur:
    return _known("disk", radius=rng.uniform(1, 6))


def _motion(rng: np.random.Generator) -> Blur:
    return _known("motion", length=rng.uniform(3, 25), angle=rng.uniform(0, 180))


def _shake(rng: np.random.Generator) -> Blur:
    size = 2 * int(rng.integers(4, 16)) + 1
    return Blur("shake", {"size": size}, kernel=kernels.shake(size, rng))


def _sharp(rng: np.random.Generator) -> Blur:
    return NO_BLUR


#: Share of images and how to draw, for each kind of blur that is the same everywhere; the rest varies in space.
_ZOO: Mapping[str, tuple[float, Callable[[np.random.Generator], Blur]]] = MappingProxyType(
    {
        "none": (0.10, _sharp),
        "isotropic": (0.20, _isotropic),
        "anisotropic": (0.10, _anisotropic),
        "defocus": (0.20, _defocus),
        "motion": (0.15, _motion),
        "shake": (0.20, _shake),
    }
)


def _varying(rng: np.random.Generator, shape: Shape) -> Blur:
    """Two or three kinds blended by a smooth mask, or a camera that rolls and zooms."""
    height, width = shape[:2]
    if rng.random() < 0.5:
        families = list(_ZOO.values())
        chosen = rng.choice(len(families), size=rng.integers(2, 4), replace=False)
        blurs = [families[i][1](rng) for i in chosen]
        weights = _smooth_weights(len(blurs), (height, width), rng)
        parts = (replace(blur, where=where) for blur, where in zip(blurs, weights, strict=True))
        return Blur("varying", parts=tuple(parts))
    # The corners move by 6 to 25 pixels, whatever the size of the image.
    corner = math.hypot(height, width) / 2
    travel, direction = rng.uniform(6, 25), rng.uniform(0, 2 * math.pi)
    field = rotation_zoom(
        (height, width),
        (4, 4),
        rotation=math.degrees(min(travel / corner, 0.5) * math.sin(direction)),
        zoom=math.exp(min(travel / corner, 0.5) * math.cos(direction)),
        centre=(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)),
    )
    return grid_blur(field, (height, width))


def _smooth_weights(count: int, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random smooth masks that sum to 1. Shape: (count, H, W)."""
    cells = 4
    knots = rng.standard_normal((count, cells, cells)).astype(np.float32) * np.float32(rng.uniform(2, 10))
    fields = grid_weights(shape[0], cells).T @ knots @ grid_weights(shape[1], cells)
    weights: NDArray[np.float32] = np.exp(fields - fields.max(axis=0))
    weights /= weights.sum(axis=0)
    return weights


def _draw_mixed(rng: np.random.Generator, shape: Shape) -> Draw:
    families = list(_ZOO.values())
    edges = np.cumsum([share for share, _ in families])
    kind = int(np.searchsorted(edges, rng.random(), side="right"))
    blur = families[kind][1](rng) if kind < len(families) else _varying(rng, shape)
    noise = rng.uniform(0, 0.02) if rng.random() < 1 / 2 else 0.0
    exposure = 1.2 if rng.random() < 1 / 10 else 1.0
    quality = int(rng.integers(60, 99)) if rng.random() < 1 / 3 else None
    blur = replace(blur, noise=math.hypot(noise, ROUNDING))
    return Draw("mixed-u8", blur, noise, int(rng.integers(1 << 62)), quality, exposure)


def _apply_mixed(image: Image, draw: Draw) -> Image:
    out = blur_image(image, draw.blur) * np.float32(draw.exposure)
    if draw.noise:
        rng = np.random.default_rng(draw.noise_seed)
        # Half of the variance at mid-grey is shot noise: variance = noise ** 2 * (out + 1/2).
        out = shot_read_noise(out, draw.noise**2, draw.noise * math.sqrt(0.5), rng)
    return _eight_bits(out) if draw.jpeg is None else jpeg(out, draw.jpeg)


# What a network that finishes a deconvolution learns from


def _draw_uniform(rng: np.random.Generator, shape: Shape) -> Draw:
    families = [(share, draw) for share, draw in _ZOO.values() if draw is not _sharp]
    shares = np.array([share for share, _ in families])
    noise = rng.uniform(0, 0.02) if rng.random() < 1 / 2 else 0.0
    blur = families[rng.choice(len(families), p=shares / shares.sum())][1](rng)
    blur = replace(blur, noise=math.hypot(noise, ROUNDING))
    return Draw("uniform-u8", blur, noise, int(rng.integers(1 << 62)))


def _table(*rows: Degradation) -> Mapping[str, Degradation]:
    return MappingProxyType({row.name: row for row in rows})


DEGRADATIONS: Mapping[str, Degradation] = _table(
    _gaussian(
        "cifar-u03-u8",
        "Gaussian, sigma U(0, 3), OpenCV in 8 bits",
        lambda rng: rng.uniform(0, 3),
        _apply_opencv_u8,
    ),
    _gaussian(
        "cifar-int123-f32",
        "Gaussian, sigma 1, 2 or 3, OpenCV in float, not rounded",
        lambda rng: float(rng.integers(1, 4)),
        _apply_float,
        kernel=partial(kernels.gaussian, rule="opencv-f32"),
        noise=0.0,
    ),
    _gaussian(
        "cifar-u03-f32",
        "Gaussian, sigma U(0, 3), OpenCV in float, not rounded",
        lambda rng: rng.uniform(0, 3),
        _apply_float,
        kernel=partial(kernels.gaussian, rule="opencv-f32"),
        noise=0.0,
    ),
    _gaussian(
        "reds-k3", "Gaussian, sigma 0.3, 3 taps, OpenCV in 8 bits", lambda rng: 0.3, _apply_opencv_u8, size=3
    ),
    _gaussian(
        "reds-k7", "Gaussian, sigma 1.0, 7 taps, OpenCV in 8 bits", lambda rng: 1.0, _apply_opencv_u8, size=7
    ),
    _gaussian(
        "reds-k11",
        "Gaussian, sigma 1.6, 11 taps, OpenCV in 8 bits",
        lambda rng: 1.6,
        _apply_opencv_u8,
        size=11,
    ),
    _gaussian(
        "halfnormal5-u8",
        "Gaussian, sigma |N(0, 5)|, MATLAB imgaussfilt in 8 bits",
        lambda rng: abs(rng.normal(0, 5)),
        _apply_matlab_u8,
        kernel=partial(kernels.gaussian, rule="matlab"),
    ),
    Degradation(
        "mixed-u8",
        "Gaussian, defocus, motion, shake, varying or sharp; noise, clipping, JPEG; 8 bits",
        _draw_mixed,
        _apply_mixed,
    ),
    Degradation(
        "uniform-u8",
        "Gaussian, defocus, motion or shake, the same everywhere; noise in half of the pictures; 8 bits",
        _draw_uniform,
        _apply_mixed,
    ),
    Degradation(
        "sharp", "nothing at all", lambda rng, shape: Draw("sharp", NO_BLUR), lambda image, draw: image
    ),
)
