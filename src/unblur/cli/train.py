"""`unblur train`: from real data to trained weights."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from unblur.cli.output import warn
from unblur.errors import MissingExtraError, OptionError

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe file, or system/protocol of the folder recipes, such as unet20/cifar-u03-u8."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="RUN", help="The folder of the run. [default: runs/SYSTEM/PROTOCOL]"
        ),
    ] = None,
    changed: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Replace a value of the recipe; may be given again."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The folder of the data set.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    time_budget: Annotated[
        str | None, typer.Option(help="Stop after so long, such as 90s, 45m or 2h; --resume goes on.")
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")] = "auto",
    strict: Annotated[bool, typer.Option(help="A picture that cannot be read is an error.")] = False,
) -> None:
    """Train a system as its recipe says; Ctrl-C stops it with a checkpoint.

    RUN gets log.jsonl, curve.png, sample.png, the checkpoint last.safetensors and the weights best.safetensors.
    Under torchrun or fabric run all processes train together.
    """
    try:
        from unblur.lab import recipe as recipes
        from unblur.lab.train import train as run
    except ModuleNotFoundError as error:
        raise MissingExtraError("training", "train") from error

    overrides = list(changed or [])
    if data is not None:
        overrides.append(f"data.root={json.dumps(str(data))}")
    if strict:
        overrides.append("data.strict=true")
    path = recipes.find(recipe)
    chosen = recipes.load(path, overrides)
    folder = output or Path("runs", path.parent.name, path.stem)
    outcome = run(
        chosen, folder, resume=resume, device=device, budget=_seconds(time_budget), say=typer.echo, show=True
    )
    if outcome.weights is not None:
        if outcome.reason in ("signal", "budget"):
            why = "stopped by a signal" if outcome.signal else "the time is over"
            warn(f"{why} after {outcome.steps} steps; --resume goes on from {folder}")
        typer.echo(f"{outcome.weights}")
    if outcome.signal:
        # Not an Exit: nothing is to be added to the line above.
        raise SystemExit(128 + outcome.signal)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or not math.isfinite(float(match[1])):
        raise OptionError(f"cannot read {text!r} as a time; write for example 90s, 45m or 2h")
    return float(match[1]) * _UNITS[match[2]]
