"""Trains the network of `unblur.estimate.learned` and writes its weights into the package. Needs torch.

Blurs the training photographs of BSDS500 and the ImageNet sample by every kind of blur, adds noise to half of
them, clips a tenth and compresses a third by JPEG, rounds to 8 bits, and keeps what the network sees of their
spectra. One photograph in twelve is held back to judge by.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyvips
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from unblur.estimate.learned import ANGLES, KINDS, RADII, features
from unblur.estimate.noise import noise_sigma
from unblur.estimate.spectrum import spectrum
from unblur.image import Image, from_array, quantise
from unblur.physics import kernels
from unblur.physics.blur import Kernel
from unblur.physics.convolve import convolve
from unblur.physics.noise import clip_highlights, jpeg, shot_read_noise

REPO = Path(__file__).resolve().parent.parent
WEIGHTS = REPO / "src" / "unblur" / "estimate" / "learned.npz"

Arrays = dict[str, NDArray[Any]]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def draw_kernel(rng: np.random.Generator, kind: str) -> tuple[Kernel, list[float], float]:
    """A kernel; the logs of sigma, sigma_y, radius and length, NaN where it has none; and its direction."""
    none, angle = math.nan, rng.uniform(0, 180)
    if kind == "gaussian":
        sigma = log_uniform(rng, 0.5, 5)
        return kernels.gaussian(sigma), [math.log(sigma), math.log(sigma), none, none], none
    if kind == "oblique":
        sigma = log_uniform(rng, 0.8, 5)
        across = max(0.25, sigma / log_uniform(rng, 1.35, 8))
        kernel = kernels.gaussian(sigma, across, angle)
        return kernel, [math.log(sigma), math.log(across), none, none], angle
    if kind == "disk":
        radius = log_uniform(rng, 1, 10)
        return kernels.disk(radius), [none, none, math.log(radius), none], none
    if kind == "motion":
        length = log_uniform(rng, 2.5, 36)
        return kernels.motion(length, angle), [none, none, none, math.log(length)], angle
    kernel = kernels.shake(2 * int(rng.integers(4, 16)) + 1, rng) if kind == "shake" else kernels.delta()
    return kernel, [none] * 4, none


def crop(pixels: NDArray[np.uint8], rng: np.random.Generator) -> Image:
    """A part of a photograph, or all of it; a quarter of them in a smaller size."""
    if rng.random() < 0.25:
        pixels = pyvips.Image.new_from_array(pixels).resize(rng.uniform(0.55, 1), kernel="lanczos3").numpy()
    bounds = zip(pixels.shape[:2], (321, 481), strict=True)
    whole = rng.random() < 0.6
    height, width = (
        min(side, most) if whole or side <= 96 else int(rng.integers(96, min(side, most) + 1))
        for side, most in bounds
    )
    top, left = (
        int(rng.integers(side - kept + 1))
        for side, kept in zip(pixels.shape[:2], (height, width), strict=True)
    )
    return from_array(np.ascontiguousarray(pixels[top : top + height, left : left + width]))


def spoil(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.5:
        noise = rng.uniform(0, 0.02)
        image = shot_read_noise(image, noise**2, noise * math.sqrt(0.5), rng)
    return jpeg(image, int(rng.integers(60, 99))) if rng.random() < 1 / 3 else quantise(image)


def make_draws(paths: Sequence[Path], count: int, rng: np.random.Generator) -> Arrays:
    """What the network sees of `count` pictures, and what it is to say. `source`: which photograph each is of."""
    rows: list[tuple[Any, ...]] = []
    while len(rows) < count:
        source = int(rng.integers(len(paths)))
        image = crop(pyvips.Image.new_from_file(str(paths[source])).colourspace("srgb").numpy(), rng)
        kind = int(rng.integers(len(KINDS)))
        kernel, sizes, angle = draw_kernel(rng, KINDS[kind])
        if rng.random() < 0.1:
            image = clip_highlights(image, 1.2)
        blurred = spoil(convolve(image, kernel), rng)
        if (full := spectrum(blurred)) is not None:
            rows.append(
                (*features(full, spectrum(blurred, 2), noise_sigma(blurred)), kind, sizes, angle, source)
            )
    names = ("polar", "facts", "kind", "sizes", "angle", "source")
    columns = (np.array(column) for column in zip(*rows, strict=True))
    return {
        name: column.astype(np.float32) if column.dtype.kind == "f" else column
        for name, column in zip(names, columns, strict=True)
    }


class Estimator(nn.Module):
    """The network that `unblur.estimate.learned` runs. (N, 4, ANGLES, RADII) and (N, 4) to (N, 14)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(4, 16, 3), nn.Conv2d(16, 24, 3), nn.Conv2d(24, 32, 3)
        self.hidden = nn.Linear(32 * (ANGLES // 4) * (len(RADII) // 4) + 4, 96)
        self.out = nn.Linear(96, len(KINDS) + 8)
        self.dropout = nn.Dropout(0.3)

    def forward(self, polar: Tensor, facts: Tensor) -> Tensor:
        for layer, pooled in ((self.first, True), (self.second, True), (self.third, False)):
            around = functional.pad(functional.pad(polar, (0, 0, 1, 1), mode="circular"), (1, 1))
            polar = functional.relu(layer(around))
            polar = functional.avg_pool2d(polar, 2) if pooled else polar
        hidden = functional.relu(self.hidden(torch.cat([self.dropout(polar.flatten(1)), facts], 1)))
        return self.out(self.dropout(hidden))


def turned(polar: Tensor, angle: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirrored, transposed or, at times, turned by any of the angles: on the polar grid, a permutation."""
    at = torch.arange(ANGLES).expand(len(polar), ANGLES)
    mirror, transpose = (torch.from_numpy(rng.random((len(polar), 1)) < 0.5) for _ in range(2))
    shift = np.where(
        rng.random(len(polar)) < 0.4, rng.integers(0, ANGLES, len(polar)), rng.integers(-1, 2, len(polar))
    )
    at = at + torch.from_numpy(shift)[:, None]
    at = torch.where(transpose, ANGLES // 2 - at, at)
    at = torch.where(mirror, -at, at) % ANGLES
    angle = torch.where(mirror[:, 0], -angle, angle)
    angle = torch.where(transpose[:, 0], 90 - angle, angle)
    angle = angle + torch.from_numpy(shift) * (180 / ANGLES)
    return torch.gather(polar, 2, at[:, None, :, None].expand_as(polar)), angle.float()


def loss(out: Tensor, kind: Tensor, sizes: Tensor, angle: Tensor) -> Tensor:
    """Cross entropy of the kind, plus errors of the log sizes and of the doubled angles that there are."""
    sized = functional.smooth_l1_loss(out[:, 6:10], sizes.nan_to_num(), reduction="none", beta=0.1)
    double = torch.deg2rad(2 * angle.nan_to_num())
    wanted = torch.stack([double.cos(), double.sin()], 1)
    oblique, motion = kind == KINDS.index("oblique"), kind == KINDS.index("motion")
    astray = (out[:, 10:12] - wanted).square().sum(1) * oblique
    astray = astray + (out[:, 12:14] - wanted).square().sum(1) * motion
    entropy = functional.cross_entropy(out[:, :6], kind, label_smoothing=0.02)
    return entropy + (2 * (sized * ~sizes.isnan()).sum() + astray.sum()) / len(out)


def main(
    data: Annotated[
        Path, typer.Option(help="The folder of sample data sets.", envvar="UNBLUR_DATA")
    ] = REPO.parent / "shared" / "data",
    draws: Annotated[int, typer.Option(min=100, help="How many blurred pictures to learn from.")] = 12_000,
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    seed: int = 11,
    cache: Annotated[Path | None, typer.Option(help="An .npz that keeps what was drawn, or has it.")] = None,
) -> None:
    """Draw, train, judge, and write `learned.npz`."""
    started = time.perf_counter()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    paths = [
        *sorted((data / "bsds500" / "train").glob("*.jpg")),
        *sorted((data / "imagenet-sample").iterdir()),
    ]
    if cache is not None and cache.exists():
        with np.load(cache) as stored:
            arrays = dict(stored)
    else:
        arrays = make_draws(paths, draws, rng)
        if cache is not None:
            np.savez(cache, **arrays)  # type: ignore[arg-type]
    held = np.isin(arrays["source"], np.random.default_rng(0).permutation(len(paths))[: len(paths) // 12])
    typer.echo(f"{len(held)} draws, {held.sum()} held back, {time.perf_counter() - started:.0f} s")
    polar, facts = arrays["polar"], arrays["facts"]
    scale = {
        "polar_mean": polar[~held].mean((0, 2), keepdims=True)[0],
        "polar_spread": polar[~held].std((0, 2), keepdims=True)[0] + 0.3,
        "facts_mean": facts[~held].mean(0),
        "facts_spread": facts[~held].std(0),
    }
    polar = (polar - scale["polar_mean"]) / scale["polar_spread"]
    facts = (facts - scale["facts_mean"]) / scale["facts_spread"]
    table = [torch.from_numpy(a) for a in (polar, facts, arrays["kind"], arrays["sizes"], arrays["angle"])]
    seen, judged = (torch.from_numpy(np.flatnonzero(which)) for which in (~held, held))
    net, batch = Estimator(), 64
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 3e-3, total_steps=epochs * (len(seen) // batch) + 1
    )
    for epoch in range(epochs):
        net.train()
        for chosen in torch.split(seen[torch.randperm(len(seen))], batch):
            if len(chosen) < batch:
                continue
            planes, known, kind, sizes, angle = (column[chosen] for column in table)
            planes, angle = turned(planes, angle, rng)
            planes = planes + 0.05 * torch.randn_like(planes)
            found = loss(net(planes, known), kind, sizes, angle)
            optimiser.zero_grad()
            found.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            planes, known, kind, sizes, angle = (column[judged] for column in table)
            out = net(planes, known)
            right = (out[:, :6].argmax(1) == kind).double().mean()
        typer.echo(
            f"epoch {epoch + 1}: loss {loss(out, kind, sizes, angle):.3f}, kinds right {right:.1%}, "
            f"{time.perf_counter() - started:.0f} s"
        )
        weights = {name: value.numpy() for name, value in net.state_dict().items()}
        packed = {name: np.float16(value) for name, value in {**weights, **scale}.items()}
        np.savez_compressed(WEIGHTS, **packed)  # type: ignore[arg-type]
    confusion = np.zeros((6, 6), np.int64)
    np.add.at(confusion, (kind.numpy(), out[:, :6].argmax(1).numpy()), 1)
    typer.echo(f"rows are what was done, columns what was found: {', '.join(KINDS)}\n{confusion}")


if __name__ == "__main__":
    typer.run(main)
