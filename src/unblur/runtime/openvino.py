"""Networks through OpenVINO, from the same ONNX files."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unblur.errors import FileError, ImageError, MissingExtraError
from unblur.models import METADATA_KEY, ModelCard
from unblur.runtime.onnx import card_inside

try:
    import openvino as ov
except ImportError as error:
    raise MissingExtraError("running networks with OpenVINO", "openvino") from error


class OpenVinoBackend:
    """Runs an ONNX model with one image input and one output on the CPU.

    model: a path. bf16: let the CPU compute in bfloat16, where it can. threads: None for all cores.
    Raises FileError for a file that is missing or not such a model.
    """

    def __init__(
        self, model: str | os.PathLike[str], *, bf16: bool = False, threads: int | None = None
    ) -> None:
        if not Path(model).is_file():
            raise FileError(f"{model}: no such file; give the path of an ONNX model")
        settings = {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            core = ov.Core()
            read = core.read_model(os.fspath(model))
            self._model = core.compile_model(read, "CPU", settings)
        except RuntimeError as error:
            raise FileError(
                f"{model}: not an ONNX model that can be run ({str(error).splitlines()[0]})"
            ) from error
        self._facts = {key: value.astype(str) for key, value in read.rt_info["framework"].items()}
        self._name = str(model)
        self._local = threading.local()

    @property
    def card(self) -> ModelCard:
        """The model card inside. Raises FileError where there is none."""
        return card_inside(self._facts.get(METADATA_KEY), self._name)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the model. Shape: (N, C, H, W) float32 in; what the model gives, float32 out.

        Raises ImageError for a shape that the model cannot take.
        """
        # A request serves one call at a time, and threads may share a backend.
        if not hasattr(self._local, "request"):
            self._local.request = self._model.create_infer_request()
        try:
            given = np.ascontiguousarray(batch, np.float32)
            out = self._local.request.infer(given, share_inputs=True)[0]
        except RuntimeError as error:
            what = str(error).splitlines()[0]
            raise ImageError(f"the model cannot take a batch of shape {batch.shape} ({what})") from error
        return np.array(out, dtype=np.float32)
