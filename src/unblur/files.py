"""Pictures in and out with everything that they carry.

`Source` reads a picture upright: whole, by windows, or only its header. `save`, `encode` and `Sink` write one with
the EXIF, ICC, XMP, IPTC, resolution, alpha and bit depth of the `Source` that it was made `like`; a file appears
whole or not at all. Pixels, ICC and XMP go through libvips. EXIF does not: libvips serialises it anew, which moves
maker notes and invents tags, so the block is patched in place here and put into the new file as it was.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import mmap
import os
import re
import secrets
import stat
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any, TypeAlias

import numpy as np
import pyvips
from numpy.typing import DTypeLike, NDArray

from unblur.errors import FileError, ImageError, MissingExtraError, OptionError, OutputError, TooLargeError
from unblur.image import from_array, to_array
from unblur.metadata import (
    EXIF_MAX,
    EXIF_PREFIX,
    LONG_XMP_PREFIX,
    ORIENTATION,
    PHOTOSHOP_PREFIX,
    PNG_EXTRAS,
    PNG_HEAD,
    SEGMENT_MAX,
    TIFF_IPTC,
    TIFF_PHOTOSHOP,
    TYPE_SIZE,
    XMP_MAX,
    Buffer,
    Carried,
    exif_from_tiff,
    is_raw,
    jpeg_segment,
    jpeg_segments,
    png_chunk,
    png_chunks,
    read_directories,
    read_tags,
    read_value,
    table_quality,
    tiff_with,
    upright_exif,
    value_size,
)

# pyvips hands every message of libvips, debugging ones too, to a Python callback. A Ctrl-C that arrives during work
# in libvips is raised in the next such callback and lost there, so only warnings may still call it. Those go nowhere:
# what stops libvips is raised, and what it finds odd in a file is no news for the user.
pyvips._remove_log_handler()
pyvips._log_handler_id = pyvips.glib_lib.g_log_set_handler(
    b"VIPS",
    pyvips.GLogLevelFlags.LEVEL_WARNING | pyvips.GLogLevelFlags.LEVEL_CRITICAL,
    pyvips._log_handler_cb,
    pyvips.ffi.NULL,
)
logging.getLogger("pyvips").setLevel(logging.CRITICAL)
# libvips would keep its last hundred operations alive, with their pixels, for a reuse that never comes here.
pyvips.cache_set_max(0)

MAX_PIXELS = 2**28
"""A picture with more pixels is refused unless the caller says otherwise."""

Pixels: TypeAlias = NDArray[Any]
"""uint8, uint16 or float32 (H, W, C), C in 1 or 3."""

Piece: TypeAlias = "bytes | memoryview"
"""A part of a file."""


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    bits: the deepest channel (32 is float). lossless: pixels are written exactly unless a quality is asked for.
    side: the largest width or height.
    """

    name: str
    bits: int
    alpha: bool
    grey: bool
    lossless: bool
    side: int
    read: bool = True
    write: bool = True

    def dtype_for(self, wanted: DTypeLike) -> np.dtype[Any]:
        """The dtype nearest to `wanted` that this format holds; 10 and 12 bits count as uint16."""
        wanted = np.dtype(wanted)
        if wanted == np.uint8 or self.bits == 8:
            return np.dtype(np.uint8)
        return np.dtype(np.float32 if wanted.kind == "f" and self.bits == 32 else np.uint16)


_PNG = Format("png", bits=16, alpha=True, grey=True, lossless=True, side=2**31 - 1)
_JPEG = Format("jpeg", bits=8, alpha=False, grey=True, lossless=False, side=65500)
_TIFF = Format("tiff", bits=32, alpha=True, grey=True, lossless=True, side=2**31 - 1)
_WEBP = Format("webp", bits=8, alpha=True, grey=False, lossless=True, side=16383)
_AVIF = Format("avif", bits=12, alpha=True, grey=False, lossless=False, side=16384)
_HEIC = Format("heic", bits=16, alpha=True, grey=True, lossless=False, side=16384, write=False)

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        ".png": _PNG,
        ".jpg": _JPEG,
        ".jpeg": _JPEG,
        ".jpe": _JPEG,
        ".jfif": _JPEG,
        ".tif": _TIFF,
        ".tiff": _TIFF,
        ".webp": _WEBP,
        ".avif": _AVIF,
        ".heic": _HEIC,
        ".heif": _HEIC,
        ".hif": _HEIC,
    }
)
"""File name extension, in lower case, to format."""

READABLE = frozenset(suffix for suffix, known in FORMATS.items() if known.read)
"""Extensions, in lower case, that `Source.open` reads."""

#: Quality of a lossy file where none is asked for: the smallest that re-saves photographs above 42 dB.
_QUALITY = {"jpeg": 97, "avif": 96}

