"""What a worker does with one picture: restore it or look at it, and put the answer into bytes."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from unblur import engine, files, methods, tiling
from unblur.errors import FileError, InputError, MissingExtraError, OutputError, TooLargeError, UnblurError
from unblur.estimate import SURE, blur_map
from unblur.image import Image, from_array, luma, to_array
from unblur.methods import photograph
from unblur.physics.blur import Blur
from unblur.web.refusal import Refusal, Reply

_log = logging.getLogger("unblur.web")

#: What pictures are sent as, and the extension of one that had none.
TYPES: Mapping[str, tuple[str, str]] = {
    "jpeg": ("image/jpeg", ".jpg"),
    "png": ("image/png", ".png"),
    "tiff": ("image/tiff", ".tif"),
    "webp": ("image/webp", ".webp"),
    "avif": ("image/avif", ".avif"),
}

#: What browsers do not show: they are sent a JPEG of this quality to look at.
_UNSEEN, _SEEN_QUALITY = ("tiff", "heic"), 92

#: The local sigma in pixels that the map shows as white, and the longest side of that map.
MAP_WHITE, _MAP_SIDE = 4.0, 256

#: Compressed pixels of a PNG may take so many bytes more than twice the pixels themselves.
_PNG_SLACK = 1 << 16

#: Rows that are turned into floats at a time.
_BAND = 256


@dataclass(frozen=True)
class Job:
    """One picture and what is wanted of it.

    name: of the file, as the client calls it. restore: False only looks. as_json: the answer in JSON, pictures and
    all, in the place of the picture. format: a key of `TYPES`, or "same".
    """

    data: bytes
    name: str
    max_pixels: int
    memory: int
    restore: bool = True
    method: str = "auto"
    strength: float = 1.0
    sigma: float | None = None
    format: str = "same"
    as_json: bool = False


def run(job: Job) -> Reply:
    """Do the job. Whatever goes wrong is an answer too, and says nothing of this machine."""
    try:
        source = open_picture(job.data, job.max_pixels)
        return _restore(job, source) if job.restore else _estimate(source)
    except Refusal as refusal:
        return refusal.reply()
    except (InputError, OutputError) as error:
        return Refusal(422, "unusable", _sentence(error)).reply()
    except MemoryError:
        return Refusal(413, "too_large", "The picture needs more memory than there is.").reply()
    except Exception:  # noqa: BLE001
        _log.exception("a picture could not be processed")
        return Refusal(500, "mistake", "A mistake of ours; the picture could not be processed.").reply()
    finally:
        tiling.give_back()  # a worker lives long


def open_picture(data: bytes, max_pixels: int) -> files.Source:
    """The header of a picture that may be decoded. Raises Refusal (413, 415) for any other."""
    try:
        source = files.Source.open(data, max_pixels=max_pixels)
    except TooLargeError:
        limit = f"{max_pixels / 1e6:g} megapixels"
        raise Refusal(
            413, "too_many_pixels", f"The picture has more pixels than the limit of {limit}."
        ) from None
    except MissingExtraError:
        raise Refusal(415, "unknown_format", "HEIC pictures cannot be read here; send a JPEG.") from None
    except FileError as error:
        raise Refusal(415, "unknown_format", _sentence(error)) from None
    room = 8 * source.width * source.height * source.dtype.itemsize + _PNG_SLACK
    if source.format == "png" and _compressed(data) > room:
        raise Refusal(
            413, "bomb", "The PNG holds far more data than the size in its header allows; it is not read."
        )
    return source


def _compressed(data: bytes) -> int:
    """Bytes of the compressed pixels of a PNG."""
    at, total = 8, 0
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8]) != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        total += length if kind == b"IDAT" else 0
        at += 12 + length
    return total


def _restore(job: Job, source: files.Source) -> Reply:
    try:
        methods.get(job.method)
    except UnblurError as error:  # its message names files of this machine
        _log.error("%s", error)
        raise Refusal(503, "no_method", f"The method {job.method} cannot be used here just now.") from None
    result = engine.restore(job.data, job.method, job.strength, sigma=job.sigma, memory=job.memory)
    name, kind = _result_name(job, source)
    pixels = np.asarray(result.image)
    unchanged = result.method == "none" and kind == source.format
    enlarged = "resampled" in result.blur.parameters
    picture = job.data if unchanged else files.encode(pixels, kind, like=source)
    facts: dict[str, Any] = {
        **result.to_dict(),
        "name": name,
        "type": TYPES[kind][0],
        "width": source.width,
        "height": source.height,
        "unchanged": unchanged,
        "sharp": result.blur.kind == "none" and not enlarged and result.blur.confidence >= SURE,
        "enlarged": enlarged,
        "warnings": [*result.warnings, *files.losses(source, f"x{TYPES[kind][1]}")],
    }
    if not job.as_json:
        return Reply(
            picture,
            TYPES[kind][0],
            headers={
                "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
                "x-unblur-result": json.dumps(facts, allow_nan=False),
            },
        )
    before = source.read()
    seen = source.format in _UNSEEN
    facts |= {
        "picture": _base64(picture),
        "before": _base64(_to_look_at(before, source)) if seen else None,
        "after": _base64(_to_look_at(pixels, source)) if kind in _UNSEEN else None,
        **_pictures_of(result.blur, before),
    }
    return Reply(json.dumps(facts, allow_nan=False).encode())


def _estimate(source: files.Source) -> Reply:
    pixels = source.read()
    found = photograph.look(from_array(engine.sample(pixels)))
    facts = {
        **found.to_dict(),
        "width": source.width,
        "height": source.height,
        **_pictures_of(found.blur, pixels),
    }
    return Reply(json.dumps(facts, allow_nan=False).encode())


def _result_name(job: Job, source: files.Source) -> tuple[str, str]:
    """The name of the result, as the command line would call it, and its format."""
    known = files.FORMATS.get(suffix := PurePosixPath(job.name).suffix.lower())
    # What cannot be written in its own format is written without loss.
    kind = job.format if job.format != "same" else source.format if source.format in TYPES else "png"
    stem = PurePosixPath(job.name).stem if known else job.name
    if known and known.name == kind:
        return f"{stem}.unblur{PurePosixPath(job.name).suffix if suffix else ''}", kind
    return f"{stem}.unblur{TYPES[kind][1]}", kind


def _to_look_at(pixels: NDArray[Any], source: files.Source) -> bytes:
    return files.encode(pixels, "jpeg", quality=_SEEN_QUALITY, like=source)


def _pictures_of(blur: Blur, pixels: NDArray[Any]) -> dict[str, Any]:
    """The kernel and the map of the local blur, as PNG in base64."""
    kernel = None
    if blur.kernel is not None:
        kernel = _base64(files.encode(to_array(blur.kernel[:, :, None] / blur.kernel.max(), np.uint8), "png"))
    # In grey, and by bands: a whole picture in floats would be the largest thing here.
    grey = np.concatenate(
        [luma(from_array(pixels[top : top + _BAND])) for top in range(0, len(pixels), _BAND)]
    )
    local = blur_map(grey[:, :, None])
    step = -(-max(local.shape) // _MAP_SIDE)
    small: Image = np.clip(local[::step, ::step, None] / np.float32(MAP_WHITE), 0, 1)
    return {
        "kernel": kernel,
        "map": _base64(files.encode(to_array(small, np.uint8), "png")),
        "map_white": MAP_WHITE,
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sentence(error: Exception) -> str:
    """What is wrong, in one line, as a sentence about the picture."""
    line = " ".join(str(error).split())
    line = re.sub(r"^picture: ", "The picture ", line)
    return f"{line[:1].upper()}{line[1:]}."
