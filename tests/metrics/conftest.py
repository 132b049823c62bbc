"""Pictures with the damage that restoration deals with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage import data as pictures
from skimage import io


def damaged(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur with a random Gaussian and add noise; float64 (H, W, C) in [0, 1], stepped to 8 bits half of the time."""
    blurred = ndimage.gaussian_filter(picture, (*[rng.uniform(0.3, 3)] * 2, 0), mode="mirror")
    noisy = np.clip(blurred + rng.normal(0, rng.uniform(0, 0.03), picture.shape), 0, 1)
    return np.round(noisy * 255) / 255 if rng.random() < 0.5 else noisy


def as_picture(array: np.ndarray) -> np.ndarray:
    """Any 8-bit picture as float64 (H, W, C) in [0, 1]."""
    return (array[:, :, None] if array.ndim == 2 else array[:, :, :3]) / 255


@pytest.fixture(scope="session")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Twelve public-domain pictures, sharp and damaged: grey and RGB, odd and even sides, flat regions in some."""
    rng = np.random.default_rng(11)
    names = ["astronaut", "camera", "chelsea", "coffee", "coins", "rocket", "retina", "moon", "page", "text"]
    names += ["brick", "hubble_deep_field"]
    sizes = [(211 + 7 * i, 240 + 11 * i) for i in range(len(names))]
    sharp = [
        as_picture(getattr(pictures, name)())[:height, :width]
        for name, (height, width) in zip(names, sizes, strict=True)
    ]
    return [(picture, damaged(picture, rng)) for picture in sharp]


@pytest.fixture(scope="session")
def bsds_pairs(data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Twenty photographs of BSDS500, sharp and damaged."""
    rng = np.random.default_rng(12)
    files = sorted((data / "bsds500" / "test").glob("*.jpg"))[:20]
    assert len(files) == 20
    sharp = [as_picture(io.imread(file)) for file in files]
    return [(picture, damaged(picture, rng)) for picture in sharp]


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A sharp RGB crop and its damaged copy, float64 (180, 190, 3)."""
    sharp = as_picture(pictures.astronaut())[60:240, 120:310]
    return sharp, damaged(sharp, rng)
