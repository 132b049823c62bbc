"""One file that holds a whole training: tensors, and in its header everything else as JSON.

One file, since one file can be replaced in one step: whatever interrupts the writing, the old one or the new one is
there and whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from unblur.errors import FileError
from unblur.files import write_file


def save(path: Path, tensors: Mapping[str, Tensor], **facts: Any) -> None:
    """Write tensors and facts (JSON types) in one step, replacing what is there. Raises OutputError."""
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {name: json.dumps(fact, sort_keys=True) for name, fact in facts.items()}
    write_file(path, to_bytes(flat, header), overwrite=True)


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save` wrote. Raises FileError for anything else."""
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            facts = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise FileError(f"{path}: cannot be read as weights: {error}") from error


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under longer names."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def within(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `prefixed` had named so."""
    return {
        name.removeprefix(f"{prefix}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}/")
    }


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything that an optimiser remembers, by parameter number and name."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, memory in state.items()
        for name, value in memory.items()
        if value is not None
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give back what `optimiser_tensors` took, in the memory layout of the parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        like = parameters[int(number)]
        if value.shape == like.shape and value.ndim:
            value = torch.empty_like(like).copy_(value)
        state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def restore_weights(net: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load a state dict; raises FileError naming `what` where it is another network's."""
    try:
        net.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise FileError(f"{what}: weights of another network: {' '.join(str(error).split())}") from error
