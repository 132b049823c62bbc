"""`restore()` as a caller meets it: types, options, tiles, honesty."""

import io
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import PIL.Image
import pytest

import unblur
from unblur import engine, files, threads, tiling
from unblur.errors import FileError, ImageError, KernelError, OptionError, OutputError
from unblur.image import from_array, to_array
from unblur.physics import kernels
from unblur.physics.convolve import gaussian_blur

NAMES = list(unblur.METHODS)


def psnr(a, b):
    return -10 * np.log10(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2))


@pytest.fixture(scope="module")
def blurred(astronaut):
    """A portrait under a Gaussian of sigma 1.5, 8 bit."""
    return to_array(gaussian_blur(astronaut, 1.5), np.uint8)[100:356, 100:356]


@pytest.fixture(scope="module")
def sharp(astronaut):
    return astronaut[100:356, 100:356]


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(40, 33), (33, 40, 1), (40, 33, 3), (40, 33, 4), (40, 33, 2)])
def test_type_dtype_and_shape_are_kept(method, dtype, shape, rng):
    random = rng.random(shape)
    array = (
        random.astype(dtype) if np.dtype(dtype).kind == "f" else (random * np.iinfo(dtype).max).astype(dtype)
    )
    before = array.copy()
    result = unblur.restore(array, method, sigma=1.0)
    assert isinstance(result.image, np.ndarray)
    assert result.image.dtype == dtype
    assert result.image.shape == shape
    assert np.isfinite(result.image.astype(float)).all()
    assert np.array_equal(array, before), "the caller's array was changed"
    assert not np.shares_memory(result.image, array)
    if len(shape) == 3 and shape[2] in (2, 4):
        assert np.array_equal(result.image[..., -1], array[..., -1]), "alpha was changed"


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 200, 3), (200, 1), (2, 3, 3), (7, 5)])
@pytest.mark.parametrize("known", [True, False])
def test_every_size_from_one_pixel_up(method, shape, known, rng):
    if not known and unblur.METHODS[method].models:
        pytest.skip("needs weights to find a blur")
    array = rng.integers(0, 255, shape, dtype=np.uint8)
    assert unblur.restore(array, method, sigma=1.0 if known else None).image.shape == shape


@pytest.mark.parametrize("method", NAMES)
def test_a_known_blur_is_taken_out(method, blurred, sharp):
    result = unblur.restore(blurred, method, sigma=1.5)
    assert result.method == method
    assert result.blur.kind == "gaussian"
    assert result.blur.parameters["sigma"] == 1.5
    assert psnr(from_array(result.image), sharp) > psnr(from_array(blurred), sharp) + 1.5


def test_auto_finds_the_blur_itself(blurred, sharp):
    result = unblur.restore(blurred)
    assert result.blur.kind == "gaussian"
    assert result.blur.parameters["sigma"] == pytest.approx(1.5, abs=0.3)
    assert psnr(from_array(result.image), sharp) > psnr(from_array(blurred), sharp) + 1.5
    assert result.blur.noise is not None


def test_auto_leaves_a_sharp_picture_alone(sharp):
    array = to_array(sharp, np.uint8)
    result = unblur.restore(array)
    assert result.left_alone
    assert result.method == "none"
    assert np.array_equal(result.image, array)


def test_a_kernel_as_array_and_as_file(blurred, tmp_path):
    kernel = kernels.gaussian(1.5)
    by_array = unblur.restore(blurred, "wiener", kernel=kernel)
    for name in ("k.npy", "k.png"):
        kernels.save_kernel(tmp_path / name, kernel)
    np.testing.assert_array_equal(
        unblur.restore(blurred, "wiener", kernel=tmp_path / "k.npy").image, by_array.image
    )
    by_picture = unblur.restore(blurred, "wiener", kernel=str(tmp_path / "k.png"))
    assert psnr(from_array(by_picture.image), from_array(by_array.image)) > 35
    assert by_array.blur.kind == "kernel"


