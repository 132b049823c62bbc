"""The linear restoration of planes on a canvas: one division per frequency where its border is known, or steps."""

from __future__ import annotations

from functools import partial

import numpy as np

from unblur.classical.canvas import Canvas, Planes, Spectrum, in_strips, irfft, power, rfft

#: How much stronger the prior is at first. It starts from what little the blur has not touched, and lets finer
#: detail in as the scene beyond the border comes to fit.
_CAUTION = 1e4

#: Steps that smooth colours take: more add less than 0.01 dB.
_SMOOTH_STEPS = 6

#: The share of the steps by which the prior has its true strength.
_RELAXED = 0.8


def filter_linear(canvas: Canvas, planes: Planes, ratio: Planes) -> Spectrum:
    """Spectra of the planes that minimise |h * x - b|^2 + sum of ratio |X|^2 over the whole canvas.

    planes: (C, H', W'). ratio and result: (C, H', W' // 2 + 1).
    """
    spectrum = rfft(planes)

    def divide(rows: slice) -> None:
        one, transfer = spectrum[:, rows], canvas.transfer[rows]
        one *= transfer.conj()
        one /= np.maximum(power(transfer) + ratio[:, rows], np.finfo(ratio.dtype).tiny)

    in_strips(divide, spectrum, 6)
    return spectrum


def solve_linear(canvas: Canvas, planes: Planes, ratio: Planes, steps: int) -> Spectrum:
    """The same minimum, with |h * x - b|^2 over the image's own pixels where the border is unknown.

    By preconditioned gradient steps with momentum, the prior relaxed from step to step. Unlike conjugate gradients
    they measure nothing of the whole, so that a tile takes the very steps that the whole takes there.
    """
    if canvas.known:
        return filter_linear(canvas, planes, ratio)
    transfer, back = canvas.transfer, canvas.transfer.conj()
    passed, least = power(transfer), np.finfo(ratio.dtype).tiny
    x = filter_linear(canvas, planes, ratio.dtype.type(_CAUTION) * ratio)
    point, blurred = x.copy(), np.empty_like(x)

    def blur(rows: slice) -> None:
        np.multiply(transfer[rows], point[:, rows], out=blurred[:, rows])

    def step(number: int, move: Spectrum, rows: slice) -> None:
        one, here, before = move[:, rows], point[:, rows], x[:, rows]
        prior = ratio.dtype.type(_CAUTION ** max(1 - number / (_RELAXED * steps), 0)) * ratio[:, rows]
        one *= back[rows]
        one -= prior * here
        prior += passed[rows]
        one /= np.maximum(prior, least, out=prior)
        one += here
        np.subtract(one, before, out=here)
        here *= ratio.dtype.type((number - 1) / (number + 2))
        here += one
        before[:] = one

    for number in range(1, steps + 1):
        in_strips(blur, point, 4)
        residual = irfft(blurred, canvas.grid)
        np.subtract(planes, residual, out=residual)
        canvas.hide(residual)
        in_strips(partial(step, number, rfft(residual)), point, 12)
    return x


def solve_colours(canvas: Canvas, planes: Planes, ratio: Planes, steps: int, edged: int) -> Spectrum:
    """The same minimum, the first `edged` planes in `steps` and the others, which are smooth, in fewer."""
    spectrum = solve_linear(canvas, planes[:edged], ratio[:edged], steps)
    if edged == len(planes):
        return spectrum
    smooth = solve_linear(canvas, planes[edged:], ratio[edged:], min(steps, _SMOOTH_STEPS))
    return np.concatenate([spectrum, smooth])
