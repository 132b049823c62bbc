"""Cut the lowest stage of a two-stage residual U-Net down to its most important channels and its first blocks.

    python scripts/prune.py FORMER.safetensors --width 32 --blocks 2 --name unblur-s -o pruned.safetensors

What is left starts a training. A channel counts by the weights that lead to it times those that lead away from it (Li,
Kadav, Durdanovic, Samet and Graf, "Pruning filters for efficient ConvNets", 2017).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray

from unblur import models
from unblur.models.weights import read_weights, write_weights

Tensor: TypeAlias = NDArray[Any]


def norms(weights: Tensor, axis: int) -> Tensor:
    """Of a convolution's weights (out, in, 3, 3), for each output (axis 0) or input (axis 1)."""
    rest = tuple(i for i in range(4) if i != axis)
    return np.sqrt(np.square(weights.astype(np.float32)).sum(axis=rest))


def largest(importance: Tensor, count: int) -> Tensor:
    """Where the largest are, in their order."""
    return np.sort(np.argsort(-importance)[:count])


def pruned(tensors: dict[str, Tensor], width: int, blocks: int) -> dict[str, Tensor]:
    """The tensors of the smaller network."""
    bodies = [f"encoder.1.{number}.body" for number in range(blocks)]
    into = norms(tensors["reduce.0.weight"], 0) + sum(
        norms(tensors[f"{body}.2.weight"], 0) for body in bodies
    )
    stream = largest(norms(tensors["enlarge.0.0.weight"], 1) * into, width)
    kept = {name: one for name, one in tensors.items() if not name.startswith("encoder.1.")}
    kept["reduce.0.weight"] = tensors["reduce.0.weight"][stream]
    kept["reduce.0.bias"] = tensors["reduce.0.bias"][stream]
    kept["enlarge.0.0.weight"] = tensors["enlarge.0.0.weight"][:, stream]
    for body in bodies:
        first, second = tensors[f"{body}.0.weight"][:, stream], tensors[f"{body}.2.weight"][stream]
        inner = largest(norms(first, 0) * norms(second, 1), width)
        kept |= {
            f"{body}.0.weight": first[inner],
            f"{body}.0.bias": tensors[f"{body}.0.bias"][inner],
            f"{body}.2.weight": second[:, inner],
            f"{body}.2.bias": tensors[f"{body}.2.bias"][stream],
        }
    return kept


def main(
    former: Annotated[Path, typer.Argument(help="Weights of the larger network.")],
    output: Annotated[Path, typer.Option("-o", "--output")],
    width: Annotated[int, typer.Option(help="Channels that are left.")],
    blocks: Annotated[int, typer.Option(help="Blocks that are left.")],
    name: Annotated[str, typer.Option(help="The smaller network.")],
) -> None:
    _, tensors = read_weights(former)
    write_weights(output, pruned(tensors, width, blocks), models.card(name), overwrite=True)


if __name__ == "__main__":
    typer.run(main)