@pytest.mark.parametrize("kind", ["path", "string", "bytes", "pil"])
def test_what_may_be_given(kind, blurred, tmp_path):
    path = tmp_path / "in.png"
    files.save(blurred, path)
    given = {"path": path, "string": str(path), "bytes": path.read_bytes(), "pil": PIL.Image.open(path)}[kind]
    result = unblur.restore(given, sigma=1.5)
    expected = unblur.restore(blurred, sigma=1.5).image
    if kind == "pil":
        assert isinstance(result.image, PIL.Image.Image)
        assert result.image.mode == "RGB"
    assert np.array_equal(np.asarray(result.image), expected)
    written = result.save(tmp_path / "out.png")
    assert np.array_equal(files.Source.open(written).read(), expected)
    with pytest.raises(OutputError):
        result.save(written)
    result.save(written, overwrite=True)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_pil_modes(mode, blurred):
    rgb = PIL.Image.fromarray(blurred)
    picture = (
        PIL.Image.fromarray((blurred[:, :, 0].astype(np.uint16)) * 257)
        if mode == "I;16"
        else rgb.convert(mode)
    )
    picture.info["icc_profile"] = b"profile"
    out = unblur.restore(picture, sigma=1.0).image
    assert out.size == picture.size
    assert out.mode == {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert out.info["icc_profile"] == b"profile"


def test_a_grey_file_gives_a_plane(blurred, tmp_path):
    files.save(blurred[:, :, 0], tmp_path / "grey.png")
    assert unblur.restore(tmp_path / "grey.png", sigma=1.0).image.shape == blurred.shape[:2]


def test_strength_blends(blurred):
    full = from_array(unblur.restore(blurred, "wiener", sigma=1.5).image)
    half = from_array(unblur.restore(blurred, "wiener", sigma=1.5, strength=0.5).image)
    inside = (full > 0) & (full < 1)  # clipping is not linear
    np.testing.assert_allclose(half[inside], ((from_array(blurred) + full) / 2)[inside], atol=1.01 / 255)
    nothing = unblur.restore(blurred, sigma=1.5, strength=0.0)
    assert np.array_equal(nothing.image, blurred)
    assert nothing.left_alone


def test_iterations_are_used(blurred):
    few, many = (unblur.restore(blurred, "richardson-lucy", sigma=1.5, iterations=n).image for n in (1, 20))
    assert np.std(many.astype(float)) > np.std(few.astype(float)) + 0.5


@pytest.mark.parametrize("method", ["auto", "wiener", "total-variation", "richardson-lucy"])
@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_tiles_equal_the_whole(method, mirrored, sigma, astronaut, monkeypatch):
    picture = to_array(gaussian_blur(astronaut, sigma), np.uint8)
    if not mirrored:
        picture = picture[40:-40, 40:-40]
    whole = unblur.restore(picture, method, sigma=sigma).image.astype(int)
    monkeypatch.setattr(tiling, "sides_for_memory", lambda *_: 150)
    calls = []
    tiled = unblur.restore(picture, method, sigma=sigma, progress=lambda *call: calls.append(call))
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))
    assert calls[-1][0] == calls[-1][1] >= 9
    assert np.abs(tiled.image.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("method", ["auto", "unblur-m"])
def test_tiles_side_by_side_equal_those_one_by_one(method, astronaut, monkeypatch):
    picture = to_array(gaussian_blur(astronaut, 1.5), np.uint8)
    monkeypatch.setattr(tiling, "sides_for_memory", lambda *_: (200, 180))
    monkeypatch.setattr(engine, "_LEAST", 64)
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    working, true = [], tiling.abreast
    monkeypatch.setattr(tiling, "abreast", lambda *args: working.append(args[2]) or true(*args))
    found = []
    for cores in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", cores)
        found.append(unblur.restore(picture, method, sigma=1.5, memory="8GB").image)
    assert working == [1, 2]
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1


def test_a_budget_makes_smaller_tiles(blurred):
    large = np.tile(blurred, (4, 4, 1))

    def tiles_within(memory):
        calls = []
        unblur.restore(large, "wiener", sigma=1.0, memory=memory, progress=lambda *call: calls.append(call))
        return calls[-1][1]

    assert tiles_within("10GB") == 1
    assert tiles_within(tiling.memory_in_use() + 60_000_000) > 1
    with pytest.raises(OptionError, match="raise --memory"):
        unblur.restore(blurred, sigma=1.0, memory="1MB")


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"method": "wienr"}, OptionError, "did you mean 'wiener'"),
        ({"method": "magic"}, OptionError, "one of"),
        ({"strength": 1.5}, OptionError, "strength"),
        ({"strength": float("nan")}, OptionError, "strength"),
        ({"sigma": -1}, OptionError, "sigma"),
        ({"sigma": float("nan")}, OptionError, "sigma"),
        ({"sigma": 1e9}, OptionError, "sigma"),
        ({"sigma": 1, "kernel": np.ones((3, 3))}, OptionError, "not both"),
        ({"iterations": 0}, OptionError, "iterations"),
        ({"method": "wiener", "iterations": 5}, OptionError, "does not iterate"),
        ({"memory": "lots"}, OptionError, "memory"),
        ({"kernel": np.ones((2, 2))}, KernelError, "odd"),
        ({"kernel": -np.ones((3, 3))}, KernelError, "negative"),
        ({"kernel": "missing.npy"}, FileError, "missing.npy"),
    ],
)
def test_wrong_options(options, error, word, blurred):
    with pytest.raises(error, match=word) as caught:
        unblur.restore(blurred, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.int32),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.full((4, 4), np.nan),
        np.full((4, 4), 255.0),
        42,
        None,
        PIL.Image.fromarray(np.zeros((4, 4), np.int32)),
    ],
)
def test_wrong_images(bad):
    with pytest.raises(ImageError):
        unblur.restore(bad)


