"""The training loop: one for every system, from one core to many machines.

`train` sets up and calls `fit`, which calls `validate` once an epoch. What a single step does is an `Objective`:
`Regression` here, `Adversarial` in `gan`. A run can be cut anywhere and goes on from its last checkpoint as if
nothing had happened: on the processor, bit for bit.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from unblur import __version__
from unblur.errors import FileError, MissingExtraError, OptionError, OutputError, UnblurError
from unblur.files import write_file
from unblur.lab import batches, checkpoint, losses, report
from unblur.lab.batches import Batch, Batches
from unblur.lab.recipe import Clip, Optimiser, Recipe, changes, parse
from unblur.lab.schedule import Waiting, factor
from unblur.nets.layers import Restorer, max_norm_

try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy
except ImportError as error:  # pragma: no cover
    raise MissingExtraError("training", "train") from error

Device: TypeAlias = Literal["auto", "cpu", "cuda"]

LAST, BEST, LOG, TIMING = "last.safetensors", "best.safetensors", "log.jsonl", "timing.jsonl"
"""Files of a run: the checkpoint, the weights that are kept, what happened, and how fast."""

#: Rates are halved at most so often before a training counts as diverged.
ROLLBACKS = 10
#: Steps between the moments at which several processes agree on stopping and on checkpoints.
AGREE_EVERY = 10
#: Seconds between pictures of the progress.
PICTURES_EVERY = 60.0
#: Pictures in the sample.
SAMPLES = 6


@dataclass
class State:
    """Where a training is: everything but tensors. Epochs and steps count what is finished."""

    epoch: int = 0
    step: int = 0
    steps: int = 0
    sums: list[float] = field(default_factory=list)
    rate_scale: float = 1.0
    plateau: Waiting = field(default_factory=Waiting)
    plateau_factor: float = 1.0
    patience: Waiting = field(default_factory=Waiting)
    best: float = math.inf
    best_epoch: int = -1
    rollbacks: int = 0
    log_bytes: int = 0
    finished: str = ""

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> State:
        """From JSON."""
        waits = {name: Waiting(**facts[name]) for name in ("plateau", "patience")}
        return cls(**{**facts, **waits})


@dataclass(frozen=True)
class Outcome:
    """How a training ended. `reason`: "epochs", "patience", "budget" or "signal"; `signal`: its number, or 0.

    validation: scores at the end of the best epoch, empty if there were none. weights: the file to use, or None.
    """

    reason: str
    signal: int
    epochs: int
    steps: int
    best_epoch: int
    validation: Mapping[str, float]
    weights: Path | None


class Objective(Protocol):
    """What a step does, and to which networks.

    names: of the losses that a step returns, the one to minimise first. net: the network that is kept.
    networks, optimisers: everything that a checkpoint must hold.
    """

    names: tuple[str, ...]
    net: nn.Module
    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]

    def step(self, parts: Sequence[Batch], scale: float) -> Tensor:
        """Update the weights, rates being multiplied by `scale`; this process's part of the losses, (names,)."""
        ...


class Regression:
    """Minimise the recipe's loss between what a network makes of the blurred pictures and what it should.

    That is the sharp picture for a restorer, at one scale or all, and sigma for an estimator.
    """

    names: tuple[str, ...] = ("loss",)

    def __init__(self, fabric: Fabric, recipe: Recipe, net: nn.Module) -> None:
        self.fabric, self.recipe, self.net = fabric, recipe, net
        optimiser = make_optimiser(recipe.optimiser, net)
        self.module, wrapped = fabric.setup(Scales(net, recipe.loss.scales == "all"), optimiser)
        self.optimiser = cast(torch.optim.Optimizer, wrapped)
        self.networks: Mapping[str, nn.Module] = {"net": net}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {"net": optimiser}

    def step(self, parts: Sequence[Batch], scale: float) -> Tensor:
        """One update from the parts of a batch."""
        set_rate(self.optimiser, self.recipe.optimiser.rate * scale)
        self.optimiser.zero_grad()
        total = torch.zeros(1, device=self.fabric.device)
        for number, part in enumerate(parts, 1):
            with self.fabric.no_backward_sync(self.module, enabled=number < len(parts)):
                outputs = self.module(laid_out(part.blurred, self.recipe))
                loss = picture_losses(self.recipe, self.net, outputs, part).mean() * part.share
                # Processes are averaged, and shares sum to 1 over all of them.
                self.fabric.backward(loss * self.fabric.world_size)
            total += loss.detach()
        clip(self.net.parameters(), self.recipe.clip)
        self.optimiser.step()
        if self.recipe.optimiser.recurrent_max_norm is not None:
            max_norm_(self.net, self.recipe.optimiser.recurrent_max_norm)
        return total


