"""What a picture carries besides its pixels, byte by byte: JPEG segments, PNG chunks, TIFF directories and EXIF.

Blocks are patched where they lie and never serialised anew, so that maker notes and unknown tags survive.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

Buffer: TypeAlias = bytes | mmap.mmap


@dataclass(frozen=True)
class Carried:
    """What a picture carries besides its pixels, true for the upright picture.

    exif: a TIFF-structured block. photoshop: 8BIM resources. iptc: an IIM record outside of those. dpi: dots per
    inch (x, y). extras: JPEG segments or PNG chunks that pass as they are into a file of the same format. quality,
    full_chroma: of a JPEG's quantisation tables, and whether its colour has the resolution of its luma. bits: of one
    channel.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    photoshop: bytes = b""
    iptc: bytes = b""
    dpi: tuple[float, float] | None = None
    extras: tuple[bytes, ...] = ()
    quality: int = 0
    full_chroma: bool = False
    bits: int = 8


# JPEG segments and PNG chunks

EXIF_PREFIX = b"Exif\0\0"
PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
LONG_XMP_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
PNG_EXTRAS = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tEXt", b"zTXt", b"iTXt"}
#: Signature and IHDR.
PNG_HEAD = 33
#: Most bytes of one JPEG segment after its length, and of XMP in it.
SEGMENT_MAX = 65533
XMP_MAX = SEGMENT_MAX - 29
#: And of EXIF, which libexif keeps for WebP and AVIF too.
EXIF_MAX = SEGMENT_MAX - 6
#: Sum of the luminance quantisation table of ITU-T T.81, table K.1.
_STANDARD_TABLE_SUM = 3688


def jpeg_segments(data: Buffer) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the pixels."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], data[at + 4 : at + 2 + length]
        at += 2 + length


def jpeg_segment(marker: int, body: bytes) -> bytes:
    """A segment as it stands in the file."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def table_quality(body: bytes) -> int:
    """The quality, 1 to 100, at which libjpeg's rule scales the standard table to the sum of this one."""
    wide = body[:1] >= b"\x10"
    table = body[1 : 129 if wide else 65]
    total = sum(table[::2]) * 256 + sum(table[1::2]) if wide else sum(table)
    if total <= 64:  # nothing but ones
        return 100
    return max(1, round(scale_quality(total / _STANDARD_TABLE_SUM)))


def scale_quality(scale: float) -> float:
    """The quality, not rounded, at which libjpeg multiplies its standard tables by `scale`."""
    return 100 - 50 * scale if scale <= 1 else 50 / scale


def quality_scale(quality: float) -> float:
    """What libjpeg multiplies its standard tables by at a quality of 1 to 100."""
    return (100 - quality) / 50 if quality >= 50 else 50 / quality


def png_chunks(data: Buffer) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk; that of pixels is left out."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = bytes(data[at + 4 : at + 8])
        yield kind, b"" if kind == b"IDAT" else data[at + 8 : at + 8 + length]
        at += 12 + length


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk as it stands in the file, checksum included."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# TIFF directories, of which EXIF is made too (TIFF 6.0, section 2; EXIF 2.32, section 4.5)

_NEW_SUBFILE_TYPE, ORIENTATION, _DNG_VERSION = 0xFE, 0x112, 0xC612
TIFF_IPTC, TIFF_PHOTOSHOP = 0x83BB, 0x8649
_EXIF, _GPS, _INTEROP = _POINTERS = 0x8769, 0x8825, 0xA005
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = _RESOLUTION = 0x11A, 0x11B, 0x128
#: Tags that say how pixels are stored, or that have a way of their own here; all others are carried.
_LAYOUT_TAGS = frozenset({*range(254, 260), 262, 266, 273, *range(277, 282), 284, *range(288, 294), 301})
_LAYOUT_TAGS |= {317, *range(320, 326), 330, *range(332, 343), 347, *range(512, 522), *range(529, 533), 700}
_LAYOUT_TAGS |= {TIFF_IPTC, TIFF_PHOTOSHOP, 34675, 37724}
#: Most bytes of carried tags in one file.
_TAGS_MAX = 2**24
TYPE_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


