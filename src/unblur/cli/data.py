"""`unblur data`: public sets, and sets of blurred and sharp pairs."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from unblur.cli import patches
from unblur.cli.output import print_json, progress, warn
from unblur.errors import FileError, InputError, OptionError, OutputError

app = typer.Typer(no_args_is_help=True, help="Fetch, make and study data sets.")
app.command("patches")(patches.patches)


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="SET", help="Which set: cifar10.")],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to put it into.")],
    url: Annotated[
        str | None, typer.Option(help="Another place of the same archive, such as a mirror.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as one JSON object.")] = False,
) -> None:
    """Download a public set, verify its checksum and unpack it; called again it goes on where it stopped.

    The others ask for a registration or come in several parts: fetch them by hand, their readers say what is missing.
    """
    from unblur.datasets import cifar10

    if name.lower().replace("-", "") != "cifar10":
        raise OptionError(f"unknown set {name!r}; cifar10 is the one that can be fetched")
    with progress("fetching") as bar:
        folder = cifar10.download(target, url=url or cifar10.URL, progress=bar.update)
    if as_json:
        print_json({"set": "cifar10", "folder": str(folder)})
    else:
        typer.echo(f"{folder}")


@app.command("make")
def make(
    degradation: Annotated[
        str, typer.Argument(help="Such as cifar-u03-u8, reds-k7, halfnormal5-u8, mixed-u8.")
    ],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder of sharp pictures.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A new folder for the pairs.")],
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use only the first so many pictures.")] = None,
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT: crop to that shape about the centre, then reduce to it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as one JSON object.")] = False,
) -> None:
    """Degrade every picture of a folder: DST/blurred, DST/sharp, and DST/draws.csv that tells every draw.

    The same seed makes the same set; pictures are taken in the order of their paths.
    """
    from unblur import files
    from unblur.datasets.folder import fit
    from unblur.image import from_array, to_array
    from unblur.physics import degrade

    if not source.is_dir():
        raise FileError(f"{source}: not a folder; give a folder of sharp pictures")
    if target.exists() and any(target.iterdir()):
        raise OutputError(f"{target}: exists and is not empty; name a new folder")
    if limit is not None and limit < 1:
        raise OptionError(f"--limit must be at least 1, got {limit}")
    shape = _parse_size(size)
    degrade.get(degradation)
    found = sorted(
        path for path in source.rglob("*") if path.is_file() and path.suffix.lower() in files.READABLE
    )
    found = found[:limit]
    if not found:
        raise FileError(f"{source}: no pictures in this folder")
    rows: list[dict[str, Any]] = []
    skipped = 0
    with progress("degrading") as bar:
        for index, path in enumerate(found):
            name = path.relative_to(source).with_suffix(".png")
            try:
                pixels = files.Source.open(path).read()
            except InputError as error:
                warn(f"{error} (skipped)")
                skipped += 1
                continue
            if shape is not None:
                pixels = fit(pixels, *shape)
            sharp = from_array(to_array(from_array(pixels), "uint8"))
            blurred, draw = degrade.degrade(sharp, degradation, seed=seed, index=index)
            # A draw may raise the exposure; the truth is then the brighter picture.
            for folder, image in (("sharp", degrade.reference(sharp, draw)), ("blurred", blurred)):
                place = target / folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                files.save(to_array(image, "uint8"), place)
            rows.append({"file": name.as_posix(), **draw.to_row()})
            bar.update(index + 1, len(found))
    if not rows:
        raise FileError(f"{source}: none of the {len(found)} pictures can be read")
    _write_table(target / "draws.csv", rows)
    if as_json:
        print_json({"degradation": degradation, "seed": seed, "pairs": len(rows), "skipped": skipped,
                    "target": str(target)})  # fmt: skip
    else:
        typer.echo(f"{target}  {len(rows)} pairs, {degradation}, seed {seed}")


def _parse_size(text: str | None) -> tuple[int, int] | None:
    """Height and width from WIDTHxHEIGHT."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or "0" in match.groups():
        raise OptionError(f"cannot read {text!r} as a size; write for example 448x256 (width x height)")
    return int(match[2]), int(match[1])


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns)
    table.writeheader()
    table.writerows(rows)
    part = path.with_suffix(".part")
    part.write_text(text.getvalue(), newline="")
    os.replace(part, path)
