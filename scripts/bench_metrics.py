#!/usr/bin/env python3
"""Time the metrics: SSIM beside scikit-image on one megapixel, and 10,000 thumbnails through score().

Prints one line a figure with its target; exits with 1 when a target is missed. Competitors take turns within
one run, so that a busy machine slows both.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from unblur.metrics import ms_ssim, score, ssim

ROUNDS = 9
THUMBNAILS = 10_000
WANG = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "channel_axis": 2,
    "data_range": 1,
}


def pair(height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    sharp = ndimage.gaussian_filter(rng.random((height, width, 3)), (1, 1, 0))
    sharp = (sharp - sharp.min()) / np.ptp(sharp)
    blurred = ndimage.gaussian_filter(sharp, (1.5, 1.5, 0)) + rng.normal(0, 0.01, sharp.shape)
    return sharp.astype(np.float32), np.clip(blurred, 0, 1).astype(np.float32)


def in_turns(*calls: Callable[[], object]) -> list[float]:
    """Median seconds of each call."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, column in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            column.append(time.perf_counter() - start)
    return [statistics.median(column) for column in seconds]


def main() -> int:
    rng = np.random.default_rng(0)
    met = []

    def report(name: str, value: float, unit: str, target: str = "", ok: bool = True) -> None:
        met.append(ok)
        print(f"{name:44} {value:9.3f} {unit:3} {target:14} {'' if ok else 'MISSED'}".rstrip())

    for dtype in (np.float64, np.float32):
        a, b = (x.astype(dtype) for x in pair(1000, 1000, rng))
        ours, theirs = in_turns(
            lambda a=a, b=b: ssim(a, b, data_range=1), lambda a=a, b=b: structural_similarity(a, b, **WANG)
        )
        name = f"SSIM, 1 MP RGB, {np.dtype(dtype).name}"
        report(f"{name}: ours", ours, "s")
        report(f"{name}: scikit-image", theirs, "s")
        report(f"{name}: ratio", theirs / ours, "x", "at least 2", theirs / ours >= 2)
        exact = structural_similarity(a.astype(np.float64), b.astype(np.float64), **WANG)
        error = abs(ssim(a, b, data_range=1) - exact)
        report(f"{name}: error", error * 1e6, "ppm", "at most 1", error <= 1e-6)

    a, b = pair(1000, 1000, rng)
    for flavour in ("skimage", "matlab3d"):
        report(
            f"SSIM {flavour}, 1 MP RGB",
            in_turns(lambda f=flavour: ssim(a, b, data_range=1, flavour=f))[0],
            "s",
        )
    report("MS-SSIM, 1 MP RGB", in_turns(lambda: ms_ssim(a, b, data_range=1))[0], "s")
    report("score(), 1 MP RGB", in_turns(lambda: score(a, b))[0], "s")

    thumbnails = [pair(32, 32, rng) for _ in range(100)]
    start, cpu = time.perf_counter(), time.process_time()
    for number in range(THUMBNAILS):
        score(*thumbnails[number % len(thumbnails)])
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    report(f"score(), {THUMBNAILS:,} pairs of 32x32 RGB", seconds, "s")
    report(f"score(), {THUMBNAILS:,} pairs, processor time", cpu, "s", "at most 5", cpu <= 5)
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
