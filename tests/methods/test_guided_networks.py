"""Networks that are shown deconvolutions, as methods."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import unblur
from unblur import methods
from unblur.classical.guide import CHANNELS
from unblur.classical.total_variation import total_variation
from unblur.estimate.likelihood import cosine_candidates
from unblur.image import from_array
from unblur.methods import guided, pieces
from unblur.methods.guided import CANDIDATES, guide_thumbnail
from unblur.metrics import psnr
from unblur.models import card
from unblur.nets import create
from unblur.physics.convolve import convolve, gaussian_blur
from unblur.physics.kernels import disk, gaussian

NOISE = 0.002


@pytest.mark.parametrize("channels", [1, 3])
def test_a_thumbnail_is_shown_with_four_candidates(astronaut, channels):
    sharp = np.ascontiguousarray(astronaut[100:132, 180:212, :channels])
    image = gaussian_blur(sharp, 1.8)
    shown = guide_thumbnail(image, gaussian(1.8, rule="opencv-u8"), NOISE)
    assert shown.shape == (CANDIDATES, 32, 32)
    right, edges, narrower, wider = (
        shown[at : at + 3].transpose(1, 2, 0) for at in (3, *range(CHANNELS, CANDIDATES, 3))
    )
    whole = np.broadcast_to(sharp, (32, 32, 3))
    errors = [
        float(np.square(one - whole).mean())
        for one in (right, edges, narrower, wider, shown[:3].transpose(1, 2, 0))
    ]
    assert errors[0] < min(errors[2:4])
    assert max(errors[:2]) < errors[4] / 2
    for one, sigma in ((narrower, 1.8 * 0.94), (wider, 1.8 * 1.06)):
        (expected,) = cosine_candidates(image, [gaussian(sigma, rule="opencv-u8")], NOISE)
        # Of the kernel only the spread is known, which its cut makes a little smaller.
        np.testing.assert_allclose(one, np.broadcast_to(expected, one.shape), atol=0.02)


def test_where_the_blur_is_unknown_all_candidates_are_the_picture(rng):
    image = rng.random((32, 32, 3)).astype(np.float32)
    shown = guide_thumbnail(image, None, NOISE)
    for at in (0, 3, *range(CHANNELS, CANDIDATES, 3)):
        np.testing.assert_array_equal(shown[at : at + 3], image.transpose(2, 0, 1))


@pytest.fixture
def untrained(tmp_path, monkeypatch):
    """unblur-s as it begins: almost the candidate, a little of the picture."""
    torch.manual_seed(0)
    path = tmp_path / "unblur-s.safetensors"
    save_file(create("unblur-s").state_dict(), path, {"unblur": json.dumps(card("unblur-s").to_dict())})
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(tmp_path))
    return str(path)


def test_one_for_any_blur_brings_photographs_back(astronaut, untrained):
    kernel = disk(2.2)
    blurred = convolve(astronaut, kernel)
    pixels = np.round(blurred * 255).astype(np.uint8)
    found = from_array(unblur.restore(pixels, method=untrained, kernel=kernel).image)
    share = 1 / (1 + np.exp(-3.0))
    image = from_array(pixels)
    expected = image + share * (total_variation(image, kernel) - image)
    assert psnr(found, expected, data_range=1) > 45
    assert psnr(found, astronaut, data_range=1) > psnr(image, astronaut, data_range=1) + 3


def test_it_leaves_a_sharp_picture_alone(astronaut, untrained):
    pixels = np.round(astronaut * 255).astype(np.uint8)
    assert methods.get(untrained).careful
    assert np.array_equal(unblur.restore(pixels, method=untrained).image, pixels)


def test_large_pictures_are_seen_in_pieces(astronaut, untrained, monkeypatch):
    kernel = disk(2.2)
    pixels = np.round(convolve(astronaut, kernel) * 255).astype(np.uint8)
    whole = unblur.restore(pixels, method=untrained, kernel=kernel).image
    monkeypatch.setattr(pieces, "_SIDE", 96)
    cut = unblur.restore(pixels, method=untrained, kernel=kernel).image
    assert np.abs(whole.astype(int) - cut).max() <= 1


class Slanted:
    """Stands for a network that is wrong to one side: the candidate, moved by a pixel."""

    def run(self, batch):
        self.seen = len(batch)
        return np.roll(batch[:, 3:6], 1, axis=3)


@pytest.mark.parametrize(("size", "ways"), [((24, 24), 8), ((24, 32), 4)])
def test_errors_to_one_side_cancel_in_thumbnails(rng, size, ways):
    shown = rng.random((8, *size)).astype(np.float32)
    network = Slanted()
    mean = guided._run_turned(network, shown)
    assert network.seen == ways
    candidate = shown[3:6]
    sides = [np.roll(candidate, by, axis=2) for by in (1, -1)]
    if ways == 8:
        sides += [np.roll(candidate, by, axis=1) for by in (1, -1)]
    np.testing.assert_allclose(mean, np.mean(sides, axis=0), atol=1e-6)
