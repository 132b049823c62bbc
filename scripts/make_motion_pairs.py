"""Pairs for motion: a stand-in for GOPRO and REDS where there is only a sample of them.

    scripts/make_motion_pairs.py REDS_FOLDER PHOTOGRAPHS OUT [--photographs 200]

OUT gets folders `blurred` and `sharp`: the pairs of training scene 027 at a quarter of their size (from
REDS_FOLDER/train/train_{sharp,blur}_bicubic/X4/027), really blurred, and photographs cut and reduced to 320x180 under
random shakes of 5 to 15 pixels, rounded to 8 bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer

from unblur import files
from unblur.datasets import folder, pairs
from unblur.image import from_array, to_array
from unblur.physics import kernels
from unblur.physics.convolve import convolve

SIZE = 180, 320
SHAKES = range(5, 16, 2)


def main(reds: Path, photographs: Path, out: Path, count: int = typer.Option(200, "--photographs")) -> None:
    rng = np.random.default_rng(0)
    train = reds / "train"
    real = pairs.match(train / "train_blur_bicubic/X4/027", train / "train_sharp_bicubic/X4/027")
    for pair in real:
        save(out, f"027_{pair.name}", pair.blurred, pair.sharp)
    found = folder.pictures(photographs)
    for i in sorted(rng.permutation(len(found))[:count].tolist()):
        sharp = folder.fit(found[i], *SIZE)
        kernel = kernels.shake(int(rng.choice(SHAKES)), rng)
        save(out, f"shake_{i:04}", to_array(convolve(from_array(sharp), kernel), np.uint8), sharp)


def save(out: Path, name: str, blurred: np.ndarray, sharp: np.ndarray) -> None:
    for part, pixels in (("blurred", blurred), ("sharp", sharp)):
        (out / part).mkdir(parents=True, exist_ok=True)
        files.save(pixels, out / part / f"{Path(name).stem}.png", overwrite=True)


if __name__ == "__main__":
    typer.run(main)
