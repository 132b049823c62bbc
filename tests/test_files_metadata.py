"""Nothing else changes: EXIF, ICC, XMP, IPTC, resolution and comments through every pair of formats."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import pyvips
from PIL import Image as Pil
from PIL import ImageCms, IptcImagePlugin, TiffImagePlugin

from unblur.errors import UnblurError
from unblur.files import Source, encode, losses

FORMATS = ["jpeg", "png", "webp", "tiff", "avif"]
ORIENTATION, EXIF, GPS, INTEROP = 0x112, 0x8769, 0x8825, 0xA005
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:Make="caf\xc3\xa9"/>'
    b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def exif_block(order: str, orientation: int, thumbnail: bytes = b"") -> bytes:
    """An EXIF block of a camera: maker note of odd length, GPS, interoperability, unknown tags, a thumbnail."""
    size = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
    out = bytearray({"<": b"II*\0", ">": b"MM\0*"}[order] + bytes(4))

    def short(*numbers: int) -> tuple[int, bytes]:
        return 3, struct.pack(order + "H" * len(numbers), *numbers)

    def long(*numbers: int) -> tuple[int, bytes]:
        return 4, struct.pack(order + "I" * len(numbers), *numbers)

    def ratio(*numbers: int) -> tuple[int, bytes]:
        return 5, struct.pack(order + "I" * len(numbers), *numbers)

    def text(content: str) -> tuple[int, bytes]:
        return 2, content.encode("utf-8") + b"\0"

    def add(tags: dict[int, tuple[int, bytes]], following: Callable[[int], int] | None = None) -> int:
        start = len(out)
        end = start + 6 + 12 * len(tags)
        table, values = struct.pack(order + "H", len(tags)), b""
        for tag, (kind, raw) in sorted(tags.items()):
            field = raw.ljust(4, b"\0")
            if len(raw) > 4:
                field = struct.pack(order + "I", end + len(values))
                values += raw + b"\0" * (len(raw) % 2)
            table += struct.pack(order + "HHI", tag, kind, len(raw) // size[kind]) + field
        next_at = following(end + len(values)) if following else 0
        out.extend(table + struct.pack(order + "I", next_at) + values)
        return start

    interop = add({1: text("R98"), 2: (7, b"0100")})
    exif = add(
        {
            0x829A: ratio(1, 250),
            0x8827: short(400),
            0x9003: text("2021:05:06 07:08:09"),
            0x927C: (7, b"ACME\0" + bytes(range(256)) + struct.pack(order + "I", 0x1234)),
            0x9286: (7, b"ASCII\0\0\0a comment"),
            0xA002: long(53),
            0xA003: short(37),
            0xA005: long(interop),
            0xA432: ratio(24, 1, 70, 1, 28, 10, 28, 10),
            0xC001: (7, b"a tag that no list knows"),
        }
    )
    gps = add({0: (1, b"\2\3\0\0"), 1: text("N"), 2: ratio(48, 1, 8, 1, 1234, 100), 5: (1, b"\0")})
    first = add(
        {
            0x10E: text("größer"),
            0x10F: text("ACME"),
            0x110: text("Camera 1"),
            ORIENTATION: short(orientation),
            0x11A: ratio(300, 1),
            0x11B: ratio(300, 1),
            0x128: short(2),
            0x132: text("2021:05:06 07:08:09"),
            0x8298: text("(c) me"),
            0x9C9B: (1, "title".encode("utf-16le") + b"\0\0"),
            EXIF: long(exif),
            GPS: long(gps),
        },
        (lambda end: end) if thumbnail else None,
    )
    if thumbnail:
        place = len(out) + 6 + 12 * 3
        add({0x103: short(6), 0x201: long(place), 0x202: long(len(thumbnail))})
        assert len(out) == place
        out.extend(thumbnail)
    out[4:8] = struct.pack(order + "I", first)
    return bytes(out)


def fields(exif: Pil.Exif) -> dict[str, dict[int, object]]:
    """Every tag that is neither layout nor a pointer, by directory."""
    layout = {*range(254, 260), 262, 273, 277, 278, 279, 284, 317, 339, 700, 34675, EXIF, GPS, 0x8649, 0x83BB}
    return {
        "first": {tag: value for tag, value in exif.items() if tag not in layout},
        "exif": {tag: value for tag, value in exif.get_ifd(EXIF).items() if tag != INTEROP},
        "gps": dict(exif.get_ifd(GPS)),
        "interop": dict(exif.get_ifd(INTEROP)),
    }


def opened(data: bytes) -> Pil.Image:
    picture = Pil.open(io.BytesIO(data))
    picture.load()
    return picture


def xmp_of(data: bytes) -> bytes:
    loader = {
        "jpeg": "jpegload",
        "png": "pngload",
        "webp": "webpload",
        "tiff": "tiffload",
        "avif": "heifload",
    }
    image = getattr(pyvips.Image, loader[Source.open(data).format] + "_buffer")(data)
    return image.get("xmp-data") if "xmp-data" in image.get_fields() else b""


@pytest.fixture
def rgb(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (37, 53, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def jpeg(rgb: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Pil.fromarray(rgb).save(buffer, "jpeg", quality=90, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_exif_field_survives(name, order, rgb):
    data = jpeg(rgb, exif=b"Exif\0\0" + exif_block(order, 1))
    source = Source.open(data)
    assert source.warnings == ()
    expected = fields(opened(data).getexif())
    assert expected["gps"]
    assert expected["interop"]
    assert len(expected["exif"]) == 9
    out = encode(source.read(), name, like=source)
    assert fields(opened(out).getexif()) == expected
    # and once more, back to where it came from
    back = encode(source.read(), "jpeg", like=Source.open(out))
    assert fields(opened(back).getexif()) == expected


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif"])
def test_exif_block_is_the_same_byte_for_byte(name, rgb):
    # maker notes hold offsets from the start of the block: nothing in it may move
    block = exif_block(">", 1)
    source = Source.open(jpeg(rgb, exif=b"Exif\0\0" + block))
    out = encode(source.read(), name, like=source)
    assert out.count(block) == 1


def test_turned_exif_is_told_of_the_new_pixels(rgb):
    block = exif_block(">", 6)
    source = Source.open(jpeg(rgb, exif=b"Exif\0\0" + block))
    assert (source.height, source.width) == (53, 37)
    for name in FORMATS:
        exif = opened(encode(source.read(), name, like=source)).getexif()
        assert exif[ORIENTATION] == 1
        assert (exif.get_ifd(EXIF)[0xA002], exif.get_ifd(EXIF)[0xA003]) == (37, 53)
    out = encode(source.read(), "jpeg", like=source)
    at = out.index(b"MM\0*")
    changed = [i for i in range(len(block)) if out[at + i] != block[i]]
    assert len(changed) == 3  # one byte each of the orientation, the width and the height


@pytest.mark.parametrize("name", FORMATS)
def test_stale_thumbnail_is_gone(name, rgb):
    thumbnail = jpeg(rgb[:16, :16])
    source = Source.open(jpeg(rgb, exif=b"Exif\0\0" + exif_block("<", 1, thumbnail)))
    out = encode(source.read(), name, like=source)
    assert thumbnail not in out
    exif = opened(out).getexif()
    assert exif.get_ifd(1) == {}
    assert exif[0x110] == "Camera 1"


def test_xmp_icc_and_resolution_through_every_pair(rgb, profile):
    for first in FORMATS:
        start = Source.open(jpeg(rgb, icc_profile=profile, xmp=XMP, dpi=(300, 150)))
        middle = Source.open(encode(start.read(), first, like=start))
        for second in FORMATS:
            out = encode(middle.read(), second, like=middle)
            assert opened(out).info["icc_profile"] == profile, (first, second)
            assert xmp_of(out) == XMP, (first, second)
            if first not in ("webp", "avif") and second not in ("webp", "avif"):  # they have no field for it
                assert opened(out).info["dpi"] == pytest.approx((300, 150), abs=0.02), (first, second)


def test_kept_profile_keeps_the_pixels(rgb):
    # a profile that swaps nothing is still not sRGB: any conversion would show
    linear = pyvips.Image.profile_load("p3")
    buffer = io.BytesIO()
    Pil.fromarray(rgb).save(buffer, "png", icc_profile=linear)
    source = Source.open(buffer.getvalue())
    np.testing.assert_array_equal(source.read(), rgb)
    for name in ("png", "tiff", "webp"):
        out = opened(encode(source.read(), name, like=source))
        assert out.info["icc_profile"] == linear
        np.testing.assert_array_equal(np.asarray(out), rgb)


def test_profile_of_the_other_colour_space_stays_out(rgb, profile):
    source = Source.open(jpeg(rgb, icc_profile=profile))
    assert "icc_profile" not in opened(encode(rgb[..., 0], "png", like=source)).info


def test_grey_profile(rgb):
    grey = grey_profile()
    buffer = io.BytesIO()
    Pil.fromarray(rgb[..., 0]).save(buffer, "png", icc_profile=grey)
    source = Source.open(buffer.getvalue())
    out = opened(encode(source.read(), "jpg", like=source))
    assert out.mode == "L"
    assert out.info["icc_profile"] == grey
    # WebP has no grey: an RGB profile must describe what it shows
    out = opened(encode(source.read(), "webp", like=source))
    assert out.info["icc_profile"][16:20] == b"RGB "
    shown = np.asarray(out).astype(int)
    assert np.ptp(shown, axis=2).max() <= 2
    linear = (rgb[..., 0] / 255.0) ** 2.2
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(shown[..., 1] - 255 * srgb).max() <= 3


def grey_profile() -> bytes:
    """A version 2 ICC profile of grey with gamma 2.2."""

    def tag(kind: bytes, body: bytes) -> bytes:
        return kind + bytes(4) + body + bytes(-len(body) % 4)

    white = struct.pack(">iii", 63190, 65536, 54061)
    name = b"Grey\0"
    tags = {
        b"desc": tag(b"desc", struct.pack(">I", len(name)) + name + bytes(78)),
        b"cprt": tag(b"text", b"none\0"),
        b"wtpt": tag(b"XYZ ", white),
        b"kTRC": tag(b"curv", struct.pack(">IH", 1, round(2.2 * 256))),
    }
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for kind, content in tags.items():
        table += kind + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + white
    return head.ljust(128, b"\0") + table + body


def test_orientation_in_xmp_follows(rgb):
    for orientation, expected in ((1, XMP), (6, XMP.replace(b'Orientation="6"', b'Orientation="1"'))):
        source = Source.open(jpeg(rgb, exif=b"Exif\0\0" + exif_block("<", orientation), xmp=XMP))
        assert xmp_of(encode(source.read(), "png", like=source)) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_invented(name, rgb):
    bare = encode(rgb, name)
    for data in (
        bare,
        encode(rgb, name, like=Source.open(bare)),
        encode(rgb, name, like=Source.open(jpeg(rgb))),
    ):
        picture = opened(data)
        assert not {"icc_profile", "exif", "xmp"} & set(picture.info)
        assert picture.info.get("dpi", (1, 1)) == (1, 1)  # Pillow's word for a TIFF without
        found = fields(picture.getexif())
        assert found["first"] in ({}, {ORIENTATION: 1})
        assert not found["exif"]


def test_resolution_turns_with_the_picture(rgb):
    exif = Pil.Exif()
    exif[ORIENTATION] = 8
    source = Source.open(jpeg(rgb, exif=exif.tobytes(), dpi=(204, 98)))
    for name in ("jpeg", "png", "tiff"):
        assert opened(encode(source.read(), name, like=source)).info["dpi"] == pytest.approx(
            (98, 204), abs=0.02
        )


def test_tiff_tags_survive_in_tiff(rgb):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x10E], tags[0x131], tags[0x13B], tags[0x8298] = "a scan", "scanner 2", "an artist", "(c)"
    tags[33550] = (0.5, 0.5, 0.0)  # GeoTIFF pixel scale
    tags.tagtype[33550] = 12
    tags[34735] = (1, 1, 0, 1, 1024, 0, 1, 1)  # GeoTIFF keys
    tags.tagtype[34735] = 3
    buffer = io.BytesIO()
    Pil.fromarray(rgb).save(buffer, "tiff", tiffinfo=tags, compression="tiff_lzw", dpi=(96, 96))
    source = Source.open(buffer.getvalue())
    out = opened(encode(255 - source.read(), "tiff", like=source))
    np.testing.assert_array_equal(np.asarray(out), 255 - rgb)
    for tag in (0x10E, 0x131, 0x13B, 0x8298, 33550, 34735):
        assert out.tag_v2[tag] == opened(buffer.getvalue()).tag_v2[tag]
    assert out.info["dpi"] == (96, 96)


def test_iptc_between_jpeg_and_tiff(rgb):
    record = b"\x1c\x02\x05\0\x05title\x1c\x02\x19\0\x03key"
    resources = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0" * (len(record) % 2)
    body = b"Photoshop 3.0\0" + resources
    plain = jpeg(rgb)
    data = plain[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    source = Source.open(data)
    again = encode(source.read(), "jpg", like=source)
    assert IptcImagePlugin.getiptcinfo(opened(again)) == {(2, 5): b"title", (2, 25): b"key"}
    through_tiff = Source.open(encode(source.read(), "tiff", like=source))
    back = encode(source.read(), "jpg", like=through_tiff)
    assert IptcImagePlugin.getiptcinfo(opened(back)) == {(2, 5): b"title", (2, 25): b"key"}
    assert losses(source, "a.png") == ("IPTC is left out",)
    assert losses(source, "a.tif") == ()

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x83BB] = record
    tags.tagtype[0x83BB] = 7
    buffer = io.BytesIO()
    Pil.fromarray(rgb).save(buffer, "tiff", tiffinfo=tags)
    scan = Source.open(buffer.getvalue())
    assert opened(encode(rgb, "tiff", like=scan)).tag_v2[0x83BB] == record
    assert IptcImagePlugin.getiptcinfo(opened(encode(rgb, "jpg", like=scan)))[(2, 5)] == b"title"


def test_comments_and_colour_chunks(rgb):
    source = Source.open(jpeg(rgb, comment=b"hello"))
    assert opened(encode(rgb, "jpg", like=source)).info["comment"] == b"hello"

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    buffer = io.BytesIO()
    Pil.fromarray(rgb).save(buffer, "png")
    extra = (
        chunk(b"gAMA", struct.pack(">I", 100000))
        + chunk(b"tEXt", b"Title\0a title")
        + chunk(b"cICP", b"\x09\x10\0\1")
    )
    data = (
        buffer.getvalue()[:33]
        + extra
        + buffer.getvalue()[33:-12]
        + chunk(b"tEXt", b"Last\0behind")
        + buffer.getvalue()[-12:]
    )
    out = encode(rgb, "png", like=Source.open(data))
    seen = opened(out)
    assert (seen.info["gamma"], seen.text) == (1.0, {"Title": "a title", "Last": "behind"})
    assert chunk(b"cICP", b"\x09\x10\0\1") in out


def test_what_is_too_large_for_jpeg_is_told_and_left_out(rgb):
    exif = Pil.Exif()
    exif[0x10E] = "x" * 70000
    buffer = io.BytesIO()
    image = pyvips.Image.new_from_array(rgb)
    Pil.fromarray(rgb).save(buffer, "png", exif=exif.tobytes())
    source = Source.open(buffer.getvalue())
    for name in ("jpg", "webp", "avif"):
        assert losses(source, f"a.{name}") == ("EXIF of more than 64 KiB is left out",)
        assert 0x10E not in opened(encode(rgb, name, like=source)).getexif()
    for name in ("png", "tiff"):
        assert opened(encode(rgb, name, like=source)).getexif()[0x10E] == "x" * 70000
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, "xmp-data", XMP + b" " * 70000)
    source = Source.open(image.pngsave_buffer(keep="xmp"))
    assert losses(source, "a.jpg") == ("XMP of more than 64 KiB is left out",)
    assert xmp_of(encode(rgb, "jpg", like=source)) == b""
    assert len(xmp_of(encode(rgb, "webp", like=source))) == len(XMP) + 70000


@pytest.mark.parametrize("length", [65527, 65526, 60000])
def test_largest_exif_of_jpeg(length, rgb):
    block = exif_block("<", 1)
    data = jpeg(rgb, exif=b"Exif\0\0" + block.ljust(length, b"\1"))
    for name in ("jpg", "webp", "avif"):
        assert block.ljust(length, b"\1") in encode(rgb, name, like=Source.open(data))
    assert losses(Source.open(data), "a.jpg") == ()


def test_damaged_exif_never_stops_a_picture(rgb, rng):
    good = exif_block(">", 6, jpeg(rgb[:8, :8]))
    for trial in range(150):
        block = bytearray(good)
        for at in rng.integers(0, len(block), rng.integers(1, 12)):
            block[at] = rng.integers(0, 256)
        block = block[: rng.integers(1, len(block) + 1)] if trial % 2 else block
        source = Source.open(jpeg(rgb[:8, :8], exif=b"Exif\0\0" + bytes(block)))
        pixels = source.read()
        assert pixels.shape == (8, 8, 3)
        assert Source.open(encode(pixels, "jpeg", like=source)).read().shape == (8, 8, 3)
        # its tags are TIFF tags too: strict readers may refuse senseless ones, the pixels must be right
        written = pyvips.Image.tiffload_buffer(encode(pixels, "tiff", like=source), fail_on="none")
        np.testing.assert_array_equal(written.numpy(), pixels)


def test_unreadable_exif_is_told(rgb):
    source = Source.open(jpeg(rgb, exif=b"Exif\0\0" + b"no TIFF structure at all"))
    assert source.warnings == ("its EXIF tags are damaged or of BigTIFF, and left out",)
    assert not opened(encode(rgb, "jpg", like=source)).getexif()


def test_damaged_tiff_directories_give_typed_errors(rgb, rng):
    source = Source.open(jpeg(rgb[:9, :9], exif=b"Exif\0\0" + exif_block("<", 1)))
    good = encode(rgb[:9, :9], "tiff", like=source)
    opened_fine = 0
    for _ in range(120):
        data = bytearray(good)
        for at in rng.integers(4, len(data), 3):
            data[at] = rng.integers(0, 256)
        with contextlib.suppress(UnblurError):
            damaged = Source.open(bytes(data), max_pixels=10**6)
            encode(damaged.read(), "jpg", like=damaged)
            opened_fine += 1
    assert 10 < opened_fine < 120
