"""Any two folders of pictures with equal relative names, blurred and sharp."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path, PurePosixPath

from unblur.datasets.common import Pairs, find_pictures
from unblur.errors import FileError

BLURRED_NAMES = ("blurred", "blur")
"""What the folder of blurred pictures may be called beside `sharp`."""


def match(blurred: str | os.PathLike[str], sharp: str | os.PathLike[str], *, strict: bool = False) -> Pairs:
    """Pair the pictures of two folders by their path below each, whatever their suffixes.

    A picture without a partner, or with two that differ only in suffix, is left out and named in `missing`.
    Raises FileError for no folder or no pair, and, with `strict`, for a missing partner or a file that is no picture.
    """
    ours, theirs = _by_stem(Path(blurred)), _by_stem(Path(sharp))
    rows: dict[str, tuple[Path, ...]] = {}
    missing = []
    for stem in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(stem, []), theirs.get(stem, [])
        if len(here) == len(there) == 1:
            rows[stem] = here[0], there[0]
        elif not there:
            missing += [f"{path}: no partner in {sharp}" for path in here]
        elif not here:
            missing += [f"{path}: no partner in {blurred}" for path in there]
        else:
            missing.append(f"{', '.join(map(str, [*here, *there]))}: names differ only in suffix")
    return Pairs.checked(rows, where=f"{blurred} and {sharp}", missing=missing, strict=strict)


def inside(root: str | os.PathLike[str], *, strict: bool = False) -> Pairs:
    """Pair the pictures of the two folders `blurred` (or `blur`) and `sharp` of one folder.

    Raises FileError where there are none, and as `match` does.
    """
    for name in BLURRED_NAMES:
        if (Path(root) / name).is_dir() and (Path(root) / "sharp").is_dir():
            return match(Path(root) / name, Path(root) / "sharp", strict=strict)
    raise FileError(f"{root}: has no folders blurred and sharp")


def _by_stem(root: Path) -> dict[str, list[Path]]:
    stems = defaultdict(list)
    for name, path in find_pictures(root).items():
        stems[PurePosixPath(name).with_suffix("").as_posix()].append(path)
    return stems
