"""Candidates from kernels that are right, wrong or unknown."""

import numpy as np
import pytest
import torch

from unblur.classical.guide import guide
from unblur.lab.guided import astray, guided
from unblur.lab.recipe import Guide
from unblur.methods import photograph
from unblur.physics import kernels
from unblur.physics.blur import NO_BLUR, Blur
from unblur.physics.convolve import convolve
from unblur.physics.degrade import ROUNDING, Draw

MARGIN = 16


def draw(blur, number=0):
    return Draw("mixed-u8", blur, noise_seed=number)


@pytest.fixture
def blurred(rng):
    """A picture under a disk, as a batch of one."""
    from skimage import data as pictures

    sharp = pictures.astronaut()[100:196, 150:246].astype(np.float32) / 255
    image = np.round(convolve(sharp, kernels.disk(2.0)) * 255) / 255
    return torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float(), sharp


def test_the_true_kernel_brings_the_picture_nearer(blurred):
    given, sharp = blurred
    blur = Blur("disk", {"radius": 2.0}, kernels.disk(2.0), noise=ROUNDING)
    shown = guided(given, [draw(blur)], Guide(true=1, wrong=0, noise=0, border=0), MARGIN)
    assert shown.shape == (1, 8, 96 - 2 * MARGIN, 96 - 2 * MARGIN)
    cut = slice(MARGIN, -MARGIN)
    assert torch.equal(shown[:, :3], given[:, :, cut, cut])
    target = torch.from_numpy(sharp.transpose(2, 0, 1)[None].copy())[:, :, cut, cut]
    errors = [float((part - target).square().mean()) for part in (shown[:, :3], shown[:, 3:6])]
    assert errors[1] < errors[0] / 3


def test_a_blur_that_is_found_is_shown_as_it_is_found():
    from skimage import data as pictures

    blur = Blur("disk", {"radius": 3.0}, kernels.disk(3.0), noise=ROUNDING)
    image = (
        np.round(convolve(pictures.astronaut()[:256, :256].astype(np.float32) / 255, blur.kernel) * 255) / 255
    )
    given = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
    shown = guided(given, [draw(blur)], Guide(found=1), MARGIN)
    within = np.ascontiguousarray(image[MARGIN:-MARGIN, MARGIN:-MARGIN], np.float32)
    found = photograph.find(within)
    assert found.kind == "disk"
    assert found.parameters["radius"] != 3.0
    assert np.array_equal(shown[0].numpy(), guide(within, found.kernel, noise=max(found.noise, ROUNDING)))


def test_where_no_blur_is_found_the_other_shares_count(blurred, monkeypatch):
    given, _ = blurred
    blur = Blur("disk", {"radius": 2.0}, kernels.disk(2.0), noise=ROUNDING)
    monkeypatch.setattr(photograph, "find", lambda image: NO_BLUR)
    shown = guided(given, [draw(blur)], Guide(found=1, true=1, wrong=0), MARGIN)
    assert not torch.equal(shown[:, 3:6], shown[:, :3])


def test_a_network_with_more_candidates_is_shown_the_same_one_again(blurred):
    given, _ = blurred
    blur = Blur("disk", {"radius": 2.0}, kernels.disk(2.0), noise=ROUNDING)
    shown = guided(given, [draw(blur)], Guide(true=1, wrong=0), MARGIN, channels=17)
    for at in (8, 11, 14):
        assert torch.equal(shown[:, at : at + 3], shown[:, 3:6])


def test_the_same_draw_gives_the_same_candidate_and_another_another(blurred):
    given, _ = blurred
    blur = Blur("disk", {"radius": 2.0}, kernels.disk(2.0), noise=ROUNDING)
    first, again, other = (
        guided(given, [draw(blur, number)], Guide(true=0, wrong=1), MARGIN) for number in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_sharp_picture_and_an_unknown_blur_have_no_candidate(blurred):
    given, _ = blurred
    for blur, of in (
        (NO_BLUR, Guide(false_alarms=0)),
        (Blur("disk", {"radius": 2.0}, kernels.disk(2.0)), Guide(true=0, wrong=0)),
    ):
        shown = guided(given, [draw(blur)], of, MARGIN)
        assert torch.equal(shown[:, 3:6], shown[:, :3])
        assert (shown[:, 7] == 0).all()


@pytest.mark.parametrize(
    "blur",
    [
        Blur("gaussian", {"sigma": 2.0, "sigma_y": 1.0, "angle": 20.0}, kernels.gaussian(2.0, 1.0, 20.0)),
        Blur("disk", {"radius": 3.0}, kernels.disk(3.0)),
        Blur("motion", {"length": 9.0, "angle": 70.0}, kernels.motion(9.0, 70.0)),
        Blur("shake", {"size": 15}, kernels.shake(15, np.random.default_rng(1))),
    ],
    ids=lambda blur: blur.kind,
)
def test_an_error_makes_another_kernel_not_too_far_off(blur, rng):
    for error, most in ((0.2, 0.4), (1.0, 1.2)):
        wrong = kernels.check_kernel(astray(blur, error, rng))
        size = max(len(wrong), len(blur.kernel))
        distance = np.abs(kernels.embed(wrong, size) - kernels.embed(blur.kernel, size)).sum()
        assert 0 < distance < most
