"""Trains the network of `unblur.estimate.thumbnail` and writes its weights into the package. Needs torch.

Blurs the training part of CIFAR-10, more 32x32 pictures and reduced crops of photographs by OpenCV's Gaussians of
8 bits, a new one each time. The held-out part, as in the recipes, is judged.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from unblur.datasets import cifar10, folder
from unblur.datasets.common import split
from unblur.estimate.likelihood import mean_power
from unblur.estimate.thumbnail import SIGMAS, features
from unblur.image import from_array
from unblur.lab.muon import Muon
from unblur.physics.convolve import gaussian_blur_u8

REPO = Path(__file__).resolve().parent.parent
DATA = REPO.parent / "shared" / "data"
WEIGHTS = REPO / "src" / "unblur" / "estimate" / "thumbnail.npz"

Pixels = NDArray[np.uint8]

#: Most blurs are those of cifar-u03-u8, and a little wider; the others, up to the second number.
USUAL, WIDEST, SHARE = 3.2, 5.0, 0.75
#: Standard deviation of what the network is told to say, in pixels.
SOFT = 0.04


class Sigma(nn.Module):
    """The network that `unblur.estimate.thumbnail` runs. (N, 8, H, W) to (N, len(SIGMAS))."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 24, 24, 48, 48, 64, 64)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.hidden = nn.Linear(128, 128)
        self.out = nn.Linear(128, len(SIGMAS))

    def forward(self, x: Tensor) -> Tensor:
        for layer, convolution in enumerate(self.convolutions):
            x = functional.relu(convolution(x))
            if layer in (1, 3):
                x = functional.avg_pool2d(x, 2)
        flat = torch.cat([x.mean((2, 3)), x.square().mean((2, 3)).add(1e-6).sqrt()], 1)
        out: Tensor = self.out(functional.relu(self.hidden(flat)))
        return out


def blurred(picture: Pixels, sigma: float) -> NDArray[np.float32]:
    """Its lightness, as `unblur.estimate.thumbnail` has it."""
    return from_array(gaussian_blur_u8(picture, sigma)).mean(axis=2, dtype=np.float32)


def draw(pictures: Pixels, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """What the network sees of so many pictures, and their sigmas."""
    rng = np.random.default_rng(seed)
    sigmas = np.where(
        rng.random(count) < SHARE, rng.uniform(0, USUAL, count), rng.uniform(USUAL, WIDEST, count)
    )
    seen = []
    for sigma in sigmas.tolist():
        picture = np.rot90(pictures[rng.integers(len(pictures))], rng.integers(4))
        seen.append(blurred(np.ascontiguousarray(picture[:, :: rng.choice((-1, 1))]), sigma))
    return _seen(np.stack(seen)), torch.from_numpy(sigmas).float()


def _seen(lightness: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(features(lightness, mean_power(lightness.shape[1:])))


def batches(pictures: Pixels, steps: int, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Drawn by a thread while the network learns."""
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(draw, pictures, size, seed + step) for step in range(2)]
        for step in range(steps):
            ahead.append(pool.submit(draw, pictures, size, seed + step + 2))
            yield ahead.pop(0).result()


def judge(net: Sigma, seen: Tensor, sigmas: Tensor) -> str:
    """Median and ninth decile of the error where there is a blur worth taking out."""
    with torch.no_grad():
        chances = functional.softmax(net(seen), 1)
    error = (chances @ torch.from_numpy(SIGMAS).float() - sigmas).abs()[sigmas > 0.55]
    return f"error of sigma {error.median():.4f} px, ninth decile {error.quantile(0.9):.4f}"


def main(
    data: Annotated[Path, typer.Option(help="The folder of the CIFAR-10 sample.")] = DATA / "cifar-10-subset",
    extra: Annotated[Path, typer.Option(help="More 32x32 pictures, .npz.")] = DATA / "cifar-100-extra.npz",
    photographs: Annotated[Path, typer.Option(help="For crops.")] = DATA / "imagenet-sample",
    crops: int = 8000,
    steps: Annotated[int, typer.Option(min=1)] = 4000,
    size: int = 128,
    rate: float = 2e-3,
    seed: int = 0,
    start: Annotated[Path | None, typer.Option(help="Weights to go on from.")] = None,
) -> None:
    """Draw, train, judge, and write `thumbnail.npz`."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    whole = cifar10.Cifar10.open(data)
    train, held = split(len(whole), cifar10.SPLITS["45k/5k"], seed=0)
    rng = np.random.default_rng(seed)
    paths = folder.pictures(photographs).paths
    pictures = np.concatenate(
        [whole.images[train], cifar10.extra_images(extra), cifar10.crops32(paths, crops, rng)]
    )
    sigmas = np.random.default_rng(1).uniform(0, 3, len(held))
    judged = np.stack([blurred(whole.images[i], s) for i, s in zip(held, sigmas.tolist(), strict=True)])
    seen, sigma = _seen(judged), torch.from_numpy(sigmas).float()
    typer.echo(f"{len(pictures)} pictures, {len(held)} held back, {time.perf_counter() - started:.0f} s")
    net = Sigma()
    if start is not None:
        with np.load(start) as stored:
            net.load_state_dict({name: torch.from_numpy(stored[name]).float() for name in stored.files})
    optimiser = Muon(net.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=steps + 1, cycle_momentum=False
    )
    bins = torch.from_numpy(SIGMAS).float()
    for step, (planes, wanted) in enumerate(batches(pictures, steps, size, 1 + seed * steps), 1):
        target = torch.softmax(-0.5 * ((bins - wanted[:, None]) / SOFT).square(), 1)
        loss = functional.cross_entropy(net(planes), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 250 == 0 or step == steps:
            typer.echo(
                f"step {step}: loss {loss.item():.3f}, {judge(net, seen, sigma)}, "
                f"{time.perf_counter() - started:.0f} s"
            )
            packed = {name: value.half().numpy() for name, value in net.state_dict().items()}
            np.savez_compressed(WEIGHTS, **packed)  # type: ignore[arg-type]


if __name__ == "__main__":
    typer.run(main)
