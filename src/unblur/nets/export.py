"""Networks as ONNX files that carry their description."""

from __future__ import annotations

import copy
import io
import os
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unblur.errors import MissingExtraError, OutputError
from unblur.files import write_file
from unblur.models import METADATA_KEY, ModelCard
from unblur.models.weights import halved

OPSET = 17


def to_onnx(
    module: nn.Module,
    card: ModelCard,
    path: str | os.PathLike[str],
    *,
    fp16: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a network in evaluation mode to an ONNX file, in one step; its output is not clamped.

    Input "input", (N, C, H, W) float32 in [0, 1]; output "output". N is free, and H and W too unless the
    network has a fixed size. `fp16` stores the weights in half precision, but for tensors too large for it; they
    are widened when the file is loaded, so that arithmetic, input and output stay float32. The card travels in the
    file's metadata. The module's mode and weights are left as they were.
    Raises MissingExtraError if onnx is not installed, OutputError where the file exists (unless `overwrite`) or
    cannot be written.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("writing ONNX", "train") from error
    if not overwrite and Path(path).exists():  # said before the work, not after it
        raise OutputError(f"{path}: exists already; choose another name or allow overwriting")

    free = {0: "n"} if card.fixed_size else {0: "n", 2: "h", 3: "w"}
    side = max(32, 2 * card.size_multiple)
    example = torch.rand(2, card.channels, *(card.fixed_size or (side, side)))
    example = example.to(next(module.parameters()).device)
    traced = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter: the newer one needs seconds a network and cannot index by a computed remainder.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
        warnings.filterwarnings("ignore", message="Constant folding")
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*legacy TorchScript")
        torch.onnx.export(
            strided(module),
            (example,),
            traced,  # type: ignore[arg-type]  # the tracing exporter writes to any file
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": free, "output": free if card.makes_pictures else {0: "n"}},
        )
    model = onnx.load_model_from_string(traced.getvalue())
    onnx.helper.set_model_props(model, {METADATA_KEY: card.model_dump_json()})
    if fp16:
        _store_half(model)
    onnx.checker.check_model(model)
    return write_file(path, model.SerializeToString(), overwrite=overwrite)


@torch.no_grad()
def strided(module: nn.Module) -> nn.Module:
    """A copy that computes the same, pixel unshuffle and the convolution behind it being one convolution with a stride.

    Runtimes move every pixel for the former before they compute anything: a tenth of the time of a small network.
    """
    module = copy.deepcopy(module)
    for parent in module.modules():
        if not isinstance(parent, nn.Sequential):
            continue
        for index, (first, second) in enumerate(pairwise(parent)):
            if isinstance(first, nn.PixelUnshuffle) and isinstance(second, nn.Conv2d) and _is_plain(second):
                parent[index], parent[index + 1] = nn.Identity(), _merged(first.downscale_factor, second)
    return module


def _is_plain(layer: nn.Conv2d) -> bool:
    return layer.stride == layer.dilation == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"


def _merged(factor: int, layer: nn.Conv2d) -> nn.Conv2d:
    out, inside, high, wide = layer.weight.shape
    padding = tuple(factor * int(side) for side in layer.padding)
    merged = nn.Conv2d(
        inside // factor**2,
        out,
        (factor * high, factor * wide),
        factor,
        padding,  # type: ignore[arg-type]  # of two
        bias=layer.bias is not None,
    ).to(layer.weight)
    # Channels of the unshuffled picture: colour, row and column within its block.
    weight = layer.weight.reshape(out, -1, factor, factor, high, wide).permute(0, 1, 4, 2, 5, 3)
    merged.weight.copy_(weight.reshape(merged.weight.shape))
    if layer.bias is not None and merged.bias is not None:
        merged.bias.copy_(layer.bias)
    return merged


def _store_half(model: onnx.ModelProto) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Turn every float32 weight tensor into float16 and a cast back, which runtimes fold on loading."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or not weight.dims:
            continue
        wide = weight.name
        values = halved(numpy_helper.to_array(weight))
        if values.dtype != np.float16:
            continue
        half = numpy_helper.from_array(values, f"{wide}.half")
        weight.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [wide], to=TensorProto.FLOAT))
    for i, cast in enumerate(casts):
        model.graph.node.insert(i, cast)
