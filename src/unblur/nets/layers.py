"""What the families share: the restorer's interface, Keras's layers and initialisation, recurrent cells, resizing."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unblur.errors import OptionError
from unblur.physics.resize import Method, shrink_taps

Activation: TypeAlias = Literal["relu", "leaky", "sigmoid", "linear"]


class Restorer(nn.Module):
    """A network from blurred to sharp pictures.

    Shape: (N, C, H, W) in and out, nominally [0, 1] on both sides; a network that works in another range
    converts inside. The output is not clamped. `output_kind` says whether `levels` has more than one entry.
    """

    output_kind: Literal["image", "levels"] = "image"

    def levels(self, x: Tensor) -> list[Tensor]:
        """Every restored picture that a loss may supervise, finest last: `forward(x)` is the last one."""
        return [self(x)]

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """A picture reduced to the sizes of `levels`, finest last: the targets of a loss."""
        return [x]


def activation(name: Activation) -> nn.Module:
    """The activation called `name`; "leaky" has Keras's slope of 0.3.

    Raises OptionError for an unknown name.
    """
    match name:
        case "relu":
            return nn.ReLU()
        case "leaky":
            return nn.LeakyReLU(0.3)
        case "sigmoid":
            return nn.Sigmoid()
        case "linear":
            return nn.Identity()
    raise OptionError(f"unknown activation {name!r}; one of relu, leaky, sigmoid, linear")


def keras_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with Keras's epsilon and its momentum of 0.99."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def conv(
    c_in: int, c_out: int, kernel: int = 3, stride: int = 1, *, bias: bool = True, tf_same: bool = False
) -> nn.Module:
    """A convolution with "same" padding, `kernel` odd.

    With stride 2 TensorFlow pads one more row and column at the bottom and right than at the top and left;
    `tf_same` does so too (for even sides), else the padding is symmetric.
    """
    if stride == 1 or not tf_same:
        return nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=bias)
    before, after = kernel // 2 - 1, kernel // 2
    return nn.Sequential(
        nn.ZeroPad2d((before, after, before, after)), nn.Conv2d(c_in, c_out, kernel, stride, bias=bias)
    )


def up_conv(c_in: int, c_out: int, kernel: int = 2, *, bias: bool = True, tf_same: bool = False) -> nn.Module:
    """A transposed convolution that doubles both sides; `tf_same` crops an odd kernel's result as TensorFlow does."""
    if kernel % 2 == 0:
        return nn.ConvTranspose2d(c_in, c_out, kernel, 2, padding=kernel // 2 - 1, bias=bias)
    if not tf_same:
        return nn.ConvTranspose2d(c_in, c_out, kernel, 2, padding=kernel // 2, output_padding=1, bias=bias)
    return nn.Sequential(
        nn.ConvTranspose2d(c_in, c_out, kernel, 2, padding=kernel // 2 - 1, bias=bias),
        nn.ZeroPad2d((0, -1, 0, -1)),
    )


def glorot_(net: nn.Module) -> None:
    """Keras's default initialisation: Glorot-uniform kernels, zero biases; in an LSTM an orthogonal recurrent
    kernel and a forget bias of 1.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in net.modules():
        if isinstance(module, _Cell):
            module.start_()


def he_(net: nn.Module) -> None:
    """He-normal kernels, zero biases (He et al. 2015), fan-in being kernel area times input channels."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            transposed = isinstance(module, nn.ConvTranspose2d)
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out" if transposed else "fan_in", nonlinearity="relu"
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)


State: TypeAlias = tuple[Tensor, Tensor]
"""Hidden and cell state of a recurrent cell."""


def hard_sigmoid(x: Tensor) -> Tensor:
    """Keras's piecewise linear sigmoid: 0.2 x + 0.5 between 0 and 1."""
    return torch.clamp(0.2 * x + 0.5, 0, 1)


def _step(gates: Tensor, cell: Tensor | None, hard: bool) -> State:
    """One step of an LSTM from its summed gate inputs, in the order input, forget, candidate, output."""
    gate = hard_sigmoid if hard else torch.sigmoid
    i, f, c, o = gates.chunk(4, dim=1)
    new = gate(i) * torch.tanh(c)
    if cell is not None:
        new = new + gate(f) * cell
    return gate(o) * torch.tanh(new), new


class _Cell(nn.Module):
    """An LSTM cell with a single bias: torch's own carries a second one, which published counts do not have."""

    kernel: nn.Conv2d | nn.Linear
    recurrent: nn.Conv2d | nn.Linear
    hard: bool

    def start_(self) -> None:
        """Orthogonal recurrent kernel, forget bias 1."""
        nn.init.orthogonal_(self.recurrent.weight)
        assert self.kernel.bias is not None
        with torch.no_grad():
            self.kernel.bias.chunk(4)[1].fill_(1.0)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """One step; no state is the zero state, which the recurrent kernel and the forget gate cannot see."""
        gates = self.kernel(x)
        if state is None:
            return _step(gates, None, self.hard)
        return _step(gates + self.recurrent(state[0]), state[1], self.hard)


class LSTMCell(_Cell):
    """One step of an LSTM. Shape: (N, features) in, two of (N, units) out."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.kernel = nn.Linear(features, 4 * units)
        self.recurrent = nn.Linear(units, 4 * units, bias=False)
        self.hard = False


class ConvLSTMCell(_Cell):
    """One step of a convolutional LSTM (Shi et al. 2015). Shape: (N, C, H, W) in, two of the same out.

    `hard` takes the piecewise linear sigmoid for the gates, as Keras does.
    """

    def __init__(self, channels: int, size: int, *, hard: bool) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(channels, 4 * channels, size, padding=size // 2)
        self.recurrent = nn.Conv2d(channels, 4 * channels, size, padding=size // 2, bias=False)
        self.hard = hard


@torch.no_grad()
def max_norm_(net: nn.Module, limit: float = 3.0) -> None:
    """Scale the input kernel of every recurrent cell so that no unit's weights exceed `limit` in L2 norm.

    Published SRN systems train under this constraint: call it after each optimiser step.
    """
    for module in net.modules():
        if isinstance(module, _Cell):
            weight = module.kernel.weight
            weight.copy_(torch.renorm(weight, p=2, dim=0, maxnorm=limit))


def extend(
    x: Tensor, left: int, right: int, top: int, bottom: int, border: Literal["reflect", "reflect101"]
) -> Tensor:
    """Pad a picture by mirroring it, any number of times over. Shape: (N, C, H, W)."""
    return _mirror(_mirror(x, 3, left, right, border), 2, top, bottom, border)


def _mirror(x: Tensor, axis: int, before: int, after: int, border: str) -> Tensor:
    if before == after == 0:
        return x
    length = x.shape[axis]
    index = torch.arange(-before, length + after, device=x.device)
    if border == "reflect":  # b a | a b c | c b
        index = index % (2 * length)
        index = torch.where(index < length, index, 2 * length - 1 - index)
    else:  # c b | a b c | b a
        period = max(2 * length - 2, 1)
        index = index % period
        index = torch.where(index < length, index, period - index)
    return x.index_select(axis, index)


class Shrink(nn.Module):
    """`unblur.physics.resize.imresize` by 1/`factor` as one strided convolution; sides must be multiples of it.

    Shape: (N, channels, H, W) in, (N, channels, H / factor, W / factor) out.
    """

    kernel: Tensor

    def __init__(
        self, factor: int, method: Method = "bicubic", antialias: bool = True, *, channels: int = 3
    ) -> None:
        super().__init__()
        taps = torch.from_numpy(shrink_taps(factor, method, antialias)).float()
        self.factor = factor
        self.pad = max(0, (len(taps) - factor) // 2)
        self.skip = max(0, (factor - len(taps)) // 2)
        # Not saved: it follows from the arguments.
        kernel = torch.outer(taps, taps).repeat(channels, 1, 1, 1)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.pad:
            x = extend(x, self.pad, self.pad, self.pad, self.pad, "reflect")
        elif self.skip:
            x = x[:, :, self.skip :, self.skip :]
        return F.conv2d(x, self.kernel, stride=self.factor, groups=self.kernel.shape[0])


def double(x: Tensor) -> Tensor:
    """Bilinear enlargement by two, pixel centres aligned."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
