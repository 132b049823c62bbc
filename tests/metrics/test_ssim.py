import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import color
from skimage.metrics import structural_similarity
from torch.nn import functional

from unblur.errors import ImageError, OptionError
from unblur.metrics import FLAVOURS, ms_ssim, ssim

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def gaussian(*, dimensions):
    taps = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    weights = taps
    for _ in range(dimensions - 1):
        weights = np.multiply.outer(weights, taps)
    return weights / weights.sum()


def ssim_map(a, b, means, data_range):
    """The textbook formula with five moments under any operator of local means."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = means(a), means(b)
    var_a, var_b, covariance = (
        means(a * a) - mean_a**2,
        means(b * b) - mean_b**2,
        means(a * b) - mean_a * mean_b,
    )
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1) * structure, structure


def planar(picture):
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[:, None]


def windowed_by_torch(plane, padding=0):
    return functional.conv2d(plane, torch.from_numpy(gaussian(dimensions=2))[None, None], padding=padding)


def skimage_tf(a, b, data_range):
    """scikit-image with Wang's settings: it crops the 5 pixels whose windows reach outside."""
    return structural_similarity(a, b, channel_axis=2, data_range=data_range, **WANG)


def check_against_skimage(pairs):
    for a, b in pairs:
        assert ssim(a, b, data_range=1) == pytest.approx(skimage_tf(a, b, 1), abs=1e-9)
        expected = structural_similarity(a, b, channel_axis=2, data_range=1)
        assert ssim(a, b, data_range=1, flavour="skimage") == pytest.approx(expected, abs=1e-9)


def test_tf_and_skimage_equal_scikit_image(pairs):
    check_against_skimage(pairs)


@pytest.mark.data
def test_tf_and_skimage_equal_scikit_image_on_photographs(bsds_pairs):
    check_against_skimage(bsds_pairs)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_dtype_is_computed_in_float64(pair, dtype):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    a, b = (np.round(x * top).astype(dtype) if top > 1 else x.astype(dtype) for x in pair)
    expected = skimage_tf(a.astype(np.float64), b.astype(np.float64), top)
    assert ssim(a, b, data_range=top) == pytest.approx(expected, abs=1e-9)


# Sides around the window, and around one and two tiles of the map.
@pytest.mark.parametrize("height", [11, 12, 34, 35, 59])
@pytest.mark.parametrize("width", [11, 42, 43, 266, 267, 523])
def test_no_seams_between_tiles(height, width, rng):
    a = rng.random((height, width, 2))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    expected = ssim_map(planar(a), planar(b), windowed_by_torch, 1)[0].mean()
    assert ssim(a, b, data_range=1) == pytest.approx(float(expected), abs=1e-12)


def test_flat_pictures_follow_the_formula():
    for low, high in [(0.0, 1.0), (0.25, 0.75), (0.999, 1.0)]:
        a, b = np.full((200, 200, 3), low), np.full((200, 200, 3), high)
        expected = (2 * low * high + 1e-4) / (low**2 + high**2 + 1e-4)
        assert ssim(a, b, data_range=1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_noise_on_a_flat_picture(level, rng):
    a = np.full((150, 150, 1), level)
    b = np.clip(a + rng.normal(0, 0.02, a.shape), 0, 1)
    assert ssim(a, b, data_range=1) == pytest.approx(skimage_tf(a, b, 1), abs=1e-9)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour(flavour, pair):
    a, b = pair
    assert ssim(a, a, data_range=1, flavour=flavour) == 1
    value = ssim(a, b, data_range=1, flavour=flavour)
    assert 0.2 < value < 0.99
    assert ssim(b, a, data_range=1, flavour=flavour) == pytest.approx(value, abs=1e-12)
    assert ssim(255 * a, 255 * b, data_range=255, flavour=flavour) == pytest.approx(value, abs=1e-12)
    assert ssim(a, b, data_range=1, flavour=flavour) == value
    grey = ssim(a[:, :, 1], b[:, :, 1], data_range=1, flavour=flavour)
    assert ssim(a[:, :, 1:2], b[:, :, 1:2], data_range=1, flavour=flavour) == grey


def test_flavours_are_not_one_number(pair):
    values = {name: ssim(*pair, data_range=1, flavour=name) for name in FLAVOURS if name != "downsampled"}
    assert len({round(value, 4) for value in values.values()}) == len(values)


def test_matlab3d_is_a_volume_with_replicated_edges(pair):
    a, b = (x[:45, :39] for x in pair)
    cube = gaussian(dimensions=3)
    expected, _ = ssim_map(a, b, lambda x: ndimage.convolve(x, cube, mode="nearest"), 1)
    assert ssim(a, b, data_range=1, flavour="matlab3d") == pytest.approx(expected.mean(), abs=1e-12)


def test_matlab3d_of_a_grey_picture_is_flat(pair):
    a, b = (x[:45, :39, 0] for x in pair)
    square = gaussian(dimensions=2)
    expected, _ = ssim_map(a, b, lambda x: ndimage.convolve(x, square, mode="nearest"), 1)
    assert ssim(a, b, data_range=1, flavour="matlab3d") == pytest.approx(expected.mean(), abs=1e-12)


def test_matlab3d_is_defined_for_one_pixel():
    a, b = np.full((1, 1, 3), 0.2), np.full((1, 1, 3), 0.6)
    assert ssim(a, b, data_range=1, flavour="matlab3d") == pytest.approx(
        (0.24 + 1e-4) / (0.4 + 1e-4), abs=1e-12
    )


def test_luma_is_studio_swing(pair):
    a, b = (color.rgb2ycbcr(x)[:, :, :1] for x in pair)
    assert ssim(*pair, data_range=1, flavour="luma") == pytest.approx(skimage_tf(a, b, 255), abs=1e-9)


def test_zeropad_pads_with_zeros(pair):
    a, b = (planar(x) for x in pair)
    expected, _ = ssim_map(a, b, lambda x: windowed_by_torch(x, padding=5), 1)
    assert ssim(*pair, data_range=1, flavour="zeropad") == pytest.approx(float(expected.mean()), abs=1e-12)


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(383, 700, 1), (384, 500, 2), (401, 640, 2), (640, 643, 3)]
)
def test_downsampled_shrinks_as_imfilter_does(height, width, factor, rng):
    a = ndimage.gaussian_filter(rng.random((height, width)), 1.5)
    b = np.clip(a + rng.normal(0, 0.02, a.shape), 0, 1)
    box = np.full((factor, factor), 1 / factor**2)
    # imfilter puts an even window's centre left of its middle, scipy right of it.
    origin = -1 if factor % 2 == 0 else 0
    small = [
        ndimage.correlate(x, box, mode="reflect", origin=origin)[::factor, ::factor, None] for x in (a, b)
    ]
    assert ssim(a, b, data_range=1, flavour="downsampled") == pytest.approx(skimage_tf(*small, 1), abs=1e-9)


