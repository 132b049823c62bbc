import json
import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from unblur.errors import ImageError, OptionError
from unblur.image import from_array
from unblur.metrics import FLAVOURS, PROTOCOLS, score, ssim


@pytest.fixture
def pair8(pair):
    return tuple(np.round(x * 255).astype(np.uint8) for x in pair)


def test_the_frozen_ids():
    assert list(PROTOCOLS) == ["rgb8-v1", "rgbf-v1"]


def test_rgb8_is_what_scikit_image_says_of_the_8_bit_files(pair8):
    got = score(*map(from_array, pair8))
    assert got.protocol == "rgb8-v1"
    assert got.psnr == pytest.approx(peak_signal_noise_ratio(*pair8), abs=1e-9)
    assert got.psnr_capped == got.psnr
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert got.ssim == pytest.approx(structural_similarity(*pair8, channel_axis=2, **wang), abs=1e-9)
    a, b = (x.astype(np.float64) / 255 for x in pair8)
    assert got.mse == pytest.approx(np.mean((a - b) ** 2), rel=1e-12)
    assert got.mae == pytest.approx(np.mean(np.abs(a - b)), rel=1e-12)
    assert not got.exact
    assert 0 < got.ms_ssim < 1


def test_rgb8_rounds_the_output_and_rgbf_does_not(pair8):
    reference = from_array(pair8[0])
    inside = np.clip(reference + np.float32(0.4 / 255), 0, 1)
    assert score(reference, inside).exact
    assert score(reference, inside).psnr == math.inf
    unrounded = score(reference, inside, protocol="rgbf-v1")
    assert not unrounded.exact
    assert unrounded.psnr == pytest.approx(20 * math.log10(255 / 0.4), abs=0.1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_clip(pair8, protocol):
    reference = from_array(pair8[0])
    reference[:20] = 1
    bright = reference.copy()
    bright[:20] = 1.3
    assert score(reference, bright, protocol=protocol).exact


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_exact_picture(pair8, protocol):
    got = score(from_array(pair8[0]), from_array(pair8[0]), protocol=protocol)
    assert got.exact
    assert (got.mse, got.mae, got.psnr, got.ssim, got.ms_ssim) == (0, 0, math.inf, 1, 1)
    assert got.psnr_capped == 60
    row = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert (row["psnr"], row["exact"], row["protocol"]) == (60, True, protocol)


def test_a_suite_may_state_its_own_cap():
    reference = np.zeros((64, 64, 3), np.float32)
    image = reference.copy()
    image[0, 0, 0] = 1 / 255
    assert score(reference, image).psnr_capped == 60
    assert score(reference, image, cap=80).psnr_capped == 80
    assert score(reference, image).psnr == pytest.approx(10 * math.log10(255**2 * 64 * 64 * 3), abs=1e-9)


def test_where_ssim_is_undefined(rng):
    def at(height, width):
        reference = rng.random((height, width, 3)).astype(np.float32)
        return score(reference, 1 - reference)

    assert at(10, 40).ssim is None
    assert at(11, 40).ssim is not None
    assert at(175, 200).ms_ssim is None
    assert at(176, 200).ms_ssim is not None
    assert json.loads(json.dumps(at(1, 1).to_dict()))["ssim"] is None


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_flavour_is_named_in_the_row(pair8, flavour):
    got = score(*map(from_array, pair8), ssim_flavour=flavour)
    assert got.to_dict()["ssim_flavour"] == flavour
    assert got.ssim == ssim(*pair8, data_range=255, flavour=flavour)


def test_grey_is_scored_on_its_channel(pair8):
    grey = [from_array(x[:, :, 0]) for x in pair8]
    rgb = [np.repeat(x, 3, axis=2) for x in grey]
    assert score(*grey).psnr == pytest.approx(score(*rgb).psnr, abs=1e-12)
    assert score(*grey).ssim == pytest.approx(score(*rgb).ssim, abs=1e-12)


def test_inputs_are_left_alone(pair8):
    a, b = map(from_array, pair8)
    before = a.copy(), b.copy()
    score(a, b)
    score(a, b, protocol="rgbf-v1", ssim_flavour="matlab3d")
    assert (a == before[0]).all()
    assert (b == before[1]).all()


def test_wrong_calls():
    image = np.zeros((20, 30, 3), np.float32)
    with pytest.raises(ImageError, match=r"reference has shape \(20, 30, 3\) and the image \(20, 30, 1\)"):
        score(image, image[:, :, :1])
    with pytest.raises(OptionError, match="unknown protocol 'rgb8'; one of rgb8-v1, rgbf-v1"):
        score(image, image, protocol="rgb8")
    with pytest.raises(OptionError, match="unknown SSIM flavour"):
        score(image, image, ssim_flavour="mean")
    with pytest.raises(ImageError, match="reference: expected a float32 array"):
        score(image.astype(np.float64), image)
    with pytest.raises(ImageError, match="image: has NaN"):
        score(image, np.full_like(image, np.nan))
