"""`restore()`: the one place where pictures, estimates, methods and tiles meet."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unblur import files, methods, tiling
from unblur.errors import ImageError, OptionError
from unblur.estimate import noise_level, quality_noise
from unblur.image import INTEGER_MAX, Image, from_array, rounding_noise, to_array
from unblur.methods import Method, Options
from unblur.methods.guard import GRID, guard, reach
from unblur.physics import kernels
from unblur.physics.blur import Blur
from unblur.threads import cores

if TYPE_CHECKING:
    import PIL.Image
    import torch

Picture: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[Any] | PIL.Image.Image | torch.Tensor"
"""What can be restored: a path, the bytes of a file, an array, a PIL image, or a tensor."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the steps that are done and the steps in all."""

#: More blur than this is refused: nothing can be brought back, and the kernel would be larger than most pictures.
LARGEST_SIGMA = 50.0

#: The blur is estimated on at most this many pixels.
_ESTIMATE_PIXELS = 2_000_000

#: A file that takes more than this share of the memory, before and after, is kept in temporary files.
_SPOOLED_ABOVE = 0.25

#: A smaller share of the picture that fell back to the input is not spoken of.
_WORTH_SAYING = 0.005

#: Where more than this fell back, the blur that was found is not the picture's, and what is left of it does harm.
_BEYOND = 0.8

#: So many tiles are restored at a time, where there is more than one, unless that makes them smaller than the second
#: number, or makes all together see so many times the pixels.
_ABREAST, _LEAST, _WORTH_ABREAST = 2, 512, 1.25

#: Of pictures with so many pixels, the memory of one step is kept for the next.
_WORTH_KEEPING = 1_000_000

#: For each pixel of a tile, beside what the method takes: the window that it is given, and pages of large files.
_BYTES_AROUND = 32

#: Pictures go through a network together as long as they have no more pixels than this in all.
_BATCH_PIXELS = 1 << 17


@dataclass(frozen=True, eq=False)
class Result:
    """What `restore` found and did.

    image: the restored picture, of the type, dtype and shape that was given (a numpy array for a path or
    bytes; that of a large file lies in a temporary file). blur: what was found or given. method: what ran, or
    "none". left_alone: what was not restored and why, one line each. seconds: the time it took. warnings: what
    the reader of the file had to say. each: of a batch the result of every picture, and `blur` is that of the
    first; else empty.
    """

    image: Any
    blur: Blur
    method: str
    left_alone: tuple[str, ...]
    seconds: float
    warnings: tuple[str, ...] = ()
    each: tuple[Result, ...] = ()
    _pixels: NDArray[Any] = field(repr=False, default_factory=lambda: np.zeros((1, 1, 3), np.uint8))
    _source: files.Source | None = field(repr=False, default=None)

    def save(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, quality: int | None = None
    ) -> Path:
        """Write the picture with all that its source carried: EXIF, ICC, XMP, alpha, bit depth.

        The suffix names the format. Raises OutputError where the file exists (unless `overwrite`) or cannot
        be written, OptionError for an unknown suffix and for a batch.
        """
        if self.each:
            raise OptionError(f"{path}: cannot hold a batch; save each of `result.each`")
        return files.save(self._pixels, path, like=self._source, overwrite=overwrite, quality=quality)

    def to_dict(self) -> dict[str, Any]:
        """All but the pixels, as plain JSON types."""
        return {
            "method": self.method,
            "blur": self.blur.to_dict(),
            "left_alone": list(self.left_alone),
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
            **({"each": [one.to_dict() for one in self.each]} if self.each else {}),
        }


