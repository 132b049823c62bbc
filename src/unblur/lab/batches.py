"""From readers to tensors: what every sample is depends on the seed, the epoch and its place there, on nothing else.

So a training can begin at any step of any epoch, with any number of threads or processes, and sees the same data.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unblur.datasets import cifar10, folder, gopro, pairs, reds
from unblur.datasets.common import Pairs, Pictures, Pixels, as_rgb, resize, some, split
from unblur.datasets.patches import select_patches
from unblur.errors import FileError, OptionError
from unblur.lab import degrade, recipe
from unblur.lab.guided import guided
from unblur.physics import degrade as named
from unblur.physics.degrade import Draw
from unblur.threads import cores

#: Unreadable pictures in a row before a set is given up.
PATIENCE = 100
#: Batches that are prepared ahead of the one in use, for each thread.
AHEAD = 2
#: Kept pictures that are worth processes of their own, which take seconds to start and make them several times as fast
#: as threads beside a training do; and how many a process makes at a time.
_MANY, _AT_A_TIME = 500, 16

#: Each kind of draw has generators of its own.
_ORDER, _SHARP_ORDER, _SAMPLE, _CROPS, _KEPT, _WINDOW = range(6)


class Sample(NamedTuple):
    """uint8 (H, W, 3) twice; no blurred one where it is to be made."""

    sharp: Pixels
    blurred: Pixels | None


@dataclass(frozen=True)
class Batch:
    """Some pictures of a step. blurred, sharp: float32 (N, 3, H, W) in [0, 1]. sigma: (N,) in pixels, or None.

    For a guided network `blurred` has the channels of `unblur.classical.guide`; the picture comes first.

    share: the part of the whole step's pictures that these are, over all processes.
    """

    blurred: Tensor
    sharp: Tensor
    sigma: Tensor | None
    share: float

    def none(self) -> Batch:
        """The same without a picture."""
        return self._each(lambda tensor: tensor[:0])

    def pinned(self, device: torch.device) -> Batch:
        """In memory that `device` can fetch by itself."""
        return self if device.type == "cpu" else self._each(torch.Tensor.pin_memory)

    def to(self, device: torch.device) -> Batch:
        """On a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def window(self, side: int, rng: np.random.Generator) -> Batch:
        """The same square of every picture, or all of pictures that are no larger."""
        cut = _window(self.sharp, side, rng)
        return Batch(self.blurred[cut], self.sharp[cut], self.sigma, self.share)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        sigma = None if self.sigma is None else change(self.sigma)
        return Batch(change(self.blurred), change(self.sharp), sigma, self.share)


class Source(Protocol):
    """Where pictures come from. `ids`: the number of each, under which its blur is drawn."""

    @property
    def ids(self) -> NDArray[np.intp]:
        """One for each picture."""
        ...

    def fetch(self, index: int, rng: np.random.Generator) -> list[Sample]:
        """The windows of a picture, of equal shape."""
        ...


@dataclass(frozen=True)
class Array:
    """Pictures in memory, uint8 (N, H, W, 3)."""

    images: Pixels
    ids: NDArray[np.intp]

    def fetch(self, index: int, rng: np.random.Generator) -> list[Sample]:
        """The picture, alone."""
        return [Sample(self.images[index], None)]


