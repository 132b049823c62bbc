"""Scores up to a shift, against a search written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift
from skimage.metrics import structural_similarity

from unblur.errors import ImageError, OptionError
from unblur.metrics.alignment import score_up_to_shift


@pytest.fixture
def smooth(rng):
    """A smooth picture, float32 (70, 80, 1)."""
    noise = gaussian_filter(rng.standard_normal((70, 80)), 2)
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)[:, :, None]


def bilinear(picture, down, right):
    return shift(picture[:, :, 0], (-down, -right), order=1, mode="nearest")[:, :, None]


@pytest.mark.parametrize("moved", [(0.0, 0.0), (2.0, -3.0), (-4.75, 1.5), (0.25, 5.0)])
def test_finds_the_shift(smooth, moved):
    image = shift(smooth[:, :, 0], moved, order=3, mode="nearest").astype(np.float32)[:, :, None]
    assert score_up_to_shift(smooth, image).shift == moved


def test_a_whole_shift_is_a_perfect_score(smooth):
    score = score_up_to_shift(smooth, np.roll(smooth, (3, -2), axis=(0, 1)))
    assert score.shift == (3, -2)
    assert score.psnr > 150
    assert score.ssim == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("crop", "reach", "step"), [(15, 5, 0.25), (6, 2, 0.5), (4, 0, 1.0)])
def test_agrees_with_the_search_written_out(smooth, rng, crop, reach, step):
    image = np.clip(np.roll(smooth, 1, axis=0) + 0.03 * rng.standard_normal(smooth.shape), 0, 1).astype(
        np.float32
    )
    inner = (slice(crop, -crop), slice(crop, -crop))
    best = np.inf, 0.0, 0.0
    for down in np.arange(-reach, reach + step / 2, step):
        for right in np.arange(-reach, reach + step / 2, step):
            error = np.square(bilinear(image, down, right)[inner] - smooth[inner]).mean(dtype=np.float64)
            best = min(best, (error, down, right))
    score = score_up_to_shift(smooth, image, crop=crop, reach=reach, step=step)
    assert score.shift == best[1:]
    assert score.psnr == pytest.approx(-10 * np.log10(best[0]), abs=1e-4)
    aligned = bilinear(image, *best[1:])[inner][:, :, 0].astype(np.float64)
    expected = structural_similarity(
        smooth[inner][:, :, 0].astype(np.float64) * 255,
        aligned * 255,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert score.ssim == pytest.approx(expected, abs=1e-4)


def test_colour_counts_every_channel(smooth):
    colour = np.repeat(smooth, 3, axis=2)
    assert score_up_to_shift(colour, np.roll(colour, 2, axis=1)).shift == (0, 2)


def test_what_cannot_be_scored(smooth):
    with pytest.raises(ImageError, match="equal shapes"):
        score_up_to_shift(smooth, smooth[1:])
    with pytest.raises(ImageError, match="too small"):
        score_up_to_shift(smooth[:40], smooth[:40])
    with pytest.raises(OptionError, match="reach"):
        score_up_to_shift(smooth, smooth, crop=3)
    with pytest.raises(OptionError, match="step"):
        score_up_to_shift(smooth, smooth, step=0.3)