#: Levels of zlib for PNG and TIFF: a quarter faster than 6 for files that are as small to half a percent, and to one.
_EFFORT, _EFFORT_TIFF = 4, 3

#: A larger file is mapped instead of read, and a larger picture encoded into a temporary file.
_MAP_ABOVE = 2**26

#: Samples that are converted through floats at a time.
_BAND = 2**22

_LOADERS = {"png": "pngload", "jpeg": "jpegload", "tiff": "tiffload", "webp": "webpload", "avif": "heifload"}
_NUMPY: dict[str, np.dtype[Any]] = {
    "uchar": np.dtype(np.uint8),
    "ushort": np.dtype(np.uint16),
    "float": np.dtype(np.float32),
}
_VIPS = {dtype: name for name, dtype in _NUMPY.items()}


@dataclass(frozen=True, eq=False)
class Source:
    """A picture whose facts are known and whose pixels are not decoded yet.

    path: None for bytes. format: "png", "jpeg", "tiff", "webp", "avif" or "heic", by content and not by name.
    width, height: pixels, once upright. channels: colour channels, 1 or 3; a palette and CMYK become RGB.
    dtype: uint8, uint16 or float32. warnings: what the file holds and no result will, one line each.
    """

    path: Path | None
    format: str
    width: int
    height: int
    channels: int
    dtype: np.dtype[Any]
    has_alpha: bool
    warnings: tuple[str, ...]
    _data: Buffer = field(repr=False)
    _orientation: int = field(repr=False)
    _carried: Carried = field(repr=False)

    @classmethod
    def open(cls, source: str | os.PathLike[str] | bytes, *, max_pixels: int = MAX_PIXELS) -> Source:
        """Read the header of a file, or of the bytes of one.

        Raises FileError for what is missing, not permitted, or no picture of a known format; TooLargeError, before
        anything is decoded, above `max_pixels`; MissingExtraError for HEIC without pillow-heif. Damage behind the
        header shows when the pixels are read.
        """
        path: Path | None = None
        data: Buffer
        if isinstance(source, bytes | bytearray | memoryview):
            data = bytes(source)
        else:
            path = Path(source)
            data = _read_file(path)
        name = _name(path)
        format_name = _sniff(data[:64], name)
        if format_name == "tiff" and is_raw(data):
            raise FileError(
                f"{name}: begins with a preview, as a camera's raw file does; develop it to TIFF first"
            )
        with _decoding(name):
            raw = _load(data, format_name, max_pixels, name)
            exif, orientation, warnings = _read_exif(data, format_name, raw)
            image = _display(raw, orientation, name)
            channels = 3 if image.bands > 2 else 1
            return cls(
                path=path,
                format=format_name,
                width=image.width,
                height=image.height,
                channels=channels,
                dtype=_NUMPY[image.format],
                has_alpha=image.bands > channels,
                warnings=(*warnings, *_left_out(data, format_name, raw)),
                _data=data,
                _orientation=orientation,
                _carried=_collect(data, format_name, image, exif, orientation),
            )

    @property
    def quality(self) -> int:
        """The quality of a JPEG, 1 to 100, by its quantisation tables; 0 for any other file."""
        return self._carried.quality

    @property
    def nbytes(self) -> int:
        """Bytes of the colour channels of the whole picture, decoded."""
        return self.height * self.width * self.channels * self.dtype.itemsize

    def read(self, *, spooled: bool = False) -> Pixels:
        """The colour channels of the whole picture, upright: (H, W, C) of `dtype`.

        `spooled` decodes into a temporary file, see `spool`, and not into memory.
        Raises FileError for damaged or truncated data, ImageError for float pixels that are not in [0, 1].
        """
        # Rows arrive in order unless the picture must be turned: then the decoder need not keep them all.
        access = "random" if self._orientation > 1 else "sequential"
        if not spooled:
            with _decoding(_name(self.path)):
                return self._pixels(self._decode(access))
        with tempfile.TemporaryFile(prefix="unblur-") as file:
            pixels = _mapped(file, (self.height, self.width, self.channels), self.dtype)
            with _decoding(_name(self.path)):
                image = self._decode(access).extract_band(0, n=self.channels)
                file.seek(0)
                image.rawsave_target(pyvips.Target.new_to_descriptor(file.fileno()))
        if isinstance(self._data, mmap.mmap):
            _unload(self._data)
        if self.dtype == np.float32:
            for rows in _bands(pixels):
                pixels[rows] = self._checked(pixels[rows])
        return pixels

    def window(self, top: int, left: int, height: int, width: int) -> Pixels:
        """The colour channels of a part of the upright picture: (height, width, C) of `dtype`.

        The first window of a format without random access decodes the picture once, in its own dtype.
        Raises OptionError for a window that leaves the picture, and what `read` raises.
        """
        if (
            min(top, left) < 0
            or min(height, width) < 1
            or top + height > self.height
            or left + width > self.width
        ):
            raise OptionError(
                f"{_name(self.path)}: window {height}x{width} at ({top}, {left}) leaves {self.height}x{self.width}"
            )
        with _decoding(_name(self.path)):
            return self._pixels(self._decoded.crop(left, top, width, height))

    def alpha(self) -> Pixels | None:
        """The alpha channel of the upright picture, (H, W) of `dtype`, or None. Raises what `read` raises."""
        if not self.has_alpha:
            return None
        with _decoding(_name(self.path)):
            image = self._decode("random" if self._orientation > 1 else "sequential")
            return self._checked(image[self.channels].numpy())[:, :, 0]

    @cached_property
    def _decoded(self) -> Any:
        return self._decode("random")

    def _decode(self, access: str) -> Any:
        name = _name(self.path)
        raw = _load(self._data, self.format, self.width * self.height, name, access)
        return _display(raw, self._orientation, name)

    def _pixels(self, image: Any) -> Pixels:
        return self._checked(image.extract_band(0, n=self.channels).numpy())

    def _checked(self, pixels: Pixels) -> Pixels:
        hwc = pixels if pixels.ndim == 3 else pixels[:, :, None]
        return from_array(hwc, _name(self.path)) if self.dtype == np.float32 else hwc


