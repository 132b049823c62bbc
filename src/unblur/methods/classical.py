"""Classical deconvolution as methods: rows over the solvers of `unblur.classical`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from unblur.classical import SOLVERS, image_statistics
from unblur.classical.blind import blind_deconvolution
from unblur.classical.canvas import find_border
from unblur.classical.prior import count_edged
from unblur.classical.total_variation import bytes_per_pixel
from unblur.classical.varying import restore_varying
from unblur.estimate import estimate_blur
from unblur.image import Image
from unblur.methods.base import Method, Options
from unblur.physics.blur import Blur
from unblur.physics.kernels import gaussian

#: Blind deconvolution looks at one crop of at most this many pixels on a side: enough to know the kernel.
_BLIND_CROP = 512
#: A smaller picture tells nothing about its kernel.
_BLIND_LEAST = 16


def solve(name: str, image: Image, blur: Blur, options: Options) -> Image:
    """Restore with the solver of that name; a varying blur takes Richardson-Lucy. Shape: (H, W, C) in and out."""
    if blur.parts:
        return restore_varying(image, blur, iterations=options.iterations)
    if blur.kernel is None:
        return image
    fitted = {} if name == "richardson-lucy" else {"statistics": options.statistics}
    return SOLVERS[name].function(
        image, blur.kernel, noise=blur.noise, iterations=options.iterations, border=options.border, **fitted
    )


def prepare(image: Image, blur: Blur, options: Options) -> Options:
    """Fix what the tiles of a picture share: the statistics that the solvers fit, and the rule at the border.

    image: the picture, or the middle of a large one.
    """
    kernels = [one.kernel for one in (blur, *blur.parts) if one.kernel is not None]
    if not kernels:
        return options
    largest = max(kernels, key=len)
    noise = blur.noise or 0.0
    return replace(
        options,
        statistics=image_statistics(image, largest, noise=noise),
        border=find_border(image, largest, noise),
    )


def halo(name: str, blur: Blur, options: Options) -> int:
    """How far the solver of that name looks: the largest of the blur's parts."""
    solver = SOLVERS[name]
    kernels = [one.kernel for one in (blur, *blur.parts) if one.kernel is not None]
    return max((solver.halo(kernel.shape[0], options.iterations) for kernel in kernels), default=0)


def total_variation_bytes(options: Options) -> int:
    """Peak working memory of total variation for each pixel of an RGB tile of a picture with these statistics."""
    return bytes_per_pixel(count_edged(options.statistics.laws) if options.statistics else 3)


def _find_kernel(image: Image) -> Blur:
    """The kernel by maximum-likelihood blind deconvolution from a Gaussian of sigma 1 on 5x5."""
    height, width = image.shape[:2]
    if min(height, width) < _BLIND_LEAST:
        return Blur("none", confidence=0.0)
    top, left = max(height - _BLIND_CROP, 0) // 2, max(width - _BLIND_CROP, 0) // 2
    crop = image[top : top + _BLIND_CROP, left : left + _BLIND_CROP]
    _, kernel = blind_deconvolution(crop, gaussian(1.0, size=5))
    return Blur("kernel", kernel=kernel, confidence=0.5)


def row(
    name: str,
    solver: str,
    summary: str,
    *,
    find: Callable[[Image], Blur] = estimate_blur,
    careful: bool = False,
) -> Method:
    """The method that finds the blur in its own way, and takes it out by a solver of `unblur.classical`."""
    return Method(
        name=name,
        summary=summary,
        find=find,
        run=partial(solve, solver),
        halo=partial(halo, solver),
        bytes_per_pixel=SOLVERS[solver].bytes_per_pixel,
        bytes_with=total_variation_bytes if solver == "total-variation" else None,
        prepare=prepare,
        iterative=solver != "wiener",
        careful=careful,
    )


RICHARDSON_LUCY = row(
    "richardson-lucy", "richardson-lucy", "Richardson-Lucy, accelerated: positive, keeps flux"
)
WIENER = row("wiener", "wiener", "Wiener filter: the fastest, linear")
TOTAL_VARIATION = row("total-variation", "total-variation", "total-variation deconvolution: clean edges")
BLIND = row(
    "blind", "richardson-lucy", "maximum-likelihood blind deconvolution of a small kernel", find=_find_kernel
)
BLIND_PARAMETRIC = row(
    "blind-parametric",
    "total-variation",
    "reads kind, size and direction of the blur from the picture: Gaussian, defocus or straight motion",
    careful=True,
)
