"""A residual U-Net of dense 3x3 convolutions only, for machines that run those near their peak."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unblur.nets.layers import Restorer, conv, glorot_
from unblur.nets.plain import ResidualBlock

#: The share of the candidate in the mixture at first, before the logistic function: 0.95.
_BELIEF = 3.0


class ResidualUNet(Restorer):
    """A few wide stages at a half, a quarter, an eighth ... of the size; the result is added to the picture.

    Four pixels enter as one by pixel unshuffle: full-size feature maps cost memory traffic, not insight. No
    normalisation, no attention: no statistic of the whole picture, so that a tile with its halo equals
    the whole. Enlarging is nearest-neighbour behind a convolution at the smaller size; skips are added.
    `widths` and `blocks`: channels and residual blocks of each stage, the last one being the bottom. Starts as the
    identity.

    A guided one takes the channels of `unblur.classical.guide`: the picture, a deconvolved candidate, and maps. Its
    result is added to a mixture of both, and it decides the mixture at every pixel, so that to leave a picture
    alone and to take the candidate as it is cost it nothing. Starts close to the candidate. `shown`: its channels, if
    it is shown more candidates behind those.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        *,
        guided: bool = False,
        shown: int = 8,
    ) -> None:
        super().__init__()
        self.guided = guided
        channels_in, channels_out = (shown, 4) if guided else (3, 3)

        def stage(channels: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))

        self.enter = nn.Sequential(nn.PixelUnshuffle(2), conv(4 * channels_in, widths[0]))
        self.encoder = nn.ModuleList(map(stage, widths, blocks))
        self.reduce = nn.ModuleList(conv(a, b, stride=2) for a, b in pairwise(widths))
        self.enlarge = nn.ModuleList(
            nn.Sequential(conv(b, a), nn.Upsample(scale_factor=2.0, mode="nearest"))
            for a, b in pairwise(widths)
        )
        self.decoder = nn.ModuleList(map(stage, widths[:-1], blocks))
        leave = nn.Conv2d(widths[0], 4 * channels_out, 3, padding=1)
        self.leave = nn.Sequential(leave, nn.PixelShuffle(2))
        glorot_(self)
        nn.init.zeros_(leave.weight)
        if guided:
            assert leave.bias is not None
            with torch.no_grad():
                leave.bias[12:] = _BELIEF

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        skips: list[Tensor] = []
        *stages, bottom = self.encoder
        for stage, reduce in zip(stages, self.reduce, strict=True):
            y = stage(y)
            skips.append(y)
            y = reduce(y)
        y = bottom(y)
        for i in reversed(range(len(skips))):
            y = self.decoder[i](skips[i] + self.enlarge[i](y))
        y = self.leave(y)
        if not self.guided:
            restored: Tensor = x + y
            return restored
        picture, candidate = x[:, :3], x[:, 3:6]
        mixed: Tensor = picture + y[:, 3:].sigmoid() * (candidate - picture) + y[:, :3]
        return mixed
