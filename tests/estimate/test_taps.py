"""The network that chooses among Gaussians of 8-bit arithmetic."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from unblur.estimate import likelihood
from unblur.estimate.layers import weights
from unblur.estimate.likelihood import (
    FIXED_FROM,
    LIKELIEST,
    Picture,
    cosine_filter,
    likely_candidates,
    likely_gaussian,
    mean_power,
)
from unblur.estimate.taps import features, preferences
from unblur.image import Image, from_array, quantise
from unblur.physics import kernels
from unblur.physics.convolve import convolve, gaussian_blur_u8

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = REPO / "scripts" / "train_thumbnail_estimate.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(path.stem, path))  # type: ignore[arg-type]
    module.__spec__.loader.exec_module(module)  # type: ignore[union-attr]
    return module


@pytest.fixture(scope="module")
def blurred(reduced: Callable[[int, int], list[NDArray[np.uint8]]]) -> list[tuple[Image, Image, float]]:
    """60 pictures under Gaussians of 8 bits, and sharp, with their sigmas."""
    sigmas = np.random.default_rng(21).uniform(1.2, 3, 60).tolist()
    return [
        (from_array(gaussian_blur_u8(sharp, sigma)), from_array(sharp), sigma)
        for sharp, sigma in zip(reduced(60, 21), sigmas, strict=True)
    ]


def _planes(image: Image) -> np.ndarray:
    some = likely_candidates(image)
    assert some is not None
    return features(Picture(image, None).colours, some.transfers, mean_power(image.shape[:2]))


def test_preferences_are_those_of_the_network_that_was_trained(
    script: ModuleType, blurred: list[tuple[Image, Image, float]]
) -> None:
    net = script.Taps()
    net.load_state_dict(
        {name: torch.from_numpy(np.asarray(value)) for name, value in weights("taps").items()}
    )
    for image, _, _ in blurred[:3]:
        some = likely_candidates(image)
        assert some is not None
        planes = _planes(image)
        seen = (torch.from_numpy(np.float32(values))[None] for values in (planes, some.logs, some.sigmas))
        with torch.no_grad():
            expected = net(*seen)[0].numpy()
        np.testing.assert_allclose(preferences(planes, some.logs, some.sigmas), expected, atol=2e-3)


def test_what_there_is_to_choose_from(blurred: list[tuple[Image, Image, float]]) -> None:
    image, _, sigma = blurred[0]
    some = likely_candidates(image)
    assert some is not None
    assert len(some.sigmas) == len(some.logs) == len(some.transfers) == 1 + LIKELIEST
    assert (np.diff(some.logs[1:]) <= 0).all()
    np.testing.assert_allclose(some.transfers[:, 0, 0], 1, rtol=1e-6)
    assert np.abs(some.sigmas - sigma).min() < 0.3
    planes = _planes(image)
    assert planes.shape == (1 + LIKELIEST, 4, 32, 32)
    assert planes.dtype == np.float32
    assert np.abs(planes).max() <= 6


def test_there_is_nothing_to_choose_under_noise_or_little_blur(
    blurred: list[tuple[Image, Image, float]], rng: np.random.Generator
) -> None:
    image, sharp, _ = blurred[0]
    assert likely_candidates(sharp) is None
    noisy = image + 0.02 * rng.standard_normal(image.shape).astype(np.float32)
    assert likely_candidates(quantise(np.clip(noisy, 0, 1))) is None
    narrow = quantise(convolve(sharp, kernels.gaussian(FIXED_FROM - 0.35)))
    assert likely_candidates(narrow) is None


def test_errors_are_less_than_of_the_likeliest(
    blurred: list[tuple[Image, Image, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error() -> float:
        ratios = []
        for image, sharp, sigma in blurred:
            found = likely_gaussian(image)
            assert found is not None
            left, least = (
                float(np.square(cosine_filter(image, kernel, found.noise) - sharp).mean())
                for kernel in (found.kernel, kernels.gaussian_u8(sigma))
            )
            ratios.append(np.log(left / least))
        return float(np.mean(ratios))

    chosen = error()
    monkeypatch.setattr(likelihood, "preferences", lambda planes, logs, sigmas: logs)
    assert chosen < 0.85 * error()


def test_smooth_and_grey_ones_are_found_too(blurred: list[tuple[Image, Image, float]]) -> None:
    off = []
    for _, sharp, sigma in blurred[:24]:
        image = quantise(convolve(sharp[:, :, 1:2], kernels.gaussian(sigma)))
        found = likely_gaussian(image)
        assert found is not None
        off.append(abs(found.sigma - sigma))
    assert np.median(off) < 0.12


def test_the_excess_of_the_right_one_is_none(
    script: ModuleType, blurred: list[tuple[Image, Image, float]]
) -> None:
    sharp = np.round(255 * blurred[0][1]).astype(np.uint8)
    one = script.choice((sharp, 2.0, False))
    right = one._replace(lines=np.concatenate([one.right[None], one.lines]))
    excess = script.excess(right)
    assert excess[0] == pytest.approx(0, abs=1e-5)
    assert (excess[1:] > -1e-3).all()
    assert excess.max() > 0.01
