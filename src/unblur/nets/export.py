"""Networks as ONNX files that carry their description."""

from __future__ import annotations

import os
import warnings

import torch
from torch import nn

from unblur.errors import MissingExtraError
from unblur.nets.spec import Spec

METADATA_KEY = "unblur"
"""Under this key of an exported file's metadata lies the network's card, as JSON."""

OPSET = 17


def to_onnx(
    module: nn.Module,
    spec: Spec,
    path: str | os.PathLike[str],
    *,
    fp16: bool = False,
    card: str | None = None,
) -> None:
    """Write a network to an ONNX file; its output is not clamped, as the network's own is not.

    Input "input", (N, C, H, W) float32 in [0, 1]; output "output". N is free, and H and W too unless the
    network has a fixed size. `fp16` stores the weights in half precision; they are widened when the file is
    loaded, so that arithmetic, input and output stay float32. `card`: the JSON to carry, the spec's own if
    None. The module's mode and weights are left as they were.
    Raises MissingExtraError if onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("writing ONNX", "train") from error

    free = {0: "n"} if spec.fixed_size else {0: "n", 2: "h", 3: "w"}
    side = max(32, 2 * spec.size_multiple)
    example = torch.rand(2, spec.channels, *(spec.fixed_size or (side, side)))
    example = example.to(next(module.parameters()).device)
    with warnings.catch_warnings():
        # The tracing exporter: the newer one needs seconds a network and cannot index by a computed remainder.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
        warnings.filterwarnings("ignore", message="Constant folding")
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*legacy TorchScript")
        torch.onnx.export(
            module,
            (example,),
            os.fspath(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": free, "output": free if spec.role == "restorer" else {0: "n"}},
        )
    model = onnx.load(os.fspath(path))
    onnx.helper.set_model_props(model, {METADATA_KEY: card or spec.card()})
    if fp16:
        _store_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, os.fspath(path))


def _store_half(model: onnx.ModelProto) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Turn every float32 weight tensor into float16 and a cast back, which runtimes fold on loading."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or not weight.dims:
            continue
        wide = weight.name
        half = numpy_helper.from_array(numpy_helper.to_array(weight).astype("float16"), f"{wide}.half")
        weight.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [wide], to=TensorProto.FLOAT))
    for i, cast in enumerate(casts):
        model.graph.node.insert(i, cast)
