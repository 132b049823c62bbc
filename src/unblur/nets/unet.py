"""Plain U-Nets (Ronneberger et al. 2015): 3x3 convolutions with bias and ReLU, no normalisation."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from unblur.nets.layers import Activation, Restorer, activation, conv, glorot_, he_, up_conv


def _convs(c_in: int, c_out: int, count: int) -> nn.Sequential:
    """`count` times convolution and ReLU."""
    layers: list[nn.Module] = []
    for i in range(count):
        layers += [conv(c_in if i == 0 else c_out, c_out), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(Restorer):
    """A U-Net whose stages have `widths` channels, the last one being the bottom.

    `down` and `up`: convolutions of each stage on the way down (bottom included) and on the way up, from the
    bottom; two everywhere if None. The decoder enlarges with a 2x2 transposed convolution and ReLU.
    `skip_first`: the encoder's features come first in the concatenation. `tail_convs`: more convolutions
    at full size; `reinject`: the input picture is then appended to the features; `head`: width of two
    more convolutions, 0 for none, before the 1x1 convolution to the picture. `dropout`: its probability after the
    deepest encoder stage (behind the skip) and after the bottom.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        down: Sequence[int] | None = None,
        up: Sequence[int] | None = None,
        skip_first: bool = True,
        tail_convs: int = 0,
        reinject: bool = False,
        head: int = 0,
        dropout: float = 0.0,
        final_activation: Activation = "linear",
        init: Literal["glorot", "he"] = "glorot",
    ) -> None:
        super().__init__()
        down = down or [2] * len(widths)
        up = up or [2] * (len(widths) - 1)
        self.skip_first, self.reinject = skip_first, reinject
        self.encoder = nn.ModuleList(map(_convs, [3, *widths[:-1]], widths, down))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        rising = list(reversed(widths))
        self.enlarge = nn.ModuleList(nn.Sequential(up_conv(a, b), nn.ReLU()) for a, b in pairwise(rising))
        self.decoder = nn.ModuleList(_convs(2 * c, c, n) for c, n in zip(rising[1:], up, strict=True))
        self.tail = _convs(widths[0], widths[0], tail_convs)
        features = widths[0] + (3 if reinject else 0)
        self.head = _convs(features, head, 2 if head else 0)
        self.out = nn.Sequential(nn.Conv2d(head or features, 3, 1), activation(final_activation))
        {"glorot": glorot_, "he": he_}[init](self)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        skips: list[Tensor] = []
        *stages, bottom = self.encoder
        for stage in stages:
            y = stage(y)
            skips.append(y)
            if stage is stages[-1]:
                y = self.dropout(y)
            y = self.pool(y)
        y = self.dropout(bottom(y))
        for enlarge, stage, skip in zip(self.enlarge, self.decoder, reversed(skips), strict=True):
            y = enlarge(y)
            y = stage(torch.cat((skip, y) if self.skip_first else (y, skip), dim=1))
        y = self.tail(y)
        if self.reinject:
            y = torch.cat((y, x), dim=1)
        out: Tensor = self.out(self.head(y))
        return out
