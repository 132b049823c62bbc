"""Judging methods on a suite, picture by picture; what is done once is not done again.

A folder of results holds, for each suite, suite.json, one METHOD.jsonl with a line a picture (the same bytes at every
run), METHOD.json with all that is known of the whole, and pictures to look at. While a method runs its lines stand in
METHOD.KEY.part; the key hashes data, method, weights and code, so that an interrupted run goes on and a finished one is
not repeated.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import unblur
from unblur import engine, files, methods
from unblur.bench.loss import level_loss
from unblur.bench.suites import Pixels, Sample, Samples, Suite, open_samples
from unblur.datasets.common import some
from unblur.errors import FileError, InputError, MissingExtraError, OptionError, OutputError
from unblur.estimate.choice import likeliest
from unblur.estimate.temporal import Moment, steady
from unblur.image import from_array, to_array
from unblur.methods import METHODS, Method
from unblur.methods.network import BACKEND_VARIABLE, SUFFIXES
from unblur.metrics import (
    FLAVOURS,
    bootstrap_interval,
    gain,
    kernel_distance,
    psnr_of_mse,
    score,
    ssim,
)
from unblur.metrics.alignment import score_up_to_shift
from unblur.metrics.flicker import change, jumps
from unblur.models import ModelCard, cards, find_weights, read_card
from unblur.physics import kernels
from unblur.physics.blur import Blur

Row: TypeAlias = dict[str, Any]
"""One picture or one method as plain JSON types."""

Say: TypeAlias = Callable[[str], None]
Progress: TypeAlias = Callable[[int, int], None]

BLURRED = "blurred"
"""Row 0: the input itself."""

#: Deconvolution with the true kernel against which Levin's error ratio is taken.
RATIO_OF = "total-variation@true"

TRUE, ESTIMATED, STEADY, AMONG = "@true", "@estimated", "@steady", "@among"

#: Pictures kept to look at: the same for every method, and the worst and the best of each.
GRID, EXTREMES = 6, 2

#: Pictures on which every flavour of SSIM is taken.
FLAVOURED = 24

#: Rooms of the package whose code decides about a score.
_JUDGED_BY = (
    "bench/loss.py", "bench/run.py", "bench/suites.py", "classical", "datasets", "engine.py", "estimate", "files.py",
    "image.py", "methods", "metrics", "models", "nets", "physics", "runtime", "tiling.py",
)  # fmt: skip

_LIBRARIES = ("numpy", "scipy", "pyvips", "onnxruntime", "openvino", "torch")


@dataclass(frozen=True)
class Entrant:
    """A row of the table before it is judged.

    method: as the engine knows it, "" for the blurred input. variant: "" or TRUE, which gets the true blur, ESTIMATED,
    STEADY, whose estimates are made steady over the frames of a clip, or AMONG, which knows the few blurs that occur
    in the suite and takes the one that is nearest to its estimate.
    """

    method: str = ""
    variant: str = ""

    @property
    def name(self) -> str:
        """As the row is called."""
        return self.method + self.variant if self.method else BLURRED

    @property
    def told(self) -> bool:
        """Whether it gets the true blur."""
        return self.variant == TRUE


class Chosen(NamedTuple):
    """Who is judged, and the names of those without weights."""

    entrants: list[Entrant]
    lacking: list[str]


class Judged(NamedTuple):
    """The rows of the table, the blurred input first, and the names of the methods that could not run."""

    rows: list[Row]
    left_out: list[str]


# Who enters


def choose(wanted: Sequence[str] | None, suite: Suite, say: Say = lambda line: None) -> Chosen:
    """The methods to judge: those asked for, or all that fit the suite and whose weights are found.

    A solver that needs a kernel enters as NAME@true and NAME@estimated, and by its bare name as both. What has no
    weights is left out, and one line says so.
    Raises OptionError for an unknown method, or where nothing is left of those asked for.
    """
    names = _default(suite) if wanted is None else list(dict.fromkeys(wanted))
    entrants: list[Entrant] = [Entrant()] if BLURRED in names else []
    lacking: list[str] = []
    for name in (name for name in names if name != BLURRED):
        bare, told = next(
            ((name.removesuffix(end), end) for end in (TRUE, ESTIMATED, STEADY, AMONG) if name.endswith(end)),
            (name, ""),
        )
        row = _row(bare)
        if row is None and bare not in cards() and Path(bare).suffix not in SUFFIXES:
            methods.get(bare)  # names the nearest
        if told and not (_sees_a_blur(bare) if row is None else row.needs_blur):
            raise OptionError(f"{bare} is told no blur: leave {told} out")
        if told == TRUE and not suite.told:
            raise OptionError(f"{name}: nobody knows the true blur of {suite.name}")
        if told == STEADY and not suite.clip:
            raise OptionError(f"{name}: the pictures of {suite.name} are not frames of a clip")
        if told == AMONG and not suite.among:
            raise OptionError(f"{name}: {suite.name} has more blurs than can be counted")
        if not _ready((bare,) if row is None else row.models):
            lacking.append(bare)
        else:
            entrants += _entrants(bare, told, suite)
    if lacking:
        say(f"no weights for {', '.join(lacking)}: left out; train, or set UNBLUR_WEIGHTS to their folder")
    if not entrants:
        raise OptionError(
            f"{suite.name}: none of the methods asked for can run; `unblur bench --list` shows all"
        )
    return Chosen(list(dict.fromkeys(entrants)), lacking)


def fitting(suite: Suite) -> list[str]:
    """The names of all rows that a suite can have, whether their weights are here or not."""
    return [one.name for name in _default(suite) for one in _entrants(name, "", suite)]


def _entrants(bare: str, told: str, suite: Suite) -> list[Entrant]:
    """A name as one row, or as one for each thing that a solver can be told."""
    row = _row(bare)
    if bare == BLURRED:
        return [Entrant()]
    if told or row is None:
        variants = [told]
    else:
        variants = (
            [TRUE, ESTIMATED] if _is_solver(row) and suite.told else [ESTIMATED if _is_solver(row) else ""]
        )
        if suite.clip and row.needs_blur:
            variants.append(STEADY)
        if suite.among and _is_solver(row):
            variants.append(AMONG)
    return [Entrant(bare, one) for one in variants]


def _default(suite: Suite) -> list[str]:
    networks = [card.name for card in cards().values() if card.role == "restorer" and _fits(card, suite)]
    return [BLURRED, *METHODS, *networks]


def _fits(card: ModelCard, suite: Suite) -> bool:
    of_a_kind = not card.blur_kinds or suite.kinds == ("none",) or set(card.blur_kinds) & set(suite.kinds)
    return bool(of_a_kind) and card.fixed_size in (None, suite.shape)


def _sees_a_blur(network: str) -> bool:
    """Whether a network is shown a deconvolution; of a file only its own run would tell."""
    card = cards().get(network)
    return card is not None and card.role == "guided"


def _is_solver(row: Method) -> bool:
    """Whether a method is worth telling the truth: one that its own way to find the blur does not define."""
    return row.needs_blur and not row.careful and row.find is METHODS["wiener"].find


def _row(name: str) -> Method | None:
    """The row of a method that is not a network alone; nothing is loaded."""
    return methods.get(name) if name.partition(":")[0] in METHODS else None


def _ready(models: Sequence[str]) -> bool:
    try:
        for model in models:
            find_weights(model)
    except FileError:
        return False
    return True


# Judging


def judge(
    suite: Suite,
    data: Path,
    wanted: Sequence[str] | None,
    output: Path,
    *,
    limit: int | None = None,
    say: Say = lambda line: None,
    progress: Progress = lambda done, total: None,
) -> Judged:
    """Judge methods on a suite and keep everything in output/SUITE.

    limit: use only the first so many pictures. say: hears one line at a time. progress: steps done and in all.
    Raises OptionError, FileError for pictures that are not there, OutputError where results cannot be kept.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"--limit must be at least 1, got {limit}")
    samples = open_samples(suite, data)
    entrants, left_out = choose(wanted, suite, say)
    count = len(samples) if limit is None else min(limit, len(samples))
    # Where the folder lies is nobody else's business.
    notes = [note.replace(f"{data}/", "") for note in samples.notes]
    if notes:
        say(f"{suite.name}: {some(notes, 1)}")
    folder = _make_folder(output / suite.name)
    stamp = _hash(suite.name, samples.digest(count), str(count), code_version())
    backend = os.environ.get(BACKEND_VARIABLE, "")
    about = {
        "suite": suite.name,
        "about": suite.about,
        "protocol": suite.protocol,
        "cap": suite.cap,
        "gain_cap": suite.gain_cap,
        "source": samples.source,
        "notes": notes,
        "n": count,
        "of": len(samples),
        "stamp": stamp,
    }
    _write_json(folder / "suite.json", about)
    # Everybody's gain is over the blurred input, and Levin's ratio over one known-kernel solver.
    helpers = [Entrant()] + ([Entrant(RATIO_OF.removesuffix(TRUE), TRUE)] if _aligned(suite) else [])
    order = [*helpers, *(one for one in entrants if one not in helpers)]
    base: dict[str, list[Row]] = {}
    rows: dict[str, Row] = {}
    for number, entrant in enumerate(order):
        key = _hash(stamp, entrant.name, backend, *map(_digest, _weights(entrant)))
        step = partial(_step, progress, number * count, len(order) * count)
        try:
            lines, whole = _one(suite, samples, count, entrant, folder, key, base, step)
        except (InputError, MissingExtraError) as error:
            if entrant in helpers:
                raise
            say(f"{entrant.name}: left out ({error})")
            left_out.append(entrant.name)
            continue
        if entrant in helpers:
            base[entrant.name] = lines
        row = summary(suite, entrant, lines, whole)
        _write_json(folder / f"{slug(entrant.name)}.json", {**whole, "key": key, "stamp": stamp, "row": row})
        if entrant in entrants:
            rows[entrant.name] = row
    return Judged([rows[one.name] for one in entrants if one.name in rows], left_out)


