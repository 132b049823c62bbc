"""The loop: it learns, stops, goes on bit for bit, and survives what happens to trainings."""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lab_helpers import TINY, Stable, same_tensors
from safetensors import safe_open
from safetensors.torch import load_file

from unblur import nets
from unblur.errors import FileError, OptionError, OutputError, UnblurError
from unblur.lab import batches, checkpoint, losses, objective, report
from unblur.lab import recipe as recipes
from unblur.lab.objective import Regression
from unblur.lab.recipe import Recipe
from unblur.lab.run import BEST, LAST, LOG
from unblur.lab.train import make_fabric, make_net, multiplies_bf16, train
from unblur.models.weights import read_card
from unblur.nets.norms import norms
from unblur.runtime.torch import TorchBackend

Make = Callable[..., Recipe]


class Cut(BaseException):
    """Stands for a death of the process: nothing in the loop may handle it."""


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the process die in the middle of a step, after the weights have changed."""
    seen = 0
    whole = Regression.step

    def step_and_die(self: Regression, *arguments: object) -> torch.Tensor:
        nonlocal seen
        seen += 1
        values = whole(self, *arguments)  # type: ignore[arg-type]
        if seen == step:
            raise Cut
        return values

    monkeypatch.setattr(Regression, "step", step_and_die)


def events(folder: Path, kind: str) -> list[dict[str, object]]:
    return [event for event in report.read_log(folder / LOG) if event["event"] == kind]


@pytest.fixture(scope="module")
def uninterrupted(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of the tiny recipe."""
    torch.set_num_threads(1)
    content = copy.deepcopy(TINY)
    content["data"]["root"] = str(photographs)
    folder = tmp_path_factory.mktemp("run") / "whole"
    outcome = train(recipes.parse(content), folder)
    assert outcome.reason == "epochs"
    assert outcome.steps == 15
    return folder


def test_a_run_leaves_what_people_need(uninterrupted: Path) -> None:
    log = report.read_log(uninterrupted / LOG)
    assert [event["event"] for event in log[:2]] == ["start", "blurred"]
    epochs = events(uninterrupted, "epoch")
    assert [event["epoch"] for event in epochs] == [0, 1, 2]
    assert set(epochs[0]["validation"]) == {"loss", "mse", "psnr", "ssim"}  # type: ignore[call-overload]
    assert [event["steps"] for event in events(uninterrupted, "step")] == [2, 4, 6, 8, 10, 12, 14]
    for name in ("curve.png", "sample.png"):
        assert (uninterrupted / name).read_bytes().startswith(b"\x89PNG")
    assert "total" in (uninterrupted / "layers.txt").read_text()
    said = json.loads((uninterrupted / "recipe.json").read_text())
    assert said["seed"] == 0
    assert said["recipe"]["batch"]["size"] == 4
    assert said["versions"]["torch"] == torch.__version__
    assert not list(uninterrupted.glob(".unblur-*"))


def test_the_weights_carry_their_card_and_run(uninterrupted: Path) -> None:
    card = read_card(uninterrupted / BEST)
    assert card.name == "unet16"
    assert card.arguments["widths"] == [4, 8]
    assert card.parameters == sum(tensor.numel() for name, tensor in load_file(uninterrupted / BEST).items())
    assert card.trained_on == "18 pictures of a folder"
    assert card.blur_kinds == ("gaussian",)
    with safe_open(uninterrupted / BEST, framework="pt") as file:
        training = json.loads(file.metadata()["training"])
    best = min(events(uninterrupted, "epoch"), key=lambda event: event["validation"]["loss"])  # type: ignore[index]
    assert training["validation"] == best["validation"]
    assert training["recipe"]["blur"]["names"] == ["cifar-u03-f32"]
    # The best epoch was the last, and what is kept is the moving average of its weights.
    weights, last = load_file(uninterrupted / BEST), load_file(uninterrupted / LAST)
    for name, p in weights.items():
        assert torch.equal(p, last[f"average/{name}"])
        assert not torch.equal(p, last[f"net/{name}"])
    net = nets.create(card.name, **card.arguments)
    net.load_state_dict(weights)
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        expected = net.eval()(x)
    assert torch.allclose(
        torch.from_numpy(TorchBackend(uninterrupted / BEST).run(x.numpy())), expected, atol=1e-6
    )


