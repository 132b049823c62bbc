"""`unblur corpus`: folders and buckets of pictures that outgrow a session, a machine, a month."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Annotated

import typer

from unblur.cli.options import Iterations, KernelFile, Sigma, Strength
from unblur.cli.output import print_json, progress, warn

if TYPE_CHECKING:
    from unblur.corpus.manifest import Summary

app = typer.Typer(no_args_is_help=True, help="Restore whole corpora, on one machine or a cluster.")

#: With --json, seconds between lines of progress.
_EVERY = 5.0

#: So many pictures in quarantine are shown to people.
_SHOWN = 10


@app.command("run")
def run(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, or a URL such as s3://bucket/in.")],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="Where results, manifest and status go; a folder or a URL.")
    ],
    method: Annotated[str, typer.Option(help="As of `unblur restore`.")] = "auto",
    strength: Strength = 1.0,
    sigma: Sigma = None,
    kernel: KernelFile = None,
    iterations: Iterations = None,
    memory: Annotated[
        str | None, typer.Option(help="What each worker may use, such as 2GB. [default: 1.5GB]")
    ] = None,
    engine: Annotated[str, typer.Option(help="local: this machine; ray: a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option(help="How many. [default: one a core]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was begun.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="With --resume: also what was given up, once more.")
    ] = False,
    tries: Annotated[int, typer.Option(help="Attempts before a picture goes into quarantine.")] = 3,
    timeout: Annotated[float, typer.Option(help="Seconds that one picture may take.")] = 1800.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object every few seconds, and one at the end.")
    ] = False,
) -> None:
    """Restore all pictures below SRC into DST, under the same names; exit code 1 if some had to be given up."""
    from unblur.corpus.manifest import Settings
    from unblur.corpus.run import run as run_corpus
    from unblur.errors import OptionError

    if retry and not resume:
        raise OptionError("--retry goes with --resume")
    rows = None
    if kernel is not None:
        from unblur.physics.kernels import load_kernel

        rows = load_kernel(kernel).tolist()
    settings = Settings(method, strength, sigma, rows, iterations, memory)
    said = time.monotonic()

    with progress("restoring") as bar:

        def update(done: int, total: int, given_up: int) -> None:
            nonlocal said
            bar.update(done, total)
            if as_json and time.monotonic() - said > _EVERY:
                said = time.monotonic()
                print_json({"done": done, "files": total, "quarantined": given_up, "finished": False})

        summary = run_corpus(
            source,
            destination,
            settings,
            engine=engine,  # type: ignore[arg-type]
            workers=workers,
            resume=resume,
            retry=retry,
            tries=tries,
            timeout=timeout,
            progress=update,
        )
    if as_json:
        print_json({**summary.to_dict(), "finished": True})
    else:
        _print(summary)
    if summary.quarantined:
        if not as_json:
            warn(f"{summary.quarantined} given up; `unblur corpus status {destination}` says why")
        raise typer.Exit(1 if summary.done else 2)


@app.command("status")
def status(
    destination: Annotated[str, typer.Argument(metavar="DST", help="As of `unblur corpus run`.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, then one for each picture given up.")
    ] = False,
) -> None:
    """What became of a corpus so far: numbers, and which pictures were given up and why."""
    from unblur.corpus.manifest import rows
    from unblur.corpus.manifest import status as summarise

    summary = summarise(destination)
    given_up = (row for row in rows(destination) if row["error"] is not None)
    if as_json:
        print_json(summary.to_dict())
        for row in given_up:
            print_json({name: row[name] for name in ("input", "error", "attempts")})
        return
    _print(summary)
    if summary.quarantined:
        typer.echo(f"given up: {summary.quarantined}")
    for row in itertools.islice(given_up, _SHOWN):
        typer.echo(f"  {row['input']}: {row['error']} ({row['attempts']} attempts)")
    if summary.quarantined > _SHOWN:
        typer.echo(f"  and {summary.quarantined - _SHOWN} more; --json lists them all")


def _print(summary: Summary) -> None:
    typer.echo(
        f"{summary.done} of {summary.files} pictures done, {summary.left_alone} of them left alone,"
        f" {summary.quarantined} given up, {summary.remaining} to do"
    )
    if summary.done:
        typer.echo(
            f"{summary.megapixels:.1f} Mpx in {summary.seconds:.0f} s of work,"
            f" {summary.bytes / 1e6:.1f} MB in, {summary.output_bytes / 1e6:.1f} MB out"
        )
        for what, counts in (("methods", summary.methods), ("blurs", summary.blurs)):
            typer.echo(f"{what}: {', '.join(f'{name} {count}' for name, count in counts.items())}")
