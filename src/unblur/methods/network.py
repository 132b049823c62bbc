"""A trained network as a method: by the name of a model, or by a file of weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from unblur.errors import OptionError
from unblur.image import Image
from unblur.methods.base import Method, Options
from unblur.models import METADATA_KEY, ModelCard, find_weights, parse_card, read_card
from unblur.physics.blur import Blur
from unblur.physics.convolve import pad
from unblur.runtime.base import Backend

#: What weights are stored as, the one that needs the fewest dependencies first.
SUFFIXES = (".onnx", ".safetensors")

#: Activations of a convolutional network at full resolution, for each pixel of a tile: some 128 channels of float32.
BYTES_PER_PIXEL = 512

_UNKNOWN = Blur("none", confidence=0.0)


def method(model: str) -> Method:
    """The method that runs a model, given by name or file. Loaded once a file.

    Raises FileError where there are no weights or damaged ones, OptionError for a model that does not restore.
    """
    path = find_weights(model, SUFFIXES)
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: Path, _stamp: int) -> Method:
    card, backend = _open(path)
    if card.role != "restorer":
        raise OptionError(f"{card.name} is an {card.role}, it does not restore pictures")
    if card.fixed_size is not None and card.fixed_size[0] != card.fixed_size[1]:
        raise OptionError(
            f"{card.name} takes only pictures of {card.fixed_size[1]}x{card.fixed_size[0]} pixels"
        )
    side = card.fixed_size[0] if card.fixed_size else None

    def run(image: Image, _blur: Blur, _options: Options) -> Image:
        return _apply(backend, card, image)

    return Method(
        name=card.name,
        summary=f"the network {card.name}",
        find=lambda _image: _UNKNOWN,
        run=run,
        # A network that sees the whole picture is given large tiles that overlap well.
        halo=lambda _blur, _options: 0 if side else card.halo if card.halo is not None else 64,
        bytes_per_pixel=BYTES_PER_PIXEL,
        multiple=side or card.size_multiple,
        side=side,
        needs_blur=False,
    )


def _open(path: Path) -> tuple[ModelCard, Backend]:
    if path.suffix == ".onnx":
        from unblur.runtime.onnx import OnnxBackend

        backend = OnnxBackend(path)
        if METADATA_KEY not in backend.metadata:
            raise OptionError(f"{path}: has no model card inside; export it with `unblur export`")
        return parse_card(backend.metadata[METADATA_KEY], str(path)), backend
    card = read_card(path)
    from unblur.runtime.torch import TorchBackend

    return card, TorchBackend(path)


def _apply(backend: Backend, card: ModelCard, image: Image) -> Image:
    """Pad to what the network takes, run, crop. A grey picture goes in as three equal channels."""
    height, width, channels = image.shape
    rows, columns = card.fixed_size or (
        -(-height // card.size_multiple) * card.size_multiple,
        -(-width // card.size_multiple) * card.size_multiple,
    )
    colours = np.repeat(image, 3, axis=2) if channels == 1 and card.channels == 3 else image
    padded = pad(colours, (0, rows - height, 0, columns - width), "reflect101")
    batch = np.ascontiguousarray(padded.transpose(2, 0, 1)[None])
    restored = backend.run(batch)[0].transpose(1, 2, 0)[:height, :width]
    if channels == 1:
        restored = restored.mean(axis=2, keepdims=True)
    return np.clip(restored, 0, 1)
