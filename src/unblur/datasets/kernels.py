"""Sets of blur kernels: every kernel of every file of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from unblur.datasets.common import some
from unblur.errors import FileError, KernelError
from unblur.physics.blur import Kernel
from unblur.physics.kernels import load_kernel

SUFFIXES = frozenset({".npy", ".mat", ".png"})
"""Extensions, in lower case, of the files that are looked at."""


@dataclass(frozen=True, eq=False)
class KernelSet:
    """Kernels by index, and a name for each: that of its file, with [i] where the file holds several."""

    names: tuple[str, ...]
    kernels: tuple[Kernel, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Kernel:
        return self.kernels[index]

    def __iter__(self) -> Iterator[Kernel]:
        return iter(self.kernels)


def kernel_set(root: str | os.PathLike[str], *, centred: bool = False, strict: bool = False) -> KernelSet:
    """Read every kernel in a folder, or in one file, sorted by file name; they are small enough to be held.

    `centred` moves each by whole pixels so that its centroid is at the centre.
    Raises FileError where there is none, and, with `strict`, for a file that holds something else;
    MissingExtraError for a .mat file of v7.3 without h5py.
    """
    root = Path(root)
    if not root.exists():
        raise FileError(f"{root}: no such file or folder")
    paths = [root] if root.is_file() else sorted(p for p in root.iterdir() if p.suffix.lower() in SUFFIXES)
    found: dict[str, Kernel] = {}
    skipped: list[str] = []
    for path in paths:
        try:
            kernels = _read(path, centred)
        except (FileError, KernelError) as error:
            skipped.append(str(error))
            continue
        for index, kernel in enumerate(kernels):
            found[path.name + (f"[{index}]" if len(kernels) > 1 else "")] = kernel
    if skipped and (strict or not found):
        raise FileError(some(skipped))
    if not found:
        raise FileError(f"{root}: no kernels here; they are read from {', '.join(sorted(SUFFIXES))}")
    return KernelSet(tuple(found), tuple(found.values()), tuple(skipped))


def _read(path: Path, centred: bool) -> list[Kernel]:
    found: list[Kernel] = []
    for index in count():
        try:
            found.append(load_kernel(path, index=index, centred=centred))
        except KernelError as error:
            if found and "out of range" in str(error):
                break
            raise
    return found