def _step(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _one(
    suite: Suite,
    samples: Samples,
    count: int,
    entrant: Entrant,
    folder: Path,
    key: str,
    base: Mapping[str, list[Row]],
    step: Callable[[int], None],
) -> tuple[list[Row], Row]:
    """The lines of all pictures, and what is known of the whole; from the cache, or from where it was left."""
    name = slug(entrant.name)
    final, about = folder / f"{name}.jsonl", folder / f"{name}.json"
    part = folder / f"{name}.{key[:16]}.part"
    if final.is_file() and about.is_file() and (whole := _read_json(about)).get("key") == key:
        step(count)
        return read_lines(final), {
            name: value for name, value in whole.items() if name not in ("key", "stamp", "row")
        }
    for stale in folder.glob(f"{name}.*.part"):
        if stale != part and re.fullmatch(r"[0-9a-f]{16}", stale.name[len(name) + 1 : -5]):
            stale.unlink()
    lines = _resume(part, suite.chunk, count)
    supervised = [path for path in _weights(entrant) if suite.loss and _card(path).family == suite.loss]
    album = _Album(count)
    if _weights(entrant):
        _restored(suite, entrant, [samples[0]])  # what is loaded once does not count
    with _appending(part, lines) as file:
        for start in range(len(lines), count, suite.chunk):
            chunk = [samples[index] for index in range(start, min(start + suite.chunk, count))]
            fresh = []
            for offset, (sample, (output, found, ran, seconds)) in enumerate(
                zip(chunk, _restored(suite, entrant, chunk), strict=True)
            ):
                index = start + offset
                line = _line(suite, samples.names[index], index, sample, output, entrant, found, ran, base)
                album.see(index, line["gain"], output)
                for path in supervised:
                    line["loss"] = _rounded(level_loss(path, sample.blurred, sample.sharp))
                fresh.append({**line, "seconds": seconds})
            lines += fresh
            file.write("".join(_dump(line) + "\n" for line in fresh))
            file.flush()
            step(len(lines))
    seconds = math.fsum(line.pop("seconds") for line in lines)
    chosen = album.fill(lines, lambda index: _restored(suite, entrant, [samples[index]])[0][0])
    flavours = _flavours(suite, samples, album)
    _save_pictures(folder, name, samples, {index: album.outputs[index] for index in chosen})
    _write(final, "".join(_dump(line) + "\n" for line in lines))
    whole = {
        "method": entrant.name,
        "blind": not entrant.told,
        "seconds": seconds,
        "pixels": sum(line["pixels"] for line in lines),
        "pictures": sorted(chosen),
        "ssim_flavours": flavours,
        **_costs(entrant),
        "versions": _versions(),
        "cores": os.cpu_count(),
    }
    part.unlink(missing_ok=True)
    return lines, whole


def _restored(
    suite: Suite, entrant: Entrant, chunk: Sequence[Sample]
) -> list[tuple[Pixels, Blur | None, str, float]]:
    """What comes out for each sample, the blur that was found, what ran, and the seconds it took."""
    if not entrant.method:
        return [(sample.blurred, None, "none", 0.0) for sample in chunk]
    if entrant.variant in (STEADY, AMONG):
        return _restored_by_choice(suite, entrant, chunk)
    blurs = [sample.blur for sample in chunk] if entrant.told else None
    results = engine.restore_many([sample.blurred for sample in chunk], entrant.method, blurs)
    return [(result.image, result.blur, result.method, result.seconds) for result in results]


def _restored_by_choice(
    suite: Suite, entrant: Entrant, chunk: Sequence[Sample]
) -> list[tuple[Pixels, Blur | None, str, float]]:
    """`_restored` by the blur that the frames of a pan agree on, or that is nearest to the estimate of a few."""
    started = time.perf_counter()
    row = methods.get(entrant.method)
    seen = [row.find(from_array(engine.sample(sample.blurred))) for sample in chunk]
    if entrant.variant == AMONG:
        chosen = list(zip(chunk, (likeliest(blur, suite.among) for blur in seen), strict=True))
    else:
        chosen = list(steady((sample, Moment(blur)) for sample, blur in zip(chunk, seen, strict=True)))
    finding = (time.perf_counter() - started) / len(chunk)
    done: list[tuple[Pixels, Blur | None, str, float]] = []
    for sample, blur in chosen:
        if blur.kind == "none":
            done.append((sample.blurred, blur, "none", finding))
        else:
            [result] = engine.restore_many([sample.blurred], entrant.method, [blur])
            done.append((result.image, blur, result.method, finding + result.seconds))
    return done


def _line(
    suite: Suite,
    name: str,
    index: int,
    sample: Sample,
    output: Pixels,
    entrant: Entrant,
    found: Blur | None,
    ran: str,
    base: Mapping[str, list[Row]],
) -> Row:
    """All that is said about one picture; no times, so that it is the same at every run."""
    sharp, image = from_array(sample.sharp), from_array(output)
    line: Row = {"name": name, "index": index, "group": sample.group, **sample.draw}
    line["pixels"] = int(image.shape[0] * image.shape[1])
    if _aligned(suite):
        aligned = score_up_to_shift(sharp, image)
        line |= {
            "psnr": min(aligned.psnr, suite.cap),
            "ssim": aligned.ssim,
            "ms_ssim": None,
            "mse": 10 ** (-aligned.psnr / 10),
            "exact": bool(np.isinf(aligned.psnr)),
            "shift": list(aligned.shift),
        }
    else:
        scores = score(sharp, image, protocol=suite.protocol, cap=suite.cap)
        line |= {
            "psnr": scores.psnr_capped,
            "ssim": scores.ssim,
            "ms_ssim": scores.ms_ssim,
            "mse": scores.mse,
            "mae": scores.mae,
            "exact": scores.exact,
        }
    before = base[BLURRED][index]["psnr"] if BLURRED in base else line["psnr"]
    line["gain"] = gain(line["psnr"], before, cap=suite.gain_cap)
    if RATIO_OF in base:
        line["error_ratio"] = 10 ** ((base[RATIO_OF][index]["psnr"] - line["psnr"]) / 10)
    elif entrant.name == RATIO_OF:
        line["error_ratio"] = 1.0
    if found is not None and not entrant.told and _row(entrant.method) is not None:
        line["found"] = {key: value for key, value in found.to_dict().items() if key != "parts"}
        line["kernel_distance"] = _distance(found, sample.blur, centred=_aligned(suite))
    if suite.clip:
        line["change"] = change(sample.blurred, output)
    if entrant.method:
        line["ran"] = ran
    return {key: _rounded(value) for key, value in line.items()}


def _distance(found: Blur, true: Blur | None, *, centred: bool) -> float | None:
    """Between two kernels, the identity where there is no blur; None where either is no single kernel."""
    if true is None or found.kind == "varying" or true.kind == "varying":
        return None
    pair = [kernels.delta() if blur.kernel is None else blur.kernel for blur in (found, true)]
    return kernel_distance(*(map(kernels.centre, pair) if centred else pair))


def _aligned(suite: Suite) -> bool:
    return suite.protocol == "levin-v1"


# The table


def summary(suite: Suite, entrant: Entrant, lines: Sequence[Row], whole: Row) -> Row:
    """One row of the table, as `unblur bench --json` prints it."""
    psnrs = np.array([line["psnr"] for line in lines])
    gains = [line["gain"] for line in lines]
    error = float(np.mean([line["mse"] for line in lines]))
    groups: dict[str, list[float]] = {}
    for line in lines:
        groups.setdefault(line["group"], []).append(line["psnr"])
    seconds = whole["seconds"]
    row = {
        "suite": suite.name,
        "protocol": suite.protocol,
        "method": entrant.name,
        "blind": not entrant.told,
        "n": len(lines),
        "psnr_mean": float(psnrs.mean()),
        "psnr_median": float(np.median(psnrs)),
        "psnr_ci95": list(bootstrap_interval(psnrs, rng=np.random.default_rng(0))),
        "psnr_by_draw": {name: float(np.mean(groups[name])) for name in sorted(groups, key=_natural)},
        "psnr_of_mean_mse": min(psnr_of_mse(error, data_range=1), suite.cap),
        "exact": sum(line["exact"] for line in lines),
        "ssim_mean": _mean(lines, "ssim"),
        "ms_ssim_mean": _mean(lines, "ms_ssim"),
        "mse_mean": error,
        "loss": _mean(lines, "loss"),
        "kernel_distance": _mean(lines, "kernel_distance"),
        "gain_mean": float(np.mean(gains)),
        "worst_gain": float(min(gains)),
        "seconds": seconds,
        "megapixels_per_second": whole["pixels"] / 1e6 / seconds if seconds else None,
    }
    if suite.clip:
        pans: dict[str, list[float]] = {}
        for line in lines:
            pans.setdefault(line["pan"], []).append(line["change"])
        row["flicker"] = float(np.mean([jumps(changes) for changes in pans.values()]))
    if _aligned(suite):
        row["error_ratio"] = _mean(lines, "error_ratio")
    return {key: _rounded(value) for key, value in row.items()}


def _natural(name: str) -> list[str | float]:
    """Sorts k7 before k11 and 4-8 before 8-."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [float(part) if number % 2 else part for number, part in enumerate(parts)]


def _mean(lines: Sequence[Row], key: str) -> float | None:
    values = [line[key] for line in lines if line.get(key) is not None]
    return float(np.mean(values)) if values else None


def _rounded(value: Any) -> Any:
    """Nine digits: what is left of the last bits must not make two runs differ."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


# What a method is, and what it costs


def _weights(entrant: Entrant) -> list[Path]:
    if not entrant.method:
        return []
    row = _row(entrant.method)
    names = (entrant.method,) if row is None else row.models
    return [find_weights(name) for name in names]


def _costs(entrant: Entrant) -> Row:
    """Parameters, GMACs/Mpx and minutes of training of the networks in a method; None without one."""
    if not (found := _weights(entrant)):
        return {"parameters": None, "gmacs_per_megapixel": None, "training_minutes": None, "weights": []}
    about = [_card(path) for path in found]
    return {
        "parameters": sum(card.parameters for card in about),
        "gmacs_per_megapixel": sum(card.gmacs_per_megapixel for card in about),
        "training_minutes": _training_minutes(found),
        "weights": [{"file": path.name, "sha256": _digest(path)} for path in found],
    }


def _card(path: Path) -> ModelCard:
    if path.suffix != ".onnx":
        return read_card(path)
    from unblur.runtime.onnx import OnnxBackend

    return OnnxBackend(path).card


def _training_minutes(weights: Sequence[Path]) -> float | None:
    """What stands beside each file of weights: a run's timing.jsonl, or NAME.timing.jsonl."""
    minutes = 0.0
    for path in weights:
        logs = (path.with_suffix(".timing.jsonl"), path.with_name("timing.jsonl"))
        log = next((log for log in logs if log.is_file()), None)
        if log is None:
            return None
        minutes += math.fsum(line["seconds"] for line in read_lines(log)) / 60
    return minutes


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of the code and the libraries that decide about scores."""
    root = Path(unblur.__file__).parent
    total = hashlib.sha256(json.dumps(_versions(), sort_keys=True).encode())
    for room in _JUDGED_BY:
        place = root / room
        for path in [place] if place.is_file() else sorted(place.rglob("*.*")):
            if path.suffix in (".py", ".toml", ".json"):
                total.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {"unblur": unblur.__version__}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# Pictures to look at


class _Album:
    """Outputs that are kept: some for every method, those with the least and the most gain of each."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.outputs: dict[int, Pixels] = {}
        self._gains: dict[int, float] = {}

    def see(self, index: int, gained: float, output: Pixels) -> None:
        """Keep an output as long as it is among the extremes, or for good."""
        self.outputs[index], self._gains[index] = output, gained
        ranked = sorted(self._gains, key=self._rank)
        for middle in ranked[EXTREMES:-EXTREMES]:
            del self._gains[middle]
            if middle not in evenly(self.count, FLAVOURED):
                del self.outputs[middle]

    def fill(self, lines: Sequence[Row], restore: Callable[[int], Pixels]) -> set[int]:
        """Make what an interrupted run did not keep; the indices that are to be shown."""
        ranked = sorted(range(len(lines)), key=lambda index: (lines[index]["gain"], index))
        chosen = {*evenly(self.count, GRID), *ranked[:EXTREMES], *ranked[-EXTREMES:]}
        for index in chosen | set(evenly(self.count, FLAVOURED)):
            if index not in self.outputs:
                self.outputs[index] = restore(index)
        return chosen

    def _rank(self, index: int) -> tuple[float, int]:
        return self._gains[index], index


@lru_cache(maxsize=16)
def evenly(count: int, wanted: int) -> tuple[int, ...]:
    """At most `wanted` indices spread over 0..count-1."""
    return tuple(dict.fromkeys(int(index) for index in np.linspace(0, count - 1, min(wanted, count))))


def _flavours(suite: Suite, samples: Samples, album: _Album) -> dict[str, Any]:
    """Mean of every flavour of SSIM over the same few outputs, None where a picture is too small for it."""
    chosen = evenly(album.count, FLAVOURED)
    dtype, top = (np.uint8, 255.0) if suite.protocol != "rgbf-v1" else (np.float32, 1.0)
    pairs = [(_as(samples[index].sharp, dtype), _as(album.outputs[index], dtype)) for index in chosen]
    means: dict[str, Any] = {"n": len(chosen)}
    for name in FLAVOURS:
        try:
            means[name] = _rounded(
                float(np.mean([ssim(a, b, data_range=top, flavour=name) for a, b in pairs]))
            )
        except InputError:
            means[name] = None
    return means


def _as(pixels: Pixels, dtype: Any) -> Pixels:
    return pixels if pixels.dtype == dtype else to_array(from_array(pixels), dtype)


def _save_pictures(folder: Path, name: str, samples: Samples, outputs: Mapping[int, Pixels]) -> None:
    for index, output in outputs.items():
        sample = samples[index]
        for what, pixels in (("sharp", sample.sharp), (BLURRED, sample.blurred), (name, output)):
            place = folder / "pictures" / what / f"{index:05}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            files.save(_as(pixels, np.uint8), place, overwrite=True)


# Files


def slug(name: str) -> str:
    """A method's name as a file name; paths get a few digits of their hash."""
    plain = re.sub(r"[^A-Za-z0-9@+.-]+", "_", name)
    return plain if plain == name or re.fullmatch(r"[\w@+.-]+", name) else f"{plain}-{_hash(name)[:8]}"


def read_lines(path: Path) -> list[Row]:
    """The rows of a JSONL file. Raises FileError for a damaged one."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: not a file of results ({error})") from error


def _resume(part: Path, chunk: int, count: int) -> list[Row]:
    """What an interrupted run has left, up to its last whole chunk."""
    try:
        text = part.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    lines: list[Row] = []
    for line in text.splitlines(keepends=True):
        try:
            row = json.loads(line) if line.endswith("\n") else None
        except ValueError:
            row = None
        if row is None or row.get("index") != len(lines):
            break
        lines.append(row)
    return lines if len(lines) == count else lines[: len(lines) // chunk * chunk]


def _appending(part: Path, lines: Sequence[Row]) -> Any:
    try:
        file = part.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"{part}: cannot be written ({error.strerror})") from error
    file.write("".join(_dump(line) + "\n" for line in lines))
    return file


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); name another -o") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: no permission to write; name another -o")
    return folder


def _dump(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False, ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    files.write_file(path, text.encode(), overwrite=True)


def _write_json(path: Path, thing: Mapping[str, Any]) -> None:
    _write(path, json.dumps(thing, allow_nan=False, ensure_ascii=False, indent=1) + "\n")


def _read_json(path: Path) -> Row:
    try:
        found: Row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
