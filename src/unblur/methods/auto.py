"""The default method: find the blur, decide whether to act, restore, and check the result."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from unblur.estimate.likelihood import LARGEST
from unblur.image import Image
from unblur.methods import classical, guided, network, photograph
from unblur.methods.base import Options
from unblur.models import card, find_weights
from unblur.physics.blur import Blur
from unblur.runtime.base import Backend

#: What cleans up behind total variation; it comes with the package, for ONNX Runtime and OpenVINO.
NETWORK = "unblur-m"

_SUFFIX = ".onnx"


def _run(image: Image, blur: Blur, options: Options) -> Image:
    if blur.parts or blur.kernel is None or max(image.shape[:2]) <= LARGEST:
        restored = photograph.divided(image, blur, options)
        return classical.solve("total-variation", image, blur, options) if restored is None else restored
    return _GUIDED.run(image, blur, options)


def _backend() -> Backend:
    chosen = network.chosen_backend()
    return _opened(chosen if network.SUFFIX_OF.get(chosen) == _SUFFIX else "")


@lru_cache(maxsize=2)
def _opened(chosen: str) -> Backend:
    return network.open_backend(find_weights(NETWORK, (_SUFFIX,)), chosen)


_GUIDED = guided.method(_backend, card(NETWORK), NETWORK)

AUTO = replace(
    _GUIDED,
    name="auto",
    summary="finds the blur, restores where it is sure, leaves sharp pictures alone, checks itself",
    run=_run,
    iterative=True,
)
