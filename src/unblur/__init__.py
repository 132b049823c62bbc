"""unblur takes blur out of images.

`restore` is the door; the rooms behind it (`unblur.physics`, `unblur.metrics`, ...) are imported by name.
Names are resolved on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unblur.engine import Result, restore
    from unblur.errors import (
        FileError,
        ImageError,
        InputError,
        KernelError,
        MissingExtraError,
        OptionError,
        OutputError,
        TooLargeError,
        UnblurError,
    )
    from unblur.estimate import estimate_blur
    from unblur.methods import METHODS
    from unblur.metrics import score
    from unblur.physics.blur import Blur
    from unblur.physics.degrade import degrade
    from unblur.session import Session, restore_stream

__version__ = "0.1.0"

_HOME = {
    "restore": "engine",
    "Result": "engine",
    "Session": "session",
    "restore_stream": "session",
    "METHODS": "methods",
    "Blur": "physics.blur",
    "degrade": "physics.degrade",
    "estimate_blur": "estimate",
    "score": "metrics",
    "UnblurError": "errors",
    "InputError": "errors",
    "ImageError": "errors",
    "FileError": "errors",
    "TooLargeError": "errors",
    "KernelError": "errors",
    "OptionError": "errors",
    "OutputError": "errors",
    "MissingExtraError": "errors",
}

__all__ = [
    "METHODS",
    "Blur",
    "FileError",
    "ImageError",
    "InputError",
    "KernelError",
    "MissingExtraError",
    "OptionError",
    "OutputError",
    "Result",
    "Session",
    "TooLargeError",
    "UnblurError",
    "__version__",
    "degrade",
    "estimate_blur",
    "restore",
    "restore_stream",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unblur' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"unblur.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
