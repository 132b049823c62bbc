"""`unblur models`: which networks there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def models(
    name: Annotated[
        str | None,
        typer.Argument(help="One model, or a file of weights (.safetensors, .onnx). [default: all]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List the networks: parameters, cost, what they take, what they were trained on, what they reached."""
    from unblur import models as known

    if name is None:
        chosen = list(known.cards().values())
    elif Path(name).suffix == ".onnx":
        from unblur.runtime.onnx import OnnxBackend

        chosen = [OnnxBackend(name).card]
    elif Path(name).suffix:
        chosen = [known.read_card(name)]
    else:
        chosen = [known.card(name)]
    if as_json:
        typer.echo(json.dumps([one.to_dict() for one in chosen], allow_nan=False))
        return
    if name is not None:
        for key, value in chosen[0].to_dict().items():
            typer.echo(f"{key:<20} {'-' if value in (None, '', [], {}) else value}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "family", "parameters", "GMACs/Mpx", "takes", "halo", "trained on", "reached")
    for one in chosen:
        takes = (
            f"{one.fixed_size[1]}x{one.fixed_size[0]}"
            if one.fixed_size
            else f"multiples of {one.size_multiple}"
        )
        reached = "; ".join(f"{result.suite} {result.psnr:.2f} dB" for result in one.results)
        table.add_row(
            one.name,
            one.family,
            f"{one.parameters:,}",
            f"{one.gmacs_per_megapixel:.1f}",
            takes,
            "all" if one.halo is None else str(one.halo),
            one.trained_on or "-",
            reached or "-",
        )
    Console().print(table)