@pytest.mark.parametrize(("step", "minutes"), [(1, 0), (3, 0), (6, 0), (12, 1000)])
def test_resuming_reproduces_the_uninterrupted_run(
    uninterrupted: Path, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, minutes: int
) -> None:
    recipe = tiny(f"run.checkpoint_minutes={minutes}")
    with monkeypatch.context() as patch:
        die_at(patch, step)
        with pytest.raises(Cut):
            train(recipe, tmp_path)
    outcome = train(recipe, tmp_path, resume=True)
    assert outcome.steps == 15
    assert same_tensors(tmp_path / LAST, uninterrupted / LAST)
    assert same_tensors(tmp_path / BEST, uninterrupted / BEST)
    assert (tmp_path / LOG).read_bytes() == (uninterrupted / LOG).read_bytes()


def test_a_finished_run_is_left_as_it_is_and_can_be_prolonged(
    uninterrupted: Path, tiny: Make, tmp_path: Path
) -> None:
    short = tiny("stop.epochs=1")
    train(short, tmp_path)
    before = (tmp_path / LAST).read_bytes()
    assert train(short, tmp_path, resume=True).steps == 5
    assert (tmp_path / LAST).read_bytes() == before
    assert train(tiny(), tmp_path, resume=True).steps == 15
    assert same_tensors(tmp_path / LAST, uninterrupted / LAST)


def test_threads_and_batch_parts_do_not_change_the_data(
    uninterrupted: Path, tiny: Make, tmp_path: Path
) -> None:
    train(tiny("run.workers=3"), tmp_path / "threads")
    assert same_tensors(tmp_path / "threads" / LAST, uninterrupted / LAST)
    train(tiny("run.workers=0", "stop.epochs=1"), tmp_path / "none")
    assert events(tmp_path / "none", "epoch") == events(uninterrupted, "epoch")[:1]


def test_a_run_is_not_overwritten_or_continued_by_another(tiny: Make, tmp_path: Path) -> None:
    train(tiny("stop.epochs=1"), tmp_path)
    with pytest.raises(OutputError, match="--resume"):
        train(tiny("stop.epochs=1"), tmp_path)
    with pytest.raises(OptionError, match=r"differs: optimiser\.rate"):
        train(tiny("optimiser.rate=0.1"), tmp_path, resume=True)


def test_weights_without_a_checkpoint_are_not_overwritten(tiny: Make, tmp_path: Path) -> None:
    (tmp_path / BEST).write_bytes(b"somebody's work")
    for resume in (False, True):
        with pytest.raises(OutputError, match="holds weights without a checkpoint"):
            train(tiny(), tmp_path, resume=resume)
    assert (tmp_path / BEST).read_bytes() == b"somebody's work"


def test_final_weights_carry_the_last_scores(tiny: Make, tmp_path: Path) -> None:
    outcome = train(tiny("stop.keep=final", "stop.epochs=2"), tmp_path)
    last = events(tmp_path, "epoch")[-1]
    assert outcome.validation == last["validation"]
    weights, whole = load_file(tmp_path / BEST), load_file(tmp_path / LAST)
    assert all(torch.equal(weights[name], whole[f"average/{name}"]) for name in weights)


def test_a_training_can_begin_with_weights(uninterrupted: Path, tiny: Make, tmp_path: Path) -> None:
    start = f"net.start='{uninterrupted / BEST}'"
    train(tiny(start, "optimiser.rate=1e-30", "stop.epochs=1", "ema=0"), tmp_path)
    assert same_tensors(tmp_path / BEST, uninterrupted / BEST)
    with pytest.raises(FileError, match=r"best\.safetensors: weights of another network"):
        train(tiny(start, "net.options={widths=[4, 12]}"), tmp_path / "other")


