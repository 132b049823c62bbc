"""Deconvolution: the way back from a blurred image and its kernel, by the published algorithms.

Each solver is a plain function of one signature, (image, kernel, *, noise, iterations, border) to the restored
image, and a row of `SOLVERS`. Adding one takes its file and its row; the row parametrizes the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from unblur.classical import richardson_lucy as _rl
from unblur.classical import total_variation as _tv
from unblur.classical import wiener as _wiener
from unblur.classical.canvas import Continuation
from unblur.classical.prior import Statistics, image_statistics
from unblur.image import Image
from unblur.physics.blur import Kernel

__all__ = ["SOLVERS", "Continuation", "Solver", "Statistics", "image_statistics"]


class SolverFunction(Protocol):
    """What every solver takes and gives."""

    def __call__(
        self,
        image: Image,
        kernel: Kernel,
        *,
        noise: float | None = None,
        iterations: int | None = None,
        border: Continuation = "auto",
    ) -> Image: ...


@dataclass(frozen=True)
class Solver:
    """A way to invert a known kernel.

    function: the solver. halo: pixels around a tile that it has to see, by kernel size and iterations (None for the
    default), for the tile to agree with the whole image to a tenth of an 8-bit grey level, the statistics being shared.
    bytes_per_pixel: peak working memory for each pixel of an RGB tile.
    """

    function: SolverFunction
    halo: Callable[[int, int | None], int]
    bytes_per_pixel: int


def _reach(size: int, iterations: int | None) -> int:
    """Two kernels and a little, or three: what comes from further away fades fast, however long it iterates."""
    return max(2 * size + 16, 3 * size)


SOLVERS: dict[str, Solver] = {
    "richardson-lucy": Solver(_rl.richardson_lucy, _reach, 160),
    "wiener": Solver(_wiener.wiener, _reach, 160),
    "total-variation": Solver(_tv.total_variation, _reach, _tv.bytes_per_pixel(3)),
}
