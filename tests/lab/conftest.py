"""A training that takes a second: 24 small pictures, a U-Net with a few thousand weights."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unblur import files
from unblur.lab import recipe as recipes
from unblur.lab.recipe import Recipe

REPO = Path(__file__).resolve().parents[2]

TINY: dict[str, Any] = {
    "about": "a test",
    # Dropout draws at every step, which a resumed training must draw again.
    "net": {"name": "unet16", "options": {"widths": [4, 8], "dropout": 0.2, "final_activation": "linear"}},
    "data": {"set": "folder", "crop": [16, 16], "train": 0.75, "validation": 0.25},
    "blur": {"names": ["cifar-u03-f32"], "drawn": "anew"},
    "augment": {"flips": True, "turns": True},
    "batch": {"size": 4},
    "loss": {"mse": 1.0},
    "optimiser": {"kind": "adam", "rate": 1e-3},
    "schedule": {"kind": "plateau", "factor": 0.5, "patience": 1},
    "stop": {"epochs": 3},
    "ema": 0.9,
    "run": {"log_every": 2, "workers": 1, "precision": "32", "checkpoint_minutes": 1000},
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of 24x20 with smooth and sharp parts."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(3)
    for number in range(24):
        blocks = rng.integers(0, 256, (6, 5, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        files.save(blocks, folder / f"{number:02}.png")
    return folder


@pytest.fixture
def tiny(photographs: Path) -> Callable[..., Recipe]:
    """The recipe, with changes as on the command line."""

    def make(*overrides: str) -> Recipe:
        content = copy.deepcopy(TINY)
        content["data"]["root"] = str(photographs)
        return recipes.parse(content, overrides)

    return make


def same_tensors(a: Path, b: Path) -> bool:
    """Whether two files hold the same tensors, bit for bit."""
    ours, theirs = load_file(a), load_file(b)
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]) for name in ours
    )


def start(*arguments: str, module: str | None = None) -> subprocess.Popen[str]:
    """`python SCRIPT ...` or `python -m module ...` with this source, one thread, and its output piped."""
    environment = os.environ | {"PYTHONPATH": str(REPO / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *(["-m", module] if module else []), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPO
    )
