"""`unblur models`: which networks there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

#: Of the list, at least, in characters.
_WIDTH = 120


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

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("family", no_wrap=True)
    for heading in ("parameters", "GMACs/Mpx", "multiple of", "halo"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("trained on", min_width=10)
    table.add_column("reached", min_width=10)
    for one in chosen:
        fixed = f"{one.fixed_size[1]}x{one.fixed_size[0]} only" if one.fixed_size else ""
        reached = "; ".join(f"{result.suite} {result.psnr:.2f} dB" for result in one.results)
        table.add_row(
            one.name,
            one.family,
            f"{one.parameters:,}",
            f"{one.gmacs_per_megapixel:.1f}",
            fixed or str(one.size_multiple),
            "all" if one.halo is None else str(one.halo),
            one.trained_on or "-",
            reached or "-",
        )
    # Names are there to be copied: better a long line than half a name.
    Console(width=max(Console().width, _WIDTH)).print(table)
