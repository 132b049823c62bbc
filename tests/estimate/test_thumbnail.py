"""The network that says how wide the blur of a thumbnail is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from unblur.estimate import likelihood
from unblur.estimate.layers import weights
from unblur.estimate.likelihood import KNOTS, likely_gaussian, mean_power
from unblur.estimate.thumbnail import SIGMAS, features, log_chances
from unblur.image import Image, from_array
from unblur.physics import degrade

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def blurred(reduced: Callable[[int, int], list[NDArray[np.uint8]]]) -> list[tuple[Image, float]]:
    """60 pictures under `cifar-u03-u8`, with their sigmas."""
    found = []
    for number, sharp in enumerate(reduced(60, 9)):
        one, draw = degrade.degrade(from_array(sharp), "cifar-u03-u8", seed=3, index=number)
        found.append((one, draw.blur.parameters["sigma"]))
    return found


def test_chances_are_those_of_the_network_that_was_trained(blurred: list[tuple[Image, float]]) -> None:
    path = REPO / "scripts" / "train_thumbnail_estimate.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(path.stem, path))  # type: ignore[arg-type]
    module.__spec__.loader.exec_module(module)  # type: ignore[union-attr]
    net = module.Sigma()
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights("thumbnail").items()})
    for image, _ in blurred[:3]:
        power = mean_power(image.shape[:2])[0]
        with torch.no_grad():
            out = net(torch.from_numpy(features(image.mean(2)[None], power)))
        expected = torch.log_softmax(out[0], 0).numpy()
        np.testing.assert_allclose(log_chances(image, power), expected, atol=2e-3)


def test_it_says_how_wide_a_blur_is(blurred: list[tuple[Image, float]]) -> None:
    errors = []
    for image, sigma in blurred:
        chances = np.exp(log_chances(image, mean_power(image.shape[:2])[0]))
        assert chances.sum() == pytest.approx(1, abs=1e-4)
        errors.append(abs(float(chances @ SIGMAS) - sigma))
    assert np.median(errors) < 0.12
    assert np.quantile(errors, 0.9) < 0.35


def test_the_likelihood_errs_less_for_it(
    blurred: list[tuple[Image, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error() -> float:
        found = [(likely_gaussian(image), sigma) for image, sigma in blurred if sigma > 1]
        return float(np.mean([abs(one.sigma - sigma) for one, sigma in found if one is not None]))

    monkeypatch.setattr(likelihood, "preferences", lambda planes, logs, sigmas: logs)  # which errs less still
    together = error()
    monkeypatch.setattr(likelihood, "_OPINION", 0.0)
    assert together < error()


def test_it_is_not_asked_under_noise(
    blurred: list[tuple[Image, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(likelihood, "log_chances", refuse)
    assert likely_gaussian(blurred[0][0], 0.01) is not None


def test_power_is_that_of_the_table() -> None:
    power = mean_power((32, 20))
    assert power.shape == (3, 32, 20)
    assert power[:, 0, 0] == pytest.approx(np.exp([np.interp(1, KNOTS, row) for row in likelihood._POWER]))
    assert (np.diff(power[:, :, 5], axis=1) < 0).all()
