"""What a network costs, without building it: counted on shapes alone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unblur.nets import create, spec


class Parameters(NamedTuple):
    """`trainable` parameters, and the `total` with the running statistics of batch normalisation."""

    trainable: int
    total: int


def count(net: nn.Module) -> Parameters:
    """The parameters of a network."""
    trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    stats: Iterable[int] = (
        2 * module.num_features for module in net.modules() if isinstance(module, nn.BatchNorm2d)
    )
    return Parameters(trainable, trainable + sum(stats))


def parameters(name: str) -> Parameters:
    """The parameters of the preset `name`. Raises OptionError for an unknown name."""
    with torch.device("meta"):
        return count(create(name))


def macs(net: nn.Module, shape: tuple[int, int, int, int]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one input of `shape`; no memory is touched.

    The network is moved to the meta device and of no use afterwards.
    """
    net = net.to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2


@cache
def gmacs_per_megapixel(name: str) -> float:
    """Multiply-accumulates of the preset `name`, in 10^9 for 10^6 pixels. Raises OptionError for an unknown name."""
    described = spec(name)
    height, width = described.fixed_size or (64 * described.size_multiple,) * 2
    with torch.device("meta"):
        net = create(name)
    return macs(net, (1, described.channels, height, width)) / (height * width) / 1e3
