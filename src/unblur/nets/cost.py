"""What a network costs, without building it: counted on shapes alone."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
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


class _Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the tensors that are alive, and keeps the peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._sizes:
                    self._sizes[storage._cdata] = storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._free, storage._cdata)
        self.peak = max(self.peak, self.now)
        return out

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def activations(net: nn.Module, shape: tuple[int, int, int, int]) -> int:
    """Bytes of float32 activations alive at the same time, at most, for one input of `shape`.

    What a convolution needs inside is not counted; that is little, as runtimes fuse and reuse more than is counted.
    The network is moved to the meta device and of no use afterwards.
    """
    net = net.to("meta").eval()
    x = torch.empty(shape, device="meta")
    with torch.no_grad(), _Memory() as memory:
        net(x)
    return memory.peak


def _own_shape(name: str) -> tuple[int, int, int, int]:
    described = spec(name)
    height, width = described.fixed_size or (64 * described.size_multiple,) * 2
    return 1, described.channels, height, width


@cache
def bytes_per_pixel(name: str) -> int:
    """Bytes that the preset `name` works in, for each pixel. Raises OptionError for an unknown name."""
    shape = _own_shape(name)
    with torch.device("meta"):
        net = create(name)
    return round(activations(net, shape) / (shape[2] * shape[3]))


@cache
def gmacs_per_megapixel(name: str) -> float:
    """Multiply-accumulates of the preset `name`, in 10^9 for 10^6 pixels. Raises OptionError for an unknown name."""
    shape = _own_shape(name)
    with torch.device("meta"):
        net = create(name)
    return macs(net, shape) / (shape[2] * shape[3]) / 1e3
