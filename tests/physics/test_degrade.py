import csv
import io
import math
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image as PILImage

from unblur.errors import OptionError
from unblur.image import from_array, to_array
from unblur.metrics.ssim import ssim
from unblur.physics.blur import Blur
from unblur.physics.convolve import convolve
from unblur.physics.degrade import DEGRADATIONS, Draw, degrade, get, reference
from unblur.physics.kernels import gaussian
from unblur.physics.varying import blur_image

GAUSSIANS = [name for name in DEGRADATIONS if name not in ("mixed-u8", "uniform-u8", "sharp")]
EIGHT_BITS = [name for name in DEGRADATIONS if "f32" not in name]


@pytest.fixture(scope="module")
def picture(astronaut):
    """A sharp 8-bit picture."""
    return np.ascontiguousarray(astronaut[100:196, 60:190])


def draws(name, count, shape=(24, 32, 3)):
    return [DEGRADATIONS[name].draw(np.random.default_rng([0, i]), shape) for i in range(count)]


def psnr(a, b):
    return -10 * math.log10(np.mean((a - b).astype(np.float64) ** 2))


class TestEveryDegradation:
    @pytest.mark.parametrize("name", DEGRADATIONS)
    def test_is_found_by_its_name(self, name):
        assert get(name).name == name
        assert get(name.replace("-", "_").upper()) is get(name)
        assert get(name).description

    @pytest.mark.parametrize("name", DEGRADATIONS)
    @pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (5, 1, 3), (33, 20, 1), (40, 150, 3)])
    def test_keeps_every_shape_and_the_range(self, name, shape):
        image = from_array(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        for index in range(25):
            found, draw = degrade(image, name, seed=5, index=index)
            assert found.shape == shape
            assert found.dtype == np.float32
            assert found.min() >= -1e-6
            assert found.max() <= 1 + 1e-6
            assert draw.degradation == name

    @pytest.mark.parametrize("name", DEGRADATIONS)
    def test_each_image_can_be_made_again_alone(self, name, picture):
        series = [degrade(picture, name, seed=3, index=i) for i in range(6)]
        again, draw = degrade(picture.copy(), name, seed=3, index=4)
        np.testing.assert_array_equal(again, series[4][0])
        assert draw.to_row() == series[4][1].to_row()
        np.testing.assert_array_equal(get(name).apply(picture, draw), again)

    @pytest.mark.parametrize("name", ["cifar-u03-u8", "halfnormal5-u8", "mixed-u8"])
    def test_other_seeds_and_indices_draw_otherwise(self, name):
        rows = [
            degrade(np.zeros((8, 8, 3), np.float32), name, s, i)[1].to_row() for s in (0, 1) for i in (0, 1)
        ]
        assert len({str({**row, "seed": 0, "index": 0}) for row in rows}) == 4

    @pytest.mark.parametrize("name", EIGHT_BITS)
    def test_eight_bits_survive_a_file(self, name, picture):
        for index in range(4):
            found, _ = degrade(picture, name, seed=0, index=index)
            np.testing.assert_array_equal(from_array(to_array(found, np.uint8)), found)

    @pytest.mark.parametrize("name", DEGRADATIONS)
    def test_leaves_its_input_alone(self, name, picture):
        before = picture.copy()
        for index in range(8):
            degrade(picture, name, seed=1, index=index)
        np.testing.assert_array_equal(picture, before)

    @pytest.mark.parametrize("name", GAUSSIANS)
    def test_constants_are_unchanged_and_channels_independent(self, name, picture):
        constant = np.full((20, 30, 3), 100 / 255, np.float32)
        red = picture.copy()
        red[:, :, 1:] = 0
        for index in range(5):
            np.testing.assert_allclose(degrade(constant, name, 0, index)[0], constant, atol=1e-6)
            found = degrade(red, name, 0, index)[0]
            assert found[:, :, 1:].max() == 0
            np.testing.assert_allclose(
                found[:, :, 0], degrade(picture, name, 0, index)[0][:, :, 0], atol=1e-6
            )

    @pytest.mark.parametrize("name", GAUSSIANS)
    def test_the_drawn_blur_is_the_one_applied(self, name, picture):
        border = "replicate" if name == "halfnormal5-u8" else "reflect101"
        tolerance = 1.5 / 255 if name in EIGHT_BITS else 1e-6  # taps and result rounded to 8 bits
        for index in range(4):
            found, draw = degrade(picture, name, 0, index)
            np.testing.assert_allclose(found, blur_image(picture, draw.blur, border=border), atol=tolerance)

    @pytest.mark.parametrize("name", ["cifar-u03-u8", "reds-k7", "reds-k11"])
    def test_in_eight_bits_the_drawn_kernel_is_exact(self, name, picture):
        for index in range(4):
            found, draw = degrade(picture, name, 0, index)
            # Half of a grey level of 255 for the rounding of the result, and nothing for that of the taps.
            exact = blur_image(picture, draw.blur, border="reflect101")
            assert np.abs(found - exact).max() <= 0.501 / 255

    @pytest.mark.parametrize("name", DEGRADATIONS)
    def test_rows_are_flat_and_alike(self, name):
        row = degrade(np.zeros((8, 8, 3), np.float32), name, 4, 2)[1].to_row()
        assert list(row) == list(draws("sharp", 1)[0].to_row())
        assert (row["degradation"], row["seed"], row["index"]) == (name, 4, 2)
        assert all(value is None or type(value) in (str, int, float) for value in row.values())
        table = io.StringIO()
        csv.DictWriter(table, row).writerow(row)
        assert name in table.getvalue()

    def test_unknown_names_get_the_nearest(self):
        with pytest.raises(OptionError, match="did you mean 'cifar-u03-u8'"):
            degrade(np.zeros((8, 8, 3), np.float32), "cifar-u03-8", 0)
        with pytest.raises(OptionError):
            get("")

    @pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
    def test_negative_seeds_are_refused(self, seed, index):
        with pytest.raises(OptionError):
            degrade(np.zeros((8, 8, 3), np.float32), "sharp", seed, index)


class TestPublishedBlurs:
    def sigmas(self, name, count=3000):
        return np.array([draw.blur.parameters["sigma"] for draw in draws(name, count)])

    @pytest.mark.parametrize("name", ["cifar-u03-u8", "cifar-u03-f32"])
    def test_uniform_sigmas(self, name):
        sigmas = self.sigmas(name)
        assert sigmas.min() >= 0
        assert sigmas.max() <= 3
        assert np.abs(np.sort(sigmas) / 3 - np.arange(3000) / 3000).max() < 1.63 / math.sqrt(3000)  # KS, 1 %

    def test_whole_sigmas(self):
        counts = Counter(self.sigmas("cifar-int123-f32"))
        assert set(counts) == {1, 2, 3}
        assert all(abs(count - 1000) < 4 * math.sqrt(3000 * 2 / 9) for count in counts.values())
        sizes = {
            draw.blur.parameters["sigma"]: draw.blur.kernel.shape[0] for draw in draws("cifar-int123-f32", 30)
        }
        assert sizes == {1: 9, 2: 17, 3: 25}

    def test_half_normal_sigmas(self):
        sigmas = self.sigmas("halfnormal5-u8")
        assert sigmas.mean() == pytest.approx(5 * math.sqrt(2 / math.pi), abs=4 * 3.01 / math.sqrt(3000))
        assert np.median(sigmas) == pytest.approx(3.37, abs=0.25)
        assert (sigmas < 0.5).mean() == pytest.approx(0.08, abs=0.02)

    @pytest.mark.parametrize(
        ("name", "sigma", "size"), [("reds-k3", 0.3, 3), ("reds-k7", 1, 7), ("reds-k11", 1.6, 11)]
    )
    def test_fixed_blurs_are_those_of_opencv(self, name, sigma, size, picture):
        expected = cv2.GaussianBlur(to_array(picture, np.uint8), (size, size), sigma)
        found, draw = degrade(picture, name, 0)
        np.testing.assert_array_equal(to_array(found, np.uint8), expected)
        assert draw.blur.parameters["sigma"] == sigma
        assert draw.blur.kernel.shape == (size, size)

    def test_uniform_blurs_are_those_of_opencv(self, picture):
        for index in range(10):
            found, draw = degrade(picture, "cifar-u03-u8", 0, index)
            expected = cv2.GaussianBlur(to_array(picture, np.uint8), (0, 0), draw.blur.parameters["sigma"])
            np.testing.assert_array_equal(to_array(found, np.uint8), expected)
            found, draw = degrade(picture, "cifar-u03-f32", 0, index)
            expected = cv2.GaussianBlur(picture, (0, 0), draw.blur.parameters["sigma"])
            np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_half_normal_is_imgaussfilt(self, picture):
        for index in range(4):
            found, draw = degrade(picture, "halfnormal5-u8", 0, index)
            sigma = draw.blur.parameters["sigma"]
            kernel = gaussian(sigma, size=2 * math.ceil(2 * sigma) + 1)
            expected = convolve(picture, kernel, border="replicate", method="fft")
            np.testing.assert_allclose(found, expected, atol=0.51 / 255)

    def test_tiny_sigma_is_the_identity(self, picture):
        tiny = Draw("any", Blur("gaussian", {"sigma": 9e-4}, kernel=gaussian(9e-4)))
        for name in ("cifar-u03-f32", "cifar-u03-u8", "halfnormal5-u8"):
            np.testing.assert_array_equal(get(name).apply(picture, tiny), picture)

    def test_sharp_is_sharp(self, picture):
        found, draw = degrade(picture, "sharp", 0)
        np.testing.assert_array_equal(found, picture)
        assert draw.blur.kind == "none"


def test_uniform_is_mixed_without_what_a_deconvolution_cannot_know():
    drawn = draws("uniform-u8", 400)
    assert {draw.blur.kind for draw in drawn} == {"gaussian", "disk", "motion", "shake"}
    assert all(draw.blur.kernel is not None and not draw.blur.parts for draw in drawn)
    assert all(draw.jpeg is None and draw.exposure == 1 for draw in drawn)
    assert 150 < sum(draw.noise > 0 for draw in drawn) < 250


#: What mixed-u8 promises.
SHARES = {
    "none": 0.10,
    "isotropic": 0.20,
    "anisotropic": 0.10,
    "disk": 0.20,
    "motion": 0.15,
    "shake": 0.20,
    "varying": 0.05,
}
COUNT = 4000


@pytest.fixture(scope="module")
def drawn():
    return draws("mixed-u8", COUNT)


class TestMixed:
    def kind(self, blur):
        if blur.kind != "gaussian":
            return blur.kind
        return "anisotropic" if "angle" in blur.parameters else "isotropic"

    def near(self, count, share):
        return abs(count - share * COUNT) < 4 * math.sqrt(COUNT * share * (1 - share))

    def test_shares(self, drawn):
        counts = Counter(self.kind(draw.blur) for draw in drawn)
        assert set(counts) == set(SHARES)
        assert all(self.near(counts[kind], share) for kind, share in SHARES.items()), counts
        assert self.near(sum(draw.noise > 0 for draw in drawn), 1 / 2)
        assert self.near(sum(draw.exposure == 1.2 for draw in drawn), 1 / 10)
        assert self.near(sum(draw.jpeg is not None for draw in drawn), 1 / 3)

    @pytest.mark.parametrize(
        ("kind", "name", "low", "high"),
        [
            ("isotropic", "sigma", 0.3, 4),
            ("anisotropic", "sigma", 0.3, 4),
            ("anisotropic", "sigma_y", 0.3, 4),
            ("anisotropic", "angle", 0, 180),
            ("disk", "radius", 1, 6),
            ("motion", "length", 3, 25),
            ("motion", "angle", 0, 180),
        ],
    )
    def test_parameters_are_uniform(self, drawn, kind, name, low, high):
        values = np.sort([draw.blur.parameters[name] for draw in drawn if self.kind(draw.blur) == kind])
        steps = np.abs((values - low) / (high - low) - np.arange(values.size) / values.size)
        assert steps.max() < 1.95 / math.sqrt(values.size)  # Kolmogorov-Smirnov, 0.1 %

    def test_the_rest_lies_in_its_range(self, drawn):
        sizes = {draw.blur.parameters["size"] for draw in drawn if draw.blur.kind == "shake"}
        assert sizes == set(range(9, 32, 2))
        assert {draw.jpeg for draw in drawn} == {None, *range(60, 99)}
        assert 0.019 < max(draw.noise for draw in drawn) <= 0.02
        assert {draw.exposure for draw in drawn} == {1.0, 1.2}

    def test_choices_are_independent(self, drawn):
        table = np.array(
            [(d.noise > 0, d.jpeg is not None, d.exposure > 1, d.blur.kind == "disk") for d in drawn]
        )
        assert np.abs(np.corrcoef(table.T) - np.eye(4)).max() < 4 / math.sqrt(COUNT)

    def test_varying_blurs_are_blends_and_fields(self, drawn):
        varying = [draw.blur for draw in drawn if draw.blur.kind == "varying"]
        fields = [blur for blur in varying if len(blur.parts) == 16]
        assert 0.35 < len(fields) / len(varying) < 0.65
        for blur in varying:
            assert len(blur.parts) in (2, 3, 16)
            np.testing.assert_allclose(sum(part.where for part in blur.parts), 1, atol=1e-5)

    def test_blends_are_smooth(self):
        varying = [draw.blur for draw in draws("mixed-u8", 400, (200, 300, 3)) if draw.blur.kind == "varying"]
        for blur in varying:
            steps = max(
                np.abs(np.diff(part.where, axis=axis)).max() for part in blur.parts for axis in (0, 1)
            )
            assert steps < 0.25
        assert any(part.where.max() - part.where.min() > 0.8 for blur in varying for part in blur.parts)

    def first(self, drawn, wanted):
        return next(draw for draw in drawn if wanted(draw))

    def test_noise_has_the_drawn_deviation_at_mid_grey(self, drawn):
        draw = self.first(drawn, lambda d: d.noise > 0.01 and d.jpeg is None and d.exposure == 1)
        found = DEGRADATIONS["mixed-u8"].apply(np.full((300, 300, 3), 0.5, np.float32), draw)
        assert (found - found.mean()).std() == pytest.approx(
            math.hypot(draw.noise, 1 / 255 / math.sqrt(12)), rel=0.02
        )
        assert draw.blur.noise == pytest.approx(math.hypot(draw.noise, 1 / 255 / math.sqrt(12)))

    def test_exposure_clips_after_the_blur(self, drawn, picture):
        def wanted(draw):
            return draw.exposure > 1 and draw.jpeg is None and draw.noise == 0 and draw.blur.kind == "disk"

        draw = self.first(drawn, wanted)
        found = DEGRADATIONS["mixed-u8"].apply(picture, draw)
        expected = np.clip(convolve(picture * np.float32(1.2), draw.blur.kernel), 0, 1)
        np.testing.assert_allclose(found, expected, atol=0.51 / 255)
        truth = reference(picture, draw)
        np.testing.assert_allclose(truth, np.clip(picture * np.float32(1.2), 0, 1), atol=0.51 / 255)
        assert psnr(found, truth) > psnr(found, picture)

    def test_what_is_not_blurred_is_unchanged(self, drawn, picture):
        def wanted(draw):
            return draw.exposure == 1 and draw.jpeg is None and draw.noise == 0 and draw.blur.kind == "none"

        draw = self.first(drawn, wanted)
        np.testing.assert_array_equal(DEGRADATIONS["mixed-u8"].apply(picture, draw), picture)
        assert reference(picture, draw) is picture

    def test_jpeg_comes_last(self, drawn, picture):
        draw = self.first(
            drawn, lambda d: d.jpeg is not None and d.jpeg < 70 and d.blur.kind == "none" and not d.noise
        )
        found = DEGRADATIONS["mixed-u8"].apply(picture, draw)
        assert 20 < psnr(found, reference(picture, draw)) < 40


@pytest.mark.data
class TestBaselines:
    def test_cifar_u03_u8(self, data):
        import pickle

        with (data / "cifar-10-subset" / "cifar-10-batches-py" / "test_batch").open("rb") as file:
            raw = np.asarray(pickle.load(file, encoding="bytes")[b"data"], np.uint8)
        images = [from_array(np.ascontiguousarray(row.reshape(3, 32, 32).transpose(1, 2, 0))) for row in raw]
        blurred = [degrade(image, "cifar-u03-u8", seed=0, index=i)[0] for i, image in enumerate(images)]
        errors = np.array(
            [np.mean((a - b).astype(np.float64) ** 2) for a, b in zip(images, blurred, strict=True)]
        )
        assert 0.0060 < errors.mean() < 0.0067
        assert 24.3 < np.mean([-10 * math.log10(error) for error in errors if error > 0]) < 25.5
        assert 0.07 < np.mean(errors == 0) < 0.13
        similar = np.mean([ssim(a, b, data_range=1.0) for a, b in zip(images, blurred, strict=True)])
        assert 0.70 < similar < 0.73

    @pytest.mark.parametrize(
        ("name", "low", "high"), [("reds-k3", 64.4, 65.5), ("reds-k7", 26.6, 27.1), ("reds-k11", 23.7, 24.1)]
    )
    def test_reds(self, data, name, low, high):
        for path in sorted((data / "reds-sample" / "train" / "train_sharp" / "020").glob("*.png"))[::2]:
            frame = cv2.resize(np.asarray(PILImage.open(path)), (448, 256), interpolation=cv2.INTER_AREA)
            sharp = from_array(frame)
            assert low < psnr(degrade(sharp, name, 0)[0], sharp) < high
