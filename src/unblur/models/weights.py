"""Files of weights: where they are found, and what lies in them.

A file of weights is safetensors with its card as JSON under the key `unblur` of the header, or ONNX with the
same among its metadata. Never pickle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from unblur.errors import FileError, OptionError, OutputError
from unblur.files import write_file
from unblur.models.card import ModelCard, card, parse

#: Under this key the card lies in a file's metadata.
METADATA_KEY = "unblur"

#: Where weights that are not at hand are fetched from: this base, a slash, and the name of the file.
URL_VARIABLE = "UNBLUR_WEIGHTS_URL"

_FETCHED = ".safetensors"

#: The weights that come with the package.
SHIPPED = Path(__file__).parent / "shipped"


def find_weights(
    model: str | os.PathLike[str], suffixes: tuple[str, ...] = (".onnx", ".safetensors")
) -> Path:
    """The file of weights of a model: a path as it is, a name by the first place that has it.

    The places: $UNBLUR_WEIGHTS, ./weights, the user's cache, the package, then the URL base in $UNBLUR_WEIGHTS_URL,
    whose file, .safetensors, must have the sha256 of the card and is kept in the cache. suffixes: what a name may
    stand for, the preferred one first. A word with a dot or a slash in it is a path.
    Raises FileError where there is none, OptionError for a name without a card.
    """
    given = Path(model)
    if given.suffix or given.parent != Path():
        if not given.is_file():
            raise FileError(f"{given}: no such file of weights")
        return given
    one = card(str(model))
    import pooch

    cache = Path(pooch.os_cache("unblur")) / "weights"
    named = os.environ.get("UNBLUR_WEIGHTS")
    base = os.environ.get(URL_VARIABLE) if _FETCHED in suffixes else None
    # What was fetched is checked again below, and fetched again where it has been damaged.
    kept = cache / f"{one.name}{_FETCHED}" if base and one.sha256 else None
    places = [*([Path(named)] if named else []), Path("weights"), cache, SHIPPED]
    for place in places:
        for suffix in suffixes:
            if (path := place / f"{one.name}{suffix}").is_file() and path != kept:
                return path
    if base and kept:
        return _download(base, one.sha256, kept)
    looked = [*map(str, places), *([f"not at {base}, as its card has no sha256"] if base else [])]
    raise FileError(
        f"no weights for {one.name} ({' or '.join(suffixes)}): looked in {', '.join(looked)};"
        " train it (unblur train), or set UNBLUR_WEIGHTS to the folder that has them"
    )


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """The card inside a safetensors file. Raises FileError for a damaged file, or one without a card."""
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            facts = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise FileError(f"{path}: not a safetensors file of weights, or a damaged one ({error})") from error
    if METADATA_KEY not in facts and "state" in facts:
        raise FileError(f"{path}: a training to be resumed; its weights are in best.safetensors beside it")
    if METADATA_KEY not in facts:
        raise FileError(f"{path}: has no model card inside; it was not written by unblur")
    return parse(facts[METADATA_KEY], str(path))


def read_weights(
    path: str | os.PathLike[str], *, half: bool = False
) -> tuple[ModelCard, dict[str, NDArray[Any]]]:
    """The card and the tensors of a safetensors file, as stored (float16 or float32), or in `half` precision.

    Tensors with numbers too large for that stay float32, as statistics of normalisations may be.
    Raises FileError for a damaged file or one without a card.
    """
    about = read_card(path)
    try:
        tensors = load_file(os.fspath(path))
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a type of numbers that numpy lacks
        raise FileError(f"{path}: cannot be read as weights ({error})") from error
    if half:
        tensors = {name: halved(value) for name, value in tensors.items()}
    return about, tensors


def halved(tensor: NDArray[Any]) -> NDArray[Any]:
    """A float32 tensor in half precision, where that holds it; any other as it is."""
    if tensor.dtype != np.float32:
        return tensor
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16)
    return half if np.isfinite(half).all() else tensor


def write_weights(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]],
    about: ModelCard,
    *,
    overwrite: bool = False,
) -> Path:
    """Write tensors and their card to a safetensors file, in one step.

    Raises OutputError where the file exists (unless `overwrite`) or cannot be written.
    """
    flat = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return write_file(path, save(flat, {METADATA_KEY: about.model_dump_json()}), overwrite=overwrite)


def _download(base: str, sha256: str, kept: Path) -> Path:
    import pooch
    import requests

    if not base.startswith(("https://", "http://")):
        raise OptionError(f"{URL_VARIABLE}={base}: expected an address that begins with https:// or http://")
    url = f"{base.rstrip('/')}/{kept.name}"
    try:
        pooch.retrieve(url, f"sha256:{sha256}", fname=kept.name, path=kept.parent, progressbar=False)
    except requests.RequestException as error:  # before ValueError and OSError, which some of them are too
        raise FileError(f"{url}: cannot be fetched ({error})") from error
    except ValueError as error:
        raise FileError(f"{url}: the file is not the one that was published (sha256 differs)") from error
    except OSError as error:
        raise OutputError(f"{kept.parent}: cannot keep weights there ({error})") from error
    return kept
