"""`unblur bench`: every method on the same pictures, under the same protocol."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unblur.cli.output import progress, warn
from unblur.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Folders that are looked at where --data is not given: the environment's, then the one of this name.
_DATA = ("UNBLUR_DATA", "data")

_COLUMNS = (
    ("PSNR", "psnr_mean", "{:.2f}"),
    ("median", "psnr_median", "{:.2f}"),
    ("SSIM", "ssim_mean", "{:.4f}"),
    ("MS-SSIM", "ms_ssim_mean", "{:.4f}"),
    ("MSE", "mse_mean", "{:.6f}"),
    ("gain", "gain_mean", "{:+.2f}"),
    ("worst", "worst_gain", "{:+.2f}"),
    ("exact", "exact", "{}"),
    ("kernel", "kernel_distance", "{:.3f}"),
    ("flicker", "flicker", "{:.2f}"),
    ("error ratio", "error_ratio", "{:.2f}"),
    ("s", "seconds", "{:.1f}"),
    ("Mpx/s", "megapixels_per_second", "{:.2f}"),
)


def bench(
    suites: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE...", help="Suites such as cifar-u03-u8; or: report DIR."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The folder of the pictures. [default: $UNBLUR_DATA, else ./data]"),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Rows of the table: blurred, methods (wiener, wiener@true, wiener@estimated), models, files of"
            " weights. [default: all that fit and whose weights are found]",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first so many pictures.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where results are kept and looked for.")
    ] = Path("runs", "bench"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array, an object a row.")] = False,
    as_list: Annotated[bool, typer.Option("--list", help="Print the suites and the methods.")] = False,
) -> None:
    """Judge methods on named suites: PSNR, SSIM, MSE, gain, time; everything is kept in DIR, and nothing done twice.

    `unblur bench report DIR` makes report.md and report.html of what is kept.
    """
    if as_list:
        _list(as_json)
        return
    if not suites:
        raise OptionError("name at least one suite, or: report DIR; `unblur bench --list` shows them")
    if suites[0] == "report":
        _report(suites[1:], as_json)
        return
    from unblur.bench import run
    from unblur.bench import suites as table

    chosen = [table.get(name) for name in dict.fromkeys(suites)]
    wanted = None if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
    place = data or Path(os.environ.get(_DATA[0]) or _DATA[1])
    rows: list[dict[str, Any]] = []
    left_out = False
    for suite in chosen:
        with progress(suite.name) as bar:
            judged = run.judge(suite, place, wanted, output, limit=limit, say=warn, progress=bar.update)
        rows += judged.rows
        left_out |= wanted is not None and bool(judged.left_out)
        if not as_json:
            _print(suite.name, judged.rows)
    if as_json:
        typer.echo(json.dumps(rows, allow_nan=False, ensure_ascii=False))
    if left_out:
        raise typer.Exit(1)


def _print(suite: str, rows: Sequence[dict[str, Any]]) -> None:
    columns = [column for column in _COLUMNS if any(row.get(column[1]) is not None for row in rows)]
    table = [["method", *(title for title, _, _ in columns)]]
    for row in rows:
        texts = ("-" if row.get(key) is None else pattern.format(row[key]) for _, key, pattern in columns)
        table.append([row["method"], *texts])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    typer.echo(f"{suite}, n = {rows[0]['n']}, {rows[0]['protocol']}")
    for name, *cells in table:
        numbers = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        typer.echo(f"  {name:<{widths[0]}}  {'  '.join(numbers)}")


def _report(places: Sequence[str], as_json: bool) -> None:
    from unblur.bench.report import write_report

    if len(places) != 1:
        raise OptionError("give one folder of results: unblur bench report DIR")
    written = write_report(Path(places[0]))
    if as_json:
        typer.echo(json.dumps({"written": list(map(str, written))}))
    else:
        typer.echo("\n".join(map(str, written)))


def _list(as_json: bool) -> None:
    from unblur.bench.run import BLURRED, fitting
    from unblur.bench.suites import SUITES

    found = [
        {
            "suite": suite.name,
            "about": suite.about,
            "protocol": suite.protocol,
            "data": suite.layout,
            "methods": fitting(suite),
        }
        for suite in SUITES.values()
    ]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for one in found:
        typer.echo(f"{one['suite']:<18} {one['about']} ({one['protocol']})")
        typer.echo(f"{'':<18}   data: {one['data']}")
    names = dict.fromkeys(name for one in found for name in one["methods"])
    typer.echo(f"\nmethods: {', '.join(names)}, and files of weights")
    typer.echo(f"{BLURRED} is the input itself; @true is told the blur; models without weights are left out")
