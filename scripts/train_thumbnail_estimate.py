"""Trains the networks of `unblur.estimate.thumbnail` and `.taps`; writes their weights into the package. Needs torch.

Both blur the training part of CIFAR-10, more 32x32 pictures and reduced crops of photographs by OpenCV's Gaussians of
8 bits. The held-out part, as in the recipes, is judged. `taps` chooses among what `sigma` proposes: train that first.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor, nn
from torch.nn import functional

from unblur.datasets import cifar10, folder
from unblur.datasets.common import split
from unblur.estimate import taps
from unblur.estimate.likelihood import FIXED_FROM, LIKELIEST, Picture, likely_candidates, mean_power
from unblur.estimate.thumbnail import SIGMAS, cosine_transfer, features
from unblur.image import from_array, rounding_noise, to_array
from unblur.lab.muon import Muon
from unblur.physics.convolve import gaussian_blur, gaussian_blur_u8
from unblur.physics.kernels import gaussian, gaussian_u8
from unblur.threads import available_cores

REPO = Path(__file__).resolve().parent.parent
DATA = REPO.parent / "shared" / "data"
WEIGHTS = REPO / "src" / "unblur" / "estimate"

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Most blurs are those of cifar-u03-u8, and a little wider; the others, up to the second number.
USUAL, WIDEST, SHARE = 3.2, 5.0, 0.75
#: Standard deviation of what the network is told to say, in pixels.
SOFT = 0.04

#: Of the blurs that `taps` is shown, shares of those that are wider than usual, and that were not OpenCV's of 8 bits.
WIDER, SMOOTH = 0.08, 0.12
#: By how much the logarithm of an error has to be greater for a Gaussian to be that much less what is wanted; and how
#: much the expected one counts beside the entropy.
WORSE, COUNTS = 0.03, 3.0

Data = Annotated[Path, typer.Option(help="The folder of the CIFAR-10 sample.")]
Extra = Annotated[Path, typer.Option(help="More 32x32 pictures, .npz.")]
Photographs = Annotated[Path, typer.Option(help="For crops.")]
Start = Annotated[Path | None, typer.Option(help="Weights to go on from.")]
Steps = Annotated[int, typer.Option(min=1)]

app = typer.Typer(add_completion=False)


class Trunk(nn.Module):
    """Six convolutions; the mean and the root mean square of what they see. (N, C, H, W) to (N, 2 widths[-1])."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths)
        )

    def pooled(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for layer, convolution in enumerate(self.convolutions):
            x = functional.relu(convolution(x))
            if layer in (1, 3):
                x = functional.avg_pool2d(x, 2)
        return torch.cat([x.mean((2, 3)), x.square().mean((2, 3)).add(1e-6).sqrt()], 1)


class Sigma(Trunk):
    """The network that `unblur.estimate.thumbnail` runs. (N, 8, H, W) to (N, len(SIGMAS))."""

    def __init__(self) -> None:
        super().__init__(8, 24, 24, 48, 48, 64, 64)
        self.hidden = nn.Linear(128, 128)
        self.out = nn.Linear(128, len(SIGMAS))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(functional.relu(self.hidden(self.pooled(x))))
        return out


class Taps(Trunk):
    """The network that `unblur.estimate.taps` runs. (N, n, 4, H, W), (N, n) and (N, n) to (N, n)."""

    def __init__(self) -> None:
        super().__init__(4, 16, 16, 32, 32, 48, 48)
        self.hidden = nn.Linear(4 * 48 + 2, 64)
        self.out = nn.Linear(64, 1)
        nn.init.zeros_(self.out.weight)
        self.trust = nn.Parameter(torch.tensor(0.5))

    def forward(self, planes: Tensor, logs: Tensor, sigmas: Tensor) -> Tensor:
        seen = self.pooled(planes.flatten(0, 1)).unflatten(0, planes.shape[:2])
        smooth = torch.zeros_like(logs)
        smooth[:, 0] = 1
        more = torch.stack([smooth, sigmas / taps.WIDE], 2)
        seen = torch.cat([seen, taps.MORE * (seen - seen.mean(1, keepdim=True)), more], 2)
        own = (logs - logs[:, :1]).clamp(-taps.FAR, taps.FAR)
        out: Tensor = self.out(functional.relu(self.hidden(seen)))[..., 0] + self.trust * own
        return out


def gathered(data: Path, extra: Path, photographs: Path, crops: int, seed: int) -> tuple[Pixels, Pixels]:
    """The pictures to learn from, those of 32x32 first, and those to judge by."""
    whole = cifar10.Cifar10.open(data)
    train, held = split(len(whole), cifar10.SPLITS["45k/5k"], seed=0)
    paths = folder.pictures(photographs).paths
    cropped = cifar10.crops32(paths, crops, np.random.default_rng(seed))
    pictures = np.concatenate([whole.images[train], cifar10.extra_images(extra), cropped])
    typer.echo(f"{len(pictures)} pictures, {len(held)} held back")
    return pictures, whole.images[held]


def learn(
    net: nn.Module,
    name: str,
    batches: Iterator[Tensor],
    judge: Callable[[], str],
    steps: int,
    rate: float,
    start: Path | None,
) -> None:
    """Follow the losses that are drawn, and write the weights now and then."""
    started = time.perf_counter()
    if start is not None:
        with np.load(start) as stored:
            net.load_state_dict({key: torch.from_numpy(stored[key]).float() for key in stored.files})
    optimiser = Muon(net.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=steps + 1, cycle_momentum=False
    )
    for step, loss in enumerate(itertools.islice(batches, steps), 1):
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 250 == 0 or step == steps:
            with torch.no_grad():
                judged = judge()
            typer.echo(
                f"step {step}: loss {loss.item():.3f}, {judged}, {time.perf_counter() - started:.0f} s"
            )
            packed = {key: value.half().numpy() for key, value in net.state_dict().items()}
            np.savez_compressed(WEIGHTS / f"{name}.npz", **packed)  # type: ignore[arg-type]


def ahead(draw: Callable[[int], Any]) -> Iterator[Any]:
    """What is drawn for 0, 1, 2 and so on, by a thread while the network learns."""
    with ThreadPoolExecutor(1) as pool:
        drawn = deque(pool.submit(draw, number) for number in range(2))
        for number in itertools.count(2):
            drawn.append(pool.submit(draw, number))
            yield drawn.popleft().result()


def blurred(picture: Pixels, sigma: float) -> Floats:
    """Its lightness, as `unblur.estimate.thumbnail` has it."""
    return from_array(gaussian_blur_u8(picture, sigma)).mean(axis=2, dtype=np.float32)


def draw_sigmas(pictures: Pixels, count: int, seed: int) -> tuple[Tensor, Tensor]:
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


def _seen(lightness: Floats) -> Tensor:
    return torch.from_numpy(features(lightness, mean_power(lightness.shape[1:])[0]))


@app.command("sigma")
def learn_sigma(
    data: Data = DATA / "cifar-10-subset",
    extra: Extra = DATA / "cifar-100-extra.npz",
    photographs: Photographs = DATA / "imagenet-sample",
    crops: int = 8000,
    steps: Steps = 4000,
    size: int = 128,
    rate: float = 2e-3,
    seed: int = 0,
    start: Start = None,
) -> None:
    """Draw, train, judge, and write `thumbnail.npz`."""
    torch.manual_seed(seed)
    pictures, held = gathered(data, extra, photographs, crops, seed)
    sigmas = np.random.default_rng(1).uniform(0, 3, len(held))
    seen = _seen(np.stack([blurred(one, s) for one, s in zip(held, sigmas.tolist(), strict=True)]))
    bins, net = torch.from_numpy(SIGMAS).float(), Sigma()

    def losses() -> Iterator[Tensor]:
        for planes, wanted in ahead(lambda step: draw_sigmas(pictures, size, 1 + seed * steps + step)):
            target = torch.softmax(-0.5 * ((bins - wanted[:, None]) / SOFT).square(), 1)
            yield functional.cross_entropy(net(planes), target)

    def judge() -> str:
        """Median and ninth decile of the error where there is a blur worth taking out."""
        chances = functional.softmax(net(seen), 1)
        error = (chances @ bins - torch.from_numpy(sigmas).float()).abs()[sigmas > 0.55]
        return f"error of sigma {error.median():.4f} px, ninth decile {error.quantile(0.9):.4f}"

    learn(net, "thumbnail", losses(), judge, steps, rate, start)


class Choice(NamedTuple):
    """A blurred picture and the Gaussians that it may have been blurred by.

    lines: what they multiply the terms of the cosine transform of a line by, (n, side). right: the same of the
    Gaussian that it is, (side,). logs, sigmas: as of `Candidates`.
    """

    sharp: Pixels
    blurred: Pixels
    right: Floats
    lines: Floats
    logs: Floats
    sigmas: Floats


def choice(job: tuple[Pixels, float, bool]) -> Choice | None:
    """What there is to choose from for a picture, a sigma, and whether the Gaussian is smooth."""
    sharp, sigma, smooth = job
    if smooth:
        blurred = to_array(gaussian_blur(from_array(sharp), sigma), np.uint8)
    else:
        blurred = gaussian_blur_u8(sharp, sigma)
    some = likely_candidates(from_array(blurred))
    if some is None or len(some.sigmas) < 1 + LIKELIEST:
        return None
    kernel = gaussian(sigma, rule="opencv-f32") if smooth else gaussian_u8(sigma)
    right = cosine_transfer(kernel.sum(axis=0, dtype=np.float64), len(sharp))
    found = (right, some.transfers[:, 0], some.logs, some.sigmas)
    return Choice(sharp, blurred, *(values.astype(np.float32) for values in found))


def choices(pictures: Pixels, count: int, seed: int, *, usual: bool = False) -> list[Choice]:
    """So many, of the pictures in order, again and again. usual: only blurs as those of cifar-u03-u8."""
    rng = np.random.default_rng(seed)
    jobs = []
    for number in range(count):
        wider = not usual and rng.random() < WIDER
        sigma = rng.uniform(USUAL, WIDEST) if wider else rng.uniform(FIXED_FROM, 3 if usual else USUAL)
        smooth = not usual and rng.random() < SMOOTH
        jobs.append((pictures[number % len(pictures)], float(sigma), bool(smooth)))
    with ProcessPoolExecutor(available_cores()) as pool:
        return [one for one in pool.map(choice, jobs, chunksize=64) if one is not None]


def excess(one: Choice) -> Floats:
    """The logarithm of how much more error is to be expected of each Gaussian than of the right one. Shape: (n,).

    That of a Wiener filter that knows the power of the sharp picture, around each term, and twice the noise.
    """
    sharp = Picture(from_array(one.sharp), rounding_noise(np.uint8))
    power = np.zeros((3, *sharp.size))
    power[:, sharp.used] = sharp.power
    power = uniform_filter(power, (0, 3, 3), mode="mirror")
    lines = np.concatenate([one.right[None], one.lines])
    transfers = (lines[:, :, None] * lines[:, None, :])[:, None]  # (1 + n, 1, H, W)
    gains = transfers * power / (transfers**2 * power + 2 * sharp.noise**2)
    errors = (1 - gains * transfers[:1]) ** 2 * power + gains**2 * sharp.noise**2
    logs: Floats = np.log(errors.sum(axis=(1, 2, 3))).astype(np.float32)
    return logs[1:] - logs[0]


def shown(some: Sequence[Choice], rng: np.random.Generator | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the network sees of some, turned and mirrored by chance; and `excess`."""
    planes = []
    for one in some:
        turned = one.blurred
        if rng is not None:
            turned = np.ascontiguousarray(np.rot90(turned, rng.integers(4))[:, :: rng.choice((-1, 1))])
        colours = Picture(from_array(turned), rounding_noise(np.uint8)).colours
        transfers = one.lines[:, :, None] * one.lines[:, None, :]
        planes.append(taps.features(colours, transfers, mean_power(turned.shape[:2])))
    rest = ([one.logs for one in some], [one.sigmas for one in some], [excess(one) for one in some])
    seen = (torch.from_numpy(np.stack(values)) for values in (planes, *rest))
    return next(seen), next(seen), next(seen), next(seen)


@app.command("taps")
def learn_taps(
    data: Data = DATA / "cifar-10-subset",
    extra: Extra = DATA / "cifar-100-extra.npz",
    photographs: Photographs = DATA / "imagenet-sample",
    crops: int = 13000,
    count: Annotated[int, typer.Option(min=1, help="Blurred pictures.")] = 27000,
    steps: Steps = 9000,
    size: int = 32,
    rate: float = 1.5e-3,
    seed: int = 0,
    start: Start = None,
) -> None:
    """Blur, find what is likely, train, judge, and write `taps.npz`."""
    torch.manual_seed(seed)
    pictures, held = gathered(data, extra, photographs, crops, seed)
    judged = shown(choices(held, len(held), 1, usual=True), None)
    pool = choices(pictures, count, seed)
    net = Taps()

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((seed, step))
        return shown([pool[index] for index in rng.integers(len(pool), size=size)], rng)

    def losses() -> Iterator[Tensor]:
        for *seen, worse in ahead(draw):
            logs = functional.log_softmax(net(*seen), 1)
            entropy = -(torch.softmax(-worse / WORSE, 1) * logs).sum(1).mean()
            yield entropy + COUNTS * (logs.exp() * worse).sum(1).mean()

    def judge() -> str:
        *seen, worse = judged
        preferred = torch.cat([net(*some) for some in zip(*(part.split(size) for part in seen), strict=True)])
        log = worse.gather(1, preferred.argmax(1, keepdim=True)).mean()
        likeliest = worse.gather(1, seen[1].argmax(1, keepdim=True)).mean()
        return f"logarithm of the excess error {log:.4f}, of the likeliest {likeliest:.4f}"

    learn(net, "taps", losses(), judge, steps, rate, start)


if __name__ == "__main__":
    app()
