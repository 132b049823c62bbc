"""Large pictures in tiles: split, call back, put together. Knows no model and no method."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from numpy.typing import NDArray

from unblur.errors import OptionError
from unblur.image import Image
from unblur.threads import abreast

#: What a run may use where nothing else is said.
DEFAULT_MEMORY = 1_500_000_000

#: Below this a tile is mostly halo, and every pixel is computed many times over.
SMALLEST_TILE = 64

#: Settings of glibc's `mallopt`: from how many bytes on an array has pages of its own, how many free bytes are kept,
#: and how many heaps threads may have, each of which is too small for large arrays. The largest leave holes in a heap
#: that nothing else fits in. As before is what glibc arrives at by itself in a process that handles large arrays; only
#: heaps may stay fewer for threads that begin later.
_OWN_PAGES, _KEPT, _HEAPS = -3, -1, -8
_KEEP = ((_OWN_PAGES, 1 << 25), (_KEPT, (1 << 31) - 1), (_HEAPS, 1))
_AS_BEFORE = ((_OWN_PAGES, 1 << 25), (_KEPT, 1 << 26), (_HEAPS, 0))

_lock = threading.Lock()
#: How many keep memory now.
_keeping = 0

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


class Tile(NamedTuple):
    """One tile: the rectangle that it owns, and the larger one that is read for it.

    All in pixels of the whole picture: rows top..bottom, columns left..right (ends excluded); the same
    with `outer_` for the owned rectangle plus its halo, cut off at the picture's border.
    """

    top: int
    bottom: int
    left: int
    right: int
    outer_top: int
    outer_bottom: int
    outer_left: int
    outer_right: int

    @property
    def inner(self) -> tuple[slice, slice]:
        """The owned rectangle in the picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def outer(self) -> tuple[slice, slice]:
        """What is read, in the picture."""
        return slice(self.outer_top, self.outer_bottom), slice(self.outer_left, self.outer_right)

    @property
    def crop(self) -> tuple[slice, slice]:
        """The owned rectangle inside what was read."""
        return (
            slice(self.top - self.outer_top, self.bottom - self.outer_top),
            slice(self.left - self.outer_left, self.right - self.outer_left),
        )


