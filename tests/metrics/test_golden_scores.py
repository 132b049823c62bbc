"""The frozen protocols give the same numbers for ever. Never regenerate the file: a new rule is a new id."""

import json
from pathlib import Path

import numpy as np
import pytest

from unblur.metrics import FLAVOURS, score

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metrics_v1.json").read_text())


def texture(height, width, channels):
    """Shapes, ramps and hash noise from integer arithmetic alone, so that it is the same everywhere."""
    y, x, c = np.indices((height, width, channels))
    ramp = (3 * x + 2 * y + 50 * c) % 256
    squares = 200 * ((x // 13 + y // 9) % 2)
    noise = ((x * 73856093) ^ (y * 19349663) ^ (c * 83492791)) >> 4 & 31
    return ((2 * ramp + squares + 4 * noise) // 5).astype(np.int64)


def boxed(levels, radius):
    size = 2 * radius + 1
    padded = np.pad(levels, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    shifted = (np.roll(padded, (-i, -j), (0, 1)) for i in range(size) for j in range(size))
    return (sum(shifted) // size**2)[: levels.shape[0], : levels.shape[1]]


def in_512ths(levels, step=0):
    """An image between the 8-bit levels; exact in float32."""
    return ((2 * levels + step) / 512).astype(np.float32)


def pairs():
    large, small, tiny = texture(190, 203, 3), texture(32, 32, 3), texture(7, 9, 3)
    grey = texture(64, 48, 1)
    return {
        "blurred": (in_512ths(large), in_512ths(boxed(large, 2))),
        "brighter": (in_512ths(large), in_512ths(large + 6)),
        "noisy": (in_512ths(large), in_512ths(large + (texture(203, 190, 3).transpose(1, 0, 2) % 17) - 8)),
        "half a level off": (in_512ths(large), in_512ths(large, step=1)),
        "exact": (in_512ths(large), in_512ths(large)),
        "flat": (in_512ths(0 * large + 200), in_512ths(0 * large + 180)),
        "32x32": (in_512ths(small), in_512ths(boxed(small, 1))),
        "grey": (in_512ths(grey), in_512ths(boxed(grey, 1))),
        "tiny": (in_512ths(tiny), in_512ths(boxed(tiny, 1))),
    }


@pytest.mark.parametrize("protocol", GOLDEN)
@pytest.mark.parametrize("name", pairs())
def test_scores_never_change(protocol, name):
    frozen = GOLDEN[protocol][name]
    got = score(*pairs()[name], protocol=protocol).to_dict()
    assert got["exact"] is frozen["exact"]
    for metric in ("mse", "mae", "psnr", "ssim", "ms_ssim"):
        assert got[metric] == pytest.approx(frozen[metric], abs=1e-9), metric


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_flavours_never_change(flavour):
    reference, image = pairs()["blurred"]
    frozen = GOLDEN["rgb8-v1"]["blurred"]["flavours"][flavour]
    assert score(reference, image, ssim_flavour=flavour).ssim == pytest.approx(frozen, abs=1e-9)


def test_every_pair_is_frozen():
    for rows in GOLDEN.values():
        assert set(rows) == set(pairs())
    assert set(GOLDEN["rgb8-v1"]["blurred"]["flavours"]) == set(FLAVOURS)
