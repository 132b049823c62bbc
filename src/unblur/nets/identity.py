"""Networks that begin as the identity: what they are given comes out, until training finds something better.

A network that must first learn to copy a picture spends most of a short training on that. Three channels of the path at
full size are set to carry the picture; all other weights keep their random start, but for those of the last layer.
Batch normalisation is taken as it is in use: by the statistics of each batch the picture would not come through.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unblur.errors import OptionError
from unblur.nets.eddensenet import EDDenseNet
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

#: Terms of blocks of 4x4 are within this of 0, but for very few.
_SWING = 1.5

#: Where all that a network adds comes out of a ReLU, this much of it is taken away again: it may darken as well.
_ROOM = 0.5


@torch.no_grad()
def identity_(net: nn.Module) -> None:
    """Set the weights so that the network returns its input, for pictures in [0, 1].

    EDDenseNet, whose bottleneck has 16 numbers for the 48 of a block of 4x4, returns the block's 15 lowest cosine
    terms: nine of brightness, three of either colour difference. The finer scale of `srn_reds` and `srn_cifar`, which
    sees the sum of the picture and the coarser result, returns their mean.
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
        case EDDenseNet():
            _eddensenet(net)
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


def _through(norm: nn.Module, channels: int = 3) -> None:
    """The first channels of a batch normalisation pass unchanged."""
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight[:channels] = math.sqrt(1 + norm.eps)


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


def _cosines() -> Tensor:
    """The lowest cosine terms of a block of 4x4 in three colours: (15, 4, 4, 3), orthonormal.

    Three by three of brightness, the mean of the colours; of red against blue, and of green against both, the mean and
    the two slopes.
    """
    i = torch.arange(4)
    basis = torch.cos(math.pi / 4 * torch.outer(i, i + 0.5)) / math.sqrt(2)
    basis[0] = 0.5
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]])
    colours /= colours.norm(dim=1, keepdim=True)
    terms = [(0, y, x) for y in range(3) for x in range(3)]
    terms += [(c, y, x) for c in (1, 2) for y, x in ((0, 0), (0, 1), (1, 0))]
    return torch.stack([torch.einsum("y,x,c->yxc", basis[y], basis[x], colours[c]) for c, y, x in terms])


def _eddensenet(net: EDDenseNet) -> None:
    _ends_linear(net.out.children())
    terms = _cosines()
    if net.growth != len(terms) + 1:
        raise OptionError(f"eddensenet starts as the identity with growth={len(terms) + 1} only")
    enter, dense1, down1, dense2, down2, dense3, neck, up1, dense4, up2, dense5 = net.stages
    _carry(_convs(enter)[0])
    for stage, carried in ((dense1, 3), (dense2, 12), (dense3, 48), (dense4, 12), (dense5, 3)):
        for layer in stage.children():
            _through(norms(layer)[0], carried)
    for stage, carried in ((down1, 3), (down2, 12)):
        _through(norms(stage)[0], carried)
        across, halve = _convs(stage)
        assert halve.bias is not None
        across.weight[:carried] = torch.eye(carried, across.in_channels)[..., None, None]
        # Channel (y, x, c): what channel c is at (y, x) of four.
        halve.weight[: 4 * carried] = 0
        halve.bias[: 4 * carried] = 0
        halve.weight[: 4 * carried, :carried] = (
            torch.eye(4 * carried).reshape(-1, 2, 2, carried).movedim(3, 1)
        )
    squeeze = _convs(neck)[0]
    assert squeeze.bias is not None
    # Pixel (y, x) of a block of 4x4 is (y // 2, x // 2) of the coarse grid, and there (y % 2, x % 2) of the fine one.
    terms = terms.reshape(-1, 2, 2, 2, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(-1, 2, 2, 12)
    squeeze.weight.zero_()
    squeeze.weight[:-1, :48] = terms.reshape(-1, 48)[..., None, None]
    # Terms of either sign pass a ReLU raised; the last number, always 1, takes away again what that adds at each pixel.
    squeeze.bias.fill_(_SWING)
    squeeze.bias[-1] = 1
    _through(norms(neck)[0], squeeze.out_channels)
    rise, last = (
        next(layer for layer in up.modules() if isinstance(layer, nn.ConvTranspose2d)) for up in (up1, up2)
    )
    assert rise.bias is not None
    assert last.bias is not None
    rise.weight[:-1, :12] = terms.movedim(3, 1)
    rise.weight[-1, :12] = _LIFT - _SWING * terms.sum(0).movedim(2, 0)
    rise.bias[:12] = 0
    last.weight[:, :3] = 0
    last.weight[:12, :3] = torch.eye(12).reshape(12, 2, 2, 3).movedim(3, 1)
    last.bias[:3] = 0
    _through(norms(up1)[0], 12)
    _through(norms(up2)[0], 3)
    out = _convs(net.out)[0]
    assert out.bias is not None
    out.weight.zero_()
    _carry(out)
    out.bias.fill_(-_LIFT)


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