def ms_ssim_by_torch(a, b):
    a, b = planar(a), planar(b)
    product = torch.ones(a.shape[0], dtype=torch.float64)
    for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        if scale:
            # One replicated pixel is the symmetric padding of an odd side.
            pad = (0, a.shape[3] % 2, 0, a.shape[2] % 2)
            a, b = (functional.avg_pool2d(functional.pad(x, pad, mode="replicate"), 2) for x in (a, b))
        whole, structure = ssim_map(a, b, windowed_by_torch, 1)
        term = whole if scale == 4 else structure
        product *= torch.relu(term.mean(dim=(1, 2, 3))) ** weight
    return float(product.mean())


@pytest.mark.parametrize("shape", [(176, 176), (177, 190), (180, 183)])
def test_ms_ssim_equals_a_plain_implementation(pair, shape):
    a, b = (x[: shape[0], : shape[1]] for x in pair)
    assert ms_ssim(a, b, data_range=1) == pytest.approx(ms_ssim_by_torch(a, b), abs=1e-12)
    assert ms_ssim(255 * a, 255 * b, data_range=255) == pytest.approx(ms_ssim(a, b, data_range=1), abs=1e-12)


def test_ms_ssim_on_photographs(pairs):
    for a, b in pairs[:3]:
        assert ms_ssim(a, b, data_range=1) == pytest.approx(ms_ssim_by_torch(a, b), abs=1e-12)
        assert ms_ssim(a, a, data_range=1) == 1


def test_ms_ssim_rectifies_negative_terms(rng):
    a = rng.random((180, 180, 1))
    assert ms_ssim(a, 1 - a, data_range=1) == 0


def test_too_small_for_the_window():
    for flavour, least in [("tf", 11), ("skimage", 7), ("luma", 11), ("downsampled", 11)]:
        ssim(np.zeros((least, least)), np.zeros((least, least)), data_range=1, flavour=flavour)
        with pytest.raises(OptionError, match=f"below {least} pixels a side, got 40x{least - 1}"):
            ssim(np.zeros((least - 1, 40)), np.zeros((least - 1, 40)), data_range=1, flavour=flavour)
    with pytest.raises(OptionError, match="below 176 pixels a side, got 175x300"):
        ms_ssim(np.zeros((300, 175, 3)), np.zeros((300, 175, 3)), data_range=1)


def test_wrong_calls():
    square = np.zeros((20, 20, 3))
    with pytest.raises(OptionError, match="unknown SSIM flavour 'wang'; one of tf, "):
        ssim(square, square, data_range=1, flavour="wang")
    with pytest.raises(OptionError, match="data_range"):
        ssim(square, square, data_range=0)
    with pytest.raises(ImageError, match=r"\(20, 20, 3\) and \(20, 21, 3\)"):
        ssim(square, np.zeros((20, 21, 3)), data_range=1)
    with pytest.raises(ImageError, match=r"\(1, 20, 20, 3\)"):
        ssim(square[None], square[None], data_range=1)
    with pytest.raises(ImageError, match="1 or 3 channels"):
        ssim(square[:, :, :2], square[:, :, :2], data_range=1, flavour="luma")
