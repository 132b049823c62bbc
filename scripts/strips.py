"""Before and after, side by side, of photographs that are really blurred and have no truth to be judged by.

    python scripts/strips.py DIR [--into docs/results/real.jpg]

Each picture of the folder is restored with `auto`, nothing told; a row shows it and the result, 700 pixels wide each.
Prints what was found of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pyvips
import typer

import unblur

#: Width of a picture, and the gap between two.
WIDTH, GAP = 700, 8


def row(path: Path) -> Any:
    """A picture and what is made of it."""
    result = unblur.restore(path)
    blur = result.blur
    numbers = ", ".join(f"{name} {value:.1f}" for name, value in blur.parameters.items())
    typer.echo(
        f"{path.name}: {blur.kind} ({numbers}); left alone: {', '.join(result.left_alone) or 'nothing'}"
    )
    before = pyvips.Image.new_from_file(str(path), access="random")[:3]
    after = pyvips.Image.new_from_array(result.image)
    pair = [one.thumbnail_image(WIDTH) for one in (before, after)]
    return pair[0].join(pair[1], "horizontal", shim=GAP, background=[255])


def main(
    folder: Annotated[Path, typer.Argument(help="Photographs.")],
    into: Annotated[Path, typer.Option(help="The picture to write.")] = Path("docs/results/real.jpg"),
) -> None:
    rows = [row(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".png", ".tif")]
    pyvips.Image.arrayjoin(rows, across=1, shim=GAP, background=[255]).jpegsave(str(into), Q=85, keep="none")


if __name__ == "__main__":
    typer.run(main)