def decode(data: bytes) -> Pixels:
    """The colour channels of the bytes of a picture file: (H, W, C) uint8, uint16 or float32, upright.

    Raises what `Source.open` and `Source.read` raise.
    """
    return Source.open(data).read()


def encode(
    array: NDArray[Any],
    format: str,  # noqa: A002
    *,
    quality: int | None = None,
    like: Source | None = None,
) -> bytes:
    """The bytes of a file of `format`, a name or extension, that holds `array`: (H, W) or (H, W, C), C in 1 or 3.

    `like` gives the metadata, the bit depth as far as the format holds it (see `losses`), and, for an array of the
    same size, alpha. Without it integers keep their depth and floats become 8 bits. `quality` is 1 to 100 for
    JPEG, WebP and AVIF; without it WebP is lossless and the others lose nothing that can be seen.
    Raises OptionError for a format that cannot be written or a quality out of range, ImageError for an array that
    is no image, OutputError for a size that the format cannot hold.
    """
    return b"".join(_encode_any(array, _writable(f".{format.lower().lstrip('.')}"), quality, like))


def save(
    array: NDArray[Any],
    path: str | os.PathLike[str],
    *,
    like: Source | None = None,
    overwrite: bool = False,
    quality: int | None = None,
) -> Path:
    """Write `array` to `path` in the format of its extension, whole or not at all; see `encode`.

    Raises what `encode` raises, and OutputError for a file that exists (unless `overwrite`), a folder that is
    missing or not writable, or a full disk.
    """
    path = check_output(path, overwrite=overwrite)
    pieces = _encode_any(array, _writable(path.suffix), quality, like)
    return write_file(path, pieces, overwrite=overwrite)


def spool(shape: tuple[int, int, int], dtype: DTypeLike) -> Pixels:
    """Zeros in a temporary file that has no name any more and is mapped into memory: room for a large picture.

    What was touched counts as this process's memory until `unload`. The file lies in $TMPDIR.
    Raises OutputError where there is no place for it.
    """
    with tempfile.TemporaryFile(prefix="unblur-") as file:
        return _mapped(file, shape, np.dtype(dtype))


def unload(pixels: NDArray[Any]) -> None:
    """Keep a picture from `spool`, or a part of one, in its file only until it is touched again; no other changes."""
    # What a caller changed in a private map of his own is nowhere else.
    if isinstance(pixels, np.memmap) and pixels.mode != "c" and (mapped := getattr(pixels, "_mmap", None)):
        _unload(mapped)


