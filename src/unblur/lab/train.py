"""The training loop: one for every system, from one core to many machines.

`train` sets up, `fit` loops, `validate` judges. What a single step does is an `objective`; what a run remembers and
writes is `run`. A training can be cut anywhere and goes on from its last checkpoint as if nothing had happened: on
the processor, bit for bit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from unblur.errors import OptionError
from unblur.lab import batches, checkpoint, losses, report
from unblur.lab.batches import Batches
from unblur.lab.gan import Adversarial
from unblur.lab.objective import Objective, Regression, Scales, laid_out, picture_losses
from unblur.lab.recipe import Recipe
from unblur.lab.run import Outcome, Run, find_checkpoint
from unblur.nets.grow import grown
from unblur.nets.identity import identity_
from unblur.nets.layers import Restorer
from unblur.nets.norms import measure_norms_, train_

Device: TypeAlias = Literal["auto", "cpu", "cuda"]


@contextlib.contextmanager
def _no_denormals() -> Iterator[None]:
    """Numbers below 1e-38 count as 0, here and in threads that start within; processors are slow with them.

    Channels that are hardly heard yet have such gradients: a grown network's step took 5 seconds for 1.7.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_no_denormals()
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
    fabric = make_fabric(recipe, device)
    say = say if fabric.is_global_zero else lambda message: None
    saved = find_checkpoint(fabric, Path(out), recipe, resume or _restarts() > 0)
    training, held_out = batches.build(
        recipe, rank=fabric.global_rank, world=fabric.world_size, device=fabric.device, warn=say
    )
    net = make_net(fabric, recipe, training)
    objective: Objective = (Regression if recipe.gan is None else Adversarial)(fabric, recipe, net)
    run = Run(fabric, recipe, Path(out), objective, training, held_out, budget, say)
    show = show and fabric.is_global_zero
    with run.listening(), report.Bar(recipe.net.name, recipe.stop.epochs * training.steps, show) as bar:
        run.begin(saved)
        if saved is None:
            if held_out is not None and recipe.net.spec.makes_pictures:
                run.note_baseline(validate(run, lambda x: scaled(run, x)))
            run.save()
        return fit(run, bar)


def fit(run: Run, bar: report.Bar) -> Outcome:
    """Train until the epochs, the patience or the time are over, or a signal comes."""
    recipe, state, steps = run.recipe, run.state, run.training.steps
    stream = run.training.stream(state.epoch, state.step)
    watch = report.Stopwatch()
    while not state.finished:
        while state.step < steps:
            waiting = time.perf_counter()
            parts = next(stream)
            watch.count(recipe.batch.size, time.perf_counter() - waiting)
            # What a step draws follows from its number alone.
            torch.manual_seed(_mixed(recipe.seed, state.steps, run.fabric.global_rank))
            run.add(run.objective.step(parts, run.scale()))
            logging, wish = state.steps % recipe.run.log_every == 0, run.wish()
            if (logging or wish or state.step == steps) and not run.sound():
                run.roll_back()
                stream.close()
                stream = run.training.stream(state.epoch, state.step)
                continue
            if logging:
                run.log_step(watch)
            bar.update(state.steps, f"epoch {state.epoch + 1}  {watch}")
            if wish:
                run.save()
            if wish.stop:
                stream.close()
                return run.end(wish.stop)
            if logging:
                run.pictures()
        run.share_buffers()
        with run.evaluating():
            every = recipe.loss.scales == "all"
            run.judge({} if run.held_out is None else validate(run, Scales(run.net, every)))
        run.next_epoch()
        watch.restart()
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
            if part.share == 0:  # a place-holder: every process must come to the same names
                part, outputs = part.none(), [output[:0] for output in outputs]
            outputs = [output.float() for output in outputs]
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


def scaled(run: Run, blurred: Tensor) -> list[Tensor]:
    """Blurred pictures at every scale that the loss sees: what a network that does nothing would return."""
    every = run.recipe.loss.scales == "all" and isinstance(run.net, Restorer)
    return cast(Restorer, run.net).pyramid(blurred) if every else [blurred[:, :3]]


def make_net(fabric: Fabric, recipe: Recipe, training: Batches) -> nn.Module:
    """The recipe's network, initialised from its seed alone, in the memory layout that it asks for."""
    torch.manual_seed(recipe.seed)
    net = recipe.net.spec.build(**recipe.net.options)
    if recipe.net.identity:
        identity_(net)
    if recipe.net.start is not None:
        weights = checkpoint.load(recipe.net.start)[0]
        if recipe.net.part:
            weights = grown(net, weights)
        checkpoint.restore_weights(net, weights, str(recipe.net.start))
    if recipe.net.norms == "fixed" and (recipe.net.start is None or recipe.net.part):
        # Behind trained weights, what is new sees other numbers than behind random ones.
        measure_norms_(net, training.first().blurred.cpu())
    if recipe.net.spec.role == "estimator":
        _normalise(net, training)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    train_(net, fixed_norms=recipe.net.norms == "fixed")
    return net.to(memory_format=torch.channels_last) if recipe.run.channels_last else net  # type: ignore[call-overload]


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
    # A recurrent unit that starts from zero never uses some of its weights.
    partly = recipe.net.spec.family == "srn"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if _restarts() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        _meet_again(accelerator)
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=world // local,
        strategy=DDPStrategy(find_unused_parameters=partly) if world > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    if os.environ.get("LT_CLI_USED") != "1":  # `fabric run` has launched it already
        fabric.launch()
    return fabric


def _restarts() -> int:
    """How often an elastic launcher has started this training again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _meet_again(accelerator: str) -> None:
    """Find the other processes after a restart.

    The launcher's store still has the addresses of those that died, and torch 2.13 waits for them for ever: begin
    under names of our own. Lightning then takes the group that is there.
    """
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)  # type: ignore[attr-defined]
    dist.init_process_group(
        "nccl" if accelerator == "cuda" else "gloo",
        store=dist.PrefixStore(f"restart-{_restarts()}", store),  # type: ignore[attr-defined]
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def multiplies_bf16(accelerator: str) -> bool:
    """Whether bf16 is worth it: a processor needs tiles (AMX), as with AVX-512's products alone float32 is quicker."""
    if accelerator == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    with contextlib.suppress(OSError):
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    return False


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