def test_a_training_can_begin_with_the_weights_of_a_part(tiny: Make, tmp_path: Path) -> None:
    part = nets.create("srn_cifar", width=2)
    checkpoint.save(tmp_path / "part.safetensors", part.state_dict())
    whole = (
        "net.name='srn_cifar_lstm'",
        "net.options={width=2}",
        f"net.start='{tmp_path / 'part.safetensors'}'",
    )
    recipe = tiny(*whole, "net.part=true")
    net = make_net(make_fabric(recipe, "cpu"), recipe, None)
    found = net.state_dict()
    assert all(torch.equal(found[name], weights) for name, weights in part.state_dict().items())
    assert found["scales.0.memory.cell.kernel.weight"].std() > 0
    fabric, recipe = make_fabric(recipe, "cpu"), tiny(*whole)
    with pytest.raises(FileError, match=r"another network: .*memory"):
        make_net(fabric, recipe, None)


def test_what_a_grown_network_has_anew_is_normalised_behind_the_trained_weights(
    tiny: Make, tmp_path: Path
) -> None:
    shape = {"depth": 6, "final_activation": "linear"}
    narrow = nets.create("caessc_d22_f128_half", width=4, **shape)
    for norm in norms(narrow):
        torch.nn.init.constant_(norm.weight, 5)  # as far from the start as training goes
    checkpoint.save(tmp_path / "narrow.safetensors", narrow.state_dict())
    recipe = tiny(
        "net.name='caessc_d22_f128_half'",
        "net.options={depth=6, width=10, final_activation='linear'}",
        f"net.start='{tmp_path / 'narrow.safetensors'}'",
        "net.part=true",
        "net.norms='fixed'",
    )
    training, _ = batches.build(recipe)
    net = make_net(make_fabric(recipe, "cpu"), recipe, training)
    seen: list[torch.Tensor] = []
    for norm in norms(net):
        norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    first = training.first().blurred
    with torch.no_grad():
        assert torch.allclose(net(first), narrow.eval()(first), rtol=1e-3, atol=1e-3)
    anew = torch.stack([output[:, 4:].std() for output in seen if output.shape[1] == 10])
    assert torch.allclose(anew, torch.ones(len(anew)), atol=0.1)


def test_the_time_budget_ends_with_a_checkpoint(uninterrupted: Path, tiny: Make, tmp_path: Path) -> None:
    outcome = train(tiny(), tmp_path, budget=0.0)
    assert outcome.reason == "budget"
    assert outcome.steps == 1
    assert outcome.weights is not None
    assert outcome.weights.exists()
    assert train(tiny(), tmp_path, resume=True).reason == "epochs"
    assert same_tensors(tmp_path / LAST, uninterrupted / LAST)
    assert (tmp_path / LOG).read_bytes() == (uninterrupted / LOG).read_bytes()


