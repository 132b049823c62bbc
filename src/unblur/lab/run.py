"""A training under way: where it is, what it writes, and how it goes on after a stop."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import math
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from unblur import __version__, models
from unblur.errors import FileError, OptionError, OutputError, UnblurError
from unblur.files import write_file
from unblur.lab import checkpoint, report
from unblur.lab.batches import Batches
from unblur.lab.degrade import is_batched
from unblur.lab.objective import Average, Objective, laid_out
from unblur.lab.recipe import Recipe, changes, parse
from unblur.lab.schedule import Waiting, factor
from unblur.models.weights import METADATA_KEY
from unblur.nets.cost import count
from unblur.nets.norms import train_

LAST, BEST, LOG, TIMING = "last.safetensors", "best.safetensors", "log.jsonl", "timing.jsonl"
"""Files of a run: the checkpoint, the weights that are kept, what happened, and how fast."""

#: Rates are halved at most so often before a training counts as diverged.
ROLLBACKS = 10
#: Steps between the moments at which several processes agree on stopping and on checkpoints.
AGREE_EVERY = 10
#: Seconds between pictures of the progress ...
PICTURES_EVERY = 60.0
#: ... and no more than this share of the time is spent on them.
PICTURES_SHARE = 0.02
#: Pictures in the sample.
SAMPLES = 6

#: The sets of recipes, for people.
_SETS = {
    "cifar10": "CIFAR-10",
    "reds": "REDS",
    "gopro": "GOPRO_Large",
    "folder": "a folder",
    "pairs": "a folder of pairs",
}


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
    validation: dict[str, float] = field(default_factory=dict)
    finished: str = ""

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> State:
        """From JSON."""
        waits = {name: Waiting(**facts[name]) for name in ("plateau", "patience")}
        return cls(**{**facts, **waits})


@dataclass(frozen=True)
class Outcome:
    """How a training ended. `reason`: "epochs", "patience", "budget" or "signal"; `signal`: its number, or 0.

    validation: scores of the weights that are kept, empty if there are none. weights: their file; None in all
    processes but the first.
    """

    reason: str
    signal: int
    epochs: int
    steps: int
    best_epoch: int
    validation: Mapping[str, float]
    weights: Path | None


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
        self._next_pictures = time.monotonic() + PICTURES_EVERY

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

    def note_baseline(self, scores: Mapping[str, float]) -> None:
        """Log how the validation part scores as it is."""
        self._log("blurred", **scores)
        self.say(f"blurred: {words(scores)}")

    def scale(self) -> float:
        """What rates are multiplied by at this step."""
        state, steps = self.state, self.training.steps * self.recipe.stop.epochs
        scheduled = factor(self.recipe.schedule, epoch=state.epoch, step=state.steps, steps=steps)
        return scheduled * state.plateau_factor * state.rate_scale

    def add(self, values: Tensor) -> None:
        """Count a step and take in its losses, which are then the same in every process."""
        self._latest_scale = self.scale()
        self.state.step += 1
        self.state.steps += 1
        if self.average is not None:
            self.average.update(self.state.steps)
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

    def log_step(self, watch: report.Stopwatch) -> None:
        """One line for the step, one for its speed."""
        numbers = dict(zip(self.objective.names, self._latest.tolist(), strict=True))
        numbers["rate"] = self.recipe.optimiser.rate * self._latest_scale
        self._log("step", epoch=self.state.epoch, steps=self.state.steps, **numbers)
        if self.fabric.is_global_zero:
            self.timing.write("step", steps=self.state.steps, **watch.read())
            self.board.write("step", {**numbers, **watch.read()}, self.state.steps)
        watch.restart()

    def share_buffers(self) -> None:
        """Give every process the running statistics of the first, by which the network will be used."""
        if self.fabric.world_size > 1:
            for buffer in self.net.buffers():
                torch.distributed.broadcast(buffer, 0)

    def judge(self, scores: dict[str, float]) -> None:
        """Log the epoch that is over, and keep its weights if they are the best. While `evaluating`."""
        state, stop = self.state, self.recipe.stop
        state.validation = scores
        means = (self._sums / self.training.steps).tolist()
        numbers = dict(zip(self.objective.names, means, strict=True))
        better = bool(scores) and scores["loss"] < state.best
        if better:
            state.best, state.best_epoch = scores["loss"], state.epoch
        self._log("epoch", epoch=state.epoch, steps=state.steps, **numbers, validation=scores, best=better)
        if self.fabric.is_global_zero:
            self.board.write("training", numbers, state.epoch)
            self.board.write("validation", scores, state.epoch)
            if better and stop.keep == "best":
                self.save_weights(scores)
        news = f"epoch {state.epoch + 1}/{stop.epochs}: loss {numbers['loss']:.5g}"
        self.say(f"{news}; validation: {words(scores)}{' (best)' if better else ''}" if scores else news)
        self._react(scores)

    def next_epoch(self) -> None:
        """Go on to the next epoch, or note that this was the last; checkpoint where it was the best or the last."""
        state = self.state
        best = state.best_epoch == state.epoch
        state.epoch, state.step = state.epoch + 1, 0
        self._sums.zero_()
        if state.epoch >= self.recipe.stop.epochs:
            state.finished = state.finished or "epochs"
        if best or state.finished:
            self.save()
        self.pictures()

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
        about = models.card(self.recipe.net.name)
        size = count(self.net)
        gaussian = self.recipe.blur is not None and all(map(is_batched, self.recipe.blur.names))
        about = about.model_copy(
            update={
                "arguments": json.loads(json.dumps({**about.arguments, **self.recipe.net.options})),
                "parameters": size.trainable,
                "total_parameters": size.total,
                "blur_kinds": ("gaussian",) if gaussian else about.blur_kinds,
                "trained_on": f"{self.training.pictures} pictures of {_SETS[self.recipe.data.set]}",
            }
        )
        training = {
            "recipe": self.recipe.model_dump(mode="json"),
            "pictures": self.training.pictures,
            "epoch": self.state.epoch,
            "steps": self.state.steps,
            "validation": dict(scores),
            **provenance(),
        }
        facts = {METADATA_KEY: about.to_dict(), "training": training}
        checkpoint.save(self.folder / BEST, self.net.state_dict(), **facts)

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
                    self.save_weights({} if self.state.step else self.state.validation)
            if reason != "signal":
                self.pictures(force=True)
            scores = checkpoint.load(kept)[1]["training"]["validation"]
            self.log.close()
            self.timing.close()
            self.board.close()
        state = self.state
        number = self._signal if reason == "signal" else 0
        weights = self.folder / BEST if self.fabric.is_global_zero else None
        return Outcome(reason, number, state.epoch, state.steps, state.best_epoch, scores, weights)

    def pictures(self, *, force: bool = False) -> None:
        """Draw the curve and the sample, now and then."""
        now = time.monotonic()
        if not self.fabric.is_global_zero or (now < self._next_pictures and not force):
            return
        report.save_curve(self.folder / "curve.png", report.read_log(self.folder / LOG), self.recipe.about)
        if self.recipe.net.spec.makes_pictures:
            self._sample()
        done = time.monotonic()
        self._next_pictures = done + max(PICTURES_EVERY, (done - now) / PICTURES_SHARE)

    def _sample(self) -> None:
        shown = self.held_out or self.training
        first = shown.first()
        with self.evaluating(), torch.no_grad(), self.fabric.autocast():
            restored = self.net(laid_out(first.blurred[:SAMPLES], self.recipe))
        report.save_sample(
            self.folder / "sample.png", [first.blurred[:SAMPLES, :3], restored, first.sharp[:SAMPLES]]
        )

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within, the network is as it will be used: averaged weights, running statistics, no dropout."""
        self.net.eval()
        try:
            with self.average.applied() if self.average is not None else contextlib.nullcontext():
                yield
        finally:
            train_(self.net, fixed_norms=self.recipe.net.norms == "fixed")

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


@functools.cache
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


def find_checkpoint(
    fabric: Fabric, folder: Path, recipe: Recipe, resume: bool
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The checkpoint to go on from, in every process, or None to start.

    Raises OutputError for one that is not to be resumed, OptionError for another recipe's, FileError for a damaged one.
    """
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
    elif fabric.is_global_zero and (folder / BEST).exists():
        raise OutputError(f"{folder}: holds weights without a checkpoint; name another folder")
    if fabric.world_size == 1:
        return saved
    return cast("tuple[dict[str, Tensor], dict[str, Any]] | None", fabric.broadcast(saved))


def _json(thing: Mapping[str, Any]) -> bytes:
    return json.dumps(thing, indent=2).encode() + b"\n"


def words(scores: Mapping[str, float]) -> str:
    """Scores for people."""
    return ", ".join(f"{name} {number:.5g}" for name, number in scores.items())
