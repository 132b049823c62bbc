from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from unblur.errors import ImageError
from unblur.estimate import analyse, blur_map, estimate_blur, noise_sigma, sharpness
from unblur.image import Image, quantise
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, gaussian, motion

KERNELS = {
    "none": np.ones((1, 1), np.float32),
    "gaussian": gaussian(1.4),
    "motion": motion(13, 65),
    "disk": disk(3.2),
}


@pytest.mark.parametrize("kind", list(KERNELS))
def test_kind(astronaut: Image, camera: Image, kind: str) -> None:
    for image in (astronaut, camera):
        blur = estimate_blur(quantise(convolve(image, KERNELS[kind])))
        assert blur.kind == kind
        assert 0.4 <= blur.confidence <= 1
        if kind != "none":
            assert blur.kernel is not None
            size = max(blur.kernel.shape[0], KERNELS[kind].shape[0])
            padded = [np.pad(k, (size - k.shape[0]) // 2) for k in (blur.kernel, KERNELS[kind])]
            assert np.abs(padded[0] - padded[1]).sum() < 0.25


def test_parameters_and_noise(astronaut: Image) -> None:
    blur = estimate_blur(quantise(convolve(astronaut, gaussian(1.4))))
    assert list(blur.parameters) == ["sigma"]
    assert blur.parameters["sigma"] == pytest.approx(1.4, abs=0.1)
    assert blur.noise == pytest.approx(1 / (255 * 12**0.5), rel=0.3)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 3), (1, 5000, 3), (5000, 1, 1), (2, 3, 3), (8, 8, 1), (15, 400, 3), (16, 16, 3), (130, 90, 1)],
)
@pytest.mark.parametrize("filling", ["flat", "ramp"])
def test_tiny_and_flat(shape: tuple[int, int, int], filling: str) -> None:
    image = np.full(shape, 0.25, np.float32)
    if filling == "ramp":
        image += np.linspace(0, 0.5, shape[1], dtype=np.float32)[None, :, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = analyse(image, map=True)
    assert found.map is not None
    assert found.map.shape == shape[:2]
    assert found.map.dtype == np.float32
    if filling == "flat" or min(shape[:2]) < 16:
        assert found.blur.kind == "none"
        assert found.blur.confidence == 0
        assert found.blur.kernel is None
        assert not found.map.any()


@pytest.mark.parametrize("shape", [(16, 16, 3), (17, 300, 1), (300, 17, 3), (63, 65, 1), (64, 64, 3)])
def test_odd_sizes_give_finite_answers(astronaut: Image, shape: tuple[int, int, int]) -> None:
    found = analyse(astronaut[: shape[0], : shape[1], : shape[2]], map=True)
    assert np.isfinite([found.sigma, found.sharpness, found.noise, found.blur.confidence]).all()
    assert found.map is not None
    assert np.isfinite(found.map).all()


def test_no_image_is_an_error() -> None:
    with pytest.raises(ImageError):
        analyse(np.zeros((20, 20)))  # type: ignore[arg-type]


def test_to_dict_is_json(astronaut: Image) -> None:
    facts = json.loads(json.dumps(analyse(quantise(convolve(astronaut, motion(13, 65)))).to_dict()))
    assert facts["kind"] == "motion"
    assert facts["motion_angle"] == pytest.approx(65, abs=2)
    assert "map" not in facts


def test_large_pictures_are_sampled(astronaut: Image) -> None:
    """The blurred texture counts, wherever it is, and the flat rest does not."""
    grey = np.float32(128 / 255)
    framed = np.pad(astronaut, ((20, 20), (20, 20), (0, 0)), constant_values=grey)
    image = np.full((3000, 2500, 3), grey, np.float32)
    image[2100:2652, 1400:1952] = quantise(convolve(framed, gaussian(1.5)))
    found = analyse(image)
    assert found.blur.kind == "gaussian"
    assert found.sigma == pytest.approx(1.5, abs=0.15)


def test_map_of_a_half_blurred_picture(astronaut: Image) -> None:
    image = quantise(convolve(astronaut, gaussian(2.0)))
    image[:, :256] = astronaut[:, :256]
    local = blur_map(image)
    assert local.shape == (512, 512)
    assert np.median(local[:, :160]) < 0.4
    assert np.median(local[:, 352:]) == pytest.approx(2.0, abs=0.3)


def test_map_of_an_even_blur_is_even(camera: Image) -> None:
    local = blur_map(quantise(convolve(camera, gaussian(1.5))))
    assert np.quantile(local, 0.1) > 1.2
    assert np.quantile(local, 0.9) < 1.8


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.05])
def test_noise_of_a_photograph(astronaut: Image, noise: float) -> None:
    rng = np.random.default_rng(5)
    image = convolve(astronaut, gaussian(1.5)) * 0.7 + 0.15
    noisy = quantise(image + rng.normal(0, noise, image.shape).astype(np.float32))
    assert noise_sigma(noisy) == pytest.approx(np.hypot(noise, 1 / (255 * 12**0.5)), rel=0.05)


def test_noise_of_an_overexposed_photograph(astronaut: Image) -> None:
    """Noise is cut off where the picture is white: those parts are flat, and tell nothing."""
    rng = np.random.default_rng(5)
    image = convolve(astronaut, gaussian(1.5)) * 1.6
    noisy = quantise(image + rng.normal(0, 0.01, image.shape).astype(np.float32))
    assert (noisy == 1).mean() > 0.2
    assert noise_sigma(noisy) == pytest.approx(0.01, rel=0.1)
    assert noise_sigma(np.ones((100, 100, 3), np.float32)) == 0


def test_noise_of_nothing() -> None:
    assert noise_sigma(np.zeros((4, 400, 3), np.float32)) == 0
    assert noise_sigma(np.full((100, 100, 3), 0.3, np.float32)) == 0


def test_texture_is_not_noise(camera: Image) -> None:
    """The photographer's coat and the sky are quiet; grass fills a third of the picture."""
    assert noise_sigma(camera) < 0.004
    assert sharpness(camera) > 0.4


def test_sharpness_falls_with_blur(astronaut: Image) -> None:
    values = [
        sharpness(astronaut),
        *(sharpness(convolve(astronaut, gaussian(s))) for s in (0.5, 0.7, 1.0, 1.5)),
    ]
    assert (np.diff(values) < 0).all()
    assert values[0] > 0.4
    assert values[-1] < 0.1
    assert sharpness(np.full((64, 64, 3), 0.5, np.float32)) == 0
