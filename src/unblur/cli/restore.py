"""`unblur restore`: pictures, folders of them, and clips."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import typer

from unblur import clips
from unblur.cli.options import Iterations, KernelFile, Sigma, Strength
from unblur.cli.output import print_json, progress, warn
from unblur.errors import FileError, InputError, OptionError, OutputError, UnblurError

if TYPE_CHECKING:
    from unblur.clips.restore import ClipResult
    from unblur.engine import Result

#: What is put between name and suffix where no output is named.
MARK = ".unblur"


class Job(NamedTuple):
    """One picture or clip to restore, and where to."""

    source: Path
    target: Path


def restore(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Pictures, clips, and folders of pictures.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="A file for one picture, a folder for more. [default: NAME.unblur.EXT]"
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="auto, richardson-lucy, wiener, total-variation, blind, blind-parametric, blind-kernel, "
            "a model, or a file of weights."
        ),
    ] = "auto",
    strength: Strength = 1.0,
    kernel: KernelFile = None,
    sigma: Sigma = None,
    iterations: Iterations = None,
    memory: Annotated[
        str | None, typer.Option(help="What the whole run may use, such as 2GB. [default: 1.5GB]")
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="Also write a PNG of input and output side by side, of a clip its middle frame."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a picture or clip.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
) -> None:
    """Take the blur out of pictures and clips; nothing else about them changes."""
    jobs = list(_jobs(inputs, output))
    if not jobs:
        raise FileError(f"{inputs[0]}: no pictures in this folder")
    if compare is not None and len(jobs) > 1:
        raise OptionError("--compare takes one picture at a time")
    _refuse_clashes(jobs, compare, overwrite)
    failures: list[UnblurError] = []
    from unblur import engine, files

    with progress("restoring") as bar:
        for done, job in enumerate(jobs):
            asked = (method, strength, kernel, sigma, memory, iterations)
            step = bar.update if len(jobs) == 1 else None
            result: Result | ClipResult
            try:
                if clips.is_clip(job.source):
                    from unblur.clips.restore import restore_clip

                    job.target.parent.mkdir(parents=True, exist_ok=True)
                    result = restore_clip(
                        job.source, job.target, *asked, overwrite=overwrite, compare=compare, progress=step
                    )
                else:
                    result = engine.restore(job.source, *asked, progress=step)
                    job.target.parent.mkdir(parents=True, exist_ok=True)
                    result.save(job.target, overwrite=overwrite)
                if compare is not None and isinstance(result, engine.Result):
                    before = files.Source.open(job.source).read()
                    after = np.asarray(result.image).reshape(before.shape)
                    files.save(np.concatenate([before, after], axis=1), compare, overwrite=overwrite)
            except OptionError:
                raise  # wrong for every picture
            except (InputError, OutputError) as error:
                if len(jobs) == 1:
                    raise
                failures.append(error)
                warn(str(error))
                continue
            finally:
                if len(jobs) > 1:
                    bar.update(done + 1, len(jobs))
            for line in result.warnings:
                warn(f"{job.source}: {line}")
            if as_json:
                print_json({"input": str(job.source), "output": str(job.target), **result.to_dict()})
            else:
                typer.echo(f"{job.target}  {_in_words(result)}")
    if failures:
        warn(f"{len(jobs) - len(failures)} of {len(jobs)} pictures done")
        raise typer.Exit(2 if len(failures) == len(jobs) else 1)


def _in_words(result: Result | ClipResult) -> str:
    from unblur.engine import Result

    if not isinstance(result, Result):
        return str(result)
    alone = "; left alone: " + "; ".join(result.left_alone) if result.left_alone else ""
    return f"{result.blur}, {result.method}, {result.seconds:.1f} s{alone}"


def _jobs(inputs: list[Path], output: Path | None) -> Iterator[Job]:
    from unblur.files import FORMATS, READABLE

    several = len(inputs) > 1 or inputs[0].is_dir()
    into = output if output is not None and (several or output.is_dir() or not output.suffix) else None
    for given in inputs:
        found = [given]
        if given.is_dir():
            found = sorted(
                path
                for path in given.rglob("*")
                if path.is_file() and path.suffix.lower() in READABLE and MARK not in path.suffixes
                and not (into is not None and into.resolve() in path.resolve().parents)
            )  # fmt: skip
        for source in found:
            suffix = source.suffix
            if clips.is_clip(source):
                suffix = clips.written_suffix(source)
            elif (known := FORMATS.get(suffix.lower())) is None or not known.write:
                # What cannot be written in its own format is written without loss.
                suffix = ".png"
            if into is not None:
                inside = source.relative_to(given) if given.is_dir() else Path(source.name)
                yield Job(source, into / inside.with_suffix(suffix))
            elif output is not None:
                yield Job(source, output)
            else:
                yield Job(source, source.with_name(f"{source.stem}{MARK}{suffix}"))


def _refuse_clashes(jobs: list[Job], compare: Path | None, overwrite: bool) -> None:
    """Say before the work what would fail after it."""
    taken: dict[Path, Path] = {}
    for job in jobs:
        key = Path(os.path.abspath(job.target))
        if key in taken:
            raise OptionError(
                f"{taken[key]} and {job.source} would both become {job.target}; restore them apart"
            )
        taken[key] = job.source
    targets = [job.target for job in jobs] + ([compare] if compare else [])
    existing = [target for target in targets if target.exists()]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise OutputError(f"{existing[0]}: exists already{more}; give another -o, or --overwrite")
