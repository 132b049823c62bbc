"""sigma-CNN: how wide is the Gaussian that blurred this picture?"""
# ruff: noqa: D102 (a class says what its forward does)

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unblur.nets.layers import glorot_

# Of photographs (ImageNet), in units of 0..255.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


class SigmaCNN(nn.Module):
    """Three convolutions, three small dense layers and a linear unit.

    Shape: (N, 3, H, W) in [0, 1] in, (N,) out: the standard deviation in pixels, not clipped at 0. The
    pictures must have `size` (height, width); with size None the features are averaged over the picture
    and any size from 7x7 up will do. The buffers `mean` and `std`, in units of 0..255, normalise inside;
    set them to those of the training pictures.
    """

    mean: Tensor
    std: Tensor
    output_kind = "scalar"

    def __init__(
        self,
        size: tuple[int, int] | None,
        *,
        mean: Sequence[float] = _MEAN,
        std: Sequence[float] = _STD,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

        def layer(c_in: int, c_out: int) -> list[nn.Module]:
            return [nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU()]

        pool = nn.MaxPool2d(3, 2)
        self.features = nn.Sequential(*layer(3, 10), pool, *layer(10, 20), pool, *layer(20, 30))
        if size is None:
            self.features.append(nn.AdaptiveAvgPool2d(1))
        area = 1 if size is None else (((size[0] - 1) // 2 - 1) // 2) * (((size[1] - 1) // 2 - 1) // 2)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(30 * area, 10),
            nn.ReLU(),
            nn.Linear(10, 10),
            nn.ReLU(),
            nn.Linear(10, 10),
            nn.ReLU(),
            nn.Linear(10, 1),
        )
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        y = (255.0 * x - self.mean) / self.std
        sigma: Tensor = self.head(self.features(y)).squeeze(1)
        return sigma