class Sink:
    """A picture that is written by rows, from the top down, and saved on leaving the `with` block.

    Rows wait in a temporary file, in the dtype of the result, so that the whole picture never is in memory as
    floats. Nothing is written to `path` if the block raises. Options and errors are those of `save`; what can be
    found wrong before the first row is raised at once. `dtype` counts only without `like`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, int, int],
        *,
        dtype: DTypeLike = np.uint8,
        like: Source | None = None,
        overwrite: bool = False,
        quality: int | None = None,
    ) -> None:
        self.path = check_output(path, overwrite=overwrite)
        self.shape = shape
        _check_quality(quality)
        self._format = _writable(self.path.suffix)
        _check_side(shape[0], shape[1], self._format)
        self._dtype = self._format.dtype_for(like.dtype if like else dtype)
        self._like, self._overwrite, self._quality = like, overwrite, quality
        self._rows = 0
        self._spool = spool(shape, self._dtype)

    def __enter__(self) -> Sink:
        return self

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows: (h, W) or (h, W, C), of any dtype that `save` takes. Raises ImageError, OutputError."""
        pixels = _to_pixels(rows, self._dtype)
        height, width, channels = self.shape
        if pixels.shape[1:] != (width, channels) or self._rows + len(pixels) > height:
            raise ImageError(
                f"{self.path}: rows {pixels.shape} after row {self._rows} do not fit {self.shape}"
            )
        self._spool[self._rows : self._rows + len(pixels)] = pixels
        unload(self._spool)
        self._rows += len(pixels)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._rows != self.shape[0]:
            raise OutputError(f"{self.path}: only {self._rows} of {self.shape[0]} rows were given")
        pieces = _encode(self._spool, self._format, self._quality, self._like)
        write_file(self.path, pieces, overwrite=self._overwrite)