class Entry(NamedTuple):
    """One tag of a TIFF directory: type, count, and the place of its value."""

    kind: int
    number: int
    at: int  # where its value lies


Tags: TypeAlias = dict[int, tuple[int, int, bytes]]  # type, count, little-endian value or the place of one


def value_size(entry: Entry) -> int:
    """Bytes of the value. Raises KeyError for an unknown type."""
    return TYPE_SIZE[entry.kind] * entry.number


def _directory(block: Buffer, order: str, start: int) -> tuple[dict[int, Entry], int]:
    """The entries of one directory, and where the offset of the next one stands."""
    (count,) = struct.unpack_from(order + "H", block, start)
    entries = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", block, at)
        entry = Entry(kind, number, at + 8)
        if kind in TYPE_SIZE and value_size(entry) > 4:
            entry = Entry(kind, number, *struct.unpack_from(order + "I", block, at + 8))
        if kind in TYPE_SIZE and entry.at + value_size(entry) <= len(block):
            entries[tag] = entry
    return entries, start + 2 + 12 * count


def read_directories(block: Buffer) -> tuple[str, dict[int, dict[int, Entry]], int]:
    """Byte order, directories by the tag that points to them (0: the first), and where the thumbnail's offset stands.

    Raises struct.error or KeyError for a block that is none, BigTIFF included.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}[bytes(block[:4])]
    first, next_at = _directory(block, order, *struct.unpack_from(order + "I", block, 4))
    found = {0: first}
    for tag, parent in ((_EXIF, 0), (_GPS, 0), (_INTEROP, _EXIF)):
        if entry := found.get(parent, {}).get(tag):
            with contextlib.suppress(struct.error):
                found[tag], _ = _directory(block, order, *struct.unpack_from(order + "I", block, entry.at))
    return order, found, next_at


def read_value(block: Buffer, order: str, entry: Entry) -> bytes:
    """The value of an entry in little-endian order."""
    raw = bytes(block[entry.at : entry.at + value_size(entry)])
    word = 4 if entry.kind in (5, 10) else TYPE_SIZE[entry.kind]
    return raw if order == "<" or word == 1 else np.frombuffer(raw, f">u{word}").astype(f"<u{word}").tobytes()


def read_tags(block: Buffer) -> dict[int, Tags]:
    """The carried tags of each directory. Raises what `read_directories` raises, also for too many."""
    order, directories, _ = read_directories(block)
    tags: dict[int, Tags] = {}
    total = 0
    for where, entries in directories.items():
        tags[where] = {}
        for tag, entry in entries.items():
            if tag in _POINTERS or (where == 0 and tag in _LAYOUT_TAGS):
                continue
            total += value_size(entry)
            if total > _TAGS_MAX:
                raise struct.error("too many tags")
            tags[where][tag] = (entry.kind, entry.number, read_value(block, order, entry))
    return tags


def _pack(directories: dict[int, Tags], base: int) -> tuple[bytes, int]:
    """Directories as little-endian bytes that will stand at `base`, and the offset of the first directory."""
    packed = b""
    for where, parent in ((_INTEROP, _EXIF), (_EXIF, 0), (_GPS, 0), (0, 0)):
        tags = directories.get(where)
        if not tags and where:
            continue
        start = base + len(packed)
        table, values = struct.pack("<H", len(tags or {})), b""
        for tag, (kind, count, value) in sorted((tags or {}).items()):
            if len(value) > 4:
                place = start + 6 + 12 * len(tags or {}) + len(values)
                values += value + b"\0" * (len(value) % 2)
                value = struct.pack("<I", place)
            table += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        packed += table + b"\0\0\0\0" + values
        if where:
            directories.setdefault(parent, {})[where] = (4, 1, struct.pack("<I", start))
    return packed, start


def upright_exif(block: bytes, width: int, height: int, turned: bool) -> bytes:
    """The block for upright pixels, nothing in it moved: orientation 1, the size, no thumbnail of the old pixels."""
    order, directories, next_at = read_directories(block)
    patched = bytearray(block)
    first, exif = directories[0], directories.get(_EXIF, {})
    for entries, tag, number in (
        (first, ORIENTATION, 1),
        (first, 0x100, width),
        (first, 0x101, height),
        (exif, 0xA002, width),
        (exif, 0xA003, height),
    ):
        entry = entries.get(tag)
        if entry and entry.kind in (3, 4) and entry.number == 1 and number < 256 ** TYPE_SIZE[entry.kind]:
            struct.pack_into(order + {3: "H", 4: "I"}[entry.kind], patched, entry.at, number)
    across, down = first.get(_X_RESOLUTION), first.get(_Y_RESOLUTION)
    if turned and across and down and across[:2] == down[:2] == (5, 1):
        patched[across.at : across.at + 8] = block[down.at : down.at + 8]
        patched[down.at : down.at + 8] = block[across.at : across.at + 8]
    if len(block) >= next_at + 4 and (thumbnail := struct.unpack_from(order + "I", block, next_at)[0]):
        patched[next_at : next_at + 4] = b"\0\0\0\0"
        with contextlib.suppress(struct.error, KeyError):
            entries, _ = _directory(block, order, thumbnail)
            offset, length = (
                int.from_bytes(read_value(block, order, entries[tag]), "little") for tag in (0x201, 0x202)
            )
            if offset > 8 and offset + length >= len(block) - 1:
                del patched[offset:]
    return bytes(patched)


def exif_from_tiff(data: Buffer) -> bytes:
    """The tags of a TIFF file that do not describe its layout, as an EXIF block. Raises what `read_tags` raises."""
    directories = read_tags(data)
    if len(directories) == 1 and directories[0].keys() <= {ORIENTATION, *_RESOLUTION}:
        return b""
    packed, start = _pack(directories, 8)
    return b"II*\0" + struct.pack("<I", start) + packed


def is_raw(data: Buffer) -> bool:
    """Whether a TIFF file is a camera's raw file, whose first picture is only a preview."""
    with contextlib.suppress(struct.error, KeyError):
        order, directories, _ = read_directories(data)
        first = directories[0]
        preview = (
            _NEW_SUBFILE_TYPE in first and read_value(data, order, first[_NEW_SUBFILE_TYPE])[:1] == b"\1"
        )
        return _DNG_VERSION in first or preview
    return False


