"""Networks without stages: a stack of large kernels, and a stack of residual blocks."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from unblur.nets.layers import Activation, Restorer, activation, conv, glorot_


class LargeKernelCNN(Restorer):
    """Five convolutions, 9x9-`width`, 7x7-`width`, 5x5-`width`, 5x5-`width`/2, 3x3-3, ReLU between."""

    def __init__(self, *, width: int = 64, final_activation: Activation = "linear") -> None:
        super().__init__()
        channels = [3, width, width, width, width // 2, 3]
        layers: list[nn.Module] = []
        for (a, b), kernel in zip(pairwise(channels), [9, 7, 5, 5, 3], strict=True):
            layers += [conv(a, b, kernel), nn.ReLU()]
        self.body = nn.Sequential(*layers[:-1], activation(final_activation))
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), nothing after the addition."""

    def __init__(self, channels: int, kernel: int = 3, *, bias: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, kernel, bias=bias),
            nn.ReLU(),
            conv(channels, channels, kernel, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class ResNet(Restorer):
    """A 3x3 convolution with ReLU, `n_blocks` residual blocks, a 3x3 convolution to the picture."""

    def __init__(self, n_blocks: int, *, width: int = 64, final_activation: Activation = "linear") -> None:
        super().__init__()
        blocks = (ResidualBlock(width) for _ in range(n_blocks))
        self.body = nn.Sequential(
            conv(3, width), nn.ReLU(), *blocks, conv(width, 3), activation(final_activation)
        )
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out
