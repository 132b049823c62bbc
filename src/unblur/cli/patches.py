"""`unblur data patches`: how many patches of a set show any blur."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unblur.cli.output import print_json, progress, warn
from unblur.errors import FileError, MissingExtraError, OptionError, OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 20


def patches(
    root: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="REDS, or a folder that holds blurred and sharp (or blur and sharp)."
        ),
    ],
    size: Annotated[int, typer.Option(help="Of a patch, pixels a side.")] = 256,
    threshold: Annotated[
        float, typer.Option(help="SSIM from which a patch counts as too sharp to teach anything.")
    ] = 0.9,
    per_frame: Annotated[int, typer.Option(help="Patches of each frame.")] = 10,
    limit: Annotated[int, typer.Option(help="Frames to look at, drawn at random.")] = 200,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Plot the distribution: a PNG.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the SSIM between the blurred and the sharp side of random patches: its histogram and its density.

    Patches at or above the threshold hardly differ from their sharp side; training picks those below it first.
    """
    import numpy as np

    from unblur.datasets.patches import find_pairs, patch_ssims

    for name, value, least in (("--size", size, 11), ("--per-frame", per_frame, 1), ("--limit", limit, 1)):
        if value < least:
            raise OptionError(f"{name} must be at least {least}, got {value}")
    if output is not None:
        _check_plot(output, overwrite)
    pairs = find_pairs(root)
    rng = np.random.default_rng(seed)
    frames = sorted(rng.choice(len(pairs), min(limit, len(pairs)), replace=False).tolist())
    found = []
    skipped = len(pairs.skipped)
    with progress("comparing") as bar:
        for done, index in enumerate(frames, 1):
            try:
                found.append(patch_ssims([pairs[index]], rng, per_frame, size=size))
            except FileError as error:
                warn(f"{error} (skipped)")
                skipped += 1
            bar.update(done, len(frames))
    if not found:
        raise FileError(f"{root}: none of the {len(frames)} pairs can be read")
    scores = np.concatenate(found)
    share = float(np.mean(scores >= threshold))
    counts, edges = np.histogram(scores, bins=BINS, range=(min(0.0, float(scores.min())), 1.0))
    density = _density(scores, edges)
    if output is not None:
        _plot(scores, edges, threshold, share, output)
    facts = {
        "pairs": len(found), "skipped": skipped, "patches": len(scores), "size": size, "seed": seed,
        "threshold": threshold, "share_above": round(share, 4), "mean": round(float(scores.mean()), 4),
        "median": round(float(np.median(scores)), 4),
    }  # fmt: skip
    if as_json:
        print_json(
            facts
            | {
                "edges": edges.round(4).tolist(),
                "counts": counts.tolist(),
                "density": None if density is None else density.round(4).tolist(),
            }
        )
        return
    typer.echo(
        f"{len(scores)} patches of {size}x{size} from {len(found)} pairs, {skipped} files skipped, seed {seed}"
    )
    typer.echo(
        f"SSIM of {threshold:g} or more: {share:.1%}   mean {facts['mean']}   median {facts['median']}"
    )
    for low, high, number in zip(edges[:-1], edges[1:], counts, strict=True):
        if number:
            typer.echo(f"{low:5.2f} - {high:4.2f}  {number:6}  {'#' * round(50 * number / counts.max())}")


def _density(scores: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Gaussian kernel density (Scott's rule); None where all scores are equal, as a single one is."""
    from scipy.stats import gaussian_kde

    if len(scores) < 2 or scores.std() < 1e-9:
        return None
    return gaussian_kde(scores)(at)


def _check_plot(output: Path, overwrite: bool) -> None:
    """Refuse before the work what would fail after it."""
    if output.suffix.lower() != ".png":
        raise OptionError(f"{output}: the plot is written as .png")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already; name another file, or --overwrite")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("the plot", "train") from error


def _plot(
    scores: NDArray[np.float64], edges: NDArray[np.float64], threshold: float, share: float, output: Path
) -> None:
    import io

    import numpy as np
    from matplotlib.figure import Figure

    from unblur.files import write_file

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(scores, bins=edges.tolist(), density=True, color="0.8", label=f"{len(scores)} patches")
    at = np.linspace(edges[0], 1, 400)
    if (density := _density(scores, at)) is not None:
        axes.plot(at, density, color="C0", label="kernel density")
    axes.axvline(threshold, color="C3", linestyle="--", label=f"{share:.1%} at {threshold:g} or more")
    axes.set(xlabel="SSIM of blurred against sharp", ylabel="density", xlim=(edges[0], 1))
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_file(output, picture.getvalue(), overwrite=True)
