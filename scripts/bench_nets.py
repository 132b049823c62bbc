"""Forward throughput of every network at its own size, in megapixels per second, by everything that can run it.

    scripts/bench nets [--json] [--limit-seconds 300] [--names unet20,red30]

Random weights, the machine's cores as the libraries take them. Rounds are interleaved: in each one every backend runs
once, so that a machine that slows down slows all of them. Medians over the rounds that fit into the limit, the first
one left out; a network that is too heavy for a second round is judged by its first, which the table says by "first".
Prints a Markdown table, or JSON with the times of all rounds.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer

from unblur import models, nets
from unblur.nets.export import to_onnx
from unblur.runtime.base import Backend
from unblur.runtime.onnx import OnnxBackend
from unblur.runtime.openvino import OpenVinoBackend
from unblur.runtime.torch import TorchBackend

#: Pictures, height and width of a batch: what the reports train or test on; elsewhere a usual training crop.
OWN = {"000": (8, 32, 32), "001": (8, 32, 32), "002": (1, 256, 448), "004": (1, 144, 256)}
OWN_OF = {
    "unet16": OWN["000"],
    "srn_reds": (1, 256, 256),
    "mscnn_paper": (1, 128, 128),
    "red30": (1, 128, 128),
}
CROP = (1, 256, 256)

ROUNDS = 5

BACKENDS: dict[str, Callable[[Path, Path], Backend]] = {
    "torch fp32": lambda weights, _: TorchBackend(weights),
    "torch bf16": lambda weights, _: TorchBackend(weights, bf16=True),
    "ONNX Runtime fp32": lambda _, onnx: OnnxBackend(onnx),
    "OpenVINO fp32": lambda _, onnx: OpenVinoBackend(onnx),
    "OpenVINO bf16": lambda _, onnx: OpenVinoBackend(onnx, bf16=True),
}


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    limit_seconds: Annotated[
        float, typer.Option(help="For all networks together; a heavy one still gets its first round.")
    ] = 300,
    names: Annotated[str, typer.Option(help="Networks, separated by commas. [default: all]")] = "",
) -> None:
    chosen = [models.card(name) for name in names.split(",")] if names else list(models.cards().values())
    deadline = time.perf_counter() + limit_seconds
    costs = {card.name: card.gmacs_per_megapixel * np.prod(shape(card)) for card in chosen}
    rows = []
    for at, card in enumerate(chosen):
        left = [costs[one.name] for one in chosen[at:]]
        # Half of the time goes by cost, half in equal parts: building and loading cost the same for all.
        share = 0.5 * left[0] / sum(left) + 0.5 / len(left)
        typer.echo(f"{card.name}: {deadline - time.perf_counter():.0f} s left", err=True)
        rows.append(measure(card, time.perf_counter() + share * (deadline - time.perf_counter())))
    if as_json:
        typer.echo(json.dumps({"machine": machine(), "rows": rows}))
        return
    typer.echo(f"{machine()}\n\n{markdown(rows)}")


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table; the best of a row in bold."""
    head = ["network", "batch", "GMACs/Mpx", *BACKENDS, "rounds"]
    lines = [line(head), line(["---", "---", *["---:"] * (len(head) - 2)])]
    for row in rows:
        speeds = [row["megapixels_per_second"][name] for name in BACKENDS]
        cells = [f"**{speed:.3g}**" if speed == max(speeds) else f"{speed:.3g}" for speed in speeds]
        batch = "x".join(map(str, row["shape"]))
        lines.append(
            line(
                [
                    row["name"],
                    batch,
                    f"{row['gmacs_per_megapixel']:.1f}",
                    *cells,
                    str(row["rounds"] or "first"),
                ]
            )
        )
    return "\n".join(lines)


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def shape(card: models.ModelCard) -> tuple[int, int, int]:
    """Pictures, height, width."""
    pictures, height, width = OWN_OF.get(card.name, OWN.get(card.report, CROP))
    return pictures, *(card.fixed_size or (height, width))


def measure(card: models.ModelCard, deadline: float) -> dict[str, Any]:
    """The medians of one network, from rounds until the deadline."""
    torch.manual_seed(0)
    net = nets.create(card.name).eval()
    pictures, height, width = shape(card)
    batch = np.random.default_rng(0).random((pictures, card.channels, height, width), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        tensors = {key: value.numpy() for key, value in net.state_dict().items()}
        weights = models.write_weights(Path(folder, "net.safetensors"), tensors, card)
        onnx = to_onnx(net, card, Path(folder, "net.onnx"))
        backends = {name: build(weights, onnx) for name, build in BACKENDS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in backends}
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        for name, backend in backends.items():
            started = time.perf_counter()
            backend.run(batch)
            seconds[name].append(time.perf_counter() - started)
        if 2 * time.perf_counter() - began > deadline:
            break
    pixels = pictures * height * width / 1e6
    return {
        "name": card.name,
        "shape": [pictures, height, width],
        "gmacs_per_megapixel": card.gmacs_per_megapixel,
        "megapixels_per_second": {
            name: pixels / median(times[1:] or times) for name, times in seconds.items()
        },
        "seconds": seconds,
        "rounds": len(seconds["torch fp32"]) - 1,
    }


def machine() -> str:
    """What it ran on, in general words."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    units = [name for name, flag in {"AVX-512": "avx512f", "bf16 instructions": "avx512_bf16",
                                     "bf16 matrix units": "amx_bf16"}.items() if flag in flags]  # fmt: skip
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {', '.join(units) or 'no AVX-512'}"
        f"{'' if 'bf16' in ' '.join(units) else ', no bf16 units'}; torch {torch.__version__}"
    )


if __name__ == "__main__":
    typer.run(main)
