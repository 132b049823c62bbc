"""A trained network as a method: by the name of a model, or by a file of weights.

What runs it: ONNX Runtime for a file `.onnx`, torch for `.safetensors` (needs the extra `train`). A name stands for
the first file that is found, `.onnx` before `.safetensors` in each place; see `unblur.models.find_weights`. The
environment variable UNBLUR_BACKEND chooses otherwise:

- `onnx`, `openvino` or `openvino-bf16` (the extra `openvino`) take `.onnx` only;
- `torch` or `torch-bf16` take `.safetensors` only, and a GPU where there is one.

The results differ by rounding: 1e-4 at most in float32; in bfloat16, which pays only on processors that have
units for it, visibly so for some networks.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unblur.errors import FileError, OptionError
from unblur.image import Image
from unblur.methods import guided
from unblur.methods.base import Method, Options
from unblur.models import ModelCard, cards, find_weights
from unblur.physics.blur import Blur
from unblur.physics.convolve import pad
from unblur.runtime.base import Backend

#: What weights are stored as, the one that needs the fewest dependencies first.
SUFFIXES = (".onnx", ".safetensors")

#: Names what runs networks; empty or unset, the file of weights decides.
BACKEND_VARIABLE = "UNBLUR_BACKEND"

SUFFIX_OF = {
    "onnx": ".onnx",
    "openvino": ".onnx",
    "openvino-bf16": ".onnx",
    "torch": ".safetensors",
    "torch-bf16": ".safetensors",
}

#: For each pixel, beside the network's own activations: the picture as it goes in, comes out, and is cut.
_BYTES_AROUND = 128

_UNKNOWN = Blur("none", confidence=0.0)


class Described(Backend, Protocol):
    """A backend that knows the card of what it runs."""

    @property
    def card(self) -> ModelCard:
        """Of the network that runs."""
        ...


def method(model: str) -> Method:
    """The method that runs a model, given by name or file. Loaded once a file.

    Raises FileError where there are no weights, damaged ones or another model's, OptionError for a model that
    does not restore or an unknown backend, MissingExtraError for a backend that is not installed.
    """
    chosen = chosen_backend()
    path = find_weights(model, (SUFFIX_OF[chosen],) if chosen else SUFFIXES)
    if chosen and path.suffix != SUFFIX_OF[chosen]:
        raise OptionError(f"{path}: {BACKEND_VARIABLE}={chosen} runs {SUFFIX_OF[chosen]} files only")
    found = _load(path, chosen, path.stat().st_mtime_ns)
    if model in cards() and found.name != model:
        raise FileError(f"{path}: holds the weights of {found.name}, not of {model}")
    return found


def chosen_backend() -> str:
    """The value of UNBLUR_BACKEND, "" where there is none. Raises OptionError for an unknown one."""
    chosen = os.environ.get(BACKEND_VARIABLE, "")
    if chosen and chosen not in SUFFIX_OF:
        raise OptionError(f"{BACKEND_VARIABLE}={chosen}: unknown; one of {', '.join(SUFFIX_OF)}")
    return chosen


@lru_cache(maxsize=4)
def _load(path: Path, chosen: str, _stamp: int) -> Method:
    backend = open_backend(path, chosen)
    card = backend.card
    if card.role == "guided":
        return guided.method(lambda: backend, card, str(path))
    if card.role != "restorer":
        raise OptionError(f"{card.name} does not restore pictures; it is of the kind {card.role!r}")
    side = card.fixed_size[0] if card.fixed_size else None
    if card.fixed_size is not None and card.fixed_size[1] != side:
        raise OptionError(
            f"{card.name} takes only pictures of {card.fixed_size[1]}x{card.fixed_size[0]} pixels"
        )

    def run_batch(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return _apply(backend, card, images)

    def run(image: Image, _blur: Blur, _options: Options) -> Image:
        return run_batch(image[None])[0]

    return Method(
        name=card.name,
        summary=f"the network {card.name}",
        find=lambda _image: _UNKNOWN,
        run=run,
        # A network that sees the whole picture is given large tiles that overlap well.
        halo=lambda _blur, _options: 0 if side else card.halo if card.halo is not None else 64,
        bytes_per_pixel=card.bytes_per_pixel + _BYTES_AROUND,
        multiple=side or card.size_multiple,
        side=side,
        needs_blur=False,
        models=(str(path),),
        run_batch=run_batch,
    )


def open_backend(path: Path, chosen: str = "") -> Described:
    """What runs a file of weights: a value of UNBLUR_BACKEND, or by the file's suffix.

    Raises FileError for a damaged file, MissingExtraError for a backend that is not installed.
    """
    bf16 = chosen.endswith("-bf16")
    if chosen.startswith("openvino"):
        from unblur.runtime.openvino import OpenVinoBackend

        return OpenVinoBackend(path, bf16=bf16)
    if path.suffix == ".onnx":
        from unblur.runtime.onnx import OnnxBackend

        return OnnxBackend(path)
    from unblur.runtime.torch import TorchBackend

    return TorchBackend(path, bf16=bf16)


def _apply(backend: Backend, card: ModelCard, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad to what the network takes, run, crop. Shape: (N, H, W, C) in and out.

    To a network for colour a grey picture is three equal channels; to one for grey each channel is a picture.
    """
    count, height, width, channels = images.shape
    rows, columns = card.fixed_size or (
        -(-height // card.size_multiple) * card.size_multiple,
        -(-width // card.size_multiple) * card.size_multiple,
    )
    padding = 0, rows - height, 0, columns - width
    batch = np.stack([pad(image, padding, "reflect101") for image in images]).transpose(0, 3, 1, 2)
    if channels == 1 < card.channels:
        batch = np.repeat(batch, card.channels, axis=1)
    batch = batch.reshape(-1, card.channels, rows, columns)
    restored = backend.run(np.ascontiguousarray(batch))[:, :, :height, :width]
    if channels == 1:
        restored = restored.mean(axis=1, keepdims=True)
    return np.clip(restored.reshape(count, channels, height, width).transpose(0, 2, 3, 1), 0, 1)
