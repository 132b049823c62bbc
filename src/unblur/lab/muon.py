"""Muon: momentum whose direction is made orthogonal, matrix by matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: An odd polynomial that takes singular values from (0, 1] to about 1 when applied five times.
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_TIMES = 5

#: The root mean square that Adam's steps have: with it one learning rate serves both.
_SIZE = 0.2


class Muon(torch.optim.Optimizer):
    """Muon for kernels and matrices, AdamW for the rest: biases, scales of norms.

    A convolution's kernel (out, in, h, w) counts as a matrix of `out` rows. Steps have the size of AdamW's, so
    that the same rate suits. Weight decay is decoupled. Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon; the size of a step: Liu et al. 2025, https://arxiv.org/abs/2502.16982.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        rate: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        every = list(weights)
        common = {"lr": rate, "momentum": momentum, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        groups = [
            {"params": [p for p in every if (p.ndim >= 2) is matrix], "matrix": matrix}
            for matrix in (True, False)
        ]
        super().__init__([group for group in groups if group["params"]], common)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all weights that have gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = _muon if group["matrix"] else _adam
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update(p.grad, self.state[p], group), alpha=-group["lr"])
        return loss


def orthogonalised(matrix: Tensor) -> Tensor:
    """About the nearest matrix whose singular values are all 1, by Newton-Schulz steps. Shape: (M, N) in and out."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)
    # The steps are taken on the Gram matrix, whose powers commute: a kernel of 5x5 is 25 times as long as high.
    eye = torch.eye(len(x), device=x.device, dtype=x.dtype)
    gram, factor = x @ x.mT, eye
    a, b, c = _POLYNOMIAL
    for _ in range(_TIMES):
        step = a * eye + b * gram + c * gram @ gram
        factor = step @ factor
        gram = step @ gram @ step
    x = factor @ x
    return x.mT if tall else x


def _muon(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(grad)
    momentum = state["momentum"].lerp_(grad, 1 - group["momentum"])
    ahead = grad.lerp(momentum, group["momentum"]).flatten(1)  # Nesterov's
    return (orthogonalised(ahead) * (_SIZE * math.sqrt(max(ahead.shape)))).view(grad.shape)


def _adam(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if not state:
        state.update(step=torch.zeros(()), mean=torch.zeros_like(grad), square=torch.zeros_like(grad))
    state["step"] += 1
    step = float(state["step"])
    first, second = group["betas"]
    mean = state["mean"].lerp_(grad, 1 - first)
    square = state["square"].lerp_(grad.square(), 1 - second)
    scale = math.sqrt(1 - second**step) / (1 - first**step)
    return scale * mean / (square.sqrt() + group["eps"])
