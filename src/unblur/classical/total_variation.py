"""Total variation of first and second order: edges stay sharp, slopes stay slopes, noise has no place.

Minimises 1/2 |h * x - b|^2 + weight noise^2 sum over pixels of (|D x| + |D^2 x|), the differences in units of
their expected size. Of the decorrelated colours, those with strong edges share one magnitude, so that an edge in
one is an edge in all (Bresson and Chan, "Fast dual minimization of the vectorial total variation norm", 2008). In a
photograph only lightness has: the others are smooth, and linear restoration is as good for them. Solved by the
alternating direction method of multipliers with the quadratic step in the Fourier domain (Wang, Yang, Yin and
Zhang, "A new alternating minimization algorithm for total variation image reconstruction", 2008). An unknown
border is one more splitting, with data only where the image is (Almeida and Figueiredo, "Deconvolving images
with unknown boundaries using the alternating direction method of multipliers", 2013).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unblur.classical.canvas import (
    FLOAT32_NOISE,
    Canvas,
    Continuation,
    Planes,
    Spectrum,
    count,
    in_strips,
    irfft,
    make_canvas,
    noise_level,
    power,
    rfft,
    shares,
)
from unblur.classical.linear import solve_colours
from unblur.classical.prior import (
    Statistics,
    count_edged,
    expected_energy,
    gradient_power,
    measure,
    noise_to_signal,
    rotate,
)
from unblur.classical.rim import Rim, has_room, is_near, solve_beyond
from unblur.errors import OptionError
from unblur.image import Image
from unblur.physics.blur import Kernel
from unblur.threads import spread

Fields = NDArray[np.float32]
"""Differences of planes: right, down, twice right, twice down, and across. Shape: (5, C, H', W')."""

#: So many for an inverse filter that reaches far; the second number suffices where it does not: there, they begin with
#: the linear restoration, whereas a filter that reaches far brings much of what is wrong at the border along.
ITERATIONS, _OF_NEAR = 8, 5

#: The prior's weight by the share of frequencies that survive noise and blur, scale * share ** power: fitted to
#: where restoration is best, over Gaussians, disks and lines, and noises from rounding to 0.03.
_WEIGHT_SCALE, _WEIGHT_POWER = 1.05, 0.75

#: Penalty of the splitting of an unknown border, in units of the data term.
_DATA_PENALTY = 0.15

#: The linear start: steps, and how much stronger than it is the noise is taken to be, for a filter that reaches far
#: and time to make up for it.
_START_STEPS, _START_NOISE = 20, 10.0

#: Steps on strips along the borders of a large picture.
_STRIP_STEPS = 14


def bytes_per_pixel(edged: int) -> int:
    """Peak working memory for each pixel of an RGB image, so many of whose decorrelated colours have strong edges."""
    return 55 + 75 * edged


def total_variation(
    image: Image,
    kernel: Kernel,
    *,
    noise: float | None = None,
    iterations: int | None = None,
    border: Continuation = "auto",
    weight: float = 1.0,
    statistics: Statistics | None = None,
) -> Image:
    """Restore with the least total variation that explains the image.

    Shape: (H, W, C), kept; result within [0, 1]. `noise`: standard deviation in [0, 1] units, rounding to 8
    bits where not given. `iterations`: 8, or 5 where the inverse filter is short. `weight`: of the prior; the default
    restores best where `noise` is right. `statistics`: of the whole image, where this is a tile.
    Raises ImageError, KernelError or OptionError.
    """
    canvas, planes = _solve(image, kernel, noise, iterations, border, weight, statistics)
    return canvas.image(planes)


def restored_planes(
    image: Image,
    kernel: Kernel,
    *,
    noise: float | None = None,
    iterations: int | None = None,
    border: Continuation = "auto",
    statistics: Statistics | None = None,
) -> Planes:
    """As `total_variation`, for those who go on with planes. Shape: (H, W, C) in, (C, H, W) out, within [0, 1]."""
    canvas, planes = _solve(image, kernel, noise, iterations, border, 1.0, statistics)
    window = canvas.window(planes)
    return np.clip(window, 0, 1, out=window)


def _solve(
    image: Image,
    kernel: Kernel,
    noise: float | None,
    iterations: int | None,
    border: Continuation,
    weight: float,
    statistics: Statistics | None,
) -> tuple[Canvas, Planes]:
    """The restored planes, (C, H', W'), on their canvas."""
    noise = max(noise_level(noise), FLOAT32_NOISE)
    if not weight > 0:
        raise OptionError(f"weight: expected a positive number, got {weight}")
    canvas = make_canvas(image, kernel, border, noise)
    rotation, laws = statistics or measure(canvas, noise)
    planes = rotate(rotation, canvas.planes, out=canvas.planes)
    ratio = noise_to_signal(laws, noise, canvas.grid)
    edged = count_edged(laws)
    near = canvas.known or is_near(canvas, lambda grid: noise_to_signal(laws, noise, grid))
    steps = count(iterations, _OF_NEAR if near else ITERATIONS)
    stronger = np.float32(1 if near or steps < ITERATIONS else _START_NOISE)

    def prior(grid: tuple[int, int]) -> Planes:
        start = ratio.copy() if grid == canvas.grid else noise_to_signal(laws, noise, grid)
        start[:edged] *= stronger
        return start

    # What lies beyond a large picture is looked for by itself; else that takes as long as all the rest.
    room = not canvas.known and has_room(canvas) and (near if stronger == 1 else is_near(canvas, prior))
    rim = Rim(canvas) if room else None
    spectrum: Spectrum
    if rim:
        spectrum = solve_beyond(canvas, planes, prior, _STRIP_STEPS, edged)
    else:
        spectrum = solve_colours(canvas, planes, prior(canvas.grid), _START_STEPS, edged)
    if edged < len(planes):
        planes[edged:] = irfft(spectrum[edged:], canvas.grid)
    seen, ratio, spectrum = planes[:edged], ratio[:edged], spectrum[:edged]
    first = gradient_power(canvas.grid)
    second = np.square(first)
    energies = [noise**2 * expected_energy(ratio, gains, canvas.grid) for gains in (first, second)]
    passed = power(canvas.transfer)
    surviving = float((passed / np.maximum(passed + ratio[0], np.finfo(np.float32).tiny)).mean())
    pull = noise**2 * weight * _WEIGHT_SCALE * surviving**_WEIGHT_POWER
    outside = None if canvas.known or rim else _Outside(canvas, seen)
    trust = _DATA_PENALTY if outside else 1
    denominator = np.float32(trust) * passed
    for gains, energy in ((first, energies[0]), (second, energies[1])):
        denominator = denominator + (pull / energy).astype(np.float32) * gains

    differences = _Differences(seen.shape, energies, pull)
    data: Spectrum
    if not outside:
        canvas.hide(seen)
        data = rfft(seen) * canvas.transfer.conj()
    for _ in range(steps):
        if outside:
            data = outside.split(spectrum)
        restored = irfft(spectrum, canvas.grid)
        if rim:
            rim.follow(restored)
        pulled = differences.split(restored)
        if rim:
            rim.pull(pulled)
        spectrum = _solved(rfft(pulled), data, denominator)
    planes[:edged] = irfft(spectrum, canvas.grid)
    return canvas, rotate(rotation.T, planes, out=planes)


def _solved(spectrum: Spectrum, data: Spectrum, denominator: Planes) -> Spectrum:
    """(spectrum + data) / denominator, in place of the first."""

    def solve(rows: slice) -> None:
        one = spectrum[:, rows]
        one += data[:, rows]
        one /= denominator[:, rows]

    in_strips(solve, spectrum, 6)
    return spectrum


class _Outside:
    """The splitting of an unknown border: blurred planes that agree with the data, but only where there is any."""

    def __init__(self, canvas: Canvas, planes: Planes) -> None:
        self.canvas = canvas
        self.seen = planes[:, : canvas.size[0], : canvas.size[1]]
        self.back = np.float32(_DATA_PENALTY) * canvas.transfer.conj()
        self.multiplier: Planes | None = None

    def split(self, spectrum: Spectrum) -> Spectrum:
        """What the data pull the restored `spectrum` towards."""
        trust = np.float32(_DATA_PENALTY)
        blurred = irfft(spectrum * self.canvas.transfer, self.canvas.grid)
        window = blurred[:, : self.canvas.size[0], : self.canvas.size[1]]
        if self.multiplier is None:
            self.multiplier = (window - self.seen) / trust
        window += self.multiplier
        agreed = (self.seen + trust * window) / (1 + trust)
        np.subtract(window, agreed, out=self.multiplier)
        np.subtract(agreed, self.multiplier, out=window)
        data = rfft(blurred)
        data *= self.back
        return data


class _Differences:
    """The splitting of the differences: first and second ones, each order shrunk by one magnitude.

    energies: mean squares expected of the two orders, (C, 1, 1) each; differences are in units of their root. pull: the
    penalty of the splitting.
    """

    def __init__(self, shape: tuple[int, ...], energies: list[NDArray[np.float64]], pull: float) -> None:
        first, second = (energy**-0.5 for energy in energies)
        factors = np.stack([first, first, second, second, 2**0.5 * second])
        self.factors, self.back = factors.astype(np.float32), (pull * factors).astype(np.float32)
        self.multipliers: Fields = np.zeros((5, *shape), np.float32)

    def split(self, planes: Planes) -> Planes:
        """What the shrunk differences of the restored `planes` pull towards: their adjoint. Shape: kept."""
        channels, height, width = planes.shape
        parts, rows = shares(planes, 18)
        pulled = np.empty_like(planes)
        # The row next to a part is another's, which changes it at the same time.
        edges = {
            row: self._shrunk(
                planes, row, row + 1, np.empty((5, channels, 1, width + 2), np.float32), keep=False
            )
            for part in parts
            for row in ((part.start - 1) % height, part.stop % height)
        }

        def work(part: slice) -> None:
            # What is shrunk stays in the caches: it is gathered as soon as the row below it is there.
            targets: Fields = np.empty((5, channels, rows + 2, width + 2), np.float32)
            targets[:, :, 1:2] = edges[(part.start - 1) % height]
            for top in range(part.start, part.stop, rows):
                count = min(rows, part.stop - top)
                self._shrunk(planes, top, top + count, targets[:, :, 2 : count + 2])
                first = int(top == part.start)
                gathered = _adjoint_differences(targets[:, :, first : count + 2], self.back)
                pulled[:, top - 1 + first : top - 1 + count] = gathered
                targets[:, :, :2] = targets[:, :, count : count + 2]
            targets[:, :, 2:3] = edges[part.stop % height]
            pulled[:, part.stop - 1 : part.stop] = _adjoint_differences(targets[:, :, :3], self.back)

        spread(work, parts)
        return pulled

    def _shrunk(self, planes: Planes, top: int, bottom: int, out: Fields, *, keep: bool = True) -> Fields:
        """Fill `out`, (5, C, bottom - top, W + 2), with what some rows' differences are to be, a column around."""
        height = planes.shape[1]
        wrapped = np.empty((len(planes), bottom - top + 2, planes.shape[2] + 2), np.float32)
        inside = wrapped[:, :, 1:-1]
        inside[:, 1:-1] = planes[:, top:bottom]
        inside[:, 0], inside[:, -1] = planes[:, top - 1], planes[:, bottom % height]
        wrapped[..., 0], wrapped[..., -1] = wrapped[..., -2], wrapped[..., 1]
        fields = _differences(wrapped)
        fields *= self.factors
        multipliers = self.multipliers[:, :, top:bottom]
        fields += multipliers
        for order in (slice(0, 2), slice(2, 5)):
            magnitude = np.sqrt(np.einsum("fchw,fchw->hw", fields[order], fields[order]))
            clipped = 1 / np.maximum(magnitude, 1)
            if keep:
                np.multiply(fields[order], clipped, out=multipliers[order])
            np.multiply(fields[order], 1 - 2 * clipped, out=out[order, ..., 1:-1])
        out[..., 0], out[..., -1] = out[..., -2], out[..., 1]
        return out


