"""NAFNet (Chen et al. 2022, https://arxiv.org/abs/2204.04676): restoration without nonlinear activations."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unblur.nets.layers import Restorer


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel. Shape: (N, C, H, W), kept."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


class SimpleGate(nn.Module):
    """The product of the two halves of the channels (eq. 7)."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return a * b


class ChannelAttention(nn.Module):
    """Simplified channel attention, SCA (eq. 9): each channel times a mix of the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weighted: Tensor = x * self.mix(x.mean(dim=(2, 3), keepdim=True))
        return weighted


class NAFBlock(nn.Module):
    """The block of fig. 3d: depthwise part and feed-forward part, each scaled by a vector that starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.spatial = nn.Sequential(
            LayerNorm2d(channels, eps=1e-6),
            nn.Conv2d(channels, wide, 1),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            SimpleGate(),
            ChannelAttention(channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.feedforward = nn.Sequential(
            LayerNorm2d(channels, eps=1e-6),
            nn.Conv2d(channels, wide, 1),
            SimpleGate(),
            nn.Conv2d(channels, channels, 1),
        )
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.beta * self.spatial(x)
        return x + self.gamma * self.feedforward(x)


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))


class NAFNet(Restorer):
    """A U-Net of NAF blocks with added skips whose result is added to the picture.

    `encoder` and `decoder`: blocks of each stage, the decoder's from the bottom; `middle`: blocks at the bottom.
    """

    def __init__(
        self,
        width: int,
        *,
        encoder: Sequence[int] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: Sequence[int] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        widths = [width << i for i in range(len(encoder) + 1)]
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.encoder = nn.ModuleList(map(_blocks, widths, encoder))
        self.reduce = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, 2) for c in widths[:-1])
        self.middle = _blocks(widths[-1], middle)
        rising = widths[:0:-1]
        self.enlarge = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)) for c in rising
        )
        self.decoder = nn.ModuleList(_blocks(c // 2, n) for c, n in zip(rising, decoder, strict=True))
        self.leave = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        skips: list[Tensor] = []
        for stage, reduce in zip(self.encoder, self.reduce, strict=True):
            y = stage(y)
            skips.append(y)
            y = reduce(y)
        y = self.middle(y)
        for enlarge, stage, skip in zip(self.enlarge, self.decoder, reversed(skips), strict=True):
            y = stage(enlarge(y) + skip)
        restored: Tensor = x + self.leave(y)
        return restored
