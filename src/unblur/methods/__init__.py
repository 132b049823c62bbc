"""The named ways back from a blurred image: one row each in `METHODS`.

A method finds the blur where none is given (`find`), then restores (`run`). Everything else, tiles,
strength, types and files, is the engine's.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from unblur.errors import OptionError
from unblur.methods import auto, blind_kernel, classical, cnn_rl, network
from unblur.methods.base import Method, Options
from unblur.models import cards

__all__ = ["METHODS", "Method", "Options", "get"]

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            auto.AUTO,
            classical.RICHARDSON_LUCY,
            classical.WIENER,
            classical.TOTAL_VARIATION,
            classical.BLIND,
            blind_kernel.BLIND_KERNEL,
            classical.BLIND_PARAMETRIC,
            cnn_rl.CNN_RL,
            cnn_rl.CNN_RL_STITCH,
        )
    }
)


def get(name: str) -> Method:
    """The method of that name: a row of `METHODS`, a model by name, or a file of weights.

    `cnn-rl:MODEL` and `cnn-rl-stitch:MODEL` are those rows with another sigma-CNN, by name or file.

    Raises OptionError naming the nearest, FileError for weights that are not there or damaged.
    """
    if name in METHODS:
        return METHODS[name]
    row, _, model = name.partition(":")
    if model and row in cnn_rl.MODELS:
        return cnn_rl.method(row, model)
    if name in cards() or Path(name).suffix in network.SUFFIXES:
        return network.method(name)
    near = difflib.get_close_matches(name, [*METHODS, *cards()], n=1)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else f"one of {', '.join(METHODS)}, or a model of `unblur models`"
    )
    raise OptionError(f"unknown method {name!r}; {hint}")
