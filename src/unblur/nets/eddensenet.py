"""EDDenseNet: an encoder and decoder of densely connected layers without skips between them, for 32x32 pictures."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from unblur.nets.layers import Activation, Restorer, activation, conv, glorot_, keras_norm

Carry: TypeAlias = Literal["act", "raw"]


class _Layer(nn.Module):
    """x, normalised and rectified, through 1x1 and 3x3 to `growth` new channels, appended to what is carried on.

    Shape: (N, C, H, W) in, (N, C + growth, H, W) out. `carry`: "act" carries the rectified x, as the published
    system does, "raw" x itself, as DenseNet does (Huang et al. 2017).
    """

    def __init__(self, channels: int, growth: int, carry: Carry) -> None:
        super().__init__()
        self.carry = carry
        self.enter = nn.Sequential(keras_norm(channels), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(channels, 4 * growth, 1, bias=False),
            keras_norm(4 * growth),
            nn.ReLU(),
            conv(4 * growth, growth, 3, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        act = self.enter(x)
        return torch.cat((act if self.carry == "act" else x, self.body(act)), dim=1)


def _dense(channels: int, layers: int, growth: int, carry: Carry) -> nn.Sequential:
    return nn.Sequential(*(_Layer(channels + i * growth, growth, carry) for i in range(layers)))


def _down(channels: int) -> nn.Sequential:
    half = channels // 2
    return nn.Sequential(
        keras_norm(channels),
        nn.ReLU(),
        nn.Conv2d(channels, half, 1, bias=False),
        nn.Conv2d(half, half, 2, stride=2),
    )


def _up(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(channels, channels, 2, 2), keras_norm(channels), nn.ReLU())


class EDDenseNet(Restorer):
    """Dense stages of 6, 6 and 3 layers down, a 1x1 bottleneck, 3 and 6 layers up."""

    def __init__(
        self, *, growth: int = 16, carry: Carry = "act", final_activation: Activation = "sigmoid"
    ) -> None:
        super().__init__()
        self.growth = g = growth
        first, second, third = 7 * g, (7 * g) // 2 + 6 * g, ((7 * g) // 2 + 6 * g) // 2 + 3 * g
        self.stages = nn.Sequential(
            nn.Sequential(conv(3, g), nn.ReLU()),
            _dense(g, 6, g, carry),
            _down(first),
            _dense(first // 2, 6, g, carry),
            _down(second),
            _dense(second // 2, 3, g, carry),
            nn.Sequential(nn.Conv2d(third, g, 1), keras_norm(g), nn.ReLU()),
            _up(g),
            _dense(g, 3, g, carry),
            _up(4 * g),
            _dense(4 * g, 6, g, carry),
        )
        self.out = nn.Sequential(nn.Conv2d(10 * g, 3, 1), activation(final_activation))
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.stages(x))
        return out
