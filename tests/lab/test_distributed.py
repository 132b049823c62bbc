"""Several processes: the same gradients, the same files, and a worker that dies."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lab_helpers import Stable, start
from safetensors.torch import load_file

from unblur.lab import report
from unblur.lab.recipe import Recipe
from unblur.lab.run import BEST, LAST, LOG
from unblur.lab.train import train

Make = Callable[..., Recipe]

#: No dropout: each process draws its own.
PLAIN = "net.options={widths=[4, 8], final_activation='linear'}"


def free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def together(stable: Stable, count: int, said: Path, *arguments: object) -> list[int]:
    """What torchrun would start: as many processes that find one another by their environment."""
    shared = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        "TORCHELASTIC_RUN_ID": "test",
        "GROUP_RANK": "0",
    }
    return [
        stable.train(
            said / f"said{rank}",
            *arguments,
            environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]


def differences(a: Path, b: Path) -> dict[str, float]:
    ours, theirs = load_file(a), load_file(b)
    assert ours.keys() == theirs.keys()
    return {name: float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours}


def test_two_processes_are_one_of_twice_the_batch(
    stable: Stable, recipe_file: Path, tiny: Make, tmp_path: Path
) -> None:
    # 18 pictures in batches of 7 leave one of 4: each process gets another number of them in every step.
    changes = [PLAIN, "batch.size=7", "stop.epochs=7", "batch.accumulate=2", "loss={mse=1}"]
    options = [option for change in changes for option in ("--set", change)]
    pids = together(stable, 2, tmp_path, recipe_file, "-o", tmp_path / "two", *options)
    assert train(tiny(*changes), tmp_path / "one").steps == 21
    codes = [stable.wait(pid) for pid in pids]
    assert codes == [0, 0], (tmp_path / "said0").read_text() + (tmp_path / "said1").read_text()
    gaps = differences(tmp_path / "two" / LAST, tmp_path / "one" / LAST)
    assert max(gap for name, gap in gaps.items() if name.startswith(("net/", "average/"))) < 1e-5
    assert max(differences(tmp_path / "two" / BEST, tmp_path / "one" / BEST).values()) < 1e-5
    # One process writes: every event is there once, with the scores of the whole validation part.
    ours, theirs = (report.read_log(tmp_path / name / LOG) for name in ("two", "one"))
    assert [event["event"] for event in ours] == [event["event"] for event in theirs]
    for a, b in zip(ours, theirs, strict=True):
        if a["event"] == "epoch":
            assert a["validation"] == pytest.approx(b["validation"], rel=1e-4)
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    # The other one has nothing to say.
    assert "best.safetensors" in (tmp_path / "said0").read_text()
    assert not [line for line in (tmp_path / "said1").read_text().splitlines() if "[Gloo]" not in line]


@pytest.mark.slow
def test_running_statistics_are_those_of_the_first(stable: Stable, recipe_file: Path, tmp_path: Path) -> None:
    changes = ["net={name='resunet1', options={width=4}}", "stop.epochs=1"]
    options = [option for change in changes for option in ("--set", change)]
    pids = together(stable, 2, tmp_path, recipe_file, "-o", tmp_path / "two", *options)
    codes = [stable.wait(pid) for pid in pids]
    assert codes == [0, 0], (tmp_path / "said0").read_text() + (tmp_path / "said1").read_text()
    last, best = load_file(tmp_path / "two" / LAST), load_file(tmp_path / "two" / BEST)
    buffers = [name for name in best if "running" in name]
    assert buffers
    for name in buffers:
        assert torch.equal(best[name], last[f"net/{name}"])


SCRIPT = """
import os, sys
from pathlib import Path
import torch
from unblur.cli import main

torch.set_num_threads(1)
Path(sys.argv[1], f"pid{os.environ['RANK']}").write_text(str(os.getpid()))
sys.argv = ["unblur", "train", *sys.argv[2:]]
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_dies_is_started_again_and_training_goes_on(
    recipe_file: Path, tiny: Make, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    changes = [PLAIN, "stop.epochs=60", "run.checkpoint_minutes=0.001"]
    options = [option for change in changes for option in ("--set", change)]
    run = tmp_path / "run"
    process = start(
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max_restarts=2",
        str(script), str(tmp_path), str(recipe_file), "-o", str(run), *options,
    )  # fmt: skip
    end = time.monotonic() + 120
    while not (run / LOG).exists() or len(report.read_log(run / LOG)) < 20:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    first = int((tmp_path / "pid1").read_text())
    os.kill(first, signal.SIGKILL)
    output, complaints = process.communicate(timeout=250)
    assert process.returncode == 0, complaints
    assert int((tmp_path / "pid1").read_text()) != first
    assert "going on after" in output
    events = report.read_log(run / LOG)
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == list(range(60))
    # As if nothing had happened.
    train(tiny(*changes), tmp_path / "one")
    gaps = differences(run / LAST, tmp_path / "one" / LAST)
    assert max(gap for name, gap in gaps.items() if name.startswith("net/")) < 1e-3


@pytest.mark.slow
def test_fabric_run_starts_several_processes(recipe_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = start(
        "-m", "lightning_fabric.cli", "--accelerator=cpu", "--devices=2",
        str(script), str(tmp_path), str(recipe_file), "-o", str(tmp_path / "run"), "--set", "stop.epochs=1",
    )  # fmt: skip
    output, complaints = process.communicate(timeout=200)
    assert process.returncode == 0, complaints
    assert {path.name for path in tmp_path.glob("pid*")} == {"pid0", "pid1"}
    assert [event["event"] for event in report.read_log(tmp_path / "run" / LOG)].count("epoch") == 1
    assert output.count("best.safetensors") == 1