def _differences(wrapped: Planes) -> Fields:
    """Shape: (C, H + 2, W + 2) with one pixel around, (5, C, H, W) out."""
    centre = wrapped[:, 1:-1, 1:-1]
    below = wrapped[:, 2:, 1:-1]
    fields = np.empty((5, *centre.shape), np.float32)
    np.subtract(wrapped[:, 1:-1, 2:], centre, out=fields[0])
    np.subtract(below, centre, out=fields[1])
    np.subtract(wrapped[:, 1:-1, :-2], centre, out=fields[2])
    fields[2] += fields[0]
    np.subtract(wrapped[:, :-2, 1:-1], centre, out=fields[3])
    fields[3] += fields[1]
    np.subtract(wrapped[:, 2:, 2:], below, out=fields[4])
    fields[4] -= fields[0]
    return fields


def _adjoint_differences(targets: Fields, factors: Fields) -> Planes:
    """Shape: (5, C, H + 2, W + 2) with one pixel around, (C, H, W) out."""
    right, down, across = (targets[i] for i in (0, 1, 4))
    middle = (slice(None), slice(1, -1), slice(1, -1))
    total = (right[:, 1:-1, :-2] - right[middle] + down[:, :-2, 1:-1] - down[middle]) * factors[0]
    curved = targets[2][:, 1:-1, :-2] + targets[2][:, 1:-1, 2:]
    curved += targets[3][:, :-2, 1:-1] + targets[3][:, 2:, 1:-1]
    curved -= 2 * (targets[2][middle] + targets[3][middle])
    total += curved * factors[2]
    total += (across[:, :-2, :-2] - across[:, :-2, 1:-1] - across[:, 1:-1, :-2] + across[middle]) * factors[4]
    return total
