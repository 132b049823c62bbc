"""sigma-CNN and Richardson-Lucy: which sigma is used where, and what happens without weights."""

from __future__ import annotations

import numpy as np
import pytest

import unblur
from unblur import methods
from unblur.classical.richardson_lucy import richardson_lucy
from unblur.errors import FileError, OptionError
from unblur.image import from_array, to_array
from unblur.methods import cnn_rl
from unblur.models import card, write_weights
from unblur.physics.convolve import gaussian_blur
from unblur.physics.kernels import gaussian
from unblur.runtime.fake import FakeBackend


def psnr(a, b):
    return -10 * np.log10(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2))


@pytest.fixture
def estimator(monkeypatch):
    """Put a function from windows (N, 3, H, W) to sigmas (N,) in the place of the network; the backend."""

    def put(function, name="sigma_cnn_160x240"):
        backend = FakeBackend(lambda batch: np.asarray(function(batch), np.float32))
        monkeypatch.setattr(cnn_rl, "_open", lambda model: (backend, card(name)))
        return backend

    return put


@pytest.fixture(scope="module")
def sharp(astronaut):
    return astronaut[:320, :400]


def test_the_picture_is_restored_with_the_median_of_its_windows(estimator, sharp):
    backend = estimator(lambda batch: np.linspace(1.0, 2.0, len(batch)))
    blurred = to_array(gaussian_blur(sharp, 1.5, rule="matlab"), np.uint8)
    result = unblur.restore(blurred, "cnn-rl")
    assert backend.shapes == [(4, 3, 160, 240)]
    assert result.blur.kind == "gaussian"
    assert result.blur.parameters["sigma"] == pytest.approx(1.5)
    # imgaussfilt's rule, as in the published system
    assert result.blur.kernel.shape == (7, 7)
    assert result.method == "cnn-rl"
    assert np.array_equal(
        result.image, unblur.restore(blurred, "richardson-lucy", kernel=gaussian(1.5, rule="matlab")).image
    )
    assert psnr(from_array(result.image), sharp) > psnr(from_array(blurred), sharp) + 1


def test_windows_are_the_picture_as_it_is(estimator, sharp):
    seen = []
    estimator(lambda batch: seen.append(batch) or np.ones(len(batch)))
    cnn_rl.CNN_RL.find(sharp[:300, :250])
    batch = seen[0]
    assert batch.shape == (4, 3, 160, 240)
    for window, (top, left) in zip(batch, [(0, 0), (0, 10), (140, 0), (140, 10)], strict=True):
        assert np.array_equal(window.transpose(1, 2, 0), sharp[top : top + 160, left : left + 240])


def test_a_small_grey_picture_is_mirrored_and_shown_three_times(estimator, sharp):
    seen = []
    estimator(lambda batch: seen.append(batch) or np.ones(len(batch)))
    grey = sharp[:50, :70, :1]
    cnn_rl.CNN_RL.find(grey)
    window = seen[0][0]
    assert np.array_equal(window[0], window[2])
    assert np.array_equal(window[0, :50, :70], grey[:, :, 0])
    assert np.array_equal(window[1, 50], window[1, 48])


@pytest.mark.parametrize("sigma", [0.2, -3.0, np.nan])
@pytest.mark.parametrize("method", ["cnn-rl", "cnn-rl-stitch"])
def test_what_counts_as_sharp_is_left_alone(estimator, sharp, method, sigma):
    estimator(lambda batch: np.full(len(batch), sigma))
    picture = to_array(sharp, np.uint8)
    assert np.array_equal(unblur.restore(picture, method).image, picture)


def test_a_wild_estimate_is_not_believed(estimator, sharp):
    estimator(lambda batch: np.full(len(batch), np.inf))
    assert cnn_rl.CNN_RL.find(sharp).parameters["sigma"] == cnn_rl.WIDEST


def test_a_network_of_any_size_sees_the_whole_picture(estimator, sharp):
    backend = estimator(lambda batch: np.ones(len(batch)), "sigma_cnn_pool")
    cnn_rl.CNN_RL.find(sharp)
    cnn_rl.CNN_RL.find(sharp[:3, :5])
    assert backend.shapes == [(1, 3, 320, 400), (1, 3, 32, 32)]


def test_each_cell_is_restored_by_its_own_sigma(estimator, astronaut):
    # Two cells side by side: the left one is blurred, the right one is not.
    sharp = astronaut[:144]
    whole = gaussian_blur(sharp, 2.0, rule="matlab")
    picture = sharp.copy()
    picture[:, :256] = whole[:, :256]
    backend = estimator(lambda batch: [2.0, 0.0], "sigma_cnn_144x256")
    out = unblur.restore(to_array(picture, np.uint8), "cnn-rl-stitch").image
    assert backend.shapes == [(2, 3, 144, 256)]
    given = to_array(picture, np.uint8)
    half = cnn_rl.FEATHER // 2
    assert np.array_equal(out[:, 256 + half :], given[:, 256 + half :])
    inside = np.s_[:, : 256 - 40]
    assert psnr(from_array(out[inside]), sharp[inside]) > psnr(from_array(given[inside]), sharp[inside]) + 1
    # Away from the seam it is what Richardson-Lucy makes of the cell and its margin.
    patch = np.pad(from_array(given), ((16, 16), (16, 0), (0, 0)), mode="reflect")[:, : 256 + 32]
    expected = richardson_lucy(patch, gaussian(2.0, rule="matlab"), border="reflect101", noise=0.0)
    close = np.abs(expected[16:-16, 16:-16][inside] - from_array(out[inside]))
    assert close.max() < 2 / 255