class Scales(nn.Module):
    """A network as a function to the list of its outputs: of every scale, or the finest alone."""

    def __init__(self, net: nn.Module, every: bool) -> None:
        super().__init__()
        self.net, self.every = net, every

    def forward(self, x: Tensor) -> list[Tensor]:
        """Shape: (N, C, H, W) in, a list of such out."""
        if self.every and isinstance(self.net, Restorer):
            return self.net.levels(x)
        return [self.net(x)]


class Average:
    """Exponential moving average of a network's weights, with a quicker start."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net, self.decay = net, decay
        self.tensors = {name: p.detach().clone() for name, p in net.named_parameters()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights as they are after so many steps."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        for name, p in self.net.named_parameters():
            self.tensors[name].lerp_(p.detach(), 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the network has the averaged weights."""
        live = {name: p.data for name, p in self.net.named_parameters()}
        for name, p in self.net.named_parameters():
            p.data = self.tensors[name]
        try:
            yield
        finally:
            for name, p in self.net.named_parameters():
                p.data = live[name]


def train(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    device: Device = "auto",
    budget: float | None = None,
    say: Callable[[str], None] = lambda message: None,
    show: bool = False,
) -> Outcome:
    """Train a recipe into the folder `out`.

    resume: go on from the checkpoint there, if there is one; also done unasked when an elastic launcher starts the
    process again. budget: seconds after which it stops with a checkpoint. say: hears one line at a time. show: a
    progress bar, on a terminal. SIGINT and SIGTERM stop it with a checkpoint.
    Raises OutputError for a run that is there and not to be resumed, or a full disk; OptionError for a recipe
    that is not the checkpoint's; UnblurError for a loss that stays not a number.
    """
    folder = Path(out)
    fabric = make_fabric(recipe, device)
    say = say if fabric.is_global_zero else lambda message: None
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    saved = _checkpoint(fabric, folder, recipe, resume or again)
    training, held_out = batches.build(
        recipe, rank=fabric.global_rank, world=fabric.world_size, device=fabric.device, warn=say
    )
    torch.manual_seed(recipe.seed)
    net = recipe.net.spec.build(**recipe.net.options)
    if recipe.net.start is not None:
        checkpoint.restore_weights(net, checkpoint.load(recipe.net.start)[0], str(recipe.net.start))
    if recipe.net.spec.role == "estimator" and saved is None:
        _normalise(net, training)
    if recipe.run.channels_last:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective: Objective
    if recipe.gan is not None:
        from unblur.lab.gan import Adversarial

        objective = Adversarial(fabric, recipe, net)
    else:
        objective = Regression(fabric, recipe, net)
    run = Run(fabric, recipe, folder, objective, training, held_out, budget, say)
    with run.listening(), report.Bar(recipe.net.name, recipe.stop.epochs * training.steps, show) as bar:
        run.begin(saved)
        return fit(run, bar)