def restore(
    image: Picture,
    method: str = "auto",
    strength: float = 1.0,
    kernel: NDArray[Any] | str | os.PathLike[str] | None = None,
    sigma: float | None = None,
    memory: int | str | None = None,
    iterations: int | None = None,
    *,
    blur: Blur | None = None,
    progress: Progress | None = None,
) -> Result:
    """Take the blur out of a picture.

    image: a path, the bytes of a file, a PIL image, an array (H, W) or (H, W, C), or a torch tensor (C, H, W) or
    (N, C, H, W); uint8, uint16 or float in [0, 1], RGB, with an optional alpha channel last. A tensor comes back
    on its device and in its memory layout, without a gradient. method: a row of `unblur.METHODS`. strength:
    0..1, how much of the change to keep. kernel: a (k, k) array or the path of one. sigma: of a Gaussian
    blur, in pixels. blur: kernel and noise in one, or a blur that varies over the picture. With none of these
    three, the blur is estimated. memory: a budget for the whole process, in bytes or as "2GB"; larger pictures
    go through in tiles, and large files lie in temporary files meanwhile. iterations: for iterative methods.
    progress: called with tiles done and tiles in all, of a batch with pictures done and in all.

    Raises OptionError, ImageError, FileError or KernelError, each with a line that says what to do.
    """
    return Plan.make(method, strength, kernel, sigma, memory, iterations, blur).restore(image, progress)


def restore_many(
    images: Sequence[NDArray[Any]],
    method: str = "auto",
    blurs: Sequence[Blur | None] | None = None,
) -> list[Result]:
    """Restore arrays as `restore` does each; small ones of one shape go through a network together.

    images: as the arrays of `restore`. blurs: the blur of each image with its noise, None where it is to be
    estimated. A result of a batch has its share of the seconds.

    Raises OptionError for another number of blurs than of images, and what `restore` raises.
    """
    if blurs is not None and len(blurs) != len(images):
        raise OptionError(f"expected one blur for each of {len(images)} images, got {len(blurs)}")
    return Plan.make(method).restore_many(images, blurs)