def losses(like: Source, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What the format of `path` cannot hold of `like`, one line each, for a word to the user.

    Raises OptionError for an extension that cannot be written.
    """
    target = _writable(Path(path).suffix)
    carried = like._carried
    lost = []
    bits = {1: 8, 2: 16, 4: 32}[like.dtype.itemsize]
    if target.bits < bits and not (like.format in ("avif", "heic") and carried.bits <= target.bits):
        lost.append(f"{bits}-bit channels become {target.bits}-bit")
    if like.has_alpha and not target.alpha:
        lost.append("the alpha channel is left out")
    if like.channels == 1 and not target.grey:
        lost.append("grey becomes RGB")
    if (carried.photoshop or carried.iptc) and target not in (_JPEG, _TIFF):
        lost.append("IPTC is left out")
    if carried.dpi and not carried.exif and target in (_WEBP, _AVIF):
        lost.append("the resolution is left out")
    if target in (_JPEG, _WEBP, _AVIF) and len(carried.exif) > EXIF_MAX:
        lost.append("EXIF of more than 64 KiB is left out")
    if target is _JPEG and len(carried.xmp) > XMP_MAX:
        lost.append("XMP of more than 64 KiB is left out")
    return tuple(lost)


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Find out, before the work is done, whether a picture can be saved at `path`.

    Raises OptionError for an extension that cannot be written, OutputError for a file that exists (unless
    `overwrite`) or a folder that is missing or not writable.
    """
    path = Path(path)
    _writable(path.suffix)
    folder = path.parent
    try:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder")
        if not overwrite and os.path.lexists(path):
            raise OutputError(f"{path}: exists already; choose another name or allow overwriting")
        if not folder.is_dir():
            raise OutputError(f"{folder}: no such folder to write {path.name} into")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{folder}: no permission to write into this folder")
    except (ValueError, OSError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    return path


def write_file(
    path: str | os.PathLike[str], data: bytes | Sequence[Piece], *, overwrite: bool = False
) -> Path:
    """Write `data`, or pieces of it, to `path` so that the file appears whole or not at all, whatever interrupts it.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name in one step. A replaced
    file keeps its permissions; a link is followed. Raises OutputError.
    """
    path = Path(path)
    target = Path(os.path.realpath(path)) if overwrite else path
    temporary = target.with_name(f".unblur-{secrets.token_hex(8)}.part")
    try:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
                if overwrite:
                    with contextlib.suppress(OSError):
                        os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
                file.writelines([data] if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                os.replace(temporary, target)
            else:
                _take_name(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    except FileExistsError as error:
        raise OutputError(f"{path}: exists already; choose another name or allow overwriting") from error
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from error
    with contextlib.suppress(OSError):  # the name itself; Windows and some network folders cannot do this
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def _take_name(temporary: Path, target: Path) -> None:
    """Give a finished file its name unless that name is taken; FileExistsError if it is."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: hold the name with an empty file first
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            os.replace(temporary, target)
        except BaseException:
            os.unlink(target)
            raise


# Reading


def _name(path: Path | None) -> str:
    return "picture" if path is None else str(path)


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn what libvips says into one line about the file."""
    try:
        yield
    except pyvips.Error as error:
        raise FileError(f"{name}: damaged, truncated or of an unknown kind ({_reason(error)})") from error


def _reason(error: pyvips.Error) -> str:
    lines = [line.strip() for line in error.detail.splitlines() if line.strip()]
    return (lines[0] if lines else error.message)[:160]


def _read_file(path: Path) -> Buffer:
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            if not head:
                raise FileError(f"{path}: is empty")
            _sniff(head, str(path))
            if file.seekable() and os.fstat(file.fileno()).st_size > _MAP_ABOVE:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return head + file.read()
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise FileError(f"{path}: is a folder, not a picture") from error
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _sniff(head: bytes, name: str) -> str:
    """The format that the first 64 bytes announce."""
    if not head:
        raise FileError(f"{name}: is empty")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and head[8:10] != b"CR":
        return "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = head[8 : int.from_bytes(head[:4], "big")]
        if b"avi" in brands:
            return "avif"
        if b"hei" in brands or b"hev" in brands:
            return "heic"
    raise FileError(f"{name}: is not a PNG, JPEG, TIFF, WebP, AVIF or HEIC picture")


def _load(data: Buffer, format_name: str, max_pixels: int, name: str, access: str = "random") -> Any:
    """The picture as it lies in the file, not decoded yet."""
    if format_name == "heic":
        return _load_heic(data, max_pixels, name)
    # "error" and not "truncated": libvips counts a short TIFF strip as an error only.
    options = {"access": access, "fail_on": "error"}
    image = getattr(pyvips.Image, f"{_LOADERS[format_name]}_source")(
        pyvips.Source.new_from_memory(data), **options
    )
    _check_size(image.width, image.height, max_pixels, name)
    return _full_scale(image, image.get("bits-per-sample")) if format_name == "avif" else image


def _load_heic(data: Buffer, max_pixels: int, name: str) -> Any:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError(f"{name}: reading HEIC", "heic") from error
    try:
        heif = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        _check_size(heif.size[0], heif.size[1], max_pixels, name)
        image = pyvips.Image.new_from_array(np.asarray(heif))
    except (OSError, EOFError, SyntaxError, RuntimeError, ValueError) as error:
        if isinstance(error, TooLargeError):
            raise
        raise FileError(f"{name}: damaged or truncated ({str(error).splitlines()[0]})") from error
    grey, colour = ("grey16", "rgb16") if image.format == "ushort" else ("b-w", "srgb")
    image = image.copy(interpretation=grey if image.bands < 3 else colour)
    for key, blob in (("exif-data", "exif"), ("xmp-data", "xmp"), ("icc-profile-data", "icc_profile")):
        if heif.info.get(blob):
            image.set_type(pyvips.GValue.blob_type, key, heif.info[blob])
    image.set_type(pyvips.GValue.gint_type, "bits-per-sample", heif.info["bit_depth"])
    image.set_type(pyvips.GValue.gint_type, "n-pages", len(heif))
    return _full_scale(image, heif.info["bit_depth"])


def _full_scale(image: Any, bits: int) -> Any:
    """Stretch 10 or 12 bits, which HEIF decoders shift up into 16, so that white is 65535."""
    if image.format != "ushort" or bits == 16:
        return image
    return (image * (65535 / (65536 - 2 ** (16 - bits)))).rint().cast("ushort")


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width * height > max_pixels:
        raise TooLargeError(
            f"{name}: {width}x{height} is more than the limit of {max_pixels} pixels; raise the limit to read it"
        )


def _display(image: Any, orientation: int, name: str) -> Any:
    """Upright grey or RGB, with alpha last if there is any, in a dtype that can hold an image."""
    space = image.interpretation
    if space == "cmyk":
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth)
    elif space in ("lab", "labs"):
        image = image.colourspace("rgb16" if space == "labs" else "srgb").copy()
        image.remove("icc-profile-data")
    colours = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb16": 3, "scrgb": 3}.get(image.interpretation, 0)
    if image.bands - colours not in (0, 1) or not colours:
        raise FileError(
            f"{name}: has {image.bands} {space} channels; only grey, RGB or CMYK, with or without alpha, is read"
        )
    if image.format not in _NUMPY:
        raise FileError(
            f"{name}: has {image.format} pixels; convert them to 8 or 16 bits, or to floats in [0, 1]"
        )
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image.autorot()


def _left_out(data: Buffer, format_name: str, image: Any) -> list[str]:
    if image.interpretation == "cmyk":
        return ["is CMYK and becomes RGB"]
    pages = _get(image, "n-pages", 1)
    if pages > 1:
        return [f"holds {pages} pictures; only the first is read"]
    if data[8:12] == b"avis" or (
        format_name == "png" and any(kind == b"acTL" for kind, _ in png_chunks(data))
    ):
        return ["is animated; only the first frame is read"]
    if format_name == "jpeg" and any(
        body.startswith(b"MPF\0") for marker, body in jpeg_segments(data) if marker == 0xE2
    ):
        return ["holds further pictures (a preview, a depth or a gain map); only the first is read"]
    return []


def _get(image: Any, key: str, default: Any) -> Any:
    return image.get(key) if key in image.get_fields() else default


# What a picture carries: collecting it


def _read_exif(data: Buffer, format_name: str, image: Any) -> tuple[bytes, int, list[str]]:
    """The EXIF block as it must be for upright pixels, the orientation of the stored ones (1 to 8), and warnings."""
    orientation = _get(image, "orientation", 1) if format_name == "tiff" else 1
    block = _get(image, "exif-data", b"")
    if format_name == "png":  # libvips does not see the chunk behind the pixels, other readers do
        block = next((body for kind, body in png_chunks(data) if kind == b"eXIf"), block)
    block = block.removeprefix(EXIF_PREFIX)
    try:
        if format_name == "tiff":
            block = exif_from_tiff(data)
        if not block:
            return b"", orientation, []
        order, directories, _ = read_directories(block)
        # Decoders of AVIF and HEIC turn the picture by a box of its own, which their EXIF only repeats.
        if format_name in ("png", "jpeg", "webp") and (entry := directories[0].get(ORIENTATION)):
            asked = int.from_bytes(read_value(block, order, entry)[: TYPE_SIZE[entry.kind]], "little")
            orientation = asked if 1 <= asked <= 8 else 1
        turned = orientation > 4
        size = (image.height, image.width) if turned else (image.width, image.height)
        block = upright_exif(block, *size, turned)
        read_tags(block)
    except (struct.error, KeyError):
        return b"", orientation, ["its EXIF tags are damaged or of BigTIFF, and left out"]
    return block, orientation, []


def _collect(data: Buffer, format_name: str, image: Any, exif: bytes, orientation: int) -> Carried:
    extras: list[bytes] = []
    photoshop = iptc = b""
    quality = 0
    resolved = "resolution-unit" in image.get_fields()
    if format_name == "jpeg":
        for marker, body in jpeg_segments(data):
            if marker == 0xFE or (marker == 0xE1 and body.startswith(LONG_XMP_PREFIX)):
                extras.append(jpeg_segment(marker, body))
            elif marker == 0xED and body.startswith(PHOTOSHOP_PREFIX):
                photoshop += body.removeprefix(PHOTOSHOP_PREFIX)
            elif marker == 0xDB:
                quality = quality or table_quality(body)
    elif format_name == "png":
        for kind, body in png_chunks(data):
            resolved = resolved or (kind == b"pHYs" and body[8:9] == b"\1")
            if kind in PNG_EXTRAS and not body.startswith((b"XML:com.adobe.xmp\0", b"Raw profile type ")):
                extras.append(png_chunk(kind, body))
    elif format_name == "tiff":
        with contextlib.suppress(struct.error, KeyError):
            _, directories, _ = read_directories(data)
            photoshop, iptc = (
                bytes(data[entry.at : entry.at + value_size(entry)])
                if (entry := directories[0].get(tag))
                else b""
                for tag in (TIFF_PHOTOSHOP, TIFF_IPTC)
            )
    across, down = image.xres * 25.4, image.yres * 25.4
    if orientation > 4:
        across, down = down, across
    xmp = _get(image, "xmp-data", b"")
    if orientation > 1:
        xmp = re.sub(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))[2-8]", rb"\g<1>1", xmp)
    return Carried(
        exif=exif,
        icc=_get(image, "icc-profile-data", b""),
        xmp=xmp,
        photoshop=photoshop,
        iptc=iptc,
        dpi=(across, down) if resolved and min(across, down) > 0 and max(across, down) < 1e5 else None,
        extras=tuple(extras),
        quality=quality,
        full_chroma=_get(image, "jpeg-chroma-subsample", "") == "4:4:4",
        bits=_get(image, "bits-per-sample", 8),
    )


# Writing


def _writable(suffix: str) -> Format:
    target = FORMATS.get(suffix.lower())
    if target is None or not target.write:
        possible = ", ".join(known for known, facts in FORMATS.items() if facts.write)
        raise OptionError(
            f"cannot write pictures as {suffix or 'a file without extension'}; use one of {possible}"
        )
    return target


def _check_quality(quality: int | None) -> None:
    if quality is not None and not 1 <= quality <= 100:
        raise OptionError(f"quality must be 1 to 100, got {quality}")


def _check_side(height: int, width: int, target: Format) -> None:
    if max(height, width) > target.side:
        raise OutputError(
            f"{width}x{height} does not fit {target.name}, which ends at {target.side} pixels a side; use PNG or TIFF"
        )


def _to_pixels(array: NDArray[Any], dtype: np.dtype[Any]) -> Pixels:
    valid = isinstance(array, np.ndarray) and array.ndim == 3 and array.shape[2] in (1, 3) and array.size > 0
    if valid and array.dtype == dtype != np.float32:
        return array
    if not valid or array.size <= _BAND:
        return to_array(from_array(array), dtype)
    pixels = np.empty(array.shape, dtype)
    for rows in _bands(array):
        pixels[rows] = to_array(from_array(array[rows]), dtype)
        unload(array)
    return pixels


def _bands(array: NDArray[Any]) -> Iterator[slice]:
    """Slices of rows that cover a picture, small enough to be turned into floats."""
    rows = max(_BAND // array[0].size, 1)
    return (slice(top, top + rows) for top in range(0, len(array), rows))


def _mapped(file: IO[bytes], shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Pixels:
    size = math.prod(shape) * dtype.itemsize
    try:
        # A mapped page that finds no place on the disk would end the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: no place for temporary rows ({size / 1e6:.0f} MB): {error.strerror}; "
            "set TMPDIR to a folder with room"
        ) from error


def _unload(mapped: mmap.mmap) -> None:
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _encode_any(array: NDArray[Any], target: Format, quality: int | None, like: Source | None) -> list[Piece]:
    _check_quality(quality)
    wanted = like.dtype if like else np.uint16 if getattr(array, "dtype", None) == np.uint16 else np.uint8
    pixels = array[:, :, None] if getattr(array, "ndim", 0) == 2 else array
    return _encode(_to_pixels(pixels, target.dtype_for(wanted)), target, quality, like)


def _encode(pixels: Pixels, target: Format, quality: int | None, like: Source | None) -> list[Piece]:
    height, width, channels = pixels.shape
    _check_side(height, width, target)
    carried = like._carried if like else Carried()
    bits = 8
    if target is _AVIF and pixels.dtype == np.uint16:
        bits = carried.bits if carried.bits in (10, 12) else 12
    image = _vips(pixels, bits)
    icc = carried.icc if carried.icc[16:20] == (b"RGB " if channels == 3 else b"GRAY") else b""
    if icc:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
        if channels == 1 and not target.grey:  # a grey profile would not fit the RGB that it becomes
            image = image.icc_transform("srgb", embedded=True).copy()
    if like and like.has_alpha and target.alpha and (like.height, like.width) == (height, width):
        alpha = like.alpha()
        assert alpha is not None
        image = image.bandjoin(_vips(_to_pixels(alpha, pixels.dtype), bits)).copy()
    if carried.xmp:
        image.set_type(pyvips.GValue.blob_type, "xmp-data", carried.xmp)
    if carried.dpi:
        image = image.copy(xres=carried.dpi[0] / 25.4, yres=carried.dpi[1] / 25.4)
    extras = carried.extras if like and like.format == target.name else ()
    try:
        return _SAVERS[target.name](image, quality, bits, carried, extras)
    except pyvips.Error as error:
        raise OutputError(
            f"{width}x{height} picture cannot be written as {target.name}: {_reason(error)}"
        ) from error
    finally:
        unload(pixels)


def _saved(image: Any, saver: str, **options: Any) -> Buffer:
    """What a saver of libvips writes; of a large picture it lies in a temporary file."""
    if image.width * image.height * image.bands * _NUMPY[image.format].itemsize <= _MAP_ABOVE:
        return getattr(image, f"{saver}_buffer")(**options)
    with tempfile.TemporaryFile(prefix="unblur-") as file:
        getattr(image, f"{saver}_target")(pyvips.Target.new_to_descriptor(file.fileno()), **options)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _vips(pixels: Pixels, bits: int = 8) -> Any:
    """A libvips image over an array; 10 and 12 bits are what `_full_scale` undoes."""
    if bits > 8:
        steps = 2**bits - 1
        deep = pixels
        pixels = np.empty_like(deep)
        for rows in _bands(deep):
            pixels[rows] = np.rint(deep[rows] * np.float32(steps / 65535)).astype(np.uint16) << (16 - bits)
    height, width, channels = pixels.shape
    kind = _VIPS[pixels.dtype]
    spaces = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16"), "float": ("b-w", "scrgb")}
    memory = np.ascontiguousarray(pixels).data
    image = pyvips.Image.new_from_memory(memory, width, height, channels, kind)
    return image.copy(interpretation=spaces[kind][channels == 3])


def _save_png(
    image: Any, quality: int | None, bits: int, carried: Carried, extras: tuple[bytes, ...]
) -> list[Piece]:
    data = _saved(image, "pngsave", filter="paeth", compression=_EFFORT, keep=_KEEP)
    exif = png_chunk(b"eXIf", carried.exif) if carried.exif else b""
    end = PNG_HEAD  # of what stands before the pixels
    kept: list[Piece] = [data[:PNG_HEAD], exif, *extras]
    while (kind := data[end + 4 : end + 8]) != b"IDAT":
        start, end = end, end + 12 + int.from_bytes(data[end : end + 4], "big")
        if kind != b"pHYs" or carried.dpi:  # libvips invents a resolution
            kept.append(data[start:end])
    return [*kept, memoryview(data)[end:]]


def _save_jpeg(
    image: Any, quality: int | None, bits: int, carried: Carried, extras: tuple[bytes, ...]
) -> list[Piece]:
    quality = quality or max(_QUALITY["jpeg"], carried.quality)
    full_chroma = quality >= 90 or carried.full_chroma
    data = _saved(image, "jpegsave", Q=quality, subsample_mode="off" if full_chroma else "on", keep=_KEEP)
    per_inch = [min(max(round(value), 1), 65535) for value in carried.dpi or (1, 1)]
    head = jpeg_segment(0xE0, b"JFIF\0\1\1" + struct.pack(">BHHBB", carried.dpi is not None, *per_inch, 0, 0))
    if 0 < len(carried.exif) <= EXIF_MAX:
        head += jpeg_segment(0xE1, EXIF_PREFIX + carried.exif)
    resources, iptc = carried.photoshop, carried.iptc
    if iptc and not resources:
        resources = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    step = SEGMENT_MAX - len(PHOTOSHOP_PREFIX)
    tail = b"".join(
        jpeg_segment(0xED, PHOTOSHOP_PREFIX + resources[at : at + step])
        for at in range(0, len(resources), step)
    ) + b"".join(extras)
    written = 2 + sum(len(body) + 4 for marker, body in jpeg_segments(data) if 0xE0 <= marker <= 0xEF)
    return [data[:2], head, data[2:written], tail, memoryview(data)[written:]]


def _save_webp(
    image: Any, quality: int | None, bits: int, carried: Carried, extras: tuple[bytes, ...]
) -> list[Piece]:
    how = {"lossless": True} if quality is None else {"Q": quality, "smart_subsample": True}
    image, keep = _with_exif_placeholder(image, carried.exif)
    # Twice as fast as the default for lossless files that are 5 % larger.
    return _fill_placeholder(_saved(image, "webpsave", exact=True, effort=1, keep=keep, **how), carried.exif)


def _save_avif(
    image: Any, quality: int | None, bits: int, carried: Carried, extras: tuple[bytes, ...]
) -> list[Piece]:
    quality = quality or _QUALITY["avif"]
    image, keep = _with_exif_placeholder(image, carried.exif)
    # Effort 1 takes three times as long for files that are 8 % smaller, the default thirty times.
    chroma = "off" if quality >= 90 else "auto"
    data = _saved(
        image,
        "heifsave",
        compression="av1",
        Q=quality,
        bitdepth=bits,
        effort=0,
        subsample_mode=chroma,
        keep=keep,
    )
    return _fill_placeholder(data, carried.exif)


def _save_tiff(
    image: Any, quality: int | None, bits: int, carried: Carried, extras: tuple[bytes, ...]
) -> list[Piece]:
    predictor = "float" if image.format == "float" else "horizontal"
    big = image.width * image.height * image.bands * _NUMPY[image.format].itemsize > 4_000_000_000
    data = _saved(
        image,
        "tiffsave",
        compression="deflate",
        level=_EFFORT_TIFF,
        predictor=predictor,
        bigtiff=big,
        keep=_KEEP,
    )
    return [memoryview(data)] if big else tiff_with(data, carried)


_SAVERS = {"png": _save_png, "jpeg": _save_jpeg, "webp": _save_webp, "avif": _save_avif, "tiff": _save_tiff}
_KEEP = "icc:xmp"


def _with_exif_placeholder(image: Any, exif: bytes) -> tuple[Any, str]:
    """Have libvips make room for an EXIF block: WebP and AVIF have tables of offsets that it fills in."""
    if not 0 < len(exif) <= EXIF_MAX:
        return image, _KEEP
    image = image.copy()
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-ImageDescription", _placeholder(exif).decode())
    return image, f"{_KEEP}:exif"


def _placeholder(exif: bytes) -> bytes:
    # What libexif puts before the text is at least a header and seven entries: 98 bytes.
    length = max(len(exif) - 98, 64)
    return (b"[EXIF goes here]" * (length // 16 + 1))[:length]


def _fill_placeholder(data: Buffer, exif: bytes) -> list[Piece]:
    view = memoryview(data)
    if not 0 < len(exif) <= EXIF_MAX:
        return [view]
    text = _placeholder(exif)
    end = data.find(text) + len(text)
    start = data.rfind(b"II*\0", 0, end)
    return [view[:start], exif.ljust(end - start, b"\0"), view[end:]]
