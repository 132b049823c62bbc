"""Costs against counts by hand."""

from __future__ import annotations

import pytest
from torch import nn

from unblur.nets.cost import activations, bytes_per_pixel, count, gmacs_per_megapixel, macs


def test_layers_by_hand():
    assert macs(nn.Conv2d(3, 8, 3, 2, 1), (1, 3, 16, 16)) == 8 * 8 * 8 * 3 * 9
    assert macs(nn.Conv2d(8, 8, 3, padding=1, groups=4), (2, 8, 5, 7)) == 2 * 5 * 7 * 8 * 2 * 9
    assert macs(nn.ConvTranspose2d(6, 4, 2, 2), (1, 6, 5, 5)) == 5 * 5 * 6 * 4 * 4
    assert macs(nn.Linear(7, 11), (1, 1, 3, 7)) == 3 * 7 * 11


def test_count_tells_running_statistics_apart():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert count(net) == (12 + 4 + 8, 12 + 4 + 8 + 8)
    net[0].requires_grad_(False)
    assert count(net).trainable == 8


def test_presets_by_hand():
    assert gmacs_per_megapixel("red30") == pytest.approx((2 * 27 * 128 + 28 * 9 * 128**2) / 1e3)
    widths, per_pixel = (16, 32, 64, 128, 256), 27 * 16 + 16 * 3
    for k, c in enumerate(widths):
        convs = c * c * 9 + (c // 2 * c * 9 if k else 0)
        if k < 4:
            convs += 2 * c * c * 9 + c * c * 9 + 2 * c * c  # concatenated, second, transposed 2x2
        per_pixel += convs / 4**k
    # E1's second convolution is 16 to 16, counted above as c * c * 9; its first is 3 to 16.
    assert gmacs_per_megapixel("unet20") == pytest.approx(per_pixel / 1e3)


def test_memory_by_hand():
    # In and out of the larger convolution; the picture itself is the caller's.
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1))
    assert activations(net, (1, 3, 16, 16)) == 4 * (8 + 4) * 16 * 16
    # Seven skips of 128 channels, what goes in and what comes out.
    assert bytes_per_pixel("red30") == 4 * 128 * 9
