"""Networks through ONNX Runtime."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unblur.errors import FileError, ImageError
from unblur.models import METADATA_KEY, ModelCard, parse_card
from unblur.threads import cores


class OnnxBackend:
    """Runs an ONNX model with one image input and one image output on the CPU.

    model: a path or the bytes of a model. threads: how many cores to use, None for those that a thread may take.
    `metadata` holds the strings that were stored in the file.
    Raises FileError for a file that is missing or not such a model.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, *, threads: int | None = None) -> None:
        # Imported here: loading the library takes longer than all the rest of the package.
        import onnxruntime as ort

        ort.disable_telemetry_events()  # a picture is nobody else's business
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise FileError(f"{model}: no such file; give the path of an ONNX model")
        source = model if isinstance(model, bytes) else os.fspath(model)
        name = "the given bytes" if isinstance(model, bytes) else str(model)

        @lru_cache(maxsize=2)
        def session(threads: int) -> ort.InferenceSession:
            settings = ort.SessionOptions()
            settings.log_severity_level = 4
            settings.intra_op_num_threads = threads
            # Pages of the arena are never given back; with tiles of changing size it only grows.
            settings.enable_cpu_mem_arena = False
            return ort.InferenceSession(source, settings, providers=["CPUExecutionProvider"])

        self._session, self._threads = session, threads
        try:
            first = session(threads or cores())
        except Exception as error:
            raise FileError(f"{name}: not an ONNX model that can be run ({_first_line(error)})") from error
        inputs, outputs = first.get_inputs(), first.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise FileError(f"{name}: expected a model with one (N, C, H, W) input")
        self._input, self._output = inputs[0].name, outputs[0].name
        self.metadata: dict[str, str] = dict(first.get_modelmeta().custom_metadata_map)
        self._name = name

    @property
    def card(self) -> ModelCard:
        """The model card inside. Raises FileError where there is none."""
        return card_inside(self.metadata.get(METADATA_KEY), self._name)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the model. Shape: (N, C, H, W) float32 in, (N, C', H', W') float32 out.

        Raises ImageError for a shape that the model cannot take.
        """
        try:
            session = self._session(self._threads or cores())
            out = session.run([self._output], {self._input: np.ascontiguousarray(batch, np.float32)})[0]
        except Exception as error:
            raise ImageError(
                f"the model cannot take a batch of shape {batch.shape} ({_first_line(error)})"
            ) from error
        return np.asarray(out, dtype=np.float32)


def card_inside(facts: str | None, name: str) -> ModelCard:
    """The card that lay among an ONNX file's metadata. Raises FileError where there was none."""
    if facts is None:
        raise FileError(f"{name}: has no model card inside; write it with `unblur export`")
    return parse_card(facts, name)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
