"""Networks that begin as the identity: what they are given comes out, until training finds something better.

A network that must first learn to copy a picture spends most of a short training on that. Three channels of the path at
full size are set to carry the picture; all other weights keep their random start, but for those of the last layer.
Batch normalisation is taken as it is in use: by the statistics of each batch the picture would not come through.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from unblur.errors import OptionError
from unblur.nets.gan import Generator
from unblur.nets.mscnn import MSCNN
from unblur.nets.nafnet import NAFNet
from unblur.nets.norms import norms
from unblur.nets.plain import LargeKernelCNN, ResidualBlock, ResNet
from unblur.nets.rednet import CAESSC
from unblur.nets.resunet import ResUNet
from unblur.nets.srn import SRN, Scale, Twice
from unblur.nets.unet import UNet

#: Added to what comes out of a layer that starts without a signal: a ReLU at 0 would stay dead.
_LIFT = 0.05

#: Where all that a network adds comes out of a ReLU, this much of it is taken away again: it may darken as well.
_ROOM = 0.5


@torch.no_grad()
def identity_(net: nn.Module) -> None:
    """Set the weights so that the network returns its input, for pictures in [0, 1].

    The finer scale of `srn_reds` and `srn_cifar`, which sees the sum of the picture and the coarser result, returns
    their mean.
    Raises OptionError for a family, or a final activation, for which there is no such start.
    """
    match net:
        case UNet():
            _unet(net)
        case LargeKernelCNN() | ResNet():
            _sequence(net.body)
        case MSCNN():
            for level in net.scales:
                # Inside, pictures are in [-0.5, 0.5]: half a unit more passes the ReLU.
                _sequence(level, lift=0.5)
        case Generator():
            nn.init.zeros_(net.out.weight)
        case NAFNet():
            nn.init.zeros_(net.leave.weight)
            assert net.leave.bias is not None
            nn.init.zeros_(net.leave.bias)
        case ResUNet():
            _resunet(net)
        case CAESSC():
            _caessc(net)
        case SRN() if len(net.scales) == 2 and net.merge == "add":
            coarse, fine = net.scales
            scale = _scale if any(isinstance(module, Twice) for module in net.modules()) else _normed_scale
            scale(coarse, weight=1.0)
            # It sees the sum of the picture and the coarse result.
            scale(fine, weight=0.5)
        case _:
            raise OptionError(f"{type(net).__name__} cannot start as the identity; leave out net.identity")


def _carry(layer: nn.Conv2d, first: int = 0, *, lift: float = 0.0, to: int = 0) -> None:
    """Channels `first` to `first` + 2 become channels `to` to `to` + 2, plus `lift`; no other channel comes in."""
    middle = layer.kernel_size[0] // 2
    rows = slice(to, to + 3)
    layer.weight[rows] = 0
    for i in range(3):
        layer.weight[to + i, first + i, middle, middle] = 1
    if layer.bias is not None:
        layer.bias[rows] = lift


def _convs(modules: nn.Module) -> list[nn.Conv2d]:
    return [module for module in modules.modules() if isinstance(module, nn.Conv2d)]


def _ends_linear(layers: Iterable[nn.Module]) -> None:
    if any(isinstance(layer, nn.Sigmoid) for layer in layers):
        raise OptionError(
            "a network that ends in a sigmoid cannot start as the identity; leave out net.identity"
        )


def _unet(net: UNet) -> None:
    _ends_linear(net.out.children())
    behind = net.decoder[-1]
    first, *others = _convs(behind)
    width = first.in_channels // 2
    for layer in [*_convs(net.encoder[0]), *others, *_convs(net.tail)]:
        _carry(layer)
    _carry(first, 0 if net.skip_first else width)
    source = width if net.reinject else 0
    for i, layer in enumerate([*_convs(net.head), *_convs(net.out)]):
        _carry(layer, source if i == 0 else 0)


def _sequence(body: nn.Module, *, lift: float = 0.0) -> None:
    """Convolutions with or without ReLU, and residual blocks."""
    _ends_linear(body.children())
    outer = [layer for layer in body.children() if isinstance(layer, nn.Conv2d)]
    for layer in outer:
        _carry(layer)
    assert outer[0].bias is not None
    assert outer[-1].bias is not None
    outer[0].bias[:3] = lift
    outer[-1].bias.fill_(-lift)
    _quiet(body)


def _quiet(body: nn.Module) -> None:
    """Residual blocks add nothing to the three channels."""
    for block in body.modules():
        if isinstance(block, ResidualBlock):
            last = _convs(block)[-1]
            last.weight[:3] = 0


def _scale(scale: nn.Module, *, weight: float) -> None:
    """One scale of `srn_reds`; `weight`: of its input in its result."""
    assert isinstance(scale, Scale)
    enter, leave, rise = scale.encoder[0], scale.decoder[-1], scale.decoder[1]
    for layer in _convs(enter):
        if layer.in_channels == 3:
            _carry(layer)
    _quiet(enter)
    _quiet(leave)
    # What comes from below is added to the three channels: nothing yet, but not behind a dead ReLU.
    up = next(layer for layer in rise.modules() if isinstance(layer, nn.ConvTranspose2d))
    assert up.bias is not None
    up.weight[:, :3] = 0
    up.bias[:3] = _LIFT
    out = _convs(leave)[-1]
    assert out.bias is not None
    _carry(out)
    out.weight *= weight
    out.bias.fill_(-_LIFT * weight)


def _through(norm: nn.Module) -> None:
    """The first three channels of a batch normalisation pass unchanged."""
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight[:3] = math.sqrt(1 + norm.eps)


def _closed(norm: nn.Module, lift: float) -> None:
    """The first three channels of a batch normalisation are `lift`, whatever comes in."""
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight[:3] = 0
    norm.bias[:3] = lift


def _normed(layers: Iterable[nn.Module], lift: float = _LIFT) -> int:
    """Layers of convolution and batch normalisation carry, blocks add `lift`; returns how many blocks there are."""
    blocks = 0
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            _carry(_convs(layer)[0])
            _through(norms(layer)[0])
        else:
            _closed(norms(layer)[-1], lift)
            blocks += 1
    return blocks


def _resunet(net: ResUNet) -> None:
    _ends_linear(net.out.children())
    added = _normed(net.level1) + _normed(net.up1)
    first, last = _convs(net.out)
    _carry(first)
    _carry(last)
    assert last.bias is not None
    last.bias.fill_(-_LIFT * added)


def _caessc(net: CAESSC) -> None:
    _ends_linear(net.out.children())
    _closed(norms(net.decoder[0])[0], _ROOM)
    (last,) = norms(net.out)
    _through(last)
    last.bias.fill_(-_ROOM)


def _normed_scale(scale: nn.Module, *, weight: float) -> None:
    """One scale of `srn_cifar`, whose LeakyReLU lets a gradient through at 0; `weight`: of its input in its result."""
    assert isinstance(scale, Scale)
    enter, leave, rise = scale.encoder[0], scale.decoder[-1], scale.decoder[1]
    assert isinstance(enter, nn.Sequential)
    assert isinstance(leave, nn.Sequential)
    *blocks, out, norm, end = leave
    _ends_linear([end])
    _normed([*enter, *blocks], 0.0)
    # What comes from below is added to the three channels: nothing yet.
    _closed(norms(rise)[-1], 0.0)
    assert isinstance(out, nn.Conv2d)
    assert out.bias is not None
    _carry(out)
    out.weight *= weight
    out.bias.zero_()
    _through(norm)
