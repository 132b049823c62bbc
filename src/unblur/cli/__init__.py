"""The command line: one file per verb; this one puts them together and turns errors into one line."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from unblur import __version__
from unblur.cli import bench, blur, corpus, data, estimate, export, models, restore, score, serve, train
from unblur.errors import UnblurError

# click's errors in the use of a command; typer ships its own click and does not name their base class.
_UsageError: Any = typer.BadParameter.__mro__[2]

#: Exit code after a Ctrl-C.
INTERRUPTED = 130

app = typer.Typer(
    name="unblur",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("restore")(restore.restore)
app.command("blur")(blur.blur)
app.command("estimate")(estimate.estimate)
app.command("score")(score.score)
app.command("models")(models.models)
app.command("train")(train.train)
app.command("bench")(bench.bench)
app.command("export")(export.export)
app.command("serve")(serve.serve)
app.add_typer(data.app, name="data")
app.add_typer(corpus.app, name="corpus")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"unblur {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Takes blur out of images."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 partly done or our own mistake, 2 bad input, 130 interrupted."""
    try:
        # typer turns a Ctrl-C into this code.
        if (code := app(prog_name="unblur", standalone_mode=False)) == INTERRUPTED:
            _complain("interrupted; nothing was left half-written")
    except _UsageError as error:
        code = _complain(f"{error.format_message()} (see unblur --help)")
    except (UnblurError, OSError) as error:
        code = _complain(str(error))
    except MemoryError:
        code = _complain("not enough memory; give a smaller --memory so that smaller tiles are used")
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted; nothing was left half-written")
        code = INTERRUPTED
    except Exception as error:
        if os.environ.get("UNBLUR_DEBUG"):
            raise
        _complain(f"a mistake of ours: {type(error).__name__}: {error}; UNBLUR_DEBUG=1 shows where")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> int:
    """Print one line on stderr; the exit code of bad input."""
    sys.stdout.flush()
    print(f"unblur: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return 2