def test_to_dict_is_json(blurred):
    import json

    facts = json.loads(json.dumps(unblur.restore(blurred).to_dict(), allow_nan=False))
    assert facts["blur"]["kind"] == "gaussian"
    assert {"method", "blur", "left_alone", "seconds", "warnings"} == set(facts)


def test_metadata_of_bytes_is_saved(blurred, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x010E] = "a portrait"
    buffer = io.BytesIO()
    PIL.Image.fromarray(blurred).save(buffer, "png", exif=exif)
    saved = unblur.restore(buffer.getvalue(), sigma=1.5).save(tmp_path / "out.png")
    assert PIL.Image.open(saved).getexif()[0x010E] == "a portrait"


def test_the_same_twice(blurred):
    assert np.array_equal(unblur.restore(blurred).image, unblur.restore(blurred).image)


def test_more_sigma_more_sharpening(blurred):
    spread = [unblur.restore(blurred, "wiener", sigma=s).image.astype(float).std() for s in (0.5, 1.0, 1.5)]
    assert all(later > earlier for earlier, later in pairwise(spread))


# A blur as a whole


def test_a_blur_is_kernel_and_noise_in_one(blurred):
    blur = unblur.Blur("gaussian", {"sigma": 1.5}, kernel=kernels.gaussian(1.5))
    result = unblur.restore(blurred, "wiener", blur=blur)
    assert np.array_equal(result.image, unblur.restore(blurred, "wiener", sigma=1.5).image)
    noisy = replace(blur, noise=0.05)
    smoother = unblur.restore(blurred, "wiener", blur=noisy)
    assert smoother.blur.noise == 0.05
    assert smoother.image.astype(float).std() < result.image.astype(float).std() - 0.5


def test_a_blur_that_varies(blurred):
    left = np.zeros(blurred.shape[:2], np.float32)
    left[:, :128] = 1
    parts = [
        unblur.Blur("gaussian", kernel=kernels.gaussian(sigma), where=where)
        for sigma, where in ((1.5, left), (0.3, 1 - left))
    ]
    varying = unblur.Blur("varying", parts=tuple(parts))
    change = np.abs(unblur.restore(blurred, "richardson-lucy", blur=varying).image.astype(int) - blurred)
    assert change[:, :120].mean() > 4 * change[:, 136:].mean()
    with pytest.raises(OptionError, match="weights for"):
        unblur.restore(blurred[:50], "richardson-lucy", blur=varying)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"blur": unblur.Blur("gaussian", {"sigma": 1.5})}, OptionError, "expected a kernel"),
        ({"blur": unblur.Blur("varying")}, OptionError, "expected a kernel"),
        ({"blur": unblur.Blur("kernel", kernel=-np.ones((3, 3), np.float32))}, KernelError, "negative"),
        ({"blur": unblur.Blur("none"), "sigma": 1}, OptionError, "not both"),
    ],
)
def test_wrong_blurs(options, error, word, blurred):
    with pytest.raises(error, match=word):
        unblur.restore(blurred, **options)


# Large files


