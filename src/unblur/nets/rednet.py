"""Convolutional autoencoders with symmetric skips: RED-Net and its batch-normalised 5x5 relative CAESSC."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from unblur.errors import OptionError
from unblur.nets.layers import Activation, Restorer, activation, conv, glorot_, keras_norm, up_conv


def _pairs(depth: int) -> int:
    if depth < 4 or depth % 2:
        raise OptionError(f"depth must be even and at least 4, got {depth}")
    return depth // 2


class CAESSC(Restorer):
    """`depth`/2 convolutions and as many transposed ones, 5x5, each with batch normalisation and ReLU.

    The output of convolution i is added behind its mirror image for every even i but the innermost; the input
    is added at the end. `half`: the first convolution halves the picture and the last one doubles it.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        *,
        half: bool = False,
        kernel: int = 5,
        final_activation: Activation = "sigmoid",
        tf_same: bool = False,
    ) -> None:
        super().__init__()
        pairs = _pairs(depth)
        # Transposed convolutions of stride 1 are convolutions with the kernel flipped, and written so.
        self.skips = tuple(i for i in range(2, pairs, 2))
        first = conv(3, width, kernel, 2 if half else 1, bias=False, tf_same=tf_same)
        last = (
            up_conv(width, 3, kernel, bias=False, tf_same=tf_same)
            if half
            else conv(width, 3, kernel, bias=False)
        )

        def block(layer: nn.Module, channels: int) -> nn.Module:
            return nn.Sequential(layer, keras_norm(channels), nn.ReLU())

        self.encoder = nn.ModuleList([block(first, width)])
        self.decoder = nn.ModuleList([block(last, 3)])
        for _ in range(pairs - 1):
            self.encoder.append(block(conv(width, width, kernel, bias=False), width))
            self.decoder.append(block(conv(width, width, kernel, bias=False), width))
        self.merge = nn.ModuleDict({str(i): nn.Sequential(keras_norm(width), nn.ReLU()) for i in self.skips})
        self.out = nn.Sequential(keras_norm(3), activation(final_activation))
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        kept: dict[int, Tensor] = {}
        for i, layer in enumerate(self.encoder, 1):
            y = layer(y)
            if i in self.skips:
                kept[i] = y
        for i in range(len(self.decoder), 0, -1):
            y = self.decoder[i - 1](y)
            if i in self.skips:
                y = self.merge[str(i)](y + kept[i])
        out: Tensor = self.out(x + y)
        return out


class RedNet(Restorer):
    """RED-Net (Mao et al. 2016): `depth` 3x3 layers, a skip from every second convolution, linear residual output."""

    def __init__(self, depth: int = 30, width: int = 128) -> None:
        super().__init__()
        pairs = _pairs(depth)
        self.skips = tuple(i for i in range(2, pairs, 2))
        self.encoder = nn.ModuleList([conv(3, width)])
        self.decoder = nn.ModuleList([conv(width, 3)])
        for _ in range(pairs - 1):
            self.encoder.append(conv(width, width))
            self.decoder.append(conv(width, width))
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        kept: dict[int, Tensor] = {}
        for i, layer in enumerate(self.encoder, 1):
            y = F.relu(layer(y))
            if i in self.skips:
                kept[i] = y
        for i in range(len(self.decoder), 1, -1):
            y = self.decoder[i - 1](y)
            if i in self.skips:
                y = y + kept[i]
            y = F.relu(y)
        out: Tensor = x + self.decoder[0](y)
        return out
