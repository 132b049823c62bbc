"""What the readers share: lists of pictures and of pairs that are decoded one at a time, and seeded splits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from unblur.errors import FileError, ImageError, OptionError
from unblur.files import READABLE, Source
from unblur.image import INTEGER_MAX, from_array, to_array
from unblur.physics.resize import imresize

Pixels: TypeAlias = NDArray[np.uint8]
"""uint8 (H, W, C), C in 1 or 3."""

Depth = TypeVar("Depth", np.uint8, np.uint16, np.float32)


#: How PNG, JPEG and TIFF files begin.
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Pair(NamedTuple):
    """One scene twice, in equal shapes."""

    name: str
    blurred: Pixels
    sharp: Pixels


@dataclass(frozen=True)
class Files:
    """Rows of files, each with the name of what they show.

    missing: what the layout promises and the tree lacks. skipped: files that are there and are no pictures. Both
    hold one line for people in each entry.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[Path, ...], ...]
    missing: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @classmethod
    def checked(
        cls,
        rows: Mapping[str, tuple[Path, ...]],
        *,
        where: str | os.PathLike[str],
        missing: Sequence[str] = (),
        strict: bool = False,
    ) -> Self:
        """Keep the rows, in the order given, whose files all begin as a picture does; note the others.

        Only the first bytes of each file are read: damage further in shows when it is decoded.
        Raises FileError naming `where` if nothing is left, or, with `strict`, if anything is missing or no picture.
        """
        good: dict[str, tuple[Path, ...]] = {}
        skipped: list[str] = []
        for name, row in rows.items():
            found = [complaint for path in row if (complaint := _complaint(path))]
            skipped += found
            if not found:
                good[name] = row
        lacking = [*missing, *skipped]
        if strict and lacking:
            raise FileError(f"{where}: {some(lacking)}")
        if not good:
            raise FileError(f"{where}: nothing to read here{': ' + some(lacking) if lacking else ''}")
        return cls(tuple(good), tuple(good.values()), tuple(missing), tuple(skipped))

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: Iterable[int]) -> Self:
        """The same set with only these items, in this order, such as one part of a `split`."""
        chosen = list(indices)
        return replace(
            self, names=tuple(self.names[i] for i in chosen), rows=tuple(self.rows[i] for i in chosen)
        )


@dataclass(frozen=True)
class Pictures(Files):
    """Pictures by index, uint8 (H, W, C). An item that cannot be decoded raises FileError naming its file."""

    def __getitem__(self, index: int) -> Pixels:
        return read(self.rows[index][0])

    def __iter__(self) -> Iterator[Pixels]:
        return (self[index] for index in range(len(self)))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file of each picture."""
        return tuple(row[0] for row in self.rows)


@dataclass(frozen=True)
class Pairs(Files):
    """Blurred and sharp pictures by index; rows are (blurred, sharp).

    An item that cannot be decoded, or whose two pictures differ in shape, raises FileError naming the file.
    """

    def __getitem__(self, index: int) -> Pair:
        blurred, sharp = map(read, self.rows[index])
        if blurred.shape != sharp.shape:
            paths = " and ".join(map(str, self.rows[index]))
            raise FileError(f"{paths}: a pair must have one shape, got {blurred.shape} and {sharp.shape}")
        return Pair(self.names[index], blurred, sharp)

    def __iter__(self) -> Iterator[Pair]:
        return (self[index] for index in range(len(self)))

    @property
    def blurred(self) -> Pictures:
        """The blurred pictures alone."""
        return Pictures(self.names, tuple(row[:1] for row in self.rows), self.missing, self.skipped)

    @property
    def sharp(self) -> Pictures:
        """The sharp pictures alone."""
        return Pictures(self.names, tuple(row[1:] for row in self.rows), self.missing, self.skipped)


def read(path: Path) -> Pixels:
    """Decode a picture, upright, without its alpha. Shape: (H, W, C), C in 1 or 3, as the file has it.

    Deeper pictures are rounded to 8 bits.
    Raises FileError naming `path` for what cannot be decoded.
    """
    pixels = Source.open(path).read()
    if pixels.dtype == np.uint8:
        return pixels
    try:
        return to_array(from_array(pixels, str(path)), np.uint8)
    except ImageError as error:
        raise FileError(str(error)) from error


def as_rgb(pixels: NDArray[Depth]) -> NDArray[Depth]:
    """A grey picture repeated into three channels, a colour one as it is. Shape: (H, W, 3) out."""
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def resize(pixels: NDArray[Depth], height: int, width: int) -> NDArray[Depth]:
    """MATLAB's antialiased bicubic `imresize`, rounded half up for integers and clipped to the range of the dtype.

    Shape: (H, W, C) in, (height, width, C) out; uint8, uint16 or float32 in [0, 1], kept.
    """
    # The filter is linear, so integers stay in their range: dividing first would tip results that lie on a half.
    top = INTEGER_MAX.get(pixels.dtype)
    resized = imresize(pixels.astype(np.float32), (height, width))
    if top is not None:
        resized = np.floor(resized + np.float32(0.5))
    return np.clip(resized, 0, top or 1).astype(pixels.dtype)


def find_pictures(root: Path) -> dict[str, Path]:
    """Every picture file below a folder by its path from there, sorted; hidden files and folders are left out.

    Raises FileError for what is no folder.
    """
    if not root.is_dir():
        raise FileError(f"{root}: no such folder")
    found = {
        path.relative_to(root).as_posix(): path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in READABLE and path.is_file()
    }
    return {name: path for name, path in found.items() if not any(p.startswith(".") for p in name.split("/"))}


def split(count: int, shares: Sequence[float], *, seed: int = 0) -> tuple[NDArray[np.intp], ...]:
    """Deal 0..count-1 into parts by one seeded permutation; the last part gets what is left.

    Shape: one (n_i,) for each share, in the order of the permutation. Parts end at the cumulated shares of
    `count`, rounded, so that sizes are those of the published splits.
    Raises OptionError for shares that are negative or do not sum to 1.
    """
    ends = np.cumsum(shares)
    if not len(ends) or min(shares) < 0 or abs(ends[-1] - 1) > 1e-6:
        raise OptionError(f"shares of a split must be 0 or more and sum to 1, got {tuple(shares)}")
    order = np.random.default_rng(seed).permutation(count).astype(np.intp)
    return tuple(np.split(order, np.floor(ends[:-1] * count + 0.5).astype(np.intp)))


def some(complaints: Sequence[str], show: int = 3) -> str:
    """The first few of many complaints, and how many more there are."""
    rest = len(complaints) - show
    return "; ".join(complaints[:show]) + (f"; and {rest} more" if rest > 0 else "")


def _complaint(path: Path) -> str:
    """Why a file is no picture, by its first bytes; empty if it looks like one."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not head:
        return f"{path}: empty file"
    known = head.startswith(_SIGNATURES)
    return "" if known or head[8:12] == b"WEBP" or head[4:8] == b"ftyp" else f"{path}: not a picture"
