"""Pixels of files: every format and variant in, upright, exact out; what is refused and how."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import pyvips
from PIL import Image as Pil
from PIL import ImageCms, ImageOps

from unblur import files
from unblur.errors import FileError, ImageError, MissingExtraError, OptionError, OutputError, TooLargeError
from unblur.files import FORMATS, READABLE, Sink, Source, decode, encode, losses, save

WRITABLE = sorted({known.name for known in FORMATS.values() if known.write})


def pil(picture: Pil.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


def vips(array: np.ndarray, space: str | None = None) -> pyvips.Image:
    image = pyvips.Image.new_from_array(array)
    return image.copy(interpretation=space) if space else image


def tiff(
    array: np.ndarray,
    *,
    photometric: int,
    kind: int = 1,
    extra: dict[int, tuple[int, list[int]]] | None = None,
):
    """An uncompressed TIFF of one strip, built by hand: kind is the SampleFormat."""
    height, width, channels = array.shape
    order = ">" if array.dtype.byteorder == ">" else "<"
    strip = array.tobytes()
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * array.dtype.itemsize] * channels),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, [8]),
        277: (3, [channels]),
        278: (4, [height]),
        279: (4, [len(strip)]),
        339: (3, [kind] * channels),
        **(extra or {}),
    }
    start = 8 + len(strip) + len(strip) % 2
    table, values = struct.pack(order + "H", len(tags)), b""
    for tag, (type_, numbers) in sorted(tags.items()):
        raw = struct.pack(order + {3: "H", 4: "I"}[type_] * len(numbers), *numbers)
        if len(raw) > 4:
            place = start + 6 + 12 * len(tags) + len(values)
            values += raw + b"\0" * (len(raw) % 4)
            raw = struct.pack(order + "I", place)
        table += struct.pack(order + "HHI", tag, type_, len(numbers)) + raw.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", start)
    return head + strip + b"\0" * (len(strip) % 2) + table + b"\0\0\0\0" + values


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2)))


@pytest.fixture
def rgb(rng: np.random.Generator) -> np.ndarray:
    """Smooth in one half, noise in the other; no symmetry that could hide a wrong turn. uint8 (37, 53, 3)."""
    ramp = np.linspace(0, 255, 37 * 53 * 3).reshape(37, 53, 3)
    ramp[:, 26:] = rng.integers(0, 256, (37, 27, 3))
    return ramp.astype(np.uint8)


@pytest.fixture
def alpha(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (37, 53)).astype(np.uint8)


# The table of formats


def test_table_of_formats():
    assert {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".avif", ".heic"} <= READABLE
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in FORMATS)
    assert WRITABLE == ["avif", "jpeg", "png", "tiff", "webp"]


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_writable_format_reads_back(name, channels, rgb):
    source = Source.open(encode(rgb[..., :channels], name))
    facts = next(known for known in FORMATS.values() if known.name == name)
    assert (source.format, source.path, source.warnings) == (name, None, ())
    assert (source.height, source.width) == rgb.shape[:2]
    assert source.channels == (channels if facts.grey else 3)
    assert source.dtype == np.uint8
    pixels = source.read()
    expected = rgb[..., :channels] if facts.grey or channels == 3 else np.repeat(rgb[..., :1], 3, axis=2)
    if facts.lossless:
        np.testing.assert_array_equal(pixels, expected)
    else:
        assert psnr(pixels, expected) > 37  # half of it is white noise


# Depth


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_round_trip_is_exact(suffix, dtype, channels, rng, tmp_path):
    array = rng.integers(0, np.iinfo(dtype).max + 1, (9, 14, channels)).astype(dtype)
    path = save(array, tmp_path / f"a.{suffix}")
    source = Source.open(path)
    assert source.path == path
    assert source.dtype == dtype
    np.testing.assert_array_equal(source.read(), array)


@pytest.mark.parametrize("channels", [1, 3])
def test_float_tiff_round_trip_is_exact(channels, rng):
    array = rng.random((9, 14, channels), dtype=np.float32)
    like = Source.open(tiff(array, photometric=2 if channels == 3 else 1, kind=3))
    assert like.dtype == np.float32
    np.testing.assert_array_equal(like.read(), array)
    np.testing.assert_array_equal(decode(encode(array, "tiff", like=like)), array)


def test_floats_become_eight_bits_unless_like_says_otherwise(rng):
    array = rng.random((9, 14, 3), dtype=np.float32)
    eight = np.floor(array * 255 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode(array, "png")), eight)
    like = Source.open(encode(np.zeros((9, 14, 3), np.uint16), "png"))
    back = decode(encode(array, "png", like=like))
    assert back.dtype == np.uint16
    assert np.abs(back - array * 65535.0).max() <= 0.51


def test_like_rules_the_depth(rgb):
    deep = Source.open(encode(rgb.astype(np.uint16) * 257, "tiff"))
    shallow = Source.open(encode(rgb, "png"))
    np.testing.assert_array_equal(decode(encode(rgb, "png", like=deep)), rgb.astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode(encode(rgb.astype(np.uint16) * 257, "png", like=shallow)), rgb)
    assert decode(encode(rgb, "jpg", like=deep)).dtype == np.uint8


def test_sixteen_bits_round_half_up_to_eight():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    like = Source.open(encode(np.zeros((1, 1), np.uint8), "png"))
    expected = np.floor(every / 257 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode(every, "png", like=like))[..., 0], expected)


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_keeps_its_depth_and_its_white(bits, rng):
    steps = 2**bits - 1
    levels = rng.integers(0, steps + 1, (16, 24, 3))
    levels[0, 0] = steps
    shifted = (levels << (16 - bits)).astype(np.uint16)
    data = vips(shifted, "rgb16").heifsave_buffer(compression="av1", lossless=True, bitdepth=bits)
    source = Source.open(data)
    pixels = source.read()
    assert pixels.dtype == np.uint16
    assert np.abs(pixels - levels * (65535 / steps)).max() <= 0.51
    assert pixels[0, 0, 0] == 65535
    again = encode(pixels, "avif", like=source, quality=100)
    assert pyvips.Image.heifload_buffer(again).get("bits-per-sample") == bits
    assert np.abs(decode(again).astype(int) - pixels).max() < 65535 * 0.02
    assert losses(source, "a.avif") == ()


# Variants of every format


def test_palettes_become_rgb(rgb):
    picture = Pil.fromarray(rgb).quantize(16)
    for data in (pil(picture, "png"), pil(picture, "png", bits=4), pil(picture, "tiff")):
        source = Source.open(data)
        assert (source.channels, source.dtype, source.has_alpha) == (3, np.uint8, False)
        np.testing.assert_array_equal(source.read(), np.asarray(picture.convert("RGB")))


def test_transparent_palette(rgb):
    picture = Pil.fromarray(rgb).quantize(16)
    source = Source.open(pil(picture, "png", transparency=3))
    assert source.has_alpha
    np.testing.assert_array_equal(source.alpha() == 0, np.asarray(picture) == 3)


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_one_bit(name, rgb):
    picture = Pil.fromarray(rgb).convert("1")
    source = Source.open(pil(picture, name))
    assert (source.channels, source.dtype) == (1, np.uint8)
    np.testing.assert_array_equal(source.read()[..., 0], np.asarray(picture) * np.uint8(255))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("name", ["png", "tiff", "webp"])
def test_modes(mode, name, rgb, alpha):
    picture = Pil.fromarray(np.dstack([rgb, alpha])).convert(mode)
    source = Source.open(pil(picture, name, **({"lossless": True, "exact": True} if name == "webp" else {})))
    assert source.has_alpha == ("A" in mode)
    colours = np.asarray(picture.convert("RGB" if source.channels == 3 else "L"))
    np.testing.assert_array_equal(source.read(), colours.reshape(37, 53, -1))
    if "A" in mode:
        np.testing.assert_array_equal(source.alpha(), alpha)
    else:
        assert source.alpha() is None


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
def test_tiff_compressions(compression, rgb):
    data = pil(Pil.fromarray(rgb), "tiff", compression=compression)
    np.testing.assert_array_equal(decode(data), rgb)


def test_tiff_layouts(rgb):
    image = vips(rgb)
    for options in (
        {"tile": True, "tile_width": 16, "tile_height": 16},
        {"bigtiff": True},
        {"pyramid": True},
    ):
        np.testing.assert_array_equal(decode(image.tiffsave_buffer(compression="deflate", **options)), rgb)
    big_endian = tiff(rgb.astype(">u2") * 257, photometric=2)
    np.testing.assert_array_equal(decode(big_endian), rgb.astype(np.uint16) * 257)
    white_is_zero = tiff(rgb[..., :1], photometric=0)
    np.testing.assert_array_equal(decode(white_is_zero), 255 - rgb[..., :1])


def test_premultiplied_alpha_is_undone(rgb, alpha):
    solid = np.maximum(alpha, 128)
    premultiplied = np.rint(rgb * (solid[..., None] / 255)).astype(np.uint8)
    source = Source.open(tiff(np.dstack([premultiplied, solid]), photometric=2, extra={338: (3, [1])}))
    np.testing.assert_array_equal(source.alpha(), solid)
    assert np.abs(source.read().astype(int) - rgb).max() <= 1


def test_interlaced_png_and_progressive_jpeg(rgb):
    np.testing.assert_array_equal(decode(vips(rgb).pngsave_buffer(interlace=True)), rgb)
    data = pil(Pil.fromarray(rgb), "jpeg", progressive=True, quality=90)
    assert np.abs(decode(data).astype(int) - np.asarray(Pil.open(io.BytesIO(data)))).max() <= 3


def test_cmyk_goes_through_its_profile(rgb):
    profile = pyvips.Image.profile_load("cmyk")
    picture = Pil.fromarray(rgb).resize((64, 48), Pil.Resampling.BICUBIC).convert("CMYK")
    to_srgb = ImageCms.buildTransform(
        io.BytesIO(profile),
        ImageCms.createProfile("sRGB"),
        "CMYK",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    expected = np.asarray(ImageCms.applyTransform(picture, to_srgb)).astype(int)
    for embedded in (profile, None):  # without one, libvips assumes the same
        source = Source.open(pil(picture, "tiff", **({"icc_profile": embedded} if embedded else {})))
        assert (source.channels, source.dtype, source.has_alpha) == (3, np.uint8, False)
        assert source.warnings == ("is CMYK and becomes RGB",)
        assert np.abs(source.read() - expected).max() <= 4
        out = Pil.open(io.BytesIO(encode(source.read(), "jpg", like=source)))
        assert out.mode == "RGB"
        assert out.info["icc_profile"][16:20] == b"RGB "
        description = ImageCms.getProfileDescription(
            ImageCms.ImageCmsProfile(io.BytesIO(out.info["icc_profile"]))
        )
        assert "srgb" in description.lower()


def test_cmyk_jpeg_with_alpha_less_channels(rgb):
    picture = Pil.fromarray(rgb).convert("CMYK")
    data = pil(picture, "jpeg", quality=95)
    assert Source.open(data).channels == 3
    # Adobe's inverted CMYK: white must stay white
    white = pil(Pil.new("CMYK", (16, 16), (0, 0, 0, 0)), "jpeg")
    assert decode(white).min() >= 250


def test_lab_tiff_becomes_srgb(rgb):
    smooth = vips(rgb).resize(2, kernel="linear")
    source = Source.open(smooth.colourspace("labs").tiffsave_buffer())
    assert source.channels == 3
    assert source.dtype == np.uint16
    assert np.abs(source.read() / 257.0 - smooth.numpy()).max() < 2


# Upright


def turned(orientation: int) -> bytes:
    exif = Pil.Exif()
    exif[0x112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "avif"])
def test_orientation_is_applied_once(name, orientation, rgb):
    options = {
        "jpeg": {"quality": 100, "subsampling": 0},
        "webp": {"lossless": True},
        "avif": {"quality": 100, "subsampling": "4:4:4"},
    }
    picture = Pil.fromarray(rgb)
    if name == "tiff":
        exif = Pil.Exif()
        exif[0x112] = orientation
        data = pil(picture, "tiff", exif=exif)
    else:
        data = pil(picture, name, exif=turned(orientation), **options.get(name, {}))
    reference = picture.copy()
    reference.getexif()[0x112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(reference)).astype(int)
    source = Source.open(data)
    assert (source.height, source.width) == expected.shape[:2]
    pixels = source.read()
    assert np.abs(pixels - expected).mean() <= {"avif": 2, "jpeg": 1}.get(name, 0)
    np.testing.assert_array_equal(source.window(3, 5, 11, 7), pixels[3:14, 5:12])

    again = encode(pixels, "png", like=source)
    np.testing.assert_array_equal(decode(again), pixels)
    seen = Pil.open(io.BytesIO(again))
    seen.load()
    assert seen.getexif().get(0x112, 1) == 1
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(seen)), pixels)


def test_alpha_turns_with_the_colours(rgb, alpha):
    picture = Pil.fromarray(np.dstack([rgb, alpha]))
    source = Source.open(pil(picture, "png", exif=turned(6)))
    np.testing.assert_array_equal(source.alpha(), np.rot90(alpha, -1))
    again = Source.open(encode(source.read(), "png", like=source))
    np.testing.assert_array_equal(again.read(), np.rot90(rgb, -1))
    np.testing.assert_array_equal(again.alpha(), np.rot90(alpha, -1))


def test_orientation_chunk_behind_the_pixels(rgb):
    block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0"
    data = pil(Pil.fromarray(rgb), "png")
    source = Source.open(data[:-12] + png_chunk(b"eXIf", block) + data[-12:])
    np.testing.assert_array_equal(source.read(), np.rot90(rgb, 1))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientation_means_upright(value, rgb):
    picture = Pil.fromarray(rgb)
    np.testing.assert_array_equal(decode(pil(picture, "png", exif=turned(value))), rgb)


# Windows


@pytest.mark.parametrize("name", WRITABLE)
def test_windows_are_parts_of_the_whole(name, rgb):
    source = Source.open(encode(rgb, name))
    whole = source.read()
    for top, left, height, width in (
        (0, 0, 37, 53),
        (0, 0, 1, 1),
        (36, 52, 1, 1),
        (20, 1, 17, 52),
        (3, 30, 9, 2),
    ):
        part = source.window(top, left, height, width)
        np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, 0, 38, 1), (0, 50, 1, 4), (0, 0, 0, 1)])
def test_window_outside_is_refused(window, rgb):
    with pytest.raises(OptionError, match="leaves 37x53"):
        Source.open(encode(rgb, "png")).window(*window)


# Alpha


@pytest.mark.parametrize("name", ["png", "tiff", "webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_carried(name, dtype, rgb, alpha):
    scale = 257 if dtype == np.uint16 else 1
    deep = np.dstack([rgb, alpha]).astype(dtype) * dtype(scale)
    like = Source.open(vips(deep, "srgb" if dtype == np.uint8 else "rgb16").pngsave_buffer())
    again = Source.open(encode(rgb, name, like=like))
    out = 1 if name == "webp" else scale
    np.testing.assert_array_equal(again.alpha(), alpha.astype(again.dtype) * out)
    np.testing.assert_array_equal(again.read(), rgb.astype(again.dtype) * out)


def test_alpha_in_avif(rgb, alpha):
    like = Source.open(pil(Pil.fromarray(np.dstack([rgb, alpha])), "png"))
    again = Source.open(encode(rgb, "avif", like=like, quality=100))
    assert again.has_alpha
    assert np.abs(again.alpha().astype(int) - alpha).mean() < 2


def test_alpha_of_another_size_stays_out(rgb, alpha):
    like = Source.open(pil(Pil.fromarray(np.dstack([rgb, alpha])), "png"))
    assert not Source.open(encode(rgb[:-1], "png", like=like)).has_alpha
    assert not Source.open(encode(rgb, "jpg", like=like)).has_alpha
    assert losses(like, "a.jpg") == ("the alpha channel is left out",)
    assert losses(like, "a.png") == ()


def test_losses_name_what_a_format_cannot_hold(rgb):
    deep_grey = Source.open(encode(rgb[..., :1].astype(np.uint16), "png"))
    assert losses(deep_grey, "x.JPG") == ("16-bit channels become 8-bit",)
    assert losses(deep_grey, "x.webp") == ("16-bit channels become 8-bit", "grey becomes RGB")
    assert losses(deep_grey, "x.tif") == ()
    with pytest.raises(OptionError):
        losses(deep_grey, "x.bmp")
    scan = Source.open(pil(Pil.fromarray(rgb), "png", dpi=(300, 300)))
    assert losses(scan, "x.webp") == ("the resolution is left out",)
    assert losses(scan, "x.jpg") == ()


# Quality


def test_resaved_jpeg_loses_nothing_that_can_be_seen(astronaut):
    array = np.rint(astronaut * 255).astype(np.uint8)
    like = Source.open(pil(Pil.fromarray(array), "jpeg", quality=75))
    assert psnr(decode(encode(astronaut, "jpg", like=like)), array) >= 42
    assert psnr(decode(encode(astronaut, "avif")), array) >= 42


@pytest.mark.data
def test_resaved_photographs_stay_above_42_db(data):
    paths = sorted((data / "bsds500" / "test").glob("*.jpg"))[::20]
    assert paths
    for path in paths:
        source = Source.open(path)
        array = source.read()
        assert psnr(decode(encode(array, "jpg", like=source)), array) >= 42, path


@pytest.mark.parametrize(("quality", "written"), [(60, 97), (98, 98), (100, 100)])
def test_jpeg_quality_is_at_least_that_of_the_source(quality, written, rgb):
    picture = Pil.fromarray(rgb)
    source = Source.open(pil(picture, "jpeg", quality=quality))
    out = Pil.open(io.BytesIO(encode(source.read(), "jpg", like=source)))
    # libjpeg's tables name the quality: compare with those it writes for the expected one
    assert out.quantization == Pil.open(io.BytesIO(pil(picture, "jpeg", quality=written))).quantization
    assert out.layer[0][1:3] == out.layer[1][1:3] == (1, 1)  # 4:4:4


def test_asked_quality(rgb):
    smaller = encode(rgb, "jpg", quality=40)
    assert len(smaller) < len(encode(rgb, "jpg")) / 2
    assert Pil.open(io.BytesIO(smaller)).layer[0][1:3] == (2, 2)
    full = Source.open(pil(Pil.fromarray(rgb), "jpeg", subsampling=0))
    assert Pil.open(io.BytesIO(encode(rgb, "jpg", quality=40, like=full))).layer[0][1:3] == (1, 1)
    assert len(encode(rgb, "webp", quality=40)) < len(encode(rgb, "webp")) / 2
    assert len(encode(rgb, "avif", quality=40)) < len(encode(rgb, "avif")) / 2
    for wrong in (0, 101, -5):
        with pytest.raises(OptionError, match="1 to 100"):
            encode(rgb, "jpg", quality=wrong)


# What is refused


@pytest.fixture
def samples(astronaut) -> dict[str, bytes]:
    array = np.rint(astronaut[:200, :300] * 255).astype(np.uint8)
    picture = Pil.fromarray(array)
    return {
        "png": pil(picture, "png"),
        "interlaced png": vips(array).pngsave_buffer(interlace=True),
        "jpeg": pil(picture, "jpeg"),
        "progressive jpeg": pil(picture, "jpeg", progressive=True),
        "tiff": pil(picture, "tiff"),
        "lzw tiff": pil(picture, "tiff", compression="tiff_lzw"),
        "jpeg tiff": pil(picture, "tiff", compression="jpeg"),
        "tiled tiff": vips(array).tiffsave_buffer(tile=True, compression="deflate"),
        "webp": pil(picture, "webp"),
        "lossless webp": pil(picture, "webp", lossless=True),
        "avif": pil(picture, "avif"),
    }


KINDS = [
    "png",
    "interlaced png",
    "jpeg",
    "progressive jpeg",
    "tiff",
    "lzw tiff",
    "jpeg tiff",
    "tiled tiff",
    "webp",
]
KINDS += ["lossless webp", "avif"]


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_refused_quietly(kind, samples, tmp_path, capfd):
    data = samples[kind]
    assert decode(data).shape == (200, 300, 3)
    lengths = {len(data) * step // 12 for step in range(1, 12)} | {len(data) - 40, 70, 65, 20, 13, 5, 1}
    for length in sorted(lengths):
        path = tmp_path / "cut"
        path.write_bytes(data[:length])
        for read in (lambda s: s.read(), lambda s: s.window(150, 0, 50, 300)):
            with pytest.raises(FileError, match=r"cut: ") as caught:
                read(Source.open(path))
            assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("empty.png", b"", "is empty"),
        ("text.png", b"this is not a picture\n" * 20, "is not a PNG"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "is not a PNG"),
        ("a.pdf", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "is not a PNG"),
        ("a.gif", b"GIF89a\x01\0\x01\0\0\0\0;", "is not a PNG"),
        ("a.bmp", pil(Pil.new("RGB", (4, 4)), "bmp"), "is not a PNG"),
        ("a.csv", b"1,2,3\n4,5,6\n", "is not a PNG"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\x02\0" + bytes(100), "is not a PNG"),
    ],
)
def test_what_is_no_picture_is_refused(name, content, what, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(FileError, match=what):
            Source.open(source)


def test_missing_folder_and_forbidden(tmp_path, monkeypatch):
    with pytest.raises(FileError, match=r"nothing\.png: no such file"):
        Source.open(tmp_path / "nothing.png")
    with pytest.raises(FileError, match="is a folder"):
        Source.open(tmp_path)
    with pytest.raises(FileError, match="cannot be read"):
        Source.open("a\0b.png")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(FileError, match="cannot be read: Permission denied"):
        Source.open(tmp_path / "secret.png")


def test_names_are_taken_as_they_are(rgb, tmp_path):
    for name in ("a[page=1].png", "ünïcode ☃.png", "-n.png", "a b.PNG", "jpeg in truth.png"):
        data = encode(rgb, "jpg" if "truth" in name else "png")
        (tmp_path / name).write_bytes(data)
        source = Source.open(tmp_path / name)
        assert source.format == ("jpeg" if "truth" in name else "png")
        np.testing.assert_array_equal(source.read(), decode(data))


def test_header_decides_about_size_before_decoding(tmp_path):
    def header(width: int, height: int) -> bytes:
        return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))

    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + header(60000, 60000)
        + png_chunk(b"IDAT", zlib.compress(b""))
        + png_chunk(b"IEND", b"")
    )
    with pytest.raises(TooLargeError, match="60000x60000 is more than the limit"):
        Source.open(bomb)
    with pytest.raises(TooLargeError):
        Source.open(encode(np.zeros((20, 30)), "webp"), max_pixels=599)
    assert Source.open(encode(np.zeros((20, 30)), "webp"), max_pixels=600).read().shape == (20, 30, 3)


def test_larger_limit_reaches_the_pixels(monkeypatch, rgb):
    monkeypatch.setattr(files, "MAX_PIXELS", 10)
    assert Source.open(encode(rgb, "png"), max_pixels=10**6).read().shape == rgb.shape


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0, -3.0])
def test_floats_that_are_no_picture_are_refused(value, rng):
    array = rng.random((9, 14, 3), dtype=np.float32)
    array[4, 5, 1] = value
    source = Source.open(tiff(array, photometric=2, kind=3))
    with pytest.raises(ImageError, match=r"NaN|must lie in \[0, 1\]"):
        source.read()
    assert source.window(5, 0, 4, 14).shape == (4, 14, 3)  # below the bad pixel


@pytest.mark.parametrize(("dtype", "kind"), [(np.int16, 2), (np.uint32, 1), (np.float64, 3), (np.int8, 2)])
def test_other_pixel_types_are_refused(dtype, kind):
    with pytest.raises(FileError, match=r"8 or 16 bits|damaged, truncated or of an unknown kind"):
        Source.open(tiff(np.ones((4, 5, 3), dtype), photometric=2, kind=kind))


def test_too_many_channels_are_refused():
    with pytest.raises(FileError, match="has 5 srgb channels"):
        Source.open(tiff(np.zeros((4, 5, 5), np.uint8), photometric=2, extra={338: (3, [2, 0])}))


def test_raw_files_are_refused():
    for tag in ({0xC612: (4, [1])}, {0xFE: (4, [1])}):
        with pytest.raises(FileError, match="raw file"):
            Source.open(tiff(np.zeros((4, 5, 3), np.uint8), photometric=2, extra=tag))


def test_more_than_one_picture_is_told(rgb):
    frames = [Pil.fromarray(rgb), Pil.fromarray(255 - rgb)]
    more = {"save_all": True, "append_images": frames[1:]}
    cases = {
        "holds 2 pictures; only the first is read": [
            pil(frames[0], "tiff", **more),
            pil(frames[0], "webp", lossless=True, **more),
        ],
        "is animated; only the first frame is read": [
            pil(frames[0], "png", **more),
            pil(frames[0], "avif", quality=100, subsampling="4:4:4", **more),
        ],
        "holds further pictures (a preview, a depth or a gain map); only the first is read": [
            pil(frames[0], "mpo", quality=100, subsampling=0, **more)
        ],
    }
    for warning, datas in cases.items():
        for data in datas:
            source = Source.open(data)
            assert source.warnings == (warning,)
            assert np.abs(source.read().astype(int) - rgb).mean() <= 2


def test_heic(monkeypatch, rgb):
    pillow_heif = pytest.importorskip("pillow_heif")
    if not pillow_heif.libheif_info()["encoders"].get("x265"):
        pytest.skip("no HEVC encoder to make a sample with")
    buffer = io.BytesIO()
    exif = Pil.Exif()
    exif[0x10F] = "A camera"
    heif = pillow_heif.from_pillow(Pil.fromarray(rgb))
    heif.save(buffer, quality=-1, chroma=444, matrix_coefficients=0, exif=exif.tobytes())
    source = Source.open(buffer.getvalue())
    assert (source.format, source.width, source.height, source.dtype) == ("heic", 53, 37, np.uint8)
    assert np.abs(source.read().astype(int) - rgb).max() <= 1
    np.testing.assert_array_equal(source.window(3, 5, 11, 7), source.read()[3:14, 5:12])
    out = Pil.open(io.BytesIO(encode(source.read(), "jpg", like=source)))
    assert out.getexif()[0x10F] == "A camera"
    with pytest.raises(FileError, match="damaged or truncated"):
        Source.open(buffer.getvalue()[:300]).read()
    with pytest.raises(TooLargeError):
        Source.open(buffer.getvalue(), max_pixels=100)


def test_deep_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    if not pillow_heif.libheif_info()["encoders"].get("x265"):
        pytest.skip("no HEVC encoder to make a sample with")
    white = np.full((64, 64, 3), 65535, np.uint16)
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 64), white.tobytes()).save(buffer, quality=-1, bit_depth=10)
    source = Source.open(buffer.getvalue())
    assert source.dtype == np.uint16
    assert source.read().min() > 65300


def test_heic_without_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"unblur\[heic\]"):
        Source.open(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


@pytest.mark.parametrize("name", ["a.heic", "a.gif", "a", "a.jxl", "a.png.bak"])
def test_unknown_extension_names_those_that_exist(name, rgb, tmp_path):
    with pytest.raises(OptionError, match=r"use one of \.png, \.jpg"):
        save(rgb, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5, 2), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((4, 5), np.int32),
        np.zeros((4, 5), bool),
        np.full((4, 5), np.nan),
        [[1, 2], [3, 4]],
    ],
)
def test_arrays_that_are_no_image_are_refused(array):
    with pytest.raises(ImageError):
        encode(array, "png")


def test_sides_that_a_format_cannot_hold():
    with pytest.raises(OutputError, match="webp, which ends at 16383"):
        encode(np.zeros((1, 16384), np.uint8), "webp")
    assert decode(encode(np.zeros((1, 16383), np.uint8), "webp")).shape == (1, 16383, 3)
    with pytest.raises(OutputError, match="jpeg, which ends at 65500"):
        encode(np.zeros((65501, 1), np.uint8), "jpg")
    assert decode(encode(np.zeros((65500, 1), np.uint8), "jpg")).shape == (65500, 1, 1)


@pytest.mark.parametrize("name", WRITABLE)
def test_one_pixel(name):
    assert np.abs(decode(encode(np.full((1, 1, 3), 200, np.uint8), name)).astype(int) - 200).max() <= 3


def test_large_files_are_mapped(monkeypatch, rgb, tmp_path):
    paths = [save(rgb, tmp_path / f"a.{name}") for name in ("png", "tiff", "webp")]
    monkeypatch.setattr(files, "_MAP_ABOVE", 100)
    for path in paths:
        source = Source.open(path)
        np.testing.assert_array_equal(source.read(), rgb)
        np.testing.assert_array_equal(decode(encode(rgb, path.suffix, like=source)), rgb)


def test_file_may_be_replaced_while_its_source_lives(rgb, tmp_path):
    path = save(rgb, tmp_path / "a.png")
    source = Source.open(path)
    save(255 - source.read(), path, like=source, overwrite=True)
    np.testing.assert_array_equal(Source.open(path).read(), 255 - rgb)
    np.testing.assert_array_equal(source.read(), rgb)


# Large pictures, in temporary files


@pytest.mark.parametrize("name", WRITABLE)
def test_encoding_into_a_file_gives_the_same_bytes(name, rgb, alpha, monkeypatch):
    exif = Pil.Exif()
    exif[0x010E] = "a ramp"
    data = pil(Pil.fromarray(np.dstack([rgb, alpha])), "png", dpi=(300, 300), exif=exif)
    like = Source.open(data)
    expected = encode(rgb, name, like=like)
    monkeypatch.setattr(files, "_MAP_ABOVE", 100)
    assert encode(rgb, name, like=like) == expected


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("orientation", [1, 6])
def test_spooled_reading_equals_reading(name, orientation, rgb, tmp_path, monkeypatch):
    exif = Pil.Exif()
    exif[0x112] = orientation
    path = tmp_path / "a"
    path.write_bytes(pil(Pil.fromarray(rgb), name, exif=exif))
    monkeypatch.setattr(files, "_MAP_ABOVE", 100)
    source = Source.open(path)
    pixels = source.read(spooled=True)
    assert isinstance(pixels, np.memmap)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, source.read())
    files.unload(pixels)
    np.testing.assert_array_equal(pixels, source.read())


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_spooled_reading_of_deep_pixels(dtype, rng, monkeypatch):
    deep = rng.random((40, 30, 3), np.float32)
    deep = (deep * 65535).astype(np.uint16) if dtype == np.uint16 else deep * 1.1  # some overshoot
    monkeypatch.setattr(files, "_BAND", 1000)
    source = Source.open(tiff(deep, photometric=2, kind=1 if dtype == np.uint16 else 3))
    pixels = source.read(spooled=True)
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, source.read())
    if dtype == np.float32:
        with pytest.raises(ImageError):
            Source.open(tiff(deep * 3, photometric=2, kind=3)).read(spooled=True)


def test_spooled_reading_of_a_damaged_file(rgb):
    data = encode(rgb, "png")
    with pytest.raises(FileError, match="damaged, truncated"):
        Source.open(data[: len(data) // 2]).read(spooled=True)


def test_spooled_pixels_keep_what_is_written_to_them(rgb):
    pixels = files.spool(rgb.shape, np.uint8)
    assert not pixels.any()
    pixels[:20] = rgb[:20]
    files.unload(pixels[:5])
    pixels[20:] = rgb[20:]
    files.unload(pixels)
    np.testing.assert_array_equal(pixels, rgb)


def test_unload_leaves_maps_of_others_alone(rgb, tmp_path):
    np.save(tmp_path / "a.npy", rgb)
    private = np.load(tmp_path / "a.npy", mmap_mode="c")
    private[:] = 7
    files.unload(private)
    assert (private == 7).all()
    files.unload(rgb)


@pytest.mark.parametrize("shape", [(50, 31), (50, 31, 1), (50, 31, 3)])
@pytest.mark.parametrize("name", ["png", "avif"])
def test_conversion_in_bands_equals_that_of_the_whole(shape, name, rng, monkeypatch):
    like = Source.open(encode(rng.integers(0, 65536, shape).astype(np.uint16), "png"))
    image = rng.random(shape, np.float32)
    whole = encode(image, name, like=like), encode(image, name)
    monkeypatch.setattr(files, "_BAND", 700)
    assert (encode(image, name, like=like), encode(image, name)) == whole
    with pytest.raises(ImageError, match="NaN"):
        encode(np.where(image > 0.99, np.nan, image), name)


# By rows


@pytest.mark.parametrize("name", ["png", "tiff", "jpeg"])
def test_sink_equals_save(name, rgb, alpha, tmp_path):
    like = Source.open(pil(Pil.fromarray(np.dstack([rgb, alpha])), "png", dpi=(300, 300)))
    image = rgb.astype(np.float32) / 255
    with Sink(tmp_path / f"rows.{name}", rgb.shape, like=like) as sink:
        for top in range(0, 37, 10):
            sink.write(image[top : top + 10])
        assert list(tmp_path.iterdir()) == []
    assert (tmp_path / f"rows.{name}").read_bytes() == encode(rgb, name, like=like)


def test_sink_dtype_and_grey_rows(rng, tmp_path):
    deep = rng.integers(0, 65536, (6, 7)).astype(np.uint16)
    with Sink(tmp_path / "a.png", (6, 7, 1), dtype=np.uint16) as sink:
        sink.write(deep[:2])
        sink.write(deep[2:, :, None])
    np.testing.assert_array_equal(Source.open(tmp_path / "a.png").read()[..., 0], deep)


def test_sink_that_fails_leaves_nothing(rgb, tmp_path):
    def write(*parts: np.ndarray, error: Exception | None = None) -> None:
        with Sink(tmp_path / "a.png", rgb.shape) as sink:
            for part in parts:
                sink.write(part)
            if error:
                raise error

    with pytest.raises(ZeroDivisionError):
        write(rgb, error=ZeroDivisionError())
    with pytest.raises(OutputError, match="only 10 of 37 rows"):
        write(rgb[:10])
    with pytest.raises(ImageError, match="do not fit"):
        write(rgb, rgb[:1])
    with pytest.raises(ImageError, match="do not fit"):
        write(rgb[:, :-1])
    with pytest.raises(OptionError):
        Sink(tmp_path / "a.bmp", rgb.shape)
    with pytest.raises(OutputError, match="16383"):
        Sink(tmp_path / "a.webp", (1, 20000, 3))
    assert list(tmp_path.iterdir()) == []
