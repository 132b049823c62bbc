"""`unblur export`: trained weights as ONNX, or as smaller weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unblur.cli.output import print_json
from unblur.errors import MissingExtraError, OptionError


def export(
    model: Annotated[
        str, typer.Argument(metavar="NAME|CHECKPOINT", help="A model, or a file of weights (.safetensors).")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write, .onnx or .safetensors.")
    ],
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Store the weights in half precision: half the size.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write trained weights as an ONNX file with the model card inside, for `unblur restore --method FILE.onnx`.

    Height, width and batch stay free wherever the network allows it. A FILE.safetensors with --fp16 is the same
    weights at half the size, as they are handed on. The name of a model stands for its weights in
    $UNBLUR_WEIGHTS, ./weights, the cache, or at $UNBLUR_WEIGHTS_URL.
    """
    from unblur import models

    kind = output.suffix.lower()
    if kind not in (".onnx", ".safetensors"):
        raise OptionError(f"{output}: expected a name that ends in .onnx or .safetensors")
    weights = models.find_weights(model, (".safetensors",))
    card = models.read_card(weights)
    if model in models.cards() and card.name != model:
        raise OptionError(f"{weights}: holds the weights of {card.name}, not of {model}")
    if kind == ".safetensors":
        written = models.write_weights(
            output, models.read_weights(weights, half=fp16)[1], card, overwrite=overwrite
        )
    else:
        try:
            from unblur.nets import load
            from unblur.nets.export import to_onnx
        except ModuleNotFoundError as error:
            raise MissingExtraError("exporting a network", "train") from error

        card, net = load(weights)
        written = to_onnx(net, card, output, fp16=fp16, overwrite=overwrite)
    if as_json:
        facts = {"name": card.name, "weights": str(weights), "output": str(written), "fp16": fp16}
        print_json({**facts, "bytes": written.stat().st_size, "parameters": card.parameters})
    else:
        typer.echo(f"{written}")
