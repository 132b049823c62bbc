"""The linear restoration of planes on a canvas: one division per frequency where its border is known, or steps."""

from __future__ import annotations

import numpy as np

from unblur.classical.canvas import Canvas, Planes, Spectrum, irfft, rfft

#: How much stronger the prior is at first. It starts from what little the blur has not touched, and lets finer
#: detail in as the scene beyond the border comes to fit.
_CAUTION = 1e4

#: The share of the steps by which the prior has its true strength.
_RELAXED = 0.8


def filter_linear(canvas: Canvas, planes: Planes, ratio: Planes) -> Spectrum:
    """Spectra of the planes that minimise |h * x - b|^2 + sum of ratio |X|^2 over the whole canvas.

    planes: (C, H', W'). ratio and result: (C, H', W' // 2 + 1).
    """
    spectrum = rfft(planes)
    spectrum *= canvas.transfer.conj()
    spectrum /= np.maximum(np.square(np.abs(canvas.transfer)) + ratio, np.finfo(ratio.dtype).tiny)
    return spectrum


def solve_linear(canvas: Canvas, planes: Planes, ratio: Planes, steps: int) -> Spectrum:
    """The same minimum, with |h * x - b|^2 over the image's own pixels where the border is unknown.

    By preconditioned gradient steps with momentum, the prior relaxed from step to step. Unlike conjugate gradients
    they measure nothing of the whole, so that a tile takes the very steps that the whole takes there.
    """
    if canvas.known:
        return filter_linear(canvas, planes, ratio)
    high, wide = canvas.size
    transfer, back = canvas.transfer, canvas.transfer.conj()
    passed, tiny = np.square(np.abs(transfer)), np.finfo(ratio.dtype).tiny
    x = filter_linear(canvas, planes, ratio.dtype.type(_CAUTION) * ratio)
    last = x
    for step in range(1, steps + 1):
        momentum = ratio.dtype.type(max(step - 2, 0) / (step + 1))
        point = x + momentum * (x - last) if momentum else x
        residual = irfft(transfer * point, canvas.grid)
        np.subtract(planes, residual, out=residual)
        residual[:, high:] = 0
        residual[:, :, wide:] = 0
        move = rfft(residual)
        move *= back
        prior = ratio.dtype.type(_CAUTION ** max(1 - step / (_RELAXED * steps), 0)) * ratio
        move -= prior * point
        prior += passed
        move /= np.maximum(prior, tiny, out=prior)
        move += point
        last, x = x, move
    return x
