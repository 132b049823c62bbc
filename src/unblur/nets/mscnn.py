"""Multi-scale CNNs (Nah et al. 2017, https://arxiv.org/abs/1612.02177) and a lighter published relative."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unblur.nets.layers import Restorer, Shrink, conv, glorot_, up_conv
from unblur.nets.plain import ResidualBlock


class MSCNN(Restorer):
    """Three levels from coarse to fine; each sees its own size of the picture and the coarser result, enlarged.

    Works in [-0.5, 0.5]. `up`: "ps" enlarges by a convolution and pixel shuffle, "tc" by a transposed
    convolution. `block_kernel`: of the `n_blocks` residual blocks a level. `first_relu`: ReLU behind the
    first convolution of a level. The pyramid is MATLAB's bicubic one, without rounding to 8 bits.
    """

    output_kind = "levels"

    def __init__(
        self,
        *,
        up: Literal["ps", "tc"] = "ps",
        n_blocks: int = 9,
        block_kernel: int = 3,
        first_relu: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__()

        def level(c_in: int) -> nn.Module:
            blocks = (ResidualBlock(width, block_kernel) for _ in range(n_blocks))
            enter: list[nn.Module] = [conv(c_in, width, 5)]
            if first_relu:
                enter.append(nn.ReLU())
            return nn.Sequential(*enter, *blocks, conv(width, 3, 5))

        def enlarge() -> nn.Module:
            if up == "ps":
                return nn.Sequential(conv(3, 12, 5), nn.PixelShuffle(2))
            return up_conv(3, 3, 3)

        self.shrinks = nn.ModuleList([Shrink(4), Shrink(2)])
        self.scales = nn.ModuleList([level(3), level(6), level(6)])
        self.enlarge = nn.ModuleList([enlarge(), enlarge()])
        glorot_(self)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The picture at a quarter, half and full size."""
        return [*(shrink(x) for shrink in self.shrinks), x]

    def levels(self, x: Tensor) -> list[Tensor]:
        """The restored picture at a quarter, half and full size."""
        coarse, *finer = (picture - 0.5 for picture in self.pyramid(x))
        outputs = [self.scales[0](coarse)]
        for picture, enlarge, scale in zip(finer, self.enlarge, list(self.scales)[1:], strict=True):
            outputs.append(scale(torch.cat((picture, enlarge(outputs[-1])), dim=1)))
        return [output + 0.5 for output in outputs]

    def forward(self, x: Tensor) -> Tensor:
        return self.levels(x)[-1]
