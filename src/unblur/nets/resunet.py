"""ResUNet: a three-level U-Net of batch-normalised residual blocks, for 32x32 pictures."""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

import torch
from torch import Tensor, nn

from unblur.nets.layers import Activation, Restorer, activation, conv, glorot_, keras_norm, up_conv


def _cb(c_in: int, c_out: int, stride: int = 1, tf_same: bool = False) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    return nn.Sequential(
        conv(c_in, c_out, 3, stride, bias=False, tf_same=tf_same), keras_norm(c_out), nn.ReLU()
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_cb(channels, channels), _cb(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class ResUNet(Restorer):
    """`n_blocks` residual blocks a level; `tf_same` pads strided layers exactly as TensorFlow does."""

    def __init__(
        self,
        n_blocks: int,
        *,
        width: int = 32,
        final_activation: Activation = "sigmoid",
        tf_same: bool = False,
    ) -> None:
        super().__init__()
        a, b, c = width, 2 * width, 4 * width

        def unit(channels: int) -> list[nn.Module]:
            return [*(_Residual(channels) for _ in range(n_blocks)), _cb(channels, channels)]

        self.level1 = nn.Sequential(_cb(3, a), *unit(a))
        self.level2 = nn.Sequential(_cb(a, b, 2, tf_same), *unit(b))
        self.level3 = nn.Sequential(_cb(b, c, 2, tf_same), *unit(c))
        self.enlarge2 = up_conv(c, b, 3, tf_same=tf_same)
        self.up2 = nn.Sequential(_cb(2 * b, b), *unit(b))
        self.enlarge1 = up_conv(b, a, 3, tf_same=tf_same)
        self.up1 = nn.Sequential(_cb(2 * a, a), *unit(a))
        # Published as transposed convolutions of stride 1, which are convolutions with the kernel flipped.
        self.out = nn.Sequential(conv(a, a), nn.ReLU(), conv(a, 3), activation(final_activation))
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        one = self.level1(x)
        two = self.level2(one)
        y = self.up2(torch.cat((two, self.enlarge2(self.level3(two))), dim=1))
        y = self.up1(torch.cat((one, self.enlarge1(y)), dim=1))
        out: Tensor = self.out(y)
        return out
