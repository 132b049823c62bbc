"""What the published trainings would cost here and on a GPU, what was spent instead, and where the curves stood.

    python scripts/training_minutes.py [--json] [--into docs/results/training.md]
    python scripts/training_minutes.py --measure all          # or --measure unet20,resunet1

Prints Markdown tables, or puts them between the two marks of a page. With --measure, the steps of these networks are
timed on the processor first, and kept in `training_minutes.json` beside this file; without, what is kept there is
used. A step is the training loop's own, on batches of noise that lie in memory: forward, loss, backward, optimiser,
float32, channels last, at the recipe's picture size. Reading and blurring pictures and validation come on top. Minutes
on a GPU are an estimate from arithmetic alone: 6 FLOP for each multiplication of the forward pass. What was spent is
read from the page's table of trainings, curves from `weights/*.log.jsonl`.
"""

from __future__ import annotations

# Before torch: it says how threads wait.
from unblur.lab import recipe as recipes  # isort: skip

import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer

from unblur import models
from unblur.datasets.cifar10 import SPLITS
from unblur.datasets.reds import SELECTIONS
from unblur.lab.batches import Batch
from unblur.lab.gan import Adversarial
from unblur.lab.objective import Objective, Regression
from unblur.lab.recipe import Recipe
from unblur.lab.report import read_log
from unblur.lab.train import make_fabric

HERE = Path(__file__).resolve().parent
REPO = HERE.parent
PAGE = REPO / "docs/results/training.md"
TIMES = HERE / "training_minutes.json"
MARKS = ("<!-- training_minutes -->", "<!-- /training_minutes -->")

#: Sets whose size is no part of their reader: GOPRO_Large's training part; report 004's photographs, all parts.
PICTURES = {"gopro": 2_103, "folder": 25_064}

#: Epochs after which the published training ended, where it ended early; two of CAESSC's from its best epoch (40, 78)
#: and its patience.
RAN = {
    "unet20": 60,
    "resunet1": 46,
    "eddensenet": 23,
    "caessc_d30_f64": 47,
    "caessc_d22_f128_half": 85,
}

#: float32 peaks in TFLOP/s, and the share of them that a training is taken to sustain.
PEAKS = {"Tesla T4": 8.1, "GTX 1060": 4.4}
GPU, CHECKED = PEAKS
SUSTAINED = 0.4


class Stated(NamedTuple):
    """What a report's training took: minutes an epoch, of so many pictures if not of the recipe's."""

    name: str
    minutes: float
    source: str
    pictures: int | None = None


STATED = (
    Stated("resunet1/cifar-int123-f32", 2.5, "report 001, logs: 2.5 min, GTX 1060"),
    Stated("resunet3/cifar-int123-f32", 3.3, "report 001, logs: 3.3 min, GTX 1060"),
    Stated("eddensenet/cifar-int123-f32", 6.2, "report 001, logs: 6.2 min"),
    Stated("srn_cifar/cifar-int123-f32", 4, "report 001, logs: about 4 min"),
    Stated("srn_reds/reds", 75, "report 001, logs: about 75 min, GTX 1060"),
    Stated("mscnn_ps/gopro", 53 * 60 / 1000, "report 003: 53 h in all, a GPU without a name"),
    Stated("unet_d3/imagenet-halfnormal5-u8", 16 * 60 / 2, "report 004: 16 h for 2 passes of 25,000", 25_000),
)

