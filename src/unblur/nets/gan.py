"""A generator and a discriminator for unpaired adversarial deblurring."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from unblur.nets.layers import Restorer, conv, glorot_


def _cb(c_in: int, c_out: int) -> nn.Sequential:
    """Twice convolution, batch normalisation, ReLU."""
    layers: list[nn.Module] = []
    for a, b in ((c_in, c_out), (c_out, c_out)):
        layers += [conv(a, b), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers)


class Generator(Restorer):
    """A normalised U-Net with added skips whose result is added to the picture; works in [-1, 1]."""

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.encoder = nn.ModuleList(_cb(a, b) for a, b in pairwise([3, *widths]))
        self.pool = nn.MaxPool2d(2)
        rising = list(pairwise(reversed(widths)))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in rising)
        self.decoder = nn.ModuleList(_cb(b, b) for _, b in rising)
        self.out = nn.Conv2d(width, 3, 1)
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        y = 2 * x - 1
        skips: list[Tensor] = []
        *stages, bottom = self.encoder
        for stage in stages:
            y = stage(y)
            skips.append(y)
            y = self.pool(y)
        y = bottom(y)
        for enlarge, stage, skip in zip(self.enlarge, self.decoder, reversed(skips), strict=True):
            y = stage(skip + enlarge(y))
        # ((2 x - 1) + out + 1) / 2
        restored: Tensor = x + self.out(y) / 2
        return restored


class Discriminator(nn.Module):
    """Is this a sharp picture? Shape: (N, 3, 144, 256) in [0, 1] in, (N,) logits out; works in [-1, 1]."""

    output_kind = "scalar"

    def __init__(self, *, width: int = 32, dropout: float = 0.5) -> None:
        super().__init__()
        widths = [width << i for i in range(5)]
        layers: list[nn.Module] = [nn.Dropout(dropout), conv(3, width, 5, 2), nn.LeakyReLU(0.2)]
        for a, b in pairwise(widths):
            layers += [conv(a, b, 5, 2), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, (5, 8)), nn.Flatten(0))
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        logit: Tensor = self.body(2 * x - 1)
        return logit
