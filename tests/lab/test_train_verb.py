"""`unblur train` on the command line; what it does to signals is in test_train."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from unblur.cli.train import _seconds
from unblur.cli.train import train as verb
from unblur.errors import FileError, OptionError
from unblur.lab import report
from unblur.lab.run import BEST, LOG


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(verb)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_a_training(recipe_file: Path, photographs: Path, tmp_path: Path) -> None:
    result = run(
        recipe_file,
        "-o",
        tmp_path / "run",
        "--set",
        "stop.epochs=1",
        "--data",
        photographs,
        "--device",
        "cpu",
    )
    assert result.exit_code == 0
    assert "epoch 1/1: loss " in result.output
    assert result.output.splitlines()[-1] == str(tmp_path / "run" / BEST)
    assert (tmp_path / "run" / BEST).exists()
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_the_time_budget_says_how_to_go_on(recipe_file: Path, tmp_path: Path) -> None:
    result = run(recipe_file, "-o", tmp_path / "run", "--time-budget", "0s")
    assert result.exit_code == 0
    assert "the time is over after 1 steps; --resume goes on" in result.output
    result = run(recipe_file, "-o", tmp_path / "run", "--resume")
    assert result.exit_code == 0
    assert "going on after 1 steps" in result.output
    events = [event["event"] for event in report.read_log(tmp_path / "run" / LOG)]
    assert events.count("start") == 1
    assert events.count("epoch") == 3


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("2h", 7200), ("1.5h", 5400), ("7", 7), ("1d", 86400)]
)
def test_times(text: str, seconds: float) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2 hours", "-1h", "nan"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(OptionError, match="write for example"):
        _seconds(text)


def test_mistakes(recipe_file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such recipe"):
        run("unet20/none")
    with pytest.raises(FileError, match="no such folder"):
        run(recipe_file, "-o", tmp_path / "run", "--data", tmp_path / "none")
    assert not (tmp_path / "run").exists()
    with pytest.raises(OptionError, match="did you mean batch.size"):
        run(recipe_file, "--set", "batch.siz=3")


def test_strict_refuses_what_is_no_picture(recipe_file: Path, photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in photographs.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "bad.png").write_bytes(b"bad")
    with pytest.raises(FileError, match=r"bad\.png: not a picture"):
        run(recipe_file, "-o", tmp_path / "run", "--data", folder, "--strict")
    result = run(recipe_file, "-o", tmp_path / "run", "--data", folder, "--set", "stop.epochs=1")
    assert result.exit_code == 0
    assert "bad.png: not a picture" in result.output