@dataclass
class Files:
    """Pictures that are decoded when they are asked for; those that come first stay in memory.

    central: crops about the centre instead of at random. extra: pixels on each side of a crop for its blur. warn:
    is told of each unreadable picture, in whose place the next one is taken.
    """

    reader: Pictures | Pairs
    ids: NDArray[np.intp]
    data: recipe.Reds | recipe.Gopro | recipe.Folder
    central: bool
    extra: int
    warn: Callable[[str], None]
    _kept: dict[int, Sample] = field(default_factory=dict)
    _bytes: int = 0
    _bad: dict[int, str] = field(default_factory=dict)

    def fetch(self, index: int, rng: np.random.Generator) -> list[Sample]:
        """The windows of a picture, or of the next one that can be read.

        Raises FileError for an unreadable picture if the recipe is strict, or for too many of them.
        """
        for attempt in range(min(PATIENCE, len(self.reader))):
            place = (index + attempt) % len(self.reader)
            if place in self._bad:
                continue
            try:
                return self._windows(self._picture(place), rng, place)
            except FileError as error:
                if self.data.strict:
                    raise
                self._bad[place] = str(error)
                self.warn(f"{error} (skipped, {len(self._bad)} so far)")
        raise FileError(f"{self.data.root}: no picture can be read: {some(list(self._bad.values()))}")

    def _picture(self, index: int) -> Sample:
        if (kept := self._kept.get(index)) is not None:
            return kept
        item = self.reader[index]
        sharp, blurred = (item, None) if isinstance(item, np.ndarray) else (item.sharp, item.blurred)
        sample = Sample(self._fitted(sharp), None if blurred is None else self._fitted(blurred))
        size = sum(picture.nbytes for picture in sample if picture is not None)
        if self._bytes + size <= self.data.cache_mb << 20:
            self._bytes += size
            self._kept[index] = sample
        return sample

    def _fitted(self, pixels: Pixels) -> Pixels:
        rgb = as_rgb(pixels)
        if self.data.size is None:
            return rgb
        return (resize if self.data.squeeze else folder.fit)(rgb, *self.data.size)

    def _windows(self, sample: Sample, rng: np.random.Generator, index: int) -> list[Sample]:
        crop = self.data.crop
        if crop is None:
            return [sample]
        rows, columns = (side + 2 * self.extra for side in crop)
        height, width = sample.sharp.shape[:2]
        if height < rows or width < columns:
            path = self.reader.rows[index][0]
            raise FileError(f"{path}: {width}x{height} is too small for {columns}x{rows} crops")
        if self.data.ssim_below and sample.blurred is not None:
            found = select_patches(
                sample.blurred,
                sample.sharp,
                self.data.patches,
                rng,
                size=rows,
                threshold=self.data.ssim_below,
            )
            return [Sample(patch.sharp, patch.blurred) for patch in found]
        windows = []
        for _ in range(self.data.patches):
            if self.central:
                top, left = (height - rows) // 2, (width - columns) // 2
            else:
                top, left = (int(rng.integers(n)) for n in (height - rows + 1, width - columns + 1))
            cut = np.s_[top : top + rows, left : left + columns]
            windows.append(Sample(sample.sharp[cut], None if sample.blurred is None else sample.blurred[cut]))
        return windows


class _Raw(NamedTuple):
    """A batch before the arithmetic: uint8 (N, 3, H, W), draws, and for each picture (up-down, left-right, turns)."""

    sharp: Tensor
    blurred: Tensor | None
    draws: list[Draw]
    moves: NDArray[np.int64]
    share: float


