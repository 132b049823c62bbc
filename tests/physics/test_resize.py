"""imresize against its definition, written a second time, and against two libraries away from the border."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from unblur.errors import OptionError
from unblur.physics.resize import imresize, shrink_taps


def keys(distance: float) -> float:
    d = abs(distance)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def tent(distance: float) -> float:
    return max(0.0, 1.0 - abs(distance))


def dense(length: int, out: int, scale: float, kernel, antialias: bool) -> np.ndarray:
    """The definition pixel by pixel: mirrored copies of the line are summed far beyond any support."""
    shrink = min(scale, 1.0) if antialias else 1.0
    matrix = np.zeros((out, length))
    mirror = [*range(length), *reversed(range(length))]
    for i in range(out):
        centre = (i + 0.5) / scale - 0.5
        for j in range(int(centre - 3 / shrink) - 3, int(centre + 3 / shrink) + 4):
            matrix[i, mirror[j % (2 * length)]] += kernel((centre - j) * shrink)
        matrix[i] /= matrix[i].sum()
    return matrix


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    method=st.sampled_from(["bicubic", "bilinear"]),
    antialias=st.booleans(),
)
def test_definition(shape, size, method, antialias):
    image = np.random.default_rng(1).random((*shape, 3), dtype=np.float32)
    kernel = keys if method == "bicubic" else tent
    down, across = (dense(n, m, m / n, kernel, antialias) for n, m in zip(shape, size, strict=True))
    expected = np.einsum("ih,hwc,jw->ijc", down, image.astype(np.float64), across)
    got = imresize(image, size, method, antialias)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


def test_scale_rounds_sides_up_and_keeps_the_exact_scale(rng):
    image = rng.random((7, 10, 1), dtype=np.float32)
    got = imresize(image, 0.5)
    assert got.shape == (4, 5, 1)
    down, across = dense(7, 4, 0.5, keys, True), dense(10, 5, 0.5, keys, True)
    np.testing.assert_allclose(got[..., 0], down @ image[..., 0] @ across.T, rtol=0, atol=2e-6)


def test_half_scale_taps_by_hand():
    half = np.array([-0.0234375, -0.0703125, 0.2265625, 0.8671875]) / 2  # Keys at 1.75, 1.25, 0.75, 0.25
    np.testing.assert_allclose(shrink_taps(2), [*half, *half[::-1]], rtol=0, atol=1e-15)
    np.testing.assert_allclose(shrink_taps(2, "bilinear"), np.array([1, 3, 3, 1]) / 8, rtol=0, atol=1e-15)
    np.testing.assert_allclose(shrink_taps(4, "bilinear", antialias=False), [0.5, 0.5], rtol=0, atol=1e-15)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize("antialias", [True, False])
def test_an_impulse_shows_the_taps(factor, method, antialias):
    taps = shrink_taps(factor, method, antialias)
    line = np.zeros((1, 64, 1), np.float32)
    seen = []
    for position in range(64):
        line[:] = 0
        line[0, position] = 1
        seen.append(imresize(line, (1, 64 // factor), method, antialias)[0, 8, 0])
    first = 8 * factor + factor // 2 - len(taps) // 2
    np.testing.assert_allclose(seen[first : first + len(taps)], taps, rtol=0, atol=1e-7)
    assert not np.any(np.delete(seen, np.arange(first, first + len(taps))))


@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
def test_agrees_with_torch_away_from_the_border(astronaut, method):
    image = astronaut[:96, :128]
    got = imresize(image, 0.25, method)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = (
        F.interpolate(tensor, scale_factor=0.25, mode=method, antialias=True)[0].permute(1, 2, 0).numpy()
    )
    np.testing.assert_allclose(got[3:-3, 3:-3], expected[3:-3, 3:-3], rtol=0, atol=2e-6)
    assert np.abs(got - expected).max() > 1e-4  # the border is treated differently


def test_same_size_is_the_identity(rng):
    image = rng.random((9, 8, 3), dtype=np.float32)
    for method in ("bicubic", "bilinear"):
        np.testing.assert_array_equal(imresize(image, (9, 8), method), image)


def test_refusals():
    image = np.zeros((4, 4, 1), np.float32)
    with pytest.raises(OptionError, match="lanczos"):
        imresize(image, 0.5, "lanczos")
    with pytest.raises(OptionError, match="0x4"):
        imresize(image, (0, 4))
