"""Scale-recurrent networks (Tao et al. 2018, https://arxiv.org/abs/1802.01770) and two published relatives."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from unblur.errors import OptionError
from unblur.nets.layers import (
    Activation,
    ConvLSTMCell,
    LSTMCell,
    Restorer,
    Shrink,
    State,
    activation,
    conv,
    double,
    glorot_,
    keras_norm,
    up_conv,
)
from unblur.nets.plain import ResidualBlock


class Squeeze(nn.Module):
    """The whole bottleneck through an LSTM of `units` numbers and back. Shape: (N, C, side, side), kept."""

    def __init__(self, channels: int, side: int, units: int) -> None:
        super().__init__()
        self.shape = channels, side, side
        self.cell = LSTMCell(channels * side**2, units)
        self.back = nn.Linear(units, channels * side**2)

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        state = self.cell(x.flatten(1), state)
        return self.back(state[0]).unflatten(1, self.shape), state

    def enlarge(self, state: State) -> State:
        """The state for the next finer scale: the same numbers."""
        return state


class Memory(nn.Module):
    """A ConvLSTM at the bottleneck. Shape: (N, C, H, W), kept."""

    def __init__(self, channels: int, kernel: int, *, hard: bool) -> None:
        super().__init__()
        self.cell = ConvLSTMCell(channels, kernel, hard=hard)

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        state = self.cell(x, state)
        return state[0], state

    def enlarge(self, state: State) -> State:
        """The state for the next finer scale: enlarged by two."""
        return double(state[0]), double(state[1])


class Scale(nn.Module):
    """One scale: an encoder-decoder of three levels with added skips. Shape: (N, C, H, W) in, (N, 3, H, W) out."""

    def __init__(
        self,
        encoder: Sequence[nn.Module],
        memory: Squeeze | Memory | None,
        decoder: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(encoder)
        self.memory = memory
        self.decoder = nn.ModuleList(decoder)

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        enter, encode1, encode2 = self.encoder
        decode2, decode1, leave = self.decoder
        full = enter(x)
        half = encode1(full)
        y = encode2(half)
        if self.memory is not None:
            y, state = self.memory(y, state)
        y = decode1(half + decode2(y))
        return leave(full + y), state


class SRN(Restorer):
    """`n_scales` scales from coarse to fine, each given the picture and the coarser scale's result.

    `scales`: a single one is shared by all. `merge`: "add" adds the enlarged result to the picture, "concat"
    appends it, detached (the coarsest scale gets the picture twice). `carry_state`: the recurrent state
    passes from scale to scale, else every scale starts from zero.
    """

    output_kind = "levels"

    def __init__(
        self,
        scales: Sequence[Scale],
        n_scales: int,
        *,
        merge: Literal["add", "concat"],
        carry_state: bool,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if len(scales) not in (1, n_scales):
            raise OptionError(f"{n_scales} scales need 1 or {n_scales} sub-networks, got {len(scales)}")
        self.scales = nn.ModuleList(scales)
        self.shrinks = nn.ModuleList(
            Shrink(2**k, "bilinear", antialias=False, channels=channels) for k in range(n_scales - 1, 0, -1)
        )
        self.merge, self.carry_state = merge, carry_state
        glorot_(self)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The picture at every scale, coarse to fine: bilinear, not antialiased, as TensorFlow reduces."""
        return [*(shrink(x) for shrink in self.shrinks), x]

    def levels(self, x: Tensor) -> list[Tensor]:
        """The restored picture at every scale, coarse to fine."""
        outputs: list[Tensor] = []
        state: State | None = None
        for i, picture in enumerate(self.pyramid(x)):
            scale = self.scales[i % len(self.scales)]
            assert isinstance(scale, Scale)
            if self.merge == "concat":
                guess = double(outputs[-1].detach()) if outputs else picture
                y = torch.cat((picture, guess), dim=1)
            else:
                y = picture + double(outputs[-1]) if outputs else picture
            if state is not None and scale.memory is not None:
                state = scale.memory.enlarge(state) if self.carry_state else None
            y, state = scale(y, state)
            outputs.append(y)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.levels(x)[-1]