def tiff_with(data: Buffer, carried: Carried) -> list[bytes | memoryview]:
    """The TIFF file with the carried tags, by a new first directory at its end that points to the old values.

    In pieces: a large file is not copied.
    """
    _, old, _ = read_directories(data)
    first: Tags = {}
    for tag, entry in old[0].items():
        value = data[entry.at : entry.at + 4] if value_size(entry) <= 4 else struct.pack("<I", entry.at)
        first[tag] = (entry.kind, entry.number, value)
    directories = read_tags(carried.exif) if carried.exif else {0: {}}
    first |= directories[0]
    for tag in _RESOLUTION:
        first.pop(tag, None)
    if carried.dpi:
        across, down = (struct.pack("<II", round(value * 10000), 10000) for value in carried.dpi)
        first |= {
            _X_RESOLUTION: (5, 1, across),
            _Y_RESOLUTION: (5, 1, down),
            _RESOLUTION_UNIT: (3, 1, b"\2\0"),
        }
    if carried.photoshop:
        first[TIFF_PHOTOSHOP] = (1, len(carried.photoshop), carried.photoshop)
    if carried.iptc:
        first[TIFF_IPTC] = (7, len(carried.iptc), carried.iptc)
    even = b"\0" * (len(data) % 2)
    packed, start = _pack(directories | {0: first}, len(data) + len(even))
    return [data[:4], struct.pack("<I", start), memoryview(data)[8:], even, packed]
