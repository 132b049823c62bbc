"""The networks that come with the package."""

from __future__ import annotations

import numpy as np
import pytest

import unblur
from unblur import methods, models, tiling
from unblur.image import from_array, quantise
from unblur.metrics import psnr
from unblur.models.weights import SHIPPED, find_weights
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, motion

NOISE = 0.01


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No weights but those of the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("UNBLUR_WEIGHTS", raising=False)


@pytest.fixture(params=["unblur-m", "unblur-s"])
def network(request):
    return request.param


def test_it_is_found_without_any_weights_at_hand(alone, network):
    assert find_weights(network) == SHIPPED / f"{network}.onnx"
    row = methods.get(network)
    assert row.name == network
    assert row.careful
    assert models.card(network).role == "guided"


@pytest.mark.parametrize("kernel", [disk(2.2), motion(9, 20)])
def test_it_is_better_than_the_total_variation_that_it_is_shown(alone, astronaut, rng, kernel, network):
    sharp = np.ascontiguousarray(astronaut[40:240, 60:300])
    blurred = convolve(sharp, kernel)
    blurred = quantise(blurred + np.float32(NOISE) * rng.standard_normal(blurred.shape, np.float32))
    pixels = np.round(blurred * 255).astype(np.uint8)
    shown = models.card(network).iterations
    rest = {"total-variation": {"iterations": shown}, network: {}}
    found = {
        name: psnr(
            from_array(unblur.restore(pixels, method=name, kernel=kernel, **more).image), sharp, data_range=1
        )
        for name, more in rest.items()
    }
    # What the smaller one learnt from found kernels leaves it less to add where the kernel is right.
    assert found[network] > found["total-variation"] + {"unblur-m": 0.1, "unblur-s": 0.05}[network]


@pytest.mark.parametrize("kernel", [disk(2.2), motion(9, 20)])
def test_it_mends_what_a_wrong_kernel_leaves(alone, astronaut, kernel, network):
    sharp = np.ascontiguousarray(astronaut[40:240, 60:300])
    pixels = np.round(convolve(sharp, kernel) * 255).astype(np.uint8)
    wrong = disk(2.5) if kernel.shape == disk(2.2).shape else motion(10, 22)
    found = {
        name: psnr(from_array(unblur.restore(pixels, method=name, kernel=wrong).image), sharp, data_range=1)
        for name in ("total-variation", network)
    }
    assert found[network] > found["total-variation"] + 0.3


def test_tiles_agree_with_the_whole(alone, astronaut, monkeypatch, network):
    kernel = disk(2.2)
    pixels = np.round(convolve(astronaut, kernel) * 255).astype(np.uint8)
    whole = unblur.restore(pixels, method=network, kernel=kernel).image
    monkeypatch.setattr(tiling, "sides_for_memory", lambda *_: 200)
    tiled = unblur.restore(pixels, method=network, kernel=kernel).image
    difference = np.abs(whole.astype(int) - tiled)
    assert difference.max() > 0  # it was cut
    assert difference.mean() < 0.15
    assert np.quantile(difference, 0.99) <= 2


def test_a_sharp_picture_stays_as_it_is(alone, astronaut, network):
    pixels = np.round(astronaut * 255).astype(np.uint8)
    assert np.array_equal(unblur.restore(pixels, method=network).image, pixels)