def test_a_loss_that_is_not_a_number_rolls_back_and_halves_the_rate(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    whole = objective.picture_losses

    def poisoned(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        values = whole(*arguments)  # type: ignore[arg-type]
        return values * float("nan") if calls == 8 else values

    monkeypatch.setattr(objective, "picture_losses", poisoned)
    said: list[str] = []
    outcome = train(tiny(), tmp_path, say=said.append)
    assert outcome.reason == "epochs"
    (event,) = events(tmp_path, "rollback")
    # Step 8 is the third of the second epoch; the last checkpoint was at the end of the first.
    assert event == {"event": "rollback", "at": "epoch 2, step 3", "to": 5, "rate_scale": 0.5}
    assert any("back to step 5 with half the rate" in line for line in said)
    steps = events(tmp_path, "step")
    assert [step["rate"] for step in steps if step["steps"] == 6] == [1e-3, 5e-4]
    assert all(p.isfinite().all() for p in load_file(tmp_path / BEST).values())


def test_a_loss_that_is_never_a_number_ends_the_training(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = objective.picture_losses
    monkeypatch.setattr(objective, "picture_losses", lambda *a: whole(*a) * float("nan"))
    with pytest.raises(UnblurError, match=r"not a number at epoch 1, step \d, after halving"):
        train(tiny(), tmp_path)
    assert load_file(tmp_path / LAST)["net/out.0.weight"].isfinite().all()


def test_an_exploding_step_is_noticed_before_it_reaches_a_checkpoint(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The loss of the step is fine, the weights after it are not.
    steps = 0
    whole = Regression.step

    def explode(self: Regression, *arguments: object) -> torch.Tensor:
        nonlocal steps
        steps += 1
        values = whole(self, *arguments)  # type: ignore[arg-type]
        if steps == 3:
            next(self.net.parameters()).data.fill_(float("inf"))
        return values

    monkeypatch.setattr(Regression, "step", explode)
    train(tiny("run.checkpoint_minutes=0", "stop.epochs=1"), tmp_path)
    assert [event["to"] for event in events(tmp_path, "rollback")] == [2]


def test_plateau_and_patience(tiny: Make, tmp_path: Path) -> None:
    # A rate too small to improve anything by 1e-4: halved every epoch after the first.
    outcome = train(
        tiny(
            "optimiser.rate=1e-12", "stop.epochs=9", "ema=0", "optimiser.kind=sgd", "schedule.min_delta=1e-4"
        ),
        tmp_path / "plateau",
    )
    assert outcome.epochs == 9
    factors = [event["rate_factor"] for event in events(tmp_path / "plateau", "plateau")]
    assert factors == [0.5**n for n in range(1, 9)]
    outcome = train(
        tiny("optimiser.rate=1e-12", "stop.epochs=4", "optimiser.kind=sgd", "schedule.min_rate=4e-13"),
        tmp_path / "least",
    )
    factors = [event["rate_factor"] for event in events(tmp_path / "least", "plateau")]
    assert factors == [0.5, 0.4, 0.4]
    # A rate that changes nothing at all: the first epoch stays the best.
    outcome = train(
        tiny("optimiser.rate=1e-30", "stop.epochs=9", "ema=0", "optimiser.kind=sgd", "stop.patience=2"),
        tmp_path / "patience",
    )
    assert (outcome.reason, outcome.epochs, outcome.best_epoch) == ("patience", 3, 0)


def test_a_full_disk_leaves_the_checkpoint_whole(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny("run.checkpoint_minutes=0")
    with monkeypatch.context() as patch:
        die_at(patch, 3)
        with pytest.raises(Cut):
            train(recipe, tmp_path)
    before = (tmp_path / LAST).read_bytes()
    # No file may grow beyond the log: the checkpoint does not fit.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OutputError, match=r"last\.safetensors: cannot be written: File too large"):
            train(recipe, tmp_path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / LAST).read_bytes() == before
    assert not list(tmp_path.glob(".unblur-*"))
    assert train(recipe, tmp_path, resume=True).reason == "epochs"


def test_a_disk_that_is_really_full(tiny: Make, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", os.fspath(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only the superuser can make a small disk")
    try:
        recipe = tiny("run.checkpoint_minutes=0")
        train(recipe, disk / "run", budget=0.0)
        before = (disk / "run" / LAST).read_bytes()
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
        (disk / "rest").write_bytes(bytes(free - len(before) // 2))
        with pytest.raises(OutputError, match=r"last\.safetensors: cannot be written: No space left"):
            train(recipe, disk / "run", resume=True)
        assert (disk / "run" / LAST).read_bytes() == before
        assert not list((disk / "run").glob(".unblur-*"))
        (disk / "rest").unlink()
        assert train(recipe, disk / "run", resume=True).steps == 15
    finally:
        subprocess.run(["umount", "-l", os.fspath(disk)], check=True)


def test_bf16_keeps_weights_and_losses_in_float32(tiny: Make, tmp_path: Path) -> None:
    plain = "net.options={widths=[4, 8], final_activation='linear'}"
    train(tiny("stop.epochs=1", plain), tmp_path / "single")
    train(tiny("stop.epochs=1", plain, "run.precision=bf16"), tmp_path / "half")
    weights = load_file(tmp_path / "half" / BEST)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert not same_tensors(tmp_path / "half" / BEST, tmp_path / "single" / BEST)
    ours, theirs = (events(tmp_path / name, "epoch")[0]["loss"] for name in ("half", "single"))
    assert ours == pytest.approx(theirs, rel=0.02)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags : sse avx512f amx_bf16 amx_tile", True), ("avx512_bf16", False), ("avx512f avx2", False)],
)
def test_bf16_is_chosen_by_what_the_processor_can(
    monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: flags)
    assert multiplies_bf16("cpu") == expected


@pytest.mark.slow
def test_eight_pictures_are_learnt_by_heart(photographs: Path, tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(
        "net={name='nafnet16', options={encoder=[1, 1], decoder=[1, 1]}}",
        f"data={{set='folder', root='{photographs}', size=[12, 12], train=0.3334, validation=0}}",
        "blur={names=['reds-k7'], drawn='once'}",
        "augment={}",
        "batch={size=8, order='fixed'}",
        "optimiser.rate=5e-3",
        "schedule={kind='cosine'}",
        "stop={epochs=100, keep='final'}",
        "ema=0",
    )
    first = batches.build(recipe)[0].first()
    blurred = float(losses.mse(first.blurred, first.sharp).mean())
    train(recipe, tmp_path)
    last = events(tmp_path, "epoch")[-1]["loss"]
    assert isinstance(last, float)
    assert last < blurred / 10


def run_steps(folder: Path) -> int:
    """Steps of the checkpoint in a folder, -1 if there is none; reading it fails if it is not whole."""
    try:
        with safe_open(folder / LAST, framework="pt") as file:
            return int(json.loads(file.metadata()["state"])["steps"])
    except FileNotFoundError:
        return -1


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_with_a_checkpoint_and_one_line(
    stable: Stable, recipe_file: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run, said = tmp_path / "run", tmp_path / "said"
    pid = stable.train(said, recipe_file, "-o", run, "--set", "stop.epochs=10000")
    wait_for(lambda: (run / LOG).exists() and len(events(run, "epoch")) > 2)
    os.kill(pid, number)
    assert stable.wait(pid) == code
    complaints = [line for line in said.read_text().splitlines() if line.startswith("unblur: ")]
    steps = run_steps(run)
    assert complaints == [f"unblur: stopped by a signal after {steps} steps; --resume goes on from {run}"]
    assert steps >= 15


def kill_and_resume(
    stable: Stable, recipe_file: Path, make: Make, folder: Path, kills: int, epochs: int
) -> None:
    """Kill -9 at random moments, and compare what comes of it with a run that nobody killed."""
    changes = [f"stop.epochs={epochs}", "run.checkpoint_minutes=0.0005"]
    recipe = make(*changes)
    whole, cut = folder / "whole", folder / "cut"
    train(recipe, whole)
    options = [option for change in changes for option in ("--set", change)]
    dice = random.Random(5)
    for _ in range(kills):
        before = run_steps(cut)
        pid = stable.train(folder / "said", recipe_file, "-o", cut, "--resume", *options)
        wait_for(lambda before=before: run_steps(cut) > before)  # type: ignore[misc]
        time.sleep(dice.uniform(0, 0.2))
        os.kill(pid, signal.SIGKILL)
        assert stable.wait(pid) == -signal.SIGKILL, "the training is too short to be killed so often"
    assert train(recipe, cut, resume=True).steps == 5 * epochs
    assert same_tensors(cut / LAST, whole / LAST)
    assert same_tensors(cut / BEST, whole / BEST)
    assert (cut / LOG).read_bytes() == (whole / LOG).read_bytes()
    assert not list(cut.glob(".unblur-*"))


def test_kill_9(stable: Stable, recipe_file: Path, tiny: Make, tmp_path: Path) -> None:
    kill_and_resume(stable, recipe_file, tiny, tmp_path, kills=1, epochs=12)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_9_twenty_times(stable: Stable, recipe_file: Path, tiny: Make, tmp_path: Path) -> None:
    kill_and_resume(stable, recipe_file, tiny, tmp_path, kills=20, epochs=240)