@dataclass(frozen=True, eq=False)
class Plan:
    """How pictures are to be restored: the options of `restore`, checked.

    memory: the budget in bytes; flexible: whether it is only the default. workers: how many pictures share it.
    idle: what the process holds between pictures, in bytes; None to measure it for each.
    Any number of threads may use a plan at a time.
    """

    row: Method
    given: Blur | None
    options: Options
    strength: float
    memory: int
    flexible: bool
    workers: int = 1
    idle: int | None = None

    @classmethod
    def make(
        cls,
        method: str = "auto",
        strength: float = 1.0,
        kernel: NDArray[Any] | str | os.PathLike[str] | None = None,
        sigma: float | None = None,
        memory: int | str | None = None,
        iterations: int | None = None,
        blur: Blur | None = None,
    ) -> Plan:
        """Check the options of `restore`. Raises OptionError, KernelError, or FileError for what cannot be loaded."""
        row = methods.get(method)
        if sum(one is not None for one in (kernel, sigma, blur)) > 1:
            raise OptionError("give a kernel, a sigma or a blur, not both")
        options = _check_options(row, strength, sigma, iterations)
        budget = tiling.parse_memory(memory)
        return cls(row, _given_blur(kernel, sigma, blur), options, strength, budget, memory is None)

    def load(self) -> None:
        """Load the method's models, and restore a small grey picture: what fails for every picture is raised now."""
        image = np.full((16, 16, 3), 0.5, np.float32)
        if self.given is None:
            self.row.find(image)
        # Without a blur a flat picture would be left alone.
        replace(self, given=_given_blur(None, 1.0, None)).restore(image)

    def restore(self, image: Picture, progress: Progress | None = None) -> Result:
        """Restore one picture, or a tensor that is a batch. Raises what `unblur.restore` raises of a picture."""
        started = time.perf_counter()
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(image, torch.Tensor):
            return self._restore_tensor(image, progress)
        return self._restore_opened(_open(image, self.memory // self.workers), self.given, progress, started)

    def restore_many(
        self,
        images: Sequence[NDArray[Any]],
        blurs: Sequence[Blur | None] | None = None,
        progress: Progress | None = None,
    ) -> list[Result]:
        """Restore arrays; small ones of one shape go through a network together.

        blurs: of each image; without them, that of the plan. progress: called with images done and in all.
        """
        known = [self.given] * len(images) if blurs is None else blurs
        results: list[Result] = []
        while (at := len(results)) < len(images):
            started = time.perf_counter()
            opened = [_open(image, self.memory) for image in _alike(images[at:], self.row)]
            if len(opened) > 1 and self.strength == 1:
                results += _restore_batch(opened, self.row, started)
            else:
                results.append(self._restore_opened(opened[0], known[at], None, started))
            if progress is not None:
                progress(len(results), len(images))
        return results

    def _restore_tensor(self, tensor: Any, progress: Progress | None) -> Result:
        started = time.perf_counter()
        if tensor.ndim not in (3, 4) or not tensor.numel() or tensor.shape[-3] > 4:
            raise ImageError(
                f"tensor: expected shape (C, H, W) or (N, C, H, W) with C up to 4, got {tuple(tensor.shape)}"
            )
        known = tensor.detach().cpu()
        array = (known.float() if "bfloat16" in str(known.dtype) else known).numpy()
        batch = np.moveaxis(array[None] if tensor.ndim == 3 else array, 1, 3)
        if len(batch) == 1:
            each = [self._restore_opened(_open_array(batch[0]), self.given, progress, started)]
        else:
            each = self.restore_many(list(batch), progress=progress)
        restored = np.moveaxis(np.stack([one.image for one in each]), 3, 1).reshape(array.shape)
        image = tensor.detach().clone()
        image.copy_(image.new_tensor(restored))
        if len(each) == 1:
            return replace(each[0], image=image)
        ran = {one.method for one in each if one.method != "none"}
        return Result(
            image=image,
            blur=each[0].blur,
            method=ran.pop() if ran else "none",
            left_alone=tuple(
                f"picture {index}: {line}" for index, one in enumerate(each) for line in one.left_alone
            ),
            seconds=time.perf_counter() - started,
            each=tuple(each),
        )

    def _restore_opened(
        self, opened: _Opened, given: Blur | None, progress: Progress | None, started: float
    ) -> Result:
        if opened.pixels.shape[0] * opened.pixels.shape[1] < _WORTH_KEEPING:
            return self._restore_pixels(opened, given, progress, started)
        with tiling.keeping():
            return self._restore_pixels(opened, given, progress, started)

    def _restore_pixels(
        self, opened: _Opened, given: Blur | None, progress: Progress | None, started: float
    ) -> Result:
        pixels, source = opened.pixels, opened.source
        if given is not None:
            _check_fits(given, pixels)
        blur, reason = _decide(pixels, self.row, given, source.quality if source else 0)
        output, left_alone = pixels, (reason,) if reason else ()
        if not reason and self.strength > 0:
            output, fell_back = self._run_tiles(pixels, blur, progress)
            if fell_back >= _WORTH_SAYING:
                where = f"{fell_back:.0%} of the picture"
                if given is None and fell_back > _BEYOND:
                    output, where = pixels, "everything"
                left_alone = (f"{where}: the restored pixels did not explain the blurred ones",)
        elif not reason:
            left_alone = ("everything: the strength is 0",)
        return Result(
            image=opened.rebuild(output),
            blur=blur,
            method="none" if output is pixels else self.row.name,
            left_alone=left_alone,
            seconds=time.perf_counter() - started,
            warnings=source.warnings if source else (),
            _pixels=output,
            _source=source,
        )

    def _run_tiles(
        self, pixels: NDArray[Any], blur: Blur, progress: Progress | None
    ) -> tuple[NDArray[Any], float]:
        """Restore in tiles, into an array of the same dtype; and the share of the picture that fell back."""
        row, spooled = self.row, isinstance(pixels, np.memmap)
        output = files.spool(pixels.shape, pixels.dtype) if spooled else np.empty_like(pixels)
        options = row.prepare(from_array(sample(pixels)), blur, self.options)
        # What a check sees beyond a tile's own pixels need not be as exact as those: any restoration explains the input
        # as well up to where it ends.
        checked = reach(blur) if row.careful else 0
        halo = max(row.halo(blur, options), checked)
        bytes_per_pixel = row.bytes_with(options) if row.bytes_with else row.bytes_per_pixel
        bytes_per_pixel += _BYTES_AROUND
        room = self._room(pixels, output)
        if self.flexible:
            # Nobody asked for a budget: better a little over the default than no picture at all.
            room = max(room, row.fixed_bytes + bytes_per_pixel * (4 * tiling.SMALLEST_TILE + 2 * halo) ** 2)
        # A tile is to be checked in the very cells that the whole is.
        multiple = math.lcm(row.multiple, GRID) if row.careful else row.multiple
        size = pixels.shape[0], pixels.shape[1]
        sides, workers = _cut(row, room, bytes_per_pixel, size, halo, multiple)
        fallen: list[float] = []

        def one(window: NDArray[Any], tile: tiling.Tile) -> Image:
            before = from_array(window)
            if not np.may_share_memory(before, window):
                files.unload(pixels)  # whose rows the system has mapped from end to end
            local = blur.window(*tile.outer)
            part = _around(tile.crop, checked)
            after = row.run(before, local, replace(options, wanted=part))
            if row.careful:
                after[part], share = guard(before[part], after[part], local.window(*part))
                fallen.append(share * (tile.bottom - tile.top) * (tile.right - tile.left))
            return after if self.strength == 1 else before + np.float32(self.strength) * (after - before)

        def write(tile: tiling.Tile, restored: Image) -> None:
            output[tile.inner] = to_array(restored, output.dtype)
            files.unload(output)
            files.unload(pixels)

        tiling.map_tiles(
            pixels, one, write, side=sides, halo=halo, multiple=multiple, workers=workers, progress=progress
        )
        return output, sum(fallen) / (pixels.shape[0] * pixels.shape[1])

    def _room(self, pixels: NDArray[Any], output: NDArray[Any]) -> int:
        """Bytes that the tiles of a picture may take."""
        held = 0 if isinstance(output, np.memmap) else output.nbytes
        if self.idle is None:
            files.unload(pixels)
            return self.memory - tiling.memory_in_use() - held
        return (self.memory - self.idle) // self.workers - 2 * held


def _cut(
    row: Method, room: int, bytes_per_pixel: int, size: tuple[int, int], halo: int, multiple: int
) -> tuple[int | tuple[int, int], int]:
    """The sides of a picture's tiles, and how many are restored at a time.

    room: bytes for all that are restored at a time.
    """
    if row.side:
        return row.side, 1
    alone = _of_pixels(row, room, bytes_per_pixel)
    sides = tiling.sides_for_memory(alone, bytes_per_pixel, halo, size, multiple)
    few = tiling.tiles(*size, sides, halo, multiple)
    part = _of_pixels(row, room // _ABREAST, bytes_per_pixel)
    if len(few) == 1 or cores() < _ABREAST or part <= bytes_per_pixel * (_LEAST + 2 * halo) ** 2:
        return sides, 1
    # Steps that are too small for all cores, and those that take one only, leave the others idle.
    smaller = tiling.sides_for_memory(part, bytes_per_pixel, halo, size, multiple)
    read = tiling.pixels_read(tiling.tiles(*size, smaller, halo, multiple))
    if read >= _WORTH_ABREAST * tiling.pixels_read(few):
        return sides, 1
    return smaller, _ABREAST


def _of_pixels(row: Method, room: int, bytes_per_pixel: int) -> int:
    """What is left of `room` for the pixels of a tile, of which each takes `bytes_per_pixel` at most."""
    with_fixed = (room - row.fixed_bytes) * bytes_per_pixel // (row.bytes_with_fixed or bytes_per_pixel)
    return min(room, with_fixed)


def _around(part: tuple[slice, slice], margin: int) -> tuple[slice, slice]:
    """A part of a picture and so many pixels on each side of it, or fewer at the start."""
    rows, columns = (slice(max(one.start - margin, 0), one.stop + margin) for one in part)
    return rows, columns


def _alike(images: Sequence[NDArray[Any]], row: Method) -> list[NDArray[Any]]:
    """The first image, and those after it that can go through a method together with it."""
    first = images[0]
    if row.run_batch is None or first.ndim < 2 or max(first.shape[:2]) > (row.side or first.size):
        return [first]
    count = _BATCH_PIXELS // max(first.shape[0] * first.shape[1], 1)
    return list(
        takewhile(
            lambda image: (image.shape, image.dtype) == (first.shape, first.dtype), images[: max(count, 1)]
        )
    )


def _restore_batch(opened: list[_Opened], row: Method, started: float) -> list[Result]:
    assert row.run_batch is not None
    given = [from_array(one.pixels) for one in opened]
    outputs = [
        to_array(restored, one.pixels.dtype)
        for restored, one in zip(row.run_batch(np.stack(given)), opened, strict=True)
    ]
    seconds = (time.perf_counter() - started) / len(opened)
    return [
        Result(one.rebuild(output), row.find(image), row.name, (), seconds, _pixels=output)
        for one, image, output in zip(opened, given, outputs, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Opened:
    """A picture as (H, W, C) colour pixels of its own dtype, and the way back to the caller's type."""

    pixels: NDArray[Any]
    rebuild: Callable[[NDArray[Any]], Any]
    source: files.Source | None = None


def _open(image: Picture, memory: int) -> _Opened:
    if isinstance(image, np.ndarray):
        return _open_array(image)
    if isinstance(image, (str, os.PathLike, bytes)):
        source = files.Source.open(image)
        pixels = source.read(spooled=2 * source.nbytes > _SPOOLED_ABOVE * memory)
        return _Opened(pixels, lambda pixels: pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, source)
    if hasattr(image, "getbands"):
        return _open_pil(image)
    raise ImageError(
        f"cannot restore a {type(image).__name__}; give a path, bytes, a PIL image, a numpy array or a tensor"
    )


def _open_array(array: NDArray[Any]) -> _Opened:
    if array.dtype not in INTEGER_MAX and array.dtype.kind != "f":
        raise ImageError(f"image: expected dtype uint8, uint16 or float in [0, 1], got {array.dtype}")
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise ImageError(f"image: expected shape (H, W) or (H, W, C) with C up to 4, got {array.shape}")
    pixels = array if array.ndim == 3 else array[:, :, None]
    alpha = pixels[:, :, pixels.shape[2] - 1 :] if pixels.shape[2] in (2, 4) else None

    def rebuild(restored: NDArray[Any]) -> NDArray[Any]:
        whole = restored if alpha is None else np.concatenate([restored, alpha], axis=2)
        # A picture that was left alone must not come back as a view of the caller's own array.
        return (
            whole.reshape(array.shape).copy()
            if np.shares_memory(whole, array)
            else whole.reshape(array.shape)
        )

    return _Opened(pixels if alpha is None else pixels[:, :, : pixels.shape[2] - 1], rebuild)


def _open_pil(picture: PIL.Image.Image) -> _Opened:
    import PIL.Image

    plain = {"1": "L", "P": "RGBA" if "transparency" in picture.info else "RGB", "PA": "RGBA", "CMYK": "RGB",
             "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "RGBX": "RGB"}  # fmt: skip
    converted = picture.convert(plain[picture.mode]) if picture.mode in plain else picture
    array = np.asarray(converted)
    if converted.mode not in ("L", "LA", "RGB", "RGBA", "F") and not converted.mode.startswith("I;16"):
        raise ImageError(f"cannot restore a PIL image of mode {picture.mode}; convert it to RGB or L first")
    opened = _open_array(array.astype(np.uint16) if converted.mode.startswith("I;16") else array)

    def rebuild(restored: NDArray[Any]) -> PIL.Image.Image:
        result = PIL.Image.fromarray(opened.rebuild(restored))
        result.info = dict(picture.info)
        return result

    return _Opened(opened.pixels, rebuild)


def _check_options(row: Method, strength: float, sigma: float | None, iterations: int | None) -> Options:
    if not 0 <= strength <= 1:
        raise OptionError(f"strength must lie in 0..1, got {strength}")
    if sigma is not None and not 0 <= sigma <= LARGEST_SIGMA:
        raise OptionError(f"sigma must lie in 0..{LARGEST_SIGMA:.0f} pixels, got {sigma}")
    if iterations is not None and iterations < 1:
        raise OptionError(f"iterations must be at least 1, got {iterations}")
    if iterations is not None and not row.iterative:
        raise OptionError(f"method {row.name!r} does not iterate; leave iterations out")
    return Options(iterations=iterations)


def _given_blur(
    kernel: NDArray[Any] | str | os.PathLike[str] | None, sigma: float | None, blur: Blur | None
) -> Blur | None:
    if blur is not None:
        return _checked(blur)
    if sigma is not None:
        return Blur("gaussian", {"sigma": sigma}, kernel=kernels.gaussian(sigma))
    if kernel is None:
        return None
    if isinstance(kernel, np.ndarray):
        return Blur("kernel", kernel=kernels.check_kernel(kernel))
    return Blur("kernel", kernel=kernels.load_kernel(kernel))


def _checked(blur: Blur) -> Blur:
    if blur.kernel is not None:
        return replace(blur, kernel=kernels.check_kernel(blur.kernel))
    if blur.kind == "varying" and blur.parts:
        return replace(blur, parts=tuple(map(_checked, blur.parts)))
    if blur.kind != "none":
        raise OptionError(f"blur: expected a kernel, and got a {blur.kind} blur without one")
    return blur


def _check_fits(blur: Blur, pixels: NDArray[Any]) -> None:
    for one in (blur, *blur.parts):
        if one.where is not None and one.where.shape != pixels.shape[:2]:
            raise OptionError(
                f"blur: expected weights for {pixels.shape[:2]} pixels, got them for {one.where.shape}"
            )


def _decide(pixels: NDArray[Any], row: Method, given: Blur | None, quality: int = 0) -> tuple[Blur, str]:
    """The blur to take out, with its noise; and the reason to leave the picture alone, or an empty text.

    quality: of the JPEG that the pixels come from, 0 where there was none.
    """
    seen = from_array(sample(pixels))
    blur = given or row.find(seen)
    noise = blur.noise if blur.noise is not None else noise_level(seen, blur.kernel)
    of_jpeg = quality_noise(quality) if quality else 0.0
    blur = replace(blur, noise=max(noise, rounding_noise(pixels.dtype), of_jpeg))
    if given is None and blur.kind == "none" and row.needs_blur:
        why = (
            "the picture was enlarged: it lacks detail, but is not blurred; restore it at its own size, or"
            if "resampled" in blur.parameters
            else "the picture is sharp, or its blur cannot be told;"
        )
        return blur, f"everything: {why} give a sigma or a kernel to insist"
    return blur, ""


def sample(pixels: NDArray[Any]) -> NDArray[Any]:
    """The middle of a picture, of bounded size: what the blur is estimated on."""
    height, width = pixels.shape[:2]
    shrink = min(1.0, (_ESTIMATE_PIXELS / (height * width)) ** 0.5)
    rows, columns = max(1, round(height * shrink)), max(1, round(width * shrink))
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]
