import io

import numpy as np
import pytest
from PIL import Image as PILImage

from unblur.errors import OptionError
from unblur.image import from_array, to_array
from unblur.physics.noise import clip_highlights, gaussian_noise, jpeg, shot_read_noise


def grey(value, shape=(200, 200, 3)):
    return np.full(shape, value, np.float32)


def test_gaussian_noise_has_its_deviation_and_no_clipping(rng):
    found = gaussian_noise(grey(0.0), 0.02, rng)
    assert found.dtype == np.float32
    assert found.std() == pytest.approx(0.02, rel=0.02)
    assert found.mean() == pytest.approx(0, abs=4 * 0.02 / np.sqrt(found.size))
    assert found.min() < 0


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_shot_noise_grows_with_the_signal(value, rng):
    found = shot_read_noise(grey(value), 4e-4, 0.01, rng)
    assert found.dtype == np.float32
    assert found.std() == pytest.approx(np.sqrt(4e-4 * value + 1e-4), rel=0.02)
    assert found.mean() == pytest.approx(value, abs=3e-4)


def test_noise_is_independent_in_every_channel(rng):
    for found in (gaussian_noise(grey(0.5), 0.1, rng), shot_read_noise(grey(0.5), 0.1, 0.1, rng)):
        assert np.abs(np.corrcoef(found.reshape(-1, 3).T) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize(
    "make", [lambda x, r: gaussian_noise(x, 0.1, r), lambda x, r: shot_read_noise(x, 0.1, 0.1, r)]
)
def test_same_seed_same_noise(make):
    first, second, other = (make(grey(0.5), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_no_noise_changes_nothing(rng):
    np.testing.assert_array_equal(gaussian_noise(grey(0.3), 0, rng), grey(0.3))
    np.testing.assert_array_equal(shot_read_noise(grey(0.3), 0, 0, rng), grey(0.3))


def test_noise_refuses_negative_levels(rng):
    for call in (
        lambda: gaussian_noise(grey(0.5), -0.1, rng),
        lambda: shot_read_noise(grey(0.5), -0.1, 0, rng),
        lambda: shot_read_noise(grey(0.5), 0, float("nan"), rng),
    ):
        with pytest.raises(OptionError):
            call()


def test_highlights_are_clipped():
    image = np.array([0, 0.5, 0.8, 0.9], np.float32).reshape(1, 4, 1)
    np.testing.assert_allclose(clip_highlights(image, 1.2).ravel(), [0, 0.6, 0.96, 1.0], atol=1e-6)


class TestJpeg:
    def psnr(self, a, b):
        return -10 * np.log10(np.mean((a - b).astype(np.float64) ** 2))

    def test_quality_orders_fidelity(self, astronaut):
        found = [self.psnr(jpeg(astronaut, quality), astronaut) for quality in (60, 80, 98)]
        assert 30 < found[0] < found[1] < found[2] < 50

    def test_result_is_eight_bits(self, astronaut):
        found = jpeg(astronaut[:64, :64], 75)
        np.testing.assert_array_equal(from_array(to_array(found, np.uint8)), found)

    @pytest.mark.parametrize("quality", [60, 92, 98])
    def test_is_an_ordinary_encoder(self, astronaut, quality):
        """Chroma at half size, the same tables: Pillow with the same settings is the same up to rounding."""
        stream = io.BytesIO()
        PILImage.fromarray(to_array(astronaut, np.uint8)).save(
            stream, "JPEG", quality=quality, subsampling="4:2:0"
        )
        other = np.asarray(PILImage.open(stream), np.float32) / 255
        assert self.psnr(jpeg(astronaut, quality), other) > 50

    @pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (7, 3, 3), (9, 17, 1)])
    def test_keeps_small_shapes(self, shape):
        found = jpeg(grey(0.5, shape), 90)
        assert found.shape == shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, 0.5, atol=2 / 255)

    def test_views_are_accepted(self, astronaut):
        crop = astronaut[10:50, 20:70, ::-1]
        np.testing.assert_array_equal(jpeg(crop, 80), jpeg(np.ascontiguousarray(crop), 80))

    @pytest.mark.parametrize("quality", [0, 101])
    def test_refuses_other_qualities(self, quality):
        with pytest.raises(OptionError):
            jpeg(grey(0.5), quality)
