"""The linear restoration of planes on a canvas: one division per frequency where its border is known, or steps."""

from __future__ import annotations

from functools import partial

import numpy as np

from unblur.classical.canvas import Canvas, Planes, Spectrum, in_strips, irfft, power, rfft

#: How much stronger the prior is at first, and the share of the steps by which it has its true strength. It starts
#: from what little the blur has not touched, and lets finer detail in as the scene beyond the border comes to fit.
_CAUTION, _RELAXED = 1e4, 0.8

#: The same for an inverse filter that is short: 14 steps go as far as 18 of the others.
_CAUTION_NEAR, _RELAXED_NEAR = 1e6, 0.9

#: Steps that smooth colours take: more add less than 0.01 dB.
_SMOOTH_STEPS = 6


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


def solve_linear(
    canvas: Canvas, planes: Planes, ratio: Planes, steps: int, *, near: bool = False
) -> Spectrum:
    """The same minimum, with |h * x - b|^2 over the image's own pixels where the border is unknown.

    By preconditioned gradient steps with momentum, the prior relaxed from step to step. Unlike conjugate gradients
    they measure nothing of the whole, so that a tile takes the very steps that the whole takes there. near: whether the
    inverse filter is short.
    """
    if canvas.known:
        return filter_linear(canvas, planes, ratio)
    transfer, back = canvas.transfer, canvas.transfer.conj()
    passed, least = power(transfer), np.finfo(ratio.dtype).tiny
    caution, relaxed = (_CAUTION_NEAR, _RELAXED_NEAR) if near else (_CAUTION, _RELAXED)
    x = filter_linear(canvas, planes, ratio.dtype.type(caution) * ratio)
    point, blurred = x.copy(), np.empty_like(x)

    def blur(rows: slice) -> None:
        np.multiply(transfer[rows], point[:, rows], out=blurred[:, rows])

    def step(number: int, move: Spectrum, rows: slice) -> None:
        one, here, before = move[:, rows], point[:, rows], x[:, rows]
        prior = ratio.dtype.type(caution ** max(1 - number / (relaxed * steps), 0)) * ratio[:, rows]
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


def solve_colours(
    canvas: Canvas, planes: Planes, ratio: Planes, steps: int, edged: int, *, near: bool = False
) -> Spectrum:
    """The same minimum, the first `edged` planes in `steps` and the others, which are smooth, in fewer."""
    spectrum = solve_linear(canvas, planes[:edged], ratio[:edged], steps, near=near)
    if edged == len(planes):
        return spectrum
    smooth = solve_linear(canvas, planes[edged:], ratio[edged:], min(steps, _SMOOTH_STEPS), near=near)
    return np.concatenate([spectrum, smooth])