def fit(run: Run, bar: report.Bar) -> Outcome:
    """Train until the epochs, the patience or the time are over, or a signal comes."""
    recipe, state, objective = run.recipe, run.state, run.objective
    schedule, steps = recipe.schedule, run.training.steps
    stream = run.training.stream(state.epoch, state.step)
    watch = report.Stopwatch()
    while not state.finished:
        while state.step < steps:
            waiting = time.perf_counter()
            parts = next(stream)
            waiting = time.perf_counter() - waiting
            torch.manual_seed(_mixed(recipe.seed, state.steps, run.fabric.global_rank))
            scale = factor(schedule, epoch=state.epoch, step=state.steps, steps=steps * recipe.stop.epochs)
            scale *= state.plateau_factor * state.rate_scale
            run.add(objective.step(parts, scale))
            state.step += 1
            state.steps += 1
            if run.average is not None:
                run.average.update(state.steps)
            watch.count(recipe.batch.size, waiting)
            logging = state.steps % recipe.run.log_every == 0
            wish = run.wish()
            if (logging or wish or state.step == steps) and not run.sound():
                run.roll_back()
                stream.close()
                stream = run.training.stream(state.epoch, state.step)
                continue
            if logging:
                run.log_step(scale, watch)
            bar.update(state.steps, f"epoch {state.epoch + 1}  {run.pace(watch)}")
            if wish:
                run.save()
            if wish.stop:
                stream.close()
                return run.end(wish.stop)
        run.end_epoch(watch)
    stream.close()
    return run.end(state.finished)


@torch.no_grad()
def validate(run: Run, restore: Callable[[Tensor], list[Tensor]]) -> dict[str, float]:
    """Mean over the whole validation part, picture by picture: loss, and MSE, PSNR, SSIM or RMSE, MAE of sigma.

    PSNR is the mean over pictures that are not exact. Outputs are clipped for all but the loss.
    """
    assert run.held_out is not None
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}

    def add(name: str, numbers: Tensor) -> None:
        sums[name] = sums.get(name, 0.0) + float(numbers.double().sum())
        counts[name] = counts.get(name, 0.0) + numbers.numel()

    for parts in run.held_out.once():
        for part in parts:
            with run.fabric.autocast():
                outputs = restore(laid_out(part.blurred, run.recipe))
            outputs = [output.float() for output in outputs]
            if part.share == 0:
                continue
            add("loss", picture_losses(run.recipe, run.net, outputs, part))
            if run.recipe.net.spec.role == "estimator":
                assert part.sigma is not None
                error = outputs[-1].clamp(min=0) - part.sigma
                add("mse", error.square())
                add("mae", error.abs())
                continue
            output = outputs[-1].clamp(0, 1)
            add("mse", losses.mse(output, part.sharp))
            ratio = losses.psnr(output, part.sharp)
            add("psnr", ratio[ratio.isfinite()])
            if min(output.shape[2:]) >= 11:
                add("ssim", losses.ssim(output, part.sharp))
    if run.fabric.world_size > 1:
        table = torch.tensor([[sums[name], counts[name]] for name in sums], dtype=torch.float64)
        table = cast(Tensor, run.fabric.all_reduce(table.to(run.fabric.device), reduce_op="sum")).cpu()
        sums, counts = ({name: float(row[i]) for name, row in zip(sums, table, strict=True)} for i in (0, 1))
    return {name: sums[name] / max(counts[name], 1) for name in sums}


@dataclass(frozen=True)
class Wish:
    """What should happen after a step: a checkpoint, and an end and its reason."""

    save: bool = False
    stop: str = ""

    def __bool__(self) -> bool:
        return self.save or bool(self.stop)