def test_windows_are_centred_on_their_cells(estimator, astronaut):
    seen = []
    estimator(lambda batch: seen.append(batch) or np.zeros(len(batch)), "sigma_cnn_144x256")
    cnn_rl.CNN_RL_STITCH.run(astronaut[:360], unblur.Blur("varying"), methods.Options())
    batch = seen[0]
    # 360/144 rounds to 2 rows (banker's), each window centred on 180 pixels; 512/256 is 2 columns exactly.
    assert batch.shape == (4, 3, 144, 256)
    for window, (top, left) in zip(batch, [(18, 0), (18, 256), (198, 0), (198, 256)], strict=True):
        assert np.array_equal(window.transpose(1, 2, 0), astronaut[top : top + 144, left : left + 256])


@pytest.mark.parametrize("shape", [(1, 1), (1, 300, 3), (200, 2), (7, 5, 3), (300, 530, 3)])
@pytest.mark.parametrize("method", ["cnn-rl", "cnn-rl-stitch"])
@pytest.mark.parametrize("known", [True, False])
def test_every_size(estimator, method, shape, known, rng):
    estimator(lambda batch: np.full(len(batch), 1.5), cnn_rl.MODELS[method])
    picture = rng.integers(0, 256, shape, dtype=np.uint8)
    assert unblur.restore(picture, method, sigma=2.0 if known else None).image.shape == shape


@pytest.mark.parametrize("method", ["cnn-rl", "cnn-rl-stitch"])
def test_a_given_blur_needs_no_weights(monkeypatch, tmp_path, sharp, method):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(tmp_path))
    sharp = sharp[:160, :200]
    blurred = to_array(gaussian_blur(sharp, 1.5), np.uint8)
    result = unblur.restore(blurred, method, sigma=1.5)
    assert psnr(from_array(result.image), sharp) > psnr(from_array(blurred), sharp) + 1
    more = unblur.restore(blurred, method, sigma=1.5, iterations=12)
    assert not np.array_equal(more.image, result.image)


@pytest.mark.parametrize("method", ["cnn-rl", "cnn-rl-stitch"])
def test_missing_weights_are_told(monkeypatch, tmp_path, sharp, method):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(FileError, match=f"no weights for {cnn_rl.MODELS[method]} .*looked in .*; train it"):
        unblur.restore(to_array(sharp, np.uint8), method)
    with pytest.raises(FileError, match="none.onnx: no such file"):
        unblur.restore(to_array(sharp, np.uint8), f"{method}:none.onnx")


def test_rows_and_other_models():
    assert methods.get("cnn-rl") is methods.METHODS["cnn-rl"]
    assert methods.get("cnn-rl").models == ("sigma_cnn_160x240",)
    assert methods.get("cnn-rl-stitch:sigma_cnn_pool").models == ("sigma_cnn_pool",)
    with pytest.raises(OptionError, match="unknown method"):
        methods.get("wiener:sigma_cnn_pool")


def constant(name: str, sigma: float, **arguments: object):
    """A real sigma-CNN that answers `sigma` to everything."""
    import torch

    from unblur import nets

    net = nets.create(name, **arguments)
    with torch.no_grad():
        net.head[-1].weight.zero_()
        net.head[-1].bias.fill_(sigma)
    return net.eval()


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_real_weights_by_file_and_by_name(monkeypatch, tmp_path, sharp, suffix):
    from unblur.nets.export import to_onnx

    name = "sigma_cnn_160x240"
    net = constant(name, 1.25)
    path = tmp_path / f"{name}{suffix}"
    if suffix == ".onnx":
        to_onnx(net, card(name), path)
    else:
        write_weights(path, {key: value.numpy() for key, value in net.state_dict().items()}, card(name))
    picture = to_array(sharp, np.uint8)
    by_file = unblur.restore(picture, f"cnn-rl:{path}")
    assert by_file.blur.parameters["sigma"] == pytest.approx(1.25, abs=1e-5)
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(tmp_path))
    assert np.array_equal(unblur.restore(picture, "cnn-rl").image, by_file.image)
    assert np.array_equal(unblur.restore(picture, f"cnn-rl-stitch:{path}").image.shape, picture.shape)


def test_weights_of_a_restorer_are_refused(tmp_path, sharp):
    from unblur import nets

    path = tmp_path / "unet16.safetensors"
    tensors = {key: value.numpy() for key, value in nets.create("unet16").state_dict().items()}
    write_weights(path, tensors, card("unet16"))
    with pytest.raises(OptionError, match="unet16 does not estimate sigma"):
        unblur.restore(to_array(sharp, np.uint8), f"cnn-rl:{path}")
