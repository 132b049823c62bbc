"""Levin et al.'s camera-shake pictures: 4 grey images of 255x255, each really blurred by 8 kernels.

Source: Levin, Weiss, Durand and Freeman, Understanding and evaluating blind deconvolution algorithms, CVPR 2009.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from unblur.datasets.common import Pairs, Pixels
from unblur.errors import FileError
from unblur.physics.blur import Kernel
from unblur.physics.kernels import load_kernel

IMAGES, KERNELS = 4, 8

#: What the file of a kernel may be called, the exact one first: an 8-bit picture rounds its weights.
_KERNEL_NAMES = ("levin09_{}.npy", "kernel{}.npy", "kernel{}.png")


class Shaken(NamedTuple):
    """A picture, the same shaken, and the kernel between them.

    The camera moved between the two shots: B = K * I holds up to a shift of a few pixels, other for each picture.
    """

    name: str
    blurred: Pixels
    sharp: Pixels
    kernel: Kernel


@dataclass(frozen=True)
class Levin:
    """Shaken pictures by index; kernels[i] is the file of the kernel of pairs[i]."""

    pairs: Pairs
    kernels: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Shaken:
        return Shaken(*self.pairs[index], load_kernel(self.kernels[index]))

    def __iter__(self) -> Iterator[Shaken]:
        return (self[index] for index in range(len(self)))


def levin(
    root: str | os.PathLike[str], kernels: str | os.PathLike[str] | None = None, *, strict: bool = False
) -> Levin:
    """The shaken pictures of a folder: imI_kernelK_img.png with gt/imI.png, by image and kernel.

    `kernels`: the folder of the kernels, as levin09_K.npy, kernelK.npy or kernelK.png; gt where not given.
    Raises FileError if nothing is there or a picture's kernel is not, and, with `strict`, for anything missing.
    """
    root = Path(root)
    kernel_folder = root / "gt" if kernels is None else Path(kernels)
    rows: dict[str, tuple[Path, ...]] = {}
    kernel_of: dict[str, Path] = {}
    missing = []
    for image, number in product(range(1, IMAGES + 1), range(1, KERNELS + 1)):
        name = f"im{image}_kernel{number}"
        row = root / f"{name}_img.png", root / "gt" / f"im{image}.png"
        kernel = next((k for n in _KERNEL_NAMES if (k := kernel_folder / n.format(number)).is_file()), None)
        if absent := [str(path) for path in row if not path.is_file()]:
            missing.append(f"{' and '.join(absent)}: missing")
        elif kernel is None:
            raise FileError(
                f"{kernel_folder}: no file of kernel {number}, such as {_KERNEL_NAMES[0].format(number)}"
            )
        else:
            rows[name], kernel_of[name] = row, kernel
    pairs = Pairs.checked(rows, where=root, missing=missing, strict=strict)
    return Levin(pairs, tuple(kernel_of[name] for name in pairs.names))
