"""Learning and deconvolution together: a sigma-CNN tells how wide the blur is, Richardson-Lucy takes it out.

`cnn-rl` estimates one sigma for the picture, `cnn-rl-stitch` one for each cell of a grid, whose patches are restored
with a margin and put together again. Both ask for the weights of a sigma-CNN by name; `cnn-rl:MODEL` takes another,
or a file of weights: `cnn-rl:runs/sigma/best.safetensors`. Source: report 004, phases I and II.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from unblur.classical.patchwise import cell_margin, restore_cells
from unblur.classical.richardson_lucy import richardson_lucy
from unblur.errors import OptionError
from unblur.image import Image
from unblur.methods import classical
from unblur.methods.base import Method, Options
from unblur.methods.network import open_backend
from unblur.models import ModelCard, find_weights
from unblur.physics.blur import NO_BLUR, Blur
from unblur.physics.convolve import pad
from unblur.physics.kernels import gaussian
from unblur.runtime.base import Backend

MODELS: Mapping[str, str] = MappingProxyType(
    {"cnn-rl": "sigma_cnn_160x240", "cnn-rl-stitch": "sigma_cnn_144x256"}
)
"""Which sigma-CNN each method asks for: that of the picture size it was published with."""

#: Below this an estimate means that there is nothing to take out, in pixels.
SHARP = 0.25
#: An estimate is not believed beyond this: four deviations of the sigmas that the networks are trained on.
WIDEST = 20.0
#: Width in pixels over which neighbouring cells are blended.
FEATHER = 8
#: A picture is seen through at most so many windows each way.
_WINDOWS = 5
#: Cells for a network that takes any size: those of the published grid, height and width.
_CELL = (144, 256)
#: A network that takes any size is shown no less than this.
_LEAST = 32
#: How far a restored pixel of a tile can depend on others: the margin of the widest blur that is usual.
_HALO = 64


def method(name: str, model: str | None = None) -> Method:
    """The method of that name in `MODELS`, with its own model or the one given by name or file.

    Its weights are looked for when a blur is to be estimated: FileError where there are none, OptionError for
    those of another kind of network.
    """
    asked = model or MODELS[name]
    stitched = name == "cnn-rl-stitch"
    return Method(
        name=name,
        summary="a sigma-CNN for each cell of a grid, Richardson-Lucy, and stitching"
        if stitched
        else "a sigma-CNN tells sigma, Richardson-Lucy takes the blur out",
        find=partial(_find_cells if stitched else _find, asked),
        run=partial(_run_cells, asked) if stitched else partial(classical.solve, "richardson-lucy"),
        halo=_halo if stitched else partial(classical.halo, "richardson-lucy"),
        bytes_per_pixel=classical.RICHARDSON_LUCY.bytes_per_pixel,
        prepare=classical.prepare,
        iterative=True,
        models=(asked,),
    )


def estimate_sigma(backend: Backend, card: ModelCard, image: Image) -> float:
    """The sigma of a picture: the median over windows of the network's size, spread over it; 0 where it is sharp."""
    height, width = image.shape[:2]
    rows, columns = card.fixed_size or (max(height, _LEAST), max(width, _LEAST))
    tops, lefts = (
        np.linspace(0, max(side - window, 0), min(-(-side // window), _WINDOWS)).round().astype(int)
        for side, window in ((height, rows), (width, columns))
    )
    windows = [_window(image, int(top), int(left), rows, columns) for top in tops for left in lefts]
    return float(np.median(_sigmas(backend, windows)))


def _find(model: str, image: Image) -> Blur:
    backend, card = _open(model)
    sigma = estimate_sigma(backend, card, image)
    if sigma == 0:
        return NO_BLUR
    return Blur("gaussian", {"sigma": sigma}, kernel=gaussian(sigma, rule="matlab"), confidence=0.5)


def _find_cells(model: str, _image: Image) -> Blur:
    _open(model)  # what is missing is told before the work begins
    return Blur("varying", confidence=0.5)


def _run_cells(model: str, image: Image, blur: Blur, options: Options) -> Image:
    """Restore in cells of the network's size, each by its own sigma or all by a given kernel."""
    given, (height, width) = blur.kernel, image.shape[:2]
    backend, card = (None, None) if given is not None else _open(model)
    size = (card.fixed_size if card is not None else None) or _CELL
    grid = (max(round(height / size[0]), 1), max(round(width / size[1]), 1))
    sigmas = np.zeros(grid)
    if backend is not None:
        windows = []
        for cell in np.ndindex(*grid):
            top, left = (_centred(*line) for line in zip(cell, grid, (height, width), size, strict=True))
            windows.append(_window(image, top, left, *size))
        sigmas = _sigmas(backend, windows).reshape(grid)

    def margin(row: int, column: int) -> int:
        return cell_margin(float(sigmas[row, column])) if given is None else max(16, given.shape[0])

    def restore(patch: Image, row: int, column: int) -> Image:
        sigma = float(sigmas[row, column])
        if given is None and not sigma:
            return patch
        kernel = gaussian(sigma, rule="matlab") if given is None else given
        return richardson_lucy(
            patch, kernel, noise=blur.noise, iterations=options.iterations, border="reflect101"
        )

    feather = min(FEATHER, height // grid[0], width // grid[1])
    return restore_cells(image, restore, grid=grid, margin=margin, feather=feather)


def _halo(blur: Blur, options: Options) -> int:
    return classical.halo("richardson-lucy", blur, options) or _HALO


def _centred(cell: int, cells: int, length: int, window: int) -> int:
    """Where a window begins that is centred on a cell and stays in the picture."""
    middle = (cell + 0.5) * length / cells
    return min(max(round(middle - window / 2), 0), max(length - window, 0))


def _window(image: Image, top: int, left: int, rows: int, columns: int) -> Image:
    """A window of three channels, mirrored at the bottom and the right where the picture is smaller."""
    cut = image[top : top + rows, left : left + columns]
    cut = pad(cut, (0, rows - cut.shape[0], 0, columns - cut.shape[1]), "reflect101")
    return np.repeat(cut, 3, axis=2) if cut.shape[2] == 1 else cut


def _sigmas(backend: Backend, windows: Sequence[Image]) -> NDArray[np.float64]:
    """The estimate for each window, 0 for what counts as sharp."""
    batch = np.ascontiguousarray(np.stack(windows).transpose(0, 3, 1, 2), np.float32)
    sigmas = np.nan_to_num(backend.run(batch).astype(np.float64).reshape(-1), posinf=WIDEST)
    return np.where(sigmas < SHARP, 0.0, np.minimum(sigmas, WIDEST))


def _open(model: str) -> tuple[Backend, ModelCard]:
    path = find_weights(model)
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load(path: Path, _stamp: int) -> tuple[Backend, ModelCard]:
    backend = open_backend(path)
    if backend.card.role != "estimator":
        raise OptionError(f"{path}: {backend.card.name} does not estimate sigma; give a sigma-CNN")
    return backend, backend.card


CNN_RL, CNN_RL_STITCH = map(method, MODELS)