class Run:
    """A training under way: what it consists of, where it is, and what it writes."""

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        folder: Path,
        objective: Objective,
        training: Batches,
        held_out: Batches | None,
        budget: float | None,
        say: Callable[[str], None],
    ) -> None:
        self.fabric, self.recipe, self.folder, self.objective = fabric, recipe, folder, objective
        self.training, self.held_out, self.say = training, held_out, say
        self.net = objective.net
        self.average = Average(self.net, recipe.ema) if recipe.ema else None
        self.state = State(sums=[0.0] * len(objective.names))
        self._sums = torch.zeros(len(objective.names), dtype=torch.float64, device=fabric.device)
        self._signal = 0
        self._deadline = math.inf if budget is None else time.monotonic() + budget
        self._next_save = 0.0
        self._next_pictures = 0.0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within, SIGINT and SIGTERM are noted, and acted on after the step; a second SIGINT acts at once."""

        def note(number: int, frame: FrameType | None) -> None:
            if self._signal and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._signal = number

        try:
            before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever runs it there must stop it
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def begin(self, saved: tuple[dict[str, Tensor], dict[str, Any]] | None) -> None:
        """Open the log, and start anew or from a checkpoint."""
        if self.fabric.is_global_zero:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{self.folder}: cannot be made: {error.strerror}") from error
            for stale in self.folder.glob(".unblur-*.part"):
                stale.unlink(missing_ok=True)
            self.log = report.Log(self.folder / LOG)
            self.timing = report.Log(self.folder / TIMING)
        if saved is not None:
            self._restore(*saved)
            if self.state.finished == "epochs" and self.state.epoch < self.recipe.stop.epochs:
                self.state.finished = ""
            self.say(f"{self.folder}: going on after {self.state.steps} steps")
        if self.fabric.is_global_zero:
            self.log.cut(self.state.log_bytes)
            self.board = report.Board(self.folder / "tensorboard", self.state.steps)
            facts = {"recipe": self.recipe.model_dump(mode="json"), **provenance(), "seed": self.recipe.seed}
            write_file(self.folder / "recipe.json", _json(facts), overwrite=True)
            write_file(self.folder / "layers.txt", report.summary(self.net).encode(), overwrite=True)
        if saved is None:
            self._log("start", pictures=self.training.pictures, steps_per_epoch=self.training.steps)
            if self.held_out is not None and self.recipe.net.spec.role == "restorer":
                scores = validate(self, self._unchanged)
                self._log("blurred", **scores)
                self.say(f"blurred: {_words(scores)}")
            self.save()
        self._schedule_save()

    def add(self, values: Tensor) -> None:
        """Take in the losses of a step, which are then the same in every process."""
        if self.fabric.world_size > 1:
            values = cast(Tensor, self.fabric.all_reduce(values, reduce_op="sum"))
        self._latest = values
        self._sums += values

    def sound(self) -> bool:
        """Whether losses and weights are numbers."""
        weights = [p.isfinite().all() for net in self.objective.networks.values() for p in net.parameters()]
        return bool(torch.stack([self._sums.isfinite().all(), *weights]).all())

    def wish(self) -> Wish:
        """What time and signals ask for; the same in every process."""
        now = time.monotonic()
        if self.fabric.world_size == 1:
            wishes = [self._signal, now >= self._deadline, now >= self._next_save]
        elif self.state.steps % AGREE_EVERY:
            return Wish()
        else:
            first = self.fabric.is_global_zero
            mine = [self._signal, first and now >= self._deadline, first and now >= self._next_save]
            flags = torch.tensor(mine, dtype=torch.int64, device=self.fabric.device)
            torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
            wishes = flags.tolist()
        self._signal, late, due = int(wishes[0]), *wishes[1:]
        return Wish(bool(due), "signal" if self._signal else "budget" if late else "")

    def log_step(self, scale: float, watch: report.Stopwatch) -> None:
        """One line for the step, one for its speed."""
        numbers = dict(zip(self.objective.names, self._latest.tolist(), strict=True))
        numbers["rate"] = self.recipe.optimiser.rate * scale
        self._log("step", epoch=self.state.epoch, steps=self.state.steps, **numbers)
        if self.fabric.is_global_zero:
            self.timing.write("step", steps=self.state.steps, **watch.read())
            self.board.write("step", {**numbers, **watch.read()}, self.state.steps)
        watch.restart()

    def pace(self, watch: report.Stopwatch) -> str:
        """How fast it goes, in words."""
        speed = watch.read()
        return f"{speed['images_per_second']:.0f} images/s  data {speed['data_share']:.0%}"

    def end_epoch(self, watch: report.Stopwatch) -> None:
        """Judge the epoch, log it, keep its weights if they are the best, and see whether it was the last."""
        state, stop = self.state, self.recipe.stop
        means = (self._sums / self.training.steps).tolist()
        numbers = dict(zip(self.objective.names, means, strict=True))
        with self.evaluating():
            scores = {} if self.held_out is None else validate(self, Scales(self.net, self._every))
            better = bool(scores) and scores["loss"] < state.best
            if better:
                state.best, state.best_epoch = scores["loss"], state.epoch
            self._log(
                "epoch", epoch=state.epoch, steps=state.steps, **numbers, validation=scores, best=better
            )
            if self.fabric.is_global_zero:
                self.board.write("training", numbers, state.epoch)
                self.board.write("validation", scores, state.epoch)
                if better and stop.keep == "best":
                    self.save_weights(scores)
        words = f"epoch {state.epoch + 1}/{stop.epochs}: loss {numbers['loss']:.5g}"
        self.say(f"{words}; validation: {_words(scores)}{' (best)' if better else ''}" if scores else words)
        state.epoch, state.step = state.epoch + 1, 0
        self._sums.zero_()
        self._react(scores)
        if state.epoch >= stop.epochs:
            state.finished = state.finished or "epochs"
        if better or state.finished:
            self.save()
        self.pictures()
        watch.restart()

    def _react(self, scores: Mapping[str, float]) -> None:
        state, schedule, stop = self.state, self.recipe.schedule, self.recipe.stop
        if not scores:
            return
        if schedule.kind == "plateau" and state.plateau.tell(
            scores["loss"], schedule.patience, schedule.min_delta
        ):
            least = schedule.min_rate / self.recipe.optimiser.rate
            state.plateau_factor = max(state.plateau_factor * schedule.factor, least)
            self._log("plateau", epoch=state.epoch, rate_factor=state.plateau_factor)
        if stop.patience is not None and state.patience.tell(scores["loss"], stop.patience):
            state.finished = "patience"

    def save(self) -> None:
        """Write the checkpoint; what was there stays until the new one is whole. Raises OutputError."""
        self._schedule_save()
        if not self.fabric.is_global_zero:
            return
        self.state.sums = self._sums.tolist()
        self.state.log_bytes = self.log.mark()
        tensors: dict[str, Tensor] = {}
        for name, net in self.objective.networks.items():
            tensors |= checkpoint.prefixed(name, net.state_dict())
        for name, optimiser in self.objective.optimisers.items():
            tensors |= checkpoint.prefixed(f"optimiser/{name}", checkpoint.optimiser_tensors(optimiser))
        if self.average is not None:
            tensors |= checkpoint.prefixed("average", self.average.tensors)
        checkpoint.save(
            self.folder / LAST,
            tensors,
            state=asdict(self.state),
            recipe=self.recipe.model_dump(mode="json"),
            provenance=provenance(),
        )

    def save_weights(self, scores: Mapping[str, float]) -> None:
        """Write the weights as they are now, with everything a user of them must know. Raises OutputError."""
        spec = self.recipe.net.spec
        card = json.loads(spec.card())
        card["arguments"] |= json.loads(json.dumps(self.recipe.net.options))
        training = {
            "recipe": self.recipe.model_dump(mode="json"),
            "pictures": self.training.pictures,
            "epoch": self.state.epoch,
            "steps": self.state.steps,
            "validation": dict(scores),
            **provenance(),
        }
        checkpoint.save(self.folder / BEST, self.net.state_dict(), unblur=card, training=training)

    def roll_back(self) -> None:
        """Return to the last checkpoint with half the rate. Raises UnblurError when that has not helped before."""
        rollbacks, scale = self.state.rollbacks + 1, self.state.rate_scale / 2
        where = f"epoch {self.state.epoch + 1}, step {self.state.step}"
        if rollbacks > ROLLBACKS:
            raise UnblurError(
                f"the loss is not a number at {where}, after halving the rate {ROLLBACKS} times;"
                " lower optimiser.rate or clip gradients"
            )
        saved = checkpoint.load(self.folder / LAST) if self.fabric.is_global_zero else None
        self._restore(*cast(Any, self.fabric.broadcast(saved)))
        self.state.rollbacks, self.state.rate_scale = rollbacks, scale
        self._log("rollback", at=where, to=self.state.steps, rate_scale=scale)
        self.say(f"the loss is not a number at {where}: back to step {self.state.steps} with half the rate")
        self.save()

    def end(self, reason: str) -> Outcome:
        """Write what a finished run leaves behind."""
        scores: Mapping[str, float] = {}
        if self.fabric.is_global_zero:
            kept = self.folder / BEST
            with self.evaluating():
                if self.recipe.stop.keep == "final" or not kept.exists():
                    self.save_weights({})
            if reason != "signal":
                self.pictures(force=True)
            scores = checkpoint.load(kept)[1]["training"]["validation"]
            self.log.close()
            self.timing.close()
            self.board.close()
        state = self.state
        number = self._signal if reason == "signal" else 0
        weights = self.folder / BEST
        return Outcome(reason, number, state.epoch, state.steps, state.best_epoch, scores, weights)

    def pictures(self, *, force: bool = False) -> None:
        """Draw the curve and the sample, now and then."""
        now = time.monotonic()
        if not self.fabric.is_global_zero or (now < self._next_pictures and not force):
            return
        self._next_pictures = now + PICTURES_EVERY
        events = report.read_log(self.folder / LOG)
        report.save_curve(self.folder / "curve.png", events, self.recipe.about)
        if self.recipe.net.spec.role != "restorer":
            return
        shown = self.held_out or self.training
        first = shown.first()
        with self.evaluating(), torch.no_grad(), self.fabric.autocast():
            restored = self.net(laid_out(first.blurred[:SAMPLES], self.recipe))
        report.save_sample(
            self.folder / "sample.png", [first.blurred[:SAMPLES], restored, first.sharp[:SAMPLES]]
        )

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within, the network is as it will be used: averaged weights, running statistics, no dropout."""
        if self.fabric.world_size > 1:
            for buffer in self.net.buffers():
                torch.distributed.broadcast(buffer, 0)
        self.net.eval()
        try:
            with self.average.applied() if self.average is not None else contextlib.nullcontext():
                yield
        finally:
            self.net.train()

    @property
    def _every(self) -> bool:
        return self.recipe.loss.scales == "all"

    def _unchanged(self, x: Tensor) -> list[Tensor]:
        return self.net.pyramid(x) if self._every and isinstance(self.net, Restorer) else [x]

    def _log(self, event: str, **facts: Any) -> None:
        if self.fabric.is_global_zero:
            self.log.write(event, **facts)

    def _schedule_save(self) -> None:
        self._next_save = time.monotonic() + 60 * self.recipe.run.checkpoint_minutes

    def _restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        for name, net in self.objective.networks.items():
            checkpoint.restore_weights(net, checkpoint.within(name, tensors), str(self.folder / LAST))
        for name, optimiser in self.objective.optimisers.items():
            checkpoint.restore_optimiser(optimiser, checkpoint.within(f"optimiser/{name}", tensors))
        if self.average is not None:
            for name, tensor in checkpoint.within("average", tensors).items():
                self.average.tensors[name].copy_(tensor)
        # In place: others hold it.
        self.state.__dict__.update(State.read(facts["state"]).__dict__)
        self._sums.copy_(torch.tensor(self.state.sums, dtype=torch.float64))