def tiles(height: int, width: int, side: int | tuple[int, int], halo: int, multiple: int = 1) -> list[Tile]:
    """Cut a picture into tiles of at most `side` (rows, columns, or both) that each see `halo` more on every side.

    The tiles are of nearly equal size and come row by row. At the picture's border a tile ends with the
    picture, so that whoever restores it treats the border as it would treat that of the whole. Tiles and
    what they see begin at multiples of `multiple`: a network that halves its input twice sees other pixels
    together when it starts one off. `side` is then rounded down, and `halo` up, to such a multiple.
    """
    halo = -(-halo // multiple) * multiple
    high, wide = (side, side) if isinstance(side, int) else side
    return [
        Tile(top, bottom, left, right, max(top - halo, 0), min(bottom + halo, height), max(left - halo, 0),
             min(right + halo, width))
        for top, bottom in _cuts(height, high, multiple)
        for left, right in _cuts(width, wide, multiple)
    ]  # fmt: skip


def map_tiles(
    picture: NDArray[Any],
    function: Callable[[NDArray[Any], Tile], Image],
    write: Callable[[Tile, Image], None],
    *,
    side: int | tuple[int, int],
    halo: int,
    multiple: int = 1,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Call `function` on every tile of a picture and hand what it owns of the answer to `write`.

    picture: (H, W, C), any dtype. function: a window of the picture and its tile, to an image of the same
    height and width. The result is the one for the whole picture wherever `function` at a pixel depends on
    nothing further away than `halo`. workers: so many tiles at a time, each on its part of the cores. progress: called
    with tiles done and tiles in all.
    """
    plan = tiles(picture.shape[0], picture.shape[1], side, halo, multiple)

    def owned(tile: Tile) -> Image:
        return function(picture[tile.outer], tile)[tile.crop]

    with closing(abreast(owned, plan, workers)) as images:
        for done, (tile, image) in enumerate(zip(plan, images, strict=True), start=1):
            write(tile, image)
            if progress is not None:
                progress(done, len(plan))


def pixels_read(plan: list[Tile]) -> int:
    """Pixels of all tiles together, with what they see beside their own."""
    return sum((tile.outer_bottom - tile.outer_top) * (tile.outer_right - tile.outer_left) for tile in plan)


def sides_for_memory(
    budget: int, bytes_per_pixel: int, halo: int, size: tuple[int, int], multiple: int = 1
) -> tuple[int, int]:
    """Height and width of the tiles of a picture of `size`, (H, W), whose working sets stay within `budget` bytes.

    Those that see the fewest pixels twice; at the picture's borders there is no halo to be seen.
    Raises OptionError where not even the smallest useful tile fits.
    """
    most, halo = max(budget, 0) // bytes_per_pixel, -(-halo // multiple) * multiple
    side = int(most**0.5) - 2 * halo
    if side < SMALLEST_TILE:
        need = bytes_per_pixel * (SMALLEST_TILE + 2 * halo) ** 2
        raise OptionError(
            f"the memory budget is too small for this method: {max(budget, 0) / 1e6:.0f} MB are left for a tile and "
            f"{need / 1e6:.0f} MB are needed; raise --memory"
        )
    down, across = (_ways(length, side, halo, multiple) for length in size)
    fitting = [
        (rows * columns, high, wide)
        for high, rows, highest in down
        for wide, columns, widest in across
        if highest * widest <= most
    ]
    return min(fitting)[1:]


def _ways(length: int, side: int, halo: int, multiple: int) -> list[tuple[int, int, int]]:
    """Ways to cut a length, into up to twice as many pieces as `side` makes: size, what all see, the most one sees."""
    counts = range(1, -2 * (-length // side) + 1)
    ways = []
    for size in {side, *(-(-length // (count * multiple)) * multiple for count in counts)}:
        seen = [
            min(end + halo, length) - max(start - halo, 0) for start, end in _cuts(length, size, multiple)
        ]
        ways.append((size, sum(seen), max(seen)))
    return ways


def parse_memory(text: str | int | None) -> int:
    """Bytes from a number or a text such as "2GB", "512 MiB"; the default where None.

    Raises OptionError for anything else.
    """
    if text is None:
        return DEFAULT_MEMORY
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", str(text), re.IGNORECASE)
    if match is None:
        raise OptionError(f"cannot read {text!r} as an amount of memory; write for example 2GB or 512MB")
    amount = int(float(match[1]) * _UNITS[(match[2] or "").upper()])
    if amount <= 0:
        raise OptionError("the memory budget must be above zero")
    return amount


def memory_in_use() -> int:
    """Resident memory of this process now, in bytes (a rough constant where the system does not tell).

    What earlier work has freed and the allocator keeps is given back first: the next work would use it again, so it
    takes nothing from a budget.
    """
    give_back()
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 200_000_000


def give_back() -> None:
    """Give freed memory back to the system, where the allocator would keep it (glibc)."""
    trim = _of_allocator("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def keeping() -> Iterator[None]:
    """Have the allocator keep what is freed for what is allocated next, and give it back at the end (glibc).

    To fetch fresh pages for every array takes a tenth of the time of a large restoration, and half of that of a
    network.
    """
    global _keeping
    mallopt = _of_allocator("mallopt")
    if mallopt is None:
        yield
        return
    with _lock:
        _keeping += 1
        for setting in _KEEP:
            mallopt(*setting)
    try:
        yield
    finally:
        with _lock:
            _keeping -= 1
            if not _keeping:
                for setting in _AS_BEFORE:
                    mallopt(*setting)
        give_back()


def _of_allocator(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None


def _cuts(length: int, side: int, multiple: int) -> Iterator[tuple[int, int]]:
    """Nearly equal pieces of at most `side`, rounded down to a multiple of `multiple`, cut at such multiples."""
    units = -(-length // multiple)
    pieces = -(-units // max(side // multiple, 1))
    edges = [min(units * piece // pieces * multiple, length) for piece in range(pieces + 1)]
    return itertools.pairwise(edges)
