"""The default method: find the blur, decide whether to act, restore, and check the result."""

from __future__ import annotations

import os
from functools import lru_cache

from unblur.estimate.likelihood import LARGEST
from unblur.image import Image
from unblur.methods import classical, guided, network, photograph
from unblur.methods.base import Method, Options
from unblur.models import ModelCard, card, find_weights
from unblur.physics.blur import Blur
from unblur.runtime.base import Backend

#: What cleans up behind total variation; it comes with the package.
NETWORK = "unblur-m"

_SUFFIX = ".onnx"


def _run(image: Image, blur: Blur, options: Options) -> Image:
    if (restored := photograph.divided(image, blur, options)) is not None:
        return restored
    if blur.parts or blur.kernel is None or max(image.shape[:2]) <= LARGEST:
        return classical.solve("total-variation", image, blur, options)
    return guided.run(*_network(os.environ.get(network.BACKEND_VARIABLE, "")), image, blur, options)


@lru_cache(maxsize=2)
def _network(chosen: str) -> tuple[Backend, ModelCard]:
    backend = network.open_backend(
        find_weights(NETWORK, (_SUFFIX,)), chosen if network.SUFFIX_OF.get(chosen) == _SUFFIX else ""
    )
    return backend, backend.card


def _method() -> Method:
    about = card(NETWORK)
    return Method(
        name="auto",
        summary="finds the blur, restores where it is sure, leaves sharp pictures alone, checks itself",
        find=photograph.find,
        run=_run,
        halo=guided.halo(about),
        bytes_per_pixel=classical.TOTAL_VARIATION.bytes_per_pixel,
        bytes_with=classical.total_variation_bytes,
        fixed_bytes=guided.fixed_bytes(about),
        bytes_with_fixed=guided.BYTES_SHOWN,
        multiple=about.size_multiple,
        prepare=classical.prepare,
        iterative=True,
        careful=True,
        models=(NETWORK,),
    )


AUTO = _method()