def make_fabric(recipe: Recipe, device: Device) -> Fabric:
    """Devices, processes and precision: those of the launcher where there is one, else one device.

    Raises OptionError for a device that is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("no CUDA device is here; give --device cpu")
    accelerator = "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
    precision = recipe.run.precision
    if precision == "auto":
        precision = "bf16" if multiplies_bf16(accelerator) else "32"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=world // local,
        # A recurrent unit that starts from zero never uses some of its weights.
        strategy=DDPStrategy(find_unused_parameters=True) if world > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def multiplies_bf16(accelerator: str) -> bool:
    """Whether the processor has bf16 products; without them bf16 is slower than float32."""
    if accelerator == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text()
        return "amx_bf16" in flags or "avx512_bf16" in flags
    return False


def make_optimiser(of: Optimiser, net: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser over the weights of a network."""
    weights = list(net.parameters())
    match of.kind:
        case "adam":
            return torch.optim.Adam(weights, of.rate, of.betas, of.eps, of.weight_decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(weights, of.rate, of.betas, of.eps, of.weight_decay, fused=True)
        case "sgd":
            return torch.optim.SGD(weights, of.rate, of.momentum, weight_decay=of.weight_decay, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Change the learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


@torch.no_grad()
def clip(weights: Iterable[nn.Parameter], of: Clip) -> None:
    """Limit the gradients of weights as the recipe says."""
    having = [p for p in weights if p.grad is not None]
    if of.value is not None:
        nn.utils.clip_grad_value_(having, of.value)
    if of.tensor_norm is not None:
        for p in having:
            assert p.grad is not None
            norm = torch.linalg.vector_norm(p.grad)
            p.grad.mul_(torch.where(norm > of.tensor_norm, of.tensor_norm / norm, 1.0))
    if of.global_norm is not None:
        nn.utils.clip_grad_norm_(having, of.global_norm)


def picture_losses(recipe: Recipe, net: nn.Module, outputs: Sequence[Tensor], part: Batch) -> Tensor:
    """The recipe's loss of each picture. Shape: (N,) out."""
    if recipe.net.spec.role == "estimator":
        assert part.sigma is not None
        return losses.combine(recipe.loss.terms, [outputs[-1][:, None]], [part.sigma[:, None]])
    every = recipe.loss.scales == "all" and isinstance(net, Restorer)
    targets = net.pyramid(part.sharp) if every else [part.sharp]  # type: ignore[operator]
    return losses.combine(recipe.loss.terms, outputs, targets)


def laid_out(pictures: Tensor, recipe: Recipe) -> Tensor:
    """In the memory layout that the recipe asks for."""
    if recipe.run.channels_last:
        return pictures.contiguous(memory_format=torch.channels_last)
    return pictures.contiguous()


def provenance() -> dict[str, Any]:
    """Versions of what computes, and the commit of the source if it lies in a git checkout."""
    here = Path(__file__).resolve().parent
    commit = None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = ["git", "-C", os.fspath(here), "rev-parse", "HEAD"]
        commit = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    packages = ("torch", "lightning-fabric", "numpy", "scipy", "pyvips", "safetensors")
    versions = {name: importlib.metadata.version(name) for name in packages}
    versions |= {"unblur": __version__, "python": platform.python_version()}
    return {"versions": versions, "commit": commit}


def _checkpoint(
    fabric: Fabric, folder: Path, recipe: Recipe, resume: bool
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The checkpoint to go on from, in every process, or None to start."""
    saved = None
    if fabric.is_global_zero and (folder / LAST).exists():
        if not resume:
            raise OutputError(f"{folder}: holds a training already; --resume it, or name another folder")
        saved = checkpoint.load(folder / LAST)
        if not {"state", "recipe"} <= saved[1].keys():
            raise FileError(f"{folder / LAST}: not the checkpoint of a training")
        if differing := changes(parse(saved[1]["recipe"], what=str(folder / LAST)), recipe):
            raise OptionError(
                f"{folder}: cannot go on with another recipe; what differs: {', '.join(differing)}"
            )
    if fabric.world_size == 1:
        return saved
    return cast("tuple[dict[str, Tensor], dict[str, Any]] | None", fabric.broadcast(saved))


def _normalise(net: nn.Module, training: Batches, count: int = 1024) -> None:
    """Give an estimator the mean and deviation of each channel over the first training pictures, in 0..255."""
    sums = torch.zeros(2, 3, dtype=torch.float64)
    seen = pictures = 0
    stream = training.stream()
    while pictures < min(count, training.pictures):
        for part in next(stream):
            values = part.blurred.double().cpu() * 255
            sums += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
            seen += values[:, 0].numel()
            pictures += len(values)
    stream.close()
    mean, square = sums / seen
    buffers = dict(net.named_buffers())
    buffers["mean"].copy_(mean.view(3, 1, 1))
    buffers["std"].copy_((square - mean**2).sqrt().view(3, 1, 1))


def _mixed(*numbers: int) -> int:
    """A seed for torch that depends on every bit of some numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _json(thing: Mapping[str, Any]) -> bytes:
    return json.dumps(thing, indent=2).encode() + b"\n"


def _words(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number:.5g}" for name, number in scores.items())
