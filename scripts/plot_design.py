"""The plot of what was tried for the general model: gain on `mixed-u8` against speed.

    unblur bench mixed-u8 --data DIR --methods blurred,auto,wiener@estimated,nafnet32.onnx,... -o runs/design
    python scripts/plot_design.py runs/design docs/results/design.svg

Both come from the same run: the mean gain in dB (capped at 45), and megapixels a second of the whole method, finding
the blur included. On the line lies what nothing beats in both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure


def points(bench: Path) -> dict[str, tuple[float, float]]:
    """Megapixels a second and gain of each method, by its name or that of its file."""
    rows = [
        json.loads(path.read_text())["row"]
        for path in sorted(bench.glob("mixed-u8/*.json"))
        if path.stem != "suite"
    ]
    return {
        Path(row["method"]).stem: (row["megapixels_per_second"], row["gain_mean"])
        for row in rows
        if row["method"] != "blurred"
    }


def front(of: dict[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both, from the fastest to the slowest."""
    kept: list[tuple[float, float]] = []
    for speed, gained in sorted(of.values(), reverse=True):
        if not kept or gained > kept[-1][1]:
            kept.append((speed, gained))
    return kept


def main(
    bench: Annotated[Path, typer.Argument(help="What `unblur bench -o` wrote.")],
    out: Annotated[Path, typer.Argument(help="The plot, .svg or .png.")],
) -> None:
    of = points(bench)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.step(*zip(*front(of), strict=True), where="post", color="0.8", zorder=0)
    # Neighbours in speed write above and below each other.
    for number, (name, (speed, gained)) in enumerate(sorted(of.items(), key=lambda item: item[1])):
        axes.plot(speed, gained, "o", color="tab:blue")
        offset = (0, (8, -14, 20)[number % 3])
        axes.annotate(
            name, (speed, gained), xytext=offset, textcoords="offset points", fontsize=9, ha="center"
        )
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set(xscale="log", xlabel="megapixels a second, all included", ylabel="gain on mixed-u8, dB")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.15, y=0.15)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
    for name, (speed, gained) in sorted(of.items(), key=lambda item: -item[1][1]):
        typer.echo(f"| `{name}` | {gained:+.2f} | {speed:.2f} |")


if __name__ == "__main__":
    typer.run(main)
