"""Training speed on the processor, side by side with the same networks in Keras 3 / TensorFlow.

    scripts/bench training --keras /path/to/python [--rounds 5] [--out docs/results/training-speed.json]

The interpreter given needs TensorFlow 2.16 or later, nothing else: `python -m venv tf && tf/bin/pip install
tensorflow-cpu`. What runs there is `bench_training_keras.py`. Both sides train on batches of noise that lie in memory:
forward, mean squared error, backward, Adam. Rounds alternate between the two, and so do measurements of the fastest
matrix product and convolution that torch reaches here. Printed are medians over rounds, and the best of them, which
says more where other programs run too. GFLOP/s is the arithmetic of our best step (three times its forward
convolutions), the share that over the fastest product. Last comes the share of the time that `unet20` at batch 250
waits for its data.
"""

from __future__ import annotations

# Before torch: it says how threads wait.
from unblur.lab import recipe as recipes  # isort: skip

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

from unblur.lab.batches import Array, Batch, Batches
from unblur.lab.objective import Regression
from unblur.lab.train import make_fabric, multiplies_bf16
from unblur.nets import create
from unblur.nets.cost import gmacs_per_megapixel

HERE = Path(__file__).resolve().parent
#: System, pictures in a batch, and steps of one round.
CASES = (("resunet3", 250, 1), ("caessc_d30_f64", 64, 1))


def main(
    keras: Annotated[
        Path | None, typer.Option(help="An interpreter with TensorFlow; without it ours alone.")
    ] = None,
    rounds: int = 5,
    out: Annotated[Path | None, typer.Option(help="Write every round as JSON.")] = None,
) -> None:
    precision = "bf16" if multiplies_bf16("cpu") else "32"
    table = Table(
        "system", "batch", "ours", "Keras", "ratio", "best: ours", "Keras", "ratio", "GFLOP/s", "share"
    )
    found: list[dict[str, Any]] = []
    for name, batch, steps in CASES:
        ours = our_step(name, batch, precision)
        theirs = keras_steps(keras, name, batch) if keras is not None else None
        per_image = 6e-9 * macs(name)
        rates: dict[str, list[float]] = {"ours": [], "keras": [], "fastest": []}
        found.append({"system": name, "batch": batch, "precision": precision, "gflop_per_image": per_image})
        found[-1] |= rates
        for _ in range(rounds):
            rates["fastest"].append(max(products(precision == "bf16").values()))
            rates["ours"].append(batch * steps / seconds(ours, steps))
            if theirs is not None:
                rates["keras"].append(batch * steps / theirs(steps))
            if out is not None:
                out.write_text(json.dumps(found, indent=1) + "\n")
        cells = []
        for of in (median, max):
            middle = {what: of(numbers) for what, numbers in rates.items() if numbers}
            cells += [f"{middle[what]:.1f}" if what in middle else "" for what in ("ours", "keras")]
            cells.append(f"{middle['ours'] / middle['keras']:.2f}" if "keras" in middle else "")
        rate = max(rates["ours"]) * per_image
        table.add_row(name, str(batch), *cells, f"{rate:.0f}", f"{rate / max(rates['fastest']):.0%}")
    Console().print(table)
    Console().print(f"unet20 at batch 250 waits for data {waiting(precision):.1%} of the time")
    Console().print(
        f"images a second; ours in {precision}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def our_step(name: str, batch: int, precision: str) -> Callable[[], object]:
    """A step of the training loop, as the published recipe has it."""
    changes = [f"batch.size={batch}", f"run.precision='{precision}'"]
    recipe = recipes.load(HERE.parent / "recipes" / name / "cifar-int123-f32.toml", changes)
    fabric = make_fabric(recipe, "cpu")
    torch.manual_seed(0)
    net = recipe.net.spec.build().to(memory_format=torch.channels_last)
    objective = Regression(fabric, recipe, net)
    part = Batch(torch.rand(batch, 3, 32, 32), torch.rand(batch, 3, 32, 32), None, 1.0)
    objective.step([part], 1.0)  # oneDNN chooses its kernels
    return lambda: objective.step([part], 1.0)


def waiting(precision: str, steps: int = 12) -> float:
    """Share of the time that training waits for its data: unet20 as published, at batch 250, pictures of noise."""
    changes = ["batch.size=250", f"run.precision='{precision}'"]
    recipe = recipes.load(HERE.parent / "recipes/unet20/cifar-u03-u8.toml", changes)
    noise = np.random.default_rng(0).integers(0, 256, (5000, 32, 32, 3), np.uint8)
    stream = Batches(Array(noise, np.arange(len(noise))), recipe, training=True).stream()
    objective = Regression(make_fabric(recipe, "cpu"), recipe, recipe.net.spec.build())
    objective.step(next(stream), 1.0)
    started, waited = time.perf_counter(), 0.0
    for _ in range(steps):
        asked = time.perf_counter()
        parts = next(stream)
        waited += time.perf_counter() - asked
        objective.step(parts, 1.0)
    stream.close()
    return waited / (time.perf_counter() - started)


def keras_steps(python: Path, name: str, batch: int) -> Callable[[int], float]:
    """How long so many steps take there, in seconds."""
    script = HERE / "bench_training_keras.py"
    child = subprocess.Popen(
        [python, script, name, str(batch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
    )

    def ask(steps: int) -> float:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{steps}\n")
        child.stdin.flush()
        return float(child.stdout.readline())

    weights = sum(p.numel() for p in create(name).parameters())
    assert int(ask(0)) == weights, "not the same network"
    return ask


def macs(name: str) -> float:
    """Multiplications of the forward convolutions for one picture of 32x32."""
    return gmacs_per_megapixel(name) * 1e3 * 32 * 32


def products(bf16: bool) -> dict[str, float]:
    """GFLOP/s of a large matrix product and of two convolutions, in the precision that training uses."""
    dtype = torch.bfloat16 if bf16 else torch.float32
    a = torch.rand(2048, 2048, dtype=dtype)
    rates = {"matrix product": 2 * 2048**3 / best(lambda: a @ a) / 1e9}
    for side, wide, pictures in ((5, 64, 64), (3, 64, 128)):
        layer = nn.Conv2d(wide, wide, side, padding=side // 2, bias=False, dtype=dtype)
        layer.to(memory_format=torch.channels_last)
        x = torch.rand(pictures, wide, 32, 32, dtype=dtype).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            taken = best(lambda layer=layer, x=x: layer(x))  # type: ignore[misc]
        rates[f"convolution {side}x{side}"] = 2 * pictures * (wide * side * 32) ** 2 / taken / 1e9
    return rates


def best(function: Callable[[], object], times: int = 4) -> float:
    """The shortest of a few runs after one that does not count, in seconds."""
    function()
    return min(seconds(function, 1) for _ in range(times))


def seconds(function: Callable[[], object], times: int) -> float:
    """Of so many calls."""
    started = time.perf_counter()
    for _ in range(times):
        function()
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
