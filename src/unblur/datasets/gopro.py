"""GOPRO_Large: real pairs of 1280x720 whose blur is the mean of high-speed frames.

Source: Nah, Kim and Lee, Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring, CVPR 2017.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from unblur.datasets.common import Pairs
from unblur.errors import FileError

COUNTS = {"train": (22, 2103), "test": (11, 1111)}
"""Sequences and pairs of each part of the whole set."""


def pairs(
    root: str | os.PathLike[str],
    part: Literal["train", "test"],
    *,
    blur: Literal["blur", "blur_gamma"],
    strict: bool = False,
) -> Pairs:
    """Every pair of a part, by sequence and frame; names are like GOPR0384_11_00/000001.

    `root`: the folder GOPRO_Large or the one that holds it. `blur`: "blur_gamma" averages frames after undoing a
    gamma of 2.2, as in the paper; "blur" averages them as stored and is what most later papers report on.
    Raises FileError for no such part or no pair, and, with `strict`, for anything that the whole set has and this
    tree lacks.
    """
    base = next((b for b in (Path(root), Path(root) / "GOPRO_Large") if (b / part).is_dir()), None)
    if base is None:
        raise FileError(f"{root}: no folder {part}; give GOPRO_Large or the folder that holds it")
    rows: dict[str, tuple[Path, ...]] = {}
    missing = []
    sequences = sorted(path for path in (base / part).iterdir() if path.is_dir() and path.name[0] != ".")
    for sequence in sequences:
        kinds = {kind: {path.name for path in (sequence / kind).glob("*.png")} for kind in (blur, "sharp")}
        for frame in sorted(kinds[blur] | kinds["sharp"]):
            if lacking := [kind for kind, frames in kinds.items() if frame not in frames]:
                missing.append(f"{sequence / lacking[0] / frame}: missing")
            else:
                name = f"{sequence.name}/{Path(frame).stem}"
                rows[name] = sequence / blur / frame, sequence / "sharp" / frame
    whole = COUNTS[part]
    if (len(sequences), len(rows)) != whole:
        here = f"{len(rows)} pairs of {len(sequences)} sequences"
        missing.append(f"{base / part}: {here}; the whole set has {whole[1]} of {whole[0]}")
    return Pairs.checked(rows, where=base / part, missing=missing, strict=strict)