@pytest.fixture
def all_is_large(monkeypatch):
    monkeypatch.setattr(engine, "_SPOOLED_ABOVE", 0)
    monkeypatch.setattr(files, "_MAP_ABOVE", 1000)
    monkeypatch.setattr(tiling, "sides_for_memory", lambda *_: 100)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_file_gives_what_a_small_one_gives(suffix, dtype, channels, blurred, tmp_path, request):
    deep = (blurred[:, :200, :channels].astype(np.uint32) * np.iinfo(dtype).max // 255).astype(dtype)
    path = files.save(deep, tmp_path / f"in.{suffix}")
    whole = unblur.restore(path, "wiener", sigma=1.5)
    request.getfixturevalue("all_is_large")
    calls = []
    large = unblur.restore(path, "wiener", sigma=1.5, progress=lambda *call: calls.append(call))
    assert len(calls) == 6
    assert isinstance(large.image, np.memmap)
    assert (large.image.dtype, large.image.shape) == (whole.image.dtype, whole.image.shape)
    assert np.abs(large.image.astype(int) - whole.image).max() <= np.iinfo(whole.image.dtype).max / 255
    written = large.save(tmp_path / f"out.{suffix}")
    if suffix != "jpg":
        assert np.array_equal(files.Source.open(written).read().reshape(large.image.shape), large.image)


def test_a_large_file_that_is_left_alone(sharp, tmp_path, all_is_large):
    path = files.save(to_array(sharp, np.uint8), tmp_path / "in.png")
    result = unblur.restore(path)
    assert result.method == "none"
    assert np.array_equal(
        files.Source.open(result.save(tmp_path / "out.png")).read(), to_array(sharp, np.uint8)
    )


def test_what_is_large_depends_on_the_memory(blurred, tmp_path):
    path = files.save(blurred, tmp_path / "in.png")  # 200 kB

    def read_within(memory):
        return unblur.restore(path, "wiener", sigma=1.0, strength=0, memory=memory).image

    assert not isinstance(read_within(2_000_000), np.memmap)
    assert isinstance(read_within(1_000_000), np.memmap)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the peak")
def test_a_budget_is_kept_from_reading_to_saving(tmp_path, rng):
    with files.Sink(tmp_path / "in.png", (3000, 4000, 3), dtype=np.uint16) as sink:
        for _ in range(30):
            sink.write(rng.random((100, 4000, 3), np.float32))
    code = """
import unblur
result = unblur.restore("in.png", "richardson-lucy", sigma=0.5, iterations=1, memory="400MB")
result.save("out.png")
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert (
        int(done.stdout) * 1024 < 400e6
    )  # one tile would take 2 GB; in and out are 72 MB each, and in temporary files


# Tensors


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 40, 33), (1, 33, 40), (4, 40, 33), (1, 3, 20, 21), (2, 1, 20, 21)])
def test_a_tensor_gives_a_tensor(dtype, shape, torch, rng):
    kind = getattr(torch, dtype)
    random = rng.random(shape)
    tensor = torch.from_numpy(random if kind.is_floating_point else random * np.iinfo(dtype).max).to(kind)
    before = tensor.clone()
    result = unblur.restore(tensor, "wiener", sigma=1.0)
    assert isinstance(result.image, torch.Tensor)
    assert (result.image.dtype, result.image.shape, result.image.device) == (
        kind,
        tensor.shape,
        tensor.device,
    )
    assert torch.equal(tensor, before)
    assert not torch.equal(result.image, before)
    assert result.image.data_ptr() != tensor.data_ptr()
    # (N, C, H, W) to arrays, which are restored as ever
    wide = (before.float() if dtype == "bfloat16" else before).numpy().reshape(-1, *shape[-3:])
    for index, array in enumerate(np.moveaxis(wide, 1, 3)):
        expected = np.moveaxis(unblur.restore(array, "wiener", sigma=1.0).image, 2, 0)
        got = result.image.reshape(-1, *shape[-3:])[index]
        assert torch.equal(got, torch.from_numpy(expected).to(kind))


def test_a_tensor_keeps_its_layout_and_needs_no_gradient(torch, blurred):
    tensor = torch.from_numpy(np.moveaxis(from_array(blurred), 2, 0)[None]).contiguous(
        memory_format=torch.channels_last
    )
    tensor.requires_grad_()
    image = unblur.restore(tensor, "wiener", sigma=1.5).image
    assert image.stride() == tensor.stride()
    assert not image.requires_grad


def test_a_batch_tells_of_each(torch, blurred, sharp, tmp_path):
    two = torch.from_numpy(np.stack([blurred, to_array(sharp, np.uint8)])).permute(0, 3, 1, 2)
    calls = []
    result = unblur.restore(two, progress=lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]
    assert [one.method for one in result.each] == ["auto", "none"]
    assert result.method == "auto"
    assert result.left_alone[-1].startswith("picture 1: everything")
    assert torch.equal(result.image[1], two[1])
    assert len(result.to_dict()["each"]) == 2
    with pytest.raises(OptionError, match="batch"):
        result.save(tmp_path / "a.png")
    written = result.each[0].save(tmp_path / "a.png")
    assert np.array_equal(files.Source.open(written).read(), result.image[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("shape", [(40, 33), (40, 33, 3), (5, 40, 33), (0, 3, 8, 8), (1, 1, 3, 8, 8)])
def test_wrong_tensors(shape, torch):
    with pytest.raises(ImageError):
        unblur.restore(torch.zeros(shape))
    with pytest.raises(ImageError, match="dtype"):
        unblur.restore(torch.zeros((3, 8, 8), dtype=torch.int64))
