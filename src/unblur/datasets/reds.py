"""REDS: real pairs of 1280x720 at 240 training and 30 validation scenes of 100 frames, and their x4 reductions.

Source: Nah et al., NTIRE 2019 Challenge on Video Deblurring and Super-Resolution: Dataset and Study, CVPRW 2019.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeVar

from unblur.datasets.common import Files, Pairs, Pictures
from unblur.errors import FileError, OptionError

Part = Literal["train", "val"]


@dataclass(frozen=True)
class Selection:
    """Scenes and frames, by number, of one part of the set."""

    part: Part
    scenes: Sequence[int]
    frames: Sequence[int] = range(100)


SELECTIONS = MappingProxyType(
    {
        "train": Selection("train", range(240)),
        "val": Selection("val", range(30)),
        # SRN for REDS: the later half of every scene; the first 24 training scenes are its test set.
        "srn-train": Selection("train", range(24, 240), range(50, 100)),
        "srn-val": Selection("val", range(30), range(50, 100)),
        "srn-test": Selection("train", range(24), range(50, 100)),
        # The U-Net with input re-injection: three sharp frames of a scene. Its authors validated on nothing; the last
        # 24 scenes are held out here.
        "inputskip-train": Selection("train", range(216), (0, 39, 79)),
        "inputskip-val": Selection("train", range(216, 240), (0, 39, 79)),
        "inputskip-test": Selection("val", range(30), (29, 32, 43, 71, 99)),
    }
)
"""Which frames the published systems used; all of them are "train" and "val"."""

T = TypeVar("T", bound=Files)


def pairs(
    root: str | os.PathLike[str],
    selection: str | Selection,
    *,
    reduced: bool = False,
    strict: bool = False,
) -> Pairs:
    """The blurred and sharp frames of a selection, by scene and frame; names are like 020/00000000.

    `root`: the folder that holds train_sharp and the like, or train/train_sharp. `selection`: a key of `SELECTIONS`
    or your own. `reduced`: the 320x180 frames of the folders named bicubic.
    What a partial tree lacks is told in `missing`, one line a scene.
    Raises FileError if no frame is there, and, with `strict`, if one is missing or no picture; OptionError for an
    unknown selection.
    """
    return _select(Pairs, root, selection, ("blur", "sharp"), reduced, strict)


def sharp(
    root: str | os.PathLike[str], selection: str | Selection, *, reduced: bool = False, strict: bool = False
) -> Pictures:
    """The sharp frames of a selection, where there may be no blurred ones; as `pairs` otherwise."""
    return _select(Pictures, root, selection, ("sharp",), reduced, strict)


def _select(
    reader: type[T],
    root: str | os.PathLike[str],
    selection: str | Selection,
    kinds: tuple[str, ...],
    reduced: bool,
    strict: bool,
) -> T:
    if isinstance(selection, str):
        if selection not in SELECTIONS:
            raise OptionError(f"unknown REDS selection {selection!r}; one of {', '.join(SELECTIONS)}")
        selection = SELECTIONS[selection]
    folders = [_folder(Path(root), selection.part, kind, reduced) for kind in kinds]
    rows: dict[str, tuple[Path, ...]] = {}
    missing = []
    for scene in (f"{number:03}" for number in selection.scenes):
        present = [_listing(folder / scene) for folder in folders]
        wanted = [f"{number:08}.png" for number in selection.frames]
        found = [frame for frame in wanted if all(frame in names for names in present)]
        for frame in found:
            rows[f"{scene}/{frame[:-4]}"] = tuple(folder / scene / frame for folder in folders)
        if len(found) < len(wanted):
            missing.append(f"scene {scene}: {len(wanted) - len(found)} of {len(wanted)} frames missing")
    return reader.checked(rows, where=root, missing=missing, strict=strict)


def _folder(root: Path, part: Part, kind: str, reduced: bool) -> Path:
    name = f"{part}_{kind}_bicubic/X4" if reduced else f"{part}_{kind}"
    for folder in (root / name, root / part / name):
        if folder.is_dir():
            return folder
    raise FileError(f"{root}: no folder {name} or {part}/{name}; give the root of REDS")


def _listing(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