#: A step is timed on no more pictures, multiplications (10^9, forward) and pixels than these, and for so long.
MOST = (64, 100.0, 2**18)
SECONDS = 4.0


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    measure: Annotated[str, typer.Option(help="Systems to time again, separated by commas, or all.")] = "",
    into: Annotated[Path | None, typer.Option(help="Replace the tables between the marks of a page.")] = None,
) -> None:
    found = published()
    times: dict[str, Any] = json.loads(TIMES.read_text()) if TIMES.exists() else {}
    for name, recipe in found.items():
        if measure == "all" or recipe.net.name in measure.split(","):
            times[name] = timed(recipe)
            typer.echo(f"{name}: {times[name]}", err=True)
            TIMES.write_text(json.dumps(times, indent=1, sort_keys=True) + "\n")
    rows = [cost(name, recipe, times.get(name)) for name, recipe in found.items()]
    trained = spent(PAGE.read_text())
    for row in rows:
        row["spent"] = [one for one in trained if stands_for(one["name"], row["name"])]
        # Weights without a line in the table: how long they took is not written down.
        row["weights"] = (REPO / "weights" / f"{row['name'].split('/')[0]}.log.jsonl").exists()
    curves = [curve(read_log(path)) | {"system": path.name.split(".")[0]} for path in logs(found)]
    checks = [check(stated, found[stated.name]) for stated in STATED]
    if as_json:
        typer.echo(json.dumps({"recipes": rows, "curves": curves, "stated": checks}))
        return
    tables = "\n\n".join((cost_table(rows), curve_table(curves), stated_table(checks)))
    if into is None:
        typer.echo(tables)
        return
    before, _, rest = into.read_text().partition(MARKS[0])
    into.write_text(f"{before}{MARKS[0]}\n{tables}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


def published() -> dict[str, Recipe]:
    """The recipes that set up what was published, by name: those beside which we have put a better one."""
    names = {
        path.relative_to(REPO / "recipes").with_suffix("").as_posix(): path
        for path in recipes.all_recipes(REPO / "recipes")
    }
    theirs = {name.removesuffix("-plus") for name in names if name.endswith("-plus")}
    return {name: recipes.load(names[name], ["run.precision='32'"]) for name in sorted(theirs)}


def epoch_pictures(recipe: Recipe) -> int:
    """Pictures, or windows of them, that an epoch of the published set has."""
    data, batch = recipe.data, recipe.batch
    if batch.steps is not None:
        return batch.steps * batch.size
    match data:
        case recipes.Cifar10():
            return round(50_000 * SPLITS[data.split][0])
        case recipes.Reds():
            selection = SELECTIONS[data.train]
            return len(selection.scenes) * len(selection.frames) * data.patches
        case recipes.Folder():
            return round(PICTURES["folder"] * data.train)
        case _:
            return PICTURES[data.set] * data.patches


def size(recipe: Recipe) -> tuple[int, int]:
    """Height and width of what the network is trained on."""
    return getattr(recipe.data, "crop", None) or getattr(recipe.data, "size", None) or (32, 32)


def gmacs(recipe: Recipe) -> float:
    """10^9 multiplications of the forward pass for one picture; of both networks where one judges the other."""
    rate = models.card(recipe.net.name).gmacs_per_megapixel
    if recipe.gan is not None:  # it sees a sharp picture and a restored one
        rate += 2 * models.card(recipe.gan.discriminator).gmacs_per_megapixel
    height, width = size(recipe)
    return rate * height * width / 1e6


def gpu_minutes(gmacs: float, pictures: float, peak: float) -> float:
    """Estimated: the backward pass costs two forward passes, a multiplication with its addition 2 FLOP."""
    return 3 * 2 * gmacs * 1e9 * pictures / (SUSTAINED * peak * 1e12) / 60


def cost(name: str, recipe: Recipe, times: dict[str, Any] | None) -> dict[str, Any]:
    """Pictures and minutes of a published training; `ran` where it ended before its epochs were over."""
    each, every = gmacs(recipe), epoch_pictures(recipe)
    epochs = {"whole": recipe.stop.epochs, "ran": RAN.get(recipe.net.name)}
    row: dict[str, Any] = {"name": name, "gmacs": each, "epoch_pictures": every, "measured": times}
    for what, count in epochs.items():
        if count is None:
            row[what] = None
            continue
        pictures = count * every
        row[what] = {
            "epochs": count,
            "pictures": pictures,
            "cpu_minutes": None if times is None else pictures * times["seconds_a_picture"] / 60,
            "gpu_minutes": gpu_minutes(each, pictures, PEAKS[GPU]),
        }
    return row


def timed(recipe: Recipe) -> dict[str, Any]:
    """The fastest of a few training steps on the processor, after one that does not count.

    cores: how many of them it had on average, which says whether other programs ran.
    """
    height, width = size(recipe)
    pictures, work, pixels = MOST
    count = max(1, min(pictures, recipe.batch.size, int(work / gmacs(recipe)), pixels // (height * width)))
    torch.manual_seed(0)
    fabric = make_fabric(recipe, "cpu")
    net = recipe.net.spec.build(**recipe.net.options).to(memory_format=torch.channels_last)
    objective: Objective = (Regression if recipe.gan is None else Adversarial)(fabric, recipe, net)
    noise = torch.rand(2, count, 3, height, width)
    part = Batch(noise[0], noise[1], 3 * torch.rand(count), 1.0)
    objective.step([part], 1.0)  # oneDNN chooses its kernels
    steps: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(steps) < 2 or time.perf_counter() - began < SECONDS:
        started, worked = time.perf_counter(), time.process_time()
        objective.step([part], 1.0)
        taken = time.perf_counter() - started
        steps.append((taken, (time.process_time() - worked) / taken))
    seconds, cores = min(steps)
    return {
        "seconds_a_picture": round(seconds / count, 6),
        "cores": round(cores, 2),
        "batch": count,
        "steps": len(steps),
    }


def spent(page: str) -> list[dict[str, Any]]:
    """Every training that a page's table lists: recipe, minutes and pictures seen."""
    rows = re.finditer(r"^\| `([\w-]+)`, `([\w-]+)`[^|]*\| *([\d.]+) *\| *([\d,]+) *\|", page, re.MULTILINE)
    return [
        {"name": f"{row[1]}/{row[2]}", "minutes": float(row[3]), "pictures": int(row[4].replace(",", ""))}
        for row in rows
    ]


def stands_for(trained: str, published: str) -> bool:
    """Whether a training was in place of a published one: of that protocol, or on data that stand in for its own."""
    system, _, protocol = trained.removesuffix("-plus").partition("/")
    own = {"motion": ("reds", "gopro"), "photographs-k3-k7-k11": ("reds-k3-k7-k11",)}.get(
        protocol, (protocol,)
    )
    return any(published == f"{system}/{name}" for name in own)


def logs(found: dict[str, Recipe]) -> Iterable[Path]:
    """The logs of trained weights whose network a report published."""
    systems = {recipe.net.name for recipe in found.values()}
    return [path for path in sorted((REPO / "weights").glob("*.log.jsonl")) if path.name[:-10] in systems]


def curve(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Where validation stood: first, middle and last epoch, and by how much the last fifth of the steps bettered it.

    Trainings that went on from one another may follow in one log. The middle of two epochs is missing.
    """
    steps: list[int] = []
    scores: list[dict[str, float]] = []
    done = 0
    blurred = None
    for event in events:
        if event["event"] == "start":
            done = steps[-1] if steps else 0
        if event["event"] == "blurred" and blurred is None:
            blurred = event
        if event["event"] == "epoch" and event["validation"]:
            steps.append(done + event["steps"])
            scores.append(event["validation"])
    metric = "psnr" if "psnr" in scores[-1] else "mae"
    values = [score[metric] for score in scores]
    gain = values[-1] - float(np.interp(0.8 * steps[-1], steps, values))
    gain *= 1 if metric == "psnr" else -1
    return {
        "metric": metric,
        "blurred": blurred and blurred.get(metric),
        "epochs": len(values),
        "steps": steps[-1],
        "first": values[0],
        "middle": values[(len(values) - 1) // 2] if len(values) > 2 else None,
        "last": values[-1],
        "last_fifth": gain,
    }


def check(stated: Stated, recipe: Recipe) -> dict[str, Any]:
    """The estimate beside what a report states, per epoch."""
    pictures = stated.pictures or epoch_pictures(recipe)
    estimate = gpu_minutes(gmacs(recipe), pictures, PEAKS[CHECKED])
    return {
        "name": stated.name,
        "source": stated.source,
        "stated_minutes": stated.minutes,
        "estimated_minutes": estimate,
        "ratio": stated.minutes / estimate,
    }


def cost_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| recipe | epochs x pictures | pictures a second | minutes on two cores "
        f"| minutes on a {GPU}, estimated | spent: minutes | pictures, share |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        whole, ran, times = row["whole"], row["ran"], row["measured"]
        both = [whole] if ran is None else [whole, ran]
        lines.append(
            line(
                f"`{row['name']}`",
                f"{' / '.join(str(one['epochs']) for one in both)} x {row['epoch_pictures']:,}",
                "" if times is None else f"{1 / times['seconds_a_picture']:.3g}",
                *(
                    " / ".join("?" if one[of] is None else number(one[of]) for one in both)
                    for of in ("cpu_minutes", "gpu_minutes")
                ),
                " + ".join(f"{one['minutes']:g}" for one in row["spent"]) or ("?" if row["weights"] else "0"),
                " + ".join(
                    f"{one['pictures']:,}, {share(one['pictures'] / both[-1]['pictures'])}"
                    for one in row["spent"]
                ),
            )
        )
    return "\n".join(lines)


def curve_table(curves: list[dict[str, Any]]) -> str:
    lines = [
        "| weights | validation | blurred | epochs | first | middle | last | better by, in the last fifth |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in curves:
        unit = "PSNR, dB" if one["metric"] == "psnr" else "error of sigma, px"
        numbers = ["" if one[at] is None else f"{one[at]:.2f}" for at in ("first", "middle", "last")]
        blurred = "" if one["blurred"] is None else f"{one['blurred']:.2f}"
        lines.append(
            line(
                f"`{one['system']}`",
                unit,
                blurred,
                str(one["epochs"]),
                *numbers,
                f"{one['last_fifth']:+.3f}",
            )
        )
    return "\n".join(lines)


def stated_table(checks: list[dict[str, Any]]) -> str:
    lines = [
        f"| recipe | stated | minutes an epoch | estimated for a {CHECKED} | stated / estimated |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        line(
            f"`{one['name']}`",
            one["source"],
            f"{one['stated_minutes']:.1f}",
            f"{one['estimated_minutes']:.2f}",
            f"{one['ratio']:.1f}",
        )
        for one in checks
    ]
    return "\n".join(lines)


def number(minutes: float) -> str:
    return f"{minutes:,.0f}" if minutes >= 10 else f"{minutes:.1f}"


def share(part: float) -> str:
    """In percent, two figures of it at least."""
    return f"{100 * part:.0f} %" if part >= 1 else f"{100 * part:.2g} %"


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    typer.run(main)
