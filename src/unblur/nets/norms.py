"""Batch normalisation with statistics that stay.

With the statistics of each batch a picture's colours depend on its neighbours, and a network in use is not quite the
one that was trained. Measured once and kept, they only scale, and what a network begins as it is from the first step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def norms(net: nn.Module) -> list[_BatchNorm]:
    """Every batch normalisation of a network."""
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]


@torch.no_grad()
def measure_norms_(net: nn.Module, pictures: Tensor) -> None:
    """Give each batch normalisation the statistics of what reaches it of `pictures`, those before it in force.

    Shape: (N, 3, H, W). Channels whose scale is no longer 1, which `identity_` has set, keep what they have.
    """

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        free = norm.weight == 1
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        norm.running_mean[free] = mean[free]
        norm.running_var[free] = variance[free]

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms(net)]
    training = net.training
    net.eval()
    try:
        net(pictures)
    finally:
        for hook in hooks:
            hook.remove()
        net.train(training)


def train_(net: nn.Module, *, fixed_norms: bool) -> None:
    """Switch to training; with `fixed_norms` batch normalisation goes on as in use."""
    net.train()
    if fixed_norms:
        for norm in norms(net):
            norm.eval()