class Batches:
    """The steps of a training, or one pass over its validation part.

    rank, world: this process among how many; each gets its part of every step. `steps`: of an epoch.
    """

    def __init__(
        self,
        source: Source,
        of: recipe.Recipe,
        *,
        training: bool,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.source, self.recipe, self.training = source, of, training
        self.rank, self.world = rank, world
        self.device = torch.device(device)
        self.pictures = len(source.ids)
        windows = getattr(of.data, "patches", 1)
        self._draws = of.batch.size // windows
        steps = math.ceil(self.pictures / self._draws)
        self.steps = (of.batch.steps or steps) if training else steps
        if training and world > self._draws:
            raise OptionError(
                f"{world} processes cannot share a batch of {self._draws} pictures; raise batch.size"
            )
        # What cannot be computed on an accelerator as a whole is computed by the threads here.
        names = of.blur.names if of.blur is not None else ()
        self._on_host = self.device.type == "cpu" or not all(map(degrade.is_batched, names))
        self._order = lru_cache(maxsize=4)(self._make_order)
        self._pool = of.guide.kept if training and of.guide is not None else 0
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def stream(self, epoch: int = 0, step: int = 0) -> Generator[list[Batch]]:
        """Every step from there on, without end, each in the parts that the recipe asks for."""
        if self._pool >= _MANY and self.recipe.run.workers and len(self._kept) < self._pool:
            self._fill()

        def places() -> Iterator[tuple[int, int]]:
            at, within = epoch, step
            while True:
                for place in range(within, self.steps):
                    yield at, place
                at, within = at + 1, 0

        if self._pool or not self.recipe.batch.windows:
            return self._prefetched(places())
        return self._cut(self._prefetched(places()), places())

    def _cut(
        self, steps: Generator[list[Batch]], places: Iterator[tuple[int, int]]
    ) -> Generator[list[Batch]]:
        """Steps whose pictures are cut to the windows of their epoch."""
        with contextlib.closing(steps):
            for (epoch, step), parts in zip(places, steps, strict=False):
                rng = np.random.default_rng([self.recipe.seed, _WINDOW, epoch, step, self.rank])
                yield [part.window(self._side(epoch), rng) for part in parts]

    def _side(self, epoch: int) -> int:
        """Of the windows of an epoch."""
        sides, epochs = self.recipe.batch.windows, self.recipe.stop.epochs
        return sides[min(epoch * len(sides) // epochs, len(sides) - 1)]

    def once(self) -> Generator[list[Batch]]:
        """One pass."""
        return self._prefetched((0, step) for step in range(self.steps))

    def first(self) -> Batch:
        """The first part of the first step."""
        if self._pool:
            return self._again(0, 0)[0].to(self.device)
        return self._finish(self._step(0, 0)[0], torch.device("cpu")).to(self.device)

    def _prefetched(self, places: Iterator[tuple[int, int]]) -> Generator[list[Batch]]:
        workers = self.recipe.run.workers

        def make(epoch: int, step: int) -> list[_Raw] | list[Batch]:
            if self._pool:
                return [part.pinned(self.device) for part in self._again(epoch, step)]
            parts = self._step(epoch, step)
            if self._on_host:
                return [self._finish(part, torch.device("cpu")).pinned(self.device) for part in parts]
            return [_pinned(part) for part in parts]

        def out(parts: list[_Raw] | list[Batch]) -> list[Batch]:
            return [
                part.to(self.device) if isinstance(part, Batch) else self._finish(part, self.device)
                for part in parts
            ]

        if workers == 0:
            for place in places:
                yield out(make(*place))
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="batches", initializer=_one_thread)
        queue: deque[Future[list[_Raw] | list[Batch]]] = deque()
        try:
            for place in places:
                queue.append(pool.submit(make, *place))
                if len(queue) > AHEAD * workers:
                    yield out(queue.popleft().result())
            while queue:
                yield out(queue.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _make_order(self, epoch: int, kind: int) -> NDArray[np.intp]:
        """Which pictures an epoch takes, in its order."""
        count = self.pictures
        if not self.training:
            return np.arange(count)
        if self.recipe.batch.steps:
            count = self.steps * self._draws
        rng = np.random.default_rng([self.recipe.seed, kind, epoch])
        if self.recipe.batch.order == "replaced":
            return rng.integers(self.pictures, size=count)
        if self.recipe.batch.order == "fixed":
            return np.arange(count) % self.pictures
        return _shuffled(rng, self.pictures, count)

    def _step(self, epoch: int, step: int) -> list[_Raw]:
        order = self._order(epoch, _ORDER)
        places = np.arange(len(order))[step * self._draws : (step + 1) * self._draws]
        whole = len(places)
        places = places[self.rank :: self.world]
        if len(places) == 0:  # a last step with fewer pictures than processes: one that does not count
            return [self._raw(epoch, order, np.array([step * self._draws]), share=0.0)]
        parts = np.array_split(places, min(self.recipe.batch.accumulate, len(places)))
        return [self._raw(epoch, order, part, share=len(part) / whole) for part in parts]

    def _again(self, epoch: int, step: int) -> list[Batch]:
        """A step of pictures that are kept."""
        rng = np.random.default_rng([self.recipe.seed, _KEPT, epoch])
        size = self.recipe.batch.size
        order = _shuffled(rng, self._pool, self.steps * size)
        numbers = order[step * size : (step + 1) * size][self.rank :: self.world]
        rng = np.random.default_rng([self.recipe.seed, _KEPT, epoch, step, self.rank])
        batches = []
        for part in np.array_split(numbers, min(self.recipe.batch.accumulate, len(numbers))):
            pairs = [self._one(int(number)) for number in part]
            if self.recipe.batch.windows:
                cuts = [_window(sharp, self._side(epoch), rng) for _, sharp in pairs]
                pairs = [(shown[cut], sharp[cut]) for (shown, sharp), cut in zip(pairs, cuts, strict=True)]
            shown, sharp = (torch.stack(tensors).float() for tensors in zip(*pairs, strict=True))
            square = sharp.shape[2] == sharp.shape[3]
            moves = np.array([self._moves(rng, square) for _ in part])
            batches.append(Batch(_moved(shown, moves), _moved(sharp, moves), None, len(part) / size))
        return batches

    def _fill(self) -> None:
        """Make all that is kept, in processes."""
        starts = range(0, self._pool, _AT_A_TIME)
        with ProcessPoolExecutor(
            cores(), multiprocessing.get_context("spawn"), _begin, (self.recipe, self.source.ids)
        ) as processes:
            for start, made in zip(starts, processes.map(_make_kept, starts), strict=True):
                for number, pair in enumerate(made, start):
                    self._kept[number] = torch.from_numpy(pair[0]), torch.from_numpy(pair[1])

    def _one(self, number: int) -> tuple[Tensor, Tensor]:
        """A picture of the pool as its network is shown it, and sharp; in half precision, a tenth of a grey level."""
        if (kept := self._kept.get(number)) is not None:
            return kept
        order = np.arange(self._pool) % self.pictures
        made = self._finish(self._raw(0, order, np.array([number]), 1.0), torch.device("cpu"))
        kept = made.blurred[0].half(), made.sharp[0].half()
        self._kept[number] = kept
        return kept

    def _raw(self, epoch: int, order: NDArray[np.intp], places: NDArray[np.intp], share: float) -> _Raw:
        samples: list[Sample] = []
        draws: list[Draw] = []
        moves: list[tuple[int, int, int]] = []
        for place in places.tolist():
            index = int(order[place])
            number = int(self.source.ids[index])
            if self.training:
                rng = np.random.default_rng([self.recipe.seed, _SAMPLE, epoch, place])
            else:
                rng = np.random.default_rng([self.recipe.seed, _CROPS, number])
            found = self.source.fetch(index, rng)
            if self.training and self.recipe.batch.unpaired:
                other = int(self._order(epoch, _SHARP_ORDER)[place])
                sharp = self.source.fetch(other, rng)
                found = [Sample(b.sharp, a.blurred) for a, b in zip(found, sharp, strict=True)]
            for sample in found:
                samples.append(sample)
                moves.append(self._moves(rng, square=sample.sharp.shape[0] == sample.sharp.shape[1]))
                if self.recipe.blur is not None:
                    draws.append(self._draw(self.recipe.blur, sample.sharp.shape, number, rng))
        try:
            sharp_pixels = _planes([sample.sharp for sample in samples])
            given = [sample.blurred for sample in samples if sample.blurred is not None]
            blurred = _planes(given) if given and self.recipe.blur is None else None
        except ValueError as error:
            raise OptionError(
                "pictures of different sizes do not make a batch; give data.size or data.crop"
            ) from error
        return _Raw(sharp_pixels, blurred, draws, np.array(moves), share)

    def _moves(self, rng: np.random.Generator, square: bool) -> tuple[int, int, int]:
        augment = self.recipe.augment
        if not self.training:
            return 0, 0, 0
        flips = rng.integers(2, size=2).tolist() if augment.flips else [0, 0]
        turns = 0 if not augment.turns else int(rng.integers(4)) if square else 2 * int(rng.integers(2))
        return flips[0], flips[1], turns

    def _draw(self, blur: recipe.Blur, shape: tuple[int, ...], number: int, rng: np.random.Generator) -> Draw:
        if not self.training:
            rng = np.random.default_rng([blur.validation_seed, number])
            return named.get(blur.names[number % len(blur.names)]).draw(rng, shape)
        if blur.drawn == "once":
            rng = np.random.default_rng([blur.seed, number])
        name = blur.names[int(rng.integers(len(blur.names)))] if len(blur.names) > 1 else blur.names[0]
        return named.get(name).draw(rng, shape)

    def _finish(self, raw: _Raw, device: torch.device) -> Batch:
        sharp = raw.sharp.to(device, non_blocking=True)
        blur = self.recipe.blur
        if blur is None:
            assert raw.blurred is not None
            blurred = _moved(raw.blurred.to(device, non_blocking=True), raw.moves)
            return Batch(
                degrade.to_float(blurred), degrade.to_float(_moved(sharp, raw.moves)), None, raw.share
            )
        if blur.drawn == "anew":
            degraded, target = degrade.degrade(_moved(sharp, raw.moves), raw.draws)
        else:
            degraded, target = degrade.degrade(sharp, raw.draws)
            degraded, target = _moved(degraded, raw.moves), _moved(target, raw.moves)
        cut = slice(blur.margin, -blur.margin or None)
        target = target[:, :, cut, cut]
        if self.recipe.guide is not None:
            net = self.recipe.net.spec
            degraded = guided(
                degraded,
                raw.draws,
                self.recipe.guide,
                blur.margin,
                channels=net.channels,
                iterations=net.iterations,
            )
        else:
            degraded = degraded[:, :, cut, cut]
        sigma = None
        if all("sigma" in draw.blur.parameters for draw in raw.draws):
            sigma = torch.tensor([draw.blur.parameters["sigma"] for draw in raw.draws], device=device)
        return Batch(degraded, target, sigma, raw.share)


def build(
    of: recipe.Recipe,
    *,
    rank: int = 0,
    world: int = 1,
    device: torch.device | str = "cpu",
    warn: Callable[[str], None] = lambda message: None,
) -> tuple[Batches, Batches | None]:
    """The training and the validation part of a recipe's data; `warn` hears what is not as it should be.

    Raises FileError where there is nothing to train on, OptionError for a set that is too small to be split.
    """
    parts = _sources(of, warn)
    for name, source in zip(("training", "validation"), parts, strict=True):
        if source is not None and len(source.ids) == 0:
            raise OptionError(f"{of.data.root}: no picture is left for {name}; the set is too small")
    made = [
        None
        if source is None
        else Batches(source, of, training=training, rank=rank, world=world, device=device)
        for source, training in zip(parts, (True, False), strict=True)
    ]
    assert made[0] is not None
    return made[0], made[1]


def _sources(of: recipe.Recipe, warn: Callable[[str], None]) -> tuple[Source, Source | None]:
    data = of.data
    if isinstance(data, recipe.Cifar10):
        return _cifar10(data, warn)
    extra = of.blur.margin if of.blur is not None else 0

    def files(reader: Pictures | Pairs, ids: NDArray[np.intp], central: bool) -> Files:
        chosen = reader.sharp if isinstance(reader, Pairs) and of.blur is not None else reader
        return Files(chosen.take(ids.tolist()), ids, data, central, extra, warn)

    reader: Pictures | Pairs
    match data:
        case recipe.Reds():
            open_set = reds.pairs if of.blur is None else reds.sharp
            found = [
                None
                if selection is None
                else open_set(data.root, selection, reduced=data.reduced, strict=data.strict)
                for selection in (data.train, data.validation)
            ]
            for part in found:
                _tell(part, data.root, warn)
            train, held_out = (
                None if part is None else files(part, np.arange(len(part)), central)
                for part, central in zip(found, (False, True), strict=True)
            )
            assert train is not None
            return train, held_out
        case recipe.Gopro():
            reader = gopro.pairs(data.root, "train", blur=data.variant, strict=data.strict)
            scenes = [name.split("/")[0] for name in reader.names]
            known = sorted(set(scenes))
            count = max(round(data.validation * len(known)), 1) if data.validation else 0
            held = set(known[len(known) - count :])
            order = (
                np.array([i for i, scene in enumerate(scenes) if scene not in held], np.intp),
                np.array([i for i, scene in enumerate(scenes) if scene in held], np.intp),
            )
        case _:
            if isinstance(data, recipe.Pairs):
                reader = pairs.inside(data.root, strict=data.strict)
            else:
                reader = folder.pictures(data.root, strict=data.strict)
            shares = (data.train, data.validation, max(1 - data.train - data.validation, 0.0))
            order = split(len(reader), shares, seed=data.split_seed)[:2]  # type: ignore[assignment]
    _tell(reader, data.root, warn)
    return files(reader, order[0], False), files(reader, order[1], True) if data.validation else None


def _cifar10(data: recipe.Cifar10, warn: Callable[[str], None]) -> tuple[Array, Array]:
    whole = cifar10.Cifar10.open(data.root, strict=data.strict)
    if not whole.complete:
        warn(f"{data.root}: a part of CIFAR-10, {len(whole)} of 50000 training images")
    if whole.skipped:
        warn(f"{data.root}: skipped: {some(whole.skipped)}")
    train, held_out = split(len(whole), cifar10.SPLITS[data.split], seed=data.split_seed)
    images, ids = [whole.images[train]], [train]
    more = [cifar10.extra_images(data.root / path) for path in data.extra]
    if data.crops and data.photographs is not None:
        photographs = folder.pictures(data.root / data.photographs, strict=data.strict)
        rng = np.random.default_rng([data.split_seed, _CROPS])
        _tell(photographs, data.root / data.photographs, warn)
        more.append(cifar10.crops32(photographs.paths, data.crops, rng, warn=None if data.strict else warn))
    for extra in more:
        images.append(extra)
        ids.append(ids[-1].max() + len(whole) + np.arange(len(extra)))
    return Array(np.concatenate(images), np.concatenate(ids)), Array(whole.images[held_out], held_out)


def _tell(reader: Pictures | Pairs | None, root: object, warn: Callable[[str], None]) -> None:
    for what, lines in (("missing", reader.missing), ("skipped", reader.skipped)) if reader else ():
        if lines:
            warn(f"{root}: {what}: {some(lines)}")


def _shuffled(rng: np.random.Generator, among: int, count: int) -> NDArray[np.intp]:
    """So many numbers below `among`: all of them in random order, again and again."""
    return np.concatenate([rng.permutation(among) for _ in range(math.ceil(count / among))])[:count]


def _window(pictures: Tensor, side: int, rng: np.random.Generator) -> tuple[Any, ...]:
    """Where to cut a square from (..., H, W), or all of what is no larger."""
    top, left = (int(rng.integers(max(n - side, 0) + 1)) for n in pictures.shape[-2:])
    return np.s_[..., top : top + side, left : left + side]


def _planes(pictures: Sequence[Pixels]) -> Tensor:
    """uint8 (H, W, 3) each to (N, 3, H, W). Raises ValueError for different shapes."""
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())


def _moved(pictures: Tensor, moves: NDArray[np.int64]) -> Tensor:
    """Flip and turn each picture by its own moves."""
    if not moves.any():
        return pictures
    pictures = pictures.clone()
    flags = torch.from_numpy(moves).to(pictures.device)
    for column, axis in ((0, 2), (1, 3)):
        chosen = flags[:, column] == 1
        pictures[chosen] = pictures[chosen].flip(axis)
    for turns in (1, 2, 3):
        if (chosen := flags[:, 2] == turns).any():
            pictures[chosen] = pictures[chosen].rot90(turns, (2, 3))
    return pictures


def _pinned(raw: _Raw) -> _Raw:
    """In memory that the device can fetch by itself."""
    return raw._replace(
        sharp=raw.sharp.pin_memory(), blurred=None if raw.blurred is None else raw.blurred.pin_memory()
    )


#: The training part that a process makes pictures of.
_own: list[Batches] = []


def _begin(of: recipe.Recipe, ids: NDArray[np.intp]) -> None:
    _one_thread()
    os.environ["OMP_NUM_THREADS"] = "1"
    _own[:] = [build(of)[0]]
    if not np.array_equal(_own[0].source.ids, ids):
        raise FileError(f"{of.data.root}: the pictures have changed")


def _make_kept(start: int) -> list[tuple[NDArray[np.float16], NDArray[np.float16]]]:
    (batches,) = _own
    made = [batches._one(number) for number in range(start, min(start + _AT_A_TIME, batches._pool))]
    batches._kept.clear()
    return [(shown.numpy(), sharp.numpy()) for shown, sharp in made]


def _one_thread() -> None:
    """The threads that prepare batches leave the cores to the network."""
    torch.set_num_threads(1)
