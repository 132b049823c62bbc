"""Options that several verbs share, so that they read and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Strength: TypeAlias = Annotated[float, typer.Option(help="How much of the change to keep, 0..1.")]
Sigma: TypeAlias = Annotated[
    float | None, typer.Option(help="Standard deviation of a Gaussian blur, in pixels.")
]
KernelFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="The blur kernel, if you know it: .npy, .mat or a picture.")
]
Iterations: TypeAlias = Annotated[int | None, typer.Option(help="For iterative methods.")]