class _NormedBlock(nn.Module):
    """x plus twice convolution, batch normalisation and LeakyReLU of it."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_cb(channels, channels, kernel), _cb(channels, channels, kernel))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def _cb(c_in: int, c_out: int, kernel: int, stride: int = 1, tf_same: bool = False) -> nn.Sequential:
    return nn.Sequential(
        conv(c_in, c_out, kernel, stride, bias=False, tf_same=tf_same), keras_norm(c_out), activation("leaky")
    )


def srn_cifar(
    *,
    lstm: bool = False,
    up_act: Activation = "leaky",
    carry_state: bool = True,
    share_weights: bool = False,
    final_activation: Activation = "sigmoid",
    width: int = 32,
    side: int = 32,
    tf_same: bool = False,
) -> SRN:
    """Two scales, 5x5, batch-normalised; with `lstm` for pictures of `side` x `side` only.

    `up_act`: activation behind the two enlarging layers; the published run had "sigmoid" by a flipped flag.
    Raises OptionError for shared weights with an LSTM, whose kernels differ in size from scale to scale.
    """
    if lstm and share_weights:
        raise OptionError("share_weights does not go with lstm: its size follows the picture's")
    a, b, c = width, 2 * width, 4 * width

    def blocks(channels: int, kernel: int = 5) -> list[nn.Module]:
        return [_NormedBlock(channels, kernel) for _ in range(3)]

    def enlarge(c_in: int, c_out: int) -> list[nn.Module]:
        return [up_conv(c_in, c_out, 5, tf_same=tf_same), keras_norm(c_out), activation(up_act)]

    def scale(memory: Squeeze | None) -> Scale:
        encoder = [
            nn.Sequential(_cb(3, a, 5), *blocks(a)),
            nn.Sequential(_cb(a, b, 5, 2, tf_same), *blocks(b)),
            nn.Sequential(_cb(b, c, 5, 2, tf_same), *blocks(c)),
        ]
        # The last layer is published as a transposed 1x1 convolution, which is a 1x1 convolution.
        decoder = [
            nn.Sequential(*blocks(c), *enlarge(c, b)),
            nn.Sequential(*blocks(b), *enlarge(b, a)),
            nn.Sequential(*blocks(a, 3), nn.Conv2d(a, 3, 1), keras_norm(3), activation(final_activation)),
        ]
        return Scale(encoder, memory, decoder)

    sizes = [side // 2, side][: 1 if share_weights else 2]
    scales = [scale(Squeeze(c, size // 4, 32) if lstm else None) for size in sizes]
    return SRN(scales, 2, merge="add", carry_state=carry_state)


def srn_reds(
    *,
    carry_state: bool = False,
    share_weights: bool = False,
    final_activation: Activation = "linear",
    width: int = 16,
    tf_same: bool = False,
) -> SRN:
    """Two scales, 5x5, no normalisation and hardly a bias, a ConvLSTM at the bottleneck.

    As published the state is not carried: then the recurrent kernels and the forget gates have no effect.
    """
    a, b, c = width, 2 * width, 4 * width

    def blocks(channels: int) -> list[nn.Module]:
        return [ResidualBlock(channels, 5, bias=False) for _ in range(3)]

    def reduce(c_in: int, c_out: int) -> list[nn.Module]:
        return [conv(c_in, c_out, 5, 2, bias=False, tf_same=tf_same), nn.ReLU()]

    def scale() -> Scale:
        encoder = [
            nn.Sequential(Twice(a), *blocks(a)),
            nn.Sequential(*reduce(a, b), *blocks(b)),
            nn.Sequential(*reduce(b, c), *blocks(c)),
        ]
        decoder = [
            nn.Sequential(*blocks(c), up_conv(c, b), nn.ReLU()),
            nn.Sequential(*blocks(b), up_conv(b, a), nn.ReLU()),
            nn.Sequential(*blocks(a), conv(a, 3, 5), activation(final_activation)),
        ]
        return Scale(encoder, Memory(c, 5, hard=True), decoder)

    scales = [scale() for _ in range(1 if share_weights else 2)]
    return SRN(scales, 2, merge="add", carry_state=carry_state)


class Twice(nn.Module):
    """The first two layers of `srn_reds`: half the channels from the picture, half from those."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.first = nn.Sequential(conv(3, half, 5, bias=False), nn.ReLU())
        self.second = nn.Sequential(conv(half, half, 5, bias=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return torch.cat((first, self.second(first)), dim=1)


def srn_paper(
    *,
    lstm: bool = True,
    channels: int = 3,
    carry_state: bool = True,
    share_weights: bool = True,
    final_activation: Activation = "linear",
    width: int = 32,
) -> SRN:
    """Three scales with shared weights, 5x5 with bias, a 3x3 ConvLSTM whose state is carried (Tao et al. 2018)."""
    a, b, c = width, 2 * width, 4 * width

    def level(c_in: int, c_out: int, stride: int) -> nn.Module:
        blocks = (ResidualBlock(c_out, 5) for _ in range(3))
        return nn.Sequential(conv(c_in, c_out, 5, stride), nn.ReLU(), *blocks)

    def rise(c_in: int, *tail: nn.Module) -> nn.Module:
        return nn.Sequential(*(ResidualBlock(c_in, 5) for _ in range(3)), *tail)

    def scale() -> Scale:
        encoder = [level(2 * channels, a, 1), level(a, b, 2), level(b, c, 2)]
        decoder = [
            rise(c, up_conv(c, b, 4), nn.ReLU()),
            rise(b, up_conv(b, a, 4), nn.ReLU()),
            rise(a, conv(a, channels, 5), activation(final_activation)),
        ]
        return Scale(encoder, Memory(c, 3, hard=False) if lstm else None, decoder)

    scales = [scale() for _ in range(1 if share_weights else 3)]
    return SRN(scales, 3, merge="concat", carry_state=carry_state, channels=channels)
