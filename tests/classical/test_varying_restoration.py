"""Blended blurs are undone by their joint model."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical.richardson_lucy import richardson_lucy
from unblur.classical.total_variation import total_variation
from unblur.classical.varying import _Model, restore_varying
from unblur.errors import OptionError
from unblur.image import quantise
from unblur.metrics import psnr
from unblur.physics.blur import NO_BLUR, Blur
from unblur.physics.convolve import gaussian_blur
from unblur.physics.kernels import embed, gaussian, motion
from unblur.physics.varying import blur_image, grid_blur


@pytest.fixture
def halves(portrait):
    """Sharp on the left, a Gaussian of 1.5 in the middle, one of 2.5 on the right, blended."""
    x = np.linspace(0, 2, portrait.shape[1], dtype=np.float32)
    weights = [np.broadcast_to(np.clip(1 - np.abs(x - i), 0, 1), portrait.shape[:2]) for i in range(3)]
    return Blur(
        "varying",
        parts=(
            Blur("none", where=weights[0]),
            Blur("gaussian", {"sigma": 1.5}, gaussian(1.5), where=weights[1]),
            Blur("gaussian", {"sigma": 2.5}, gaussian(2.5), where=weights[2]),
        ),
    )


def test_varying_blur_is_undone_part_by_part(portrait, halves):
    image = quantise(blur_image(portrait, halves))
    restored = restore_varying(image, halves)
    third = portrait.shape[1] // 3
    for columns in (slice(0, third), slice(third, 2 * third), slice(2 * third, None)):
        before, after = (psnr(x[:, columns], portrait[:, columns], data_range=1) for x in (image, restored))
        assert after > before + 2
    uniform = total_variation(image, gaussian(1.5))
    assert psnr(restored, portrait, data_range=1) > psnr(uniform, portrait, data_range=1) + 5


def test_where_nothing_is_blurred_nothing_changes(portrait):
    left = np.zeros(portrait.shape[:2], np.float32)
    left[:, :30] = 1
    blur = Blur(
        "varying", parts=(Blur("kernel", kernel=gaussian(1.0), where=left), Blur("none", where=1 - left))
    )
    image = blur_image(portrait, blur)
    restored = restore_varying(image, blur)
    assert np.abs(restored[:, 40:] - image[:, 40:]).max() < 1e-5
    assert (
        psnr(restored[:, :30], portrait[:, :30], data_range=1)
        > psnr(image[:, :30], portrait[:, :30], data_range=1) + 2
    )


def test_one_part_everywhere_is_richardson_lucy(portrait):
    image = quantise(gaussian_blur(portrait, 1.0))
    everywhere = np.ones(portrait.shape[:2], np.float32)
    blur = Blur("varying", parts=(Blur("kernel", kernel=gaussian(1.0), where=everywhere),))
    alone = richardson_lucy(image, gaussian(1.0), border="unknown", iterations=20)
    assert np.abs(restore_varying(image, blur) - alone)[12:-12, 12:-12].max() < 2e-3


def test_the_adjoint_identity(rng):
    kernels = np.stack([gaussian(1.0, size=9), embed(motion(7, 20), 9)]).reshape(1, 2, 9, 9)
    model = _Model((31, 44), grid_blur(kernels, (31, 44)))
    x = rng.random((2, *model.grid), dtype=np.float32)
    y = rng.random((2, 31, 44), dtype=np.float32)
    assert np.vdot(model.blur(x), y) == pytest.approx(np.vdot(x, model.back(y)), rel=1e-5)


def test_the_model_blurs_as_physics_does(portrait, halves):
    planes = np.ascontiguousarray(portrait.transpose(2, 0, 1))
    model = _Model(portrait.shape[:2], halves)
    blurred = model.blur(model.mirrored(planes)).transpose(1, 2, 0)
    assert np.abs(blurred - blur_image(portrait, halves)).max() < 1e-5


def test_blurs_without_parts(portrait):
    with pytest.raises(OptionError, match="parts"):
        restore_varying(portrait, NO_BLUR)
    with pytest.raises(OptionError, match="where"):
        restore_varying(portrait, Blur("varying", parts=(Blur("kernel", kernel=gaussian(1.0)),)))
