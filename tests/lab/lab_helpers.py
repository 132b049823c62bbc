"""A recipe for 24 small pictures and a U-Net with a few thousand weights, and what tests of trainings share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

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


def same_tensors(a: Path, b: Path) -> bool:
    """Whether two files hold the same tensors, bit for bit."""
    ours, theirs = load_file(a), load_file(b)
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]) for name in ours
    )


def start(*arguments: str) -> subprocess.Popen[str]:
    """`python ARGUMENTS` with this source and one thread, in pipes."""
    environment = os.environ | {"PYTHONPATH": str(REPO / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPO,
    )


STABLE = """
import json, os, sys
import torch.utils.tensorboard
import unblur.lab.train
from unblur.cli import main

torch.set_num_threads(1)
for line in sys.stdin:
    what, *arguments = json.loads(line)
    if what == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(arguments[0], 0)[1]), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        said = os.open(arguments[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.environ.update(arguments[1])
        sys.argv = ["unblur", "train", *arguments[2:]]
        main()
"""


class Stable:
    """Processes that begin with everything imported: copies of one that has done nothing else yet."""

    def __init__(self) -> None:
        self.process = start("-c", STABLE)

    def ask(self, *words: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def train(self, said: Path, *arguments: object, environment: dict[str, str] | None = None) -> int:
        """Start `unblur train`, its output going to a file; the process id."""
        return self.ask("train", str(said), environment or {}, *map(str, arguments))

    def wait(self, pid: int) -> int:
        """The exit code of a process when it ends."""
        return self.ask("wait", pid)
