"""Restoring a clip: estimates that are steady in time, frames, segments; what is done once is not done again.

While a clip is restored, the hidden folder .NAME.parts beside its result holds settings.json and, for each finished
run of `SEGMENT` frames, NUMBER.json (what was done to them, a row a frame) and NUMBER.mp4 (the frames, encoded). The
same settings go on from there after any interruption; the result has the same bytes as if there had been none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

import unblur
from unblur import files
from unblur.clips import video
from unblur.engine import Plan, sample
from unblur.errors import FileError, OptionError, OutputError
from unblur.estimate import noise_level
from unblur.estimate.temporal import RADIUS, Moment, colours, is_cut, steady
from unblur.image import from_array
from unblur.locks import locked
from unblur.methods.network import BACKEND_VARIABLE
from unblur.metrics.flicker import change, jumps
from unblur.models import find_weights
from unblur.physics.blur import Blur

Row: TypeAlias = dict[str, Any]
"""What was done to one frame, as plain JSON types."""

#: Frames that are encoded together: the most that an interruption costs.
SEGMENT = 32

#: What the process holds beside the frame that is restored, in bytes: libraries and models, and for each pixel of a
#: frame what the window and the encoder keep. Fixed, so that a frame is cut into the same tiles in every run.
_HELD, _HELD_PER_PIXEL = 300_000_000, 100


@dataclass(frozen=True)
class ClipResult:
    """What `restore_clip` found and did.

    path: of the restored clip. method: what ran. frames: how many there are. restored: how many of them were changed.
    resumed: how many an earlier run had finished. blur: how many frames of each kind, and the medians of the parameters
    and of the noise. flicker: see `unblur.metrics.flicker`, in levels of 255. seconds: the time of this run.
    """

    path: Path
    method: str
    frames: int
    restored: int
    resumed: int
    blur: Mapping[str, Any]
    flicker: float
    seconds: float
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        kind = max(self.blur["kinds"], key=self.blur["kinds"].get)
        return f"{self.restored} of {self.frames} frames, mostly {kind}, {self.method}, {self.seconds:.1f} s"

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain JSON types."""
        return {
            "method": self.method,
            "frames": self.frames,
            "restored": self.restored,
            "left_alone": self.frames - self.restored,
            "resumed": self.resumed,
            "blur": dict(self.blur),
            "flicker": round(self.flicker, 4),
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


def restore_clip(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    method: str = "auto",
    strength: float = 1.0,
    kernel: NDArray[Any] | str | os.PathLike[str] | None = None,
    sigma: float | None = None,
    memory: int | str | None = None,
    iterations: int | None = None,
    *,
    overwrite: bool = False,
    window: int = RADIUS,
    compare: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ClipResult:
    """Take the blur out of a clip; sound, timing, rotation and tags are copied.

    source, target: files, the target of a suffix in `video.TARGETS`. method .. iterations: as for `unblur.restore`; a
    kernel or a sigma is that of all frames. window: so many frames on each side decide about the blur of a frame, 0
    for each frame by itself. compare: a picture of the middle frame before and after. progress: called with frames
    done and frames in all.

    Interrupted, it goes on from its last finished segment when it is called again with the same arguments.
    Raises OptionError, FileError, KernelError or OutputError, each with a line that says what to do.
    """
    started = time.perf_counter()
    source, target = Path(source), Path(target)
    plan = Plan.make(method, strength, kernel, sigma, memory, iterations)
    form = video.TARGETS.get(target.suffix.lower())
    if form is None:
        raise OptionError(f"cannot write clips as {target.suffix!r}; use one of {', '.join(video.TARGETS)}")
    if window < 0:
        raise OptionError(f"window must be 0 or more, got {window}")
    _check_target(target, overwrite)
    clip = video.probe(source)
    plan = replace(plan, idle=_HELD + _HELD_PER_PIXEL * clip.width * clip.height)
    with _kept(target, _settings(clip, plan, form, window)) as parts:
        resumed = len(parts.rows)
        _make_segments(clip, plan, form, window, parts, progress)
        whole = parts.folder / f"whole{target.suffix}"
        timings = [(row["pts"], row["duration"]) for row in parts.rows]
        lost = video.assemble(clip, parts.segments, timings, whole, form)
        if compare is not None:
            _compare(clip, whole, len(timings) // 2, Path(compare), overwrite)
        _check_target(target, overwrite)
        _take_name(whole, target)
    return ClipResult(
        path=target,
        method=plan.row.name,
        frames=len(parts.rows),
        restored=sum(row["restored"] for row in parts.rows),
        resumed=resumed,
        blur=_summary(parts.rows),
        flicker=jumps(row["change"] for row in parts.rows),
        seconds=time.perf_counter() - started,
        warnings=(*clip.left_out, *lost),
    )


def _make_segments(
    clip: video.Clip,
    plan: Plan,
    form: video.Target,
    window: int,
    parts: _Parts,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Restore the frames that are not finished, and encode them."""
    done = len(parts.rows)
    history = min(window, done)
    previous = Blur(parts.rows[-1]["kind"]) if done else None
    frames = steady(_moments(clip, plan, done - history), window, history=history, previous=previous)
    usual = max(round(1 / (clip.rate * clip.time_base)), 1)
    while (first := next(frames, None)) is not None:
        rows: list[Row] = []
        with video.Segment(parts.unfinished, clip, form) as segment:
            for frame, blur in chain([first], islice(frames, SEGMENT - 1)):
                last = (rows or parts.rows)[-1]["pts"] if rows or parts.rows else None
                shown = (0 if last is None else last + usual) if frame.pts is None else frame.pts
                output, about = _restore_frame(frame, blur, clip, plan)
                # Frames that come out of order would be refused by the container.
                shown = shown if last is None else max(shown, last + 1)
                rows.append({"pts": shown, "duration": frame.duration or usual, **about})
                segment.write(output)
                done += 1
                if progress is not None:
                    progress(done, max(clip.frames, done))
        parts.add(rows)


def _moments(clip: video.Clip, plan: Plan, start: int) -> Iterator[tuple[video.VideoFrame, Moment]]:
    """The frames of a clip from number `start` on, with the blur of each by itself."""
    before: NDArray[np.float64] | None = None
    for frame in islice(video.read(clip.path), start, None):
        seen = from_array(sample(video.to_rgb(frame, clip)))
        now = colours(seen)
        blur = plan.given or plan.row.find(seen)
        noise = noise_level(seen) if blur.noise is None else blur.noise
        blur = replace(blur, noise=max(noise, video.coding_noise(frame, clip)))
        yield frame, Moment(blur, cut=before is not None and is_cut(before, now))
        before = now


def _restore_frame(
    frame: video.VideoFrame, blur: Blur, clip: video.Clip, plan: Plan
) -> tuple[video.VideoFrame, Row]:
    """A frame as it is to be encoded, and what was done to it."""
    about: Row = {"kind": blur.kind, "parameters": dict(blur.parameters), "noise": blur.noise}
    if plan.given is not None or blur.kind != "none" or not plan.row.needs_blur:
        pixels = video.to_rgb(frame, clip)
        result = plan.restore_many([pixels], [blur])[0]
        if result.method != "none":
            about |= {"restored": True, "change": change(pixels, result.image)}
            return video.from_rgb(result.image, pixels, frame, clip), about
    return video.as_written(frame, clip), {**about, "restored": False, "change": 0.0}


def _compare(clip: video.Clip, whole: Path, number: int, path: Path, overwrite: bool) -> None:
    """Write one frame of a clip before and after, side by side and upright."""
    pair = []
    for one in (clip.path, whole):
        frame = next(islice(video.read(one), number, None))
        pair.append(np.rot90(video.to_rgb(frame, clip), round(frame.rotation / 90)))
    files.save(np.concatenate(pair, axis=1), path, overwrite=overwrite)


def _summary(rows: Sequence[Row]) -> dict[str, Any]:
    """How often each kind of blur was taken out, and the medians of the numbers of the most frequent one."""
    kinds = Counter(row["kind"] for row in rows)
    most = next((kind for kind, _ in kinds.most_common() if kind != "none"), "none")
    alike = [row["parameters"] for row in rows if row["kind"] == most]
    medians = {name: round(float(np.median([one[name] for one in alike])), 4) for name in alike[0]}
    return {
        "kinds": dict(kinds),
        **medians,
        "noise": round(float(np.median([row["noise"] for row in rows])), 6),
    }


def _check_target(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise OutputError(f"{target}: is a folder")
    if not overwrite and os.path.lexists(target):
        raise OutputError(f"{target}: exists already; choose another name or allow overwriting")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target.parent}: no such folder, or no permission to write into it")


# What is kept between runs


def _settings(clip: video.Clip, plan: Plan, form: video.Target, window: int) -> Row:
    """Everything that decides about the bytes of the result."""
    stat = clip.path.stat()
    given = plan.given
    weights = []
    for model in plan.row.models:
        with contextlib.suppress(FileError):  # a given blur needs none
            weights.append(hashlib.sha256(find_weights(model).read_bytes()).hexdigest())
    settings = {
        "clip": [clip.path.name, stat.st_size, stat.st_mtime_ns],
        "method": [
            plan.row.name,
            plan.strength,
            plan.options.iterations,
            os.environ.get(BACKEND_VARIABLE, ""),
        ],
        "weights": weights,
        "blur": given and [given.kind, hashlib.sha256(np.asarray(given.kernel).tobytes()).hexdigest()],
        "memory": [plan.memory, plan.flexible, plan.idle],
        "window": window,
        "segment": SEGMENT,
        "target": [form.container, form.encoder, dict(form.options)],
        "versions": [unblur.__version__, np.__version__, scipy.__version__, video.VERSIONS],
    }
    return json.loads(json.dumps(settings))  # as it is when it is read again


class _Parts:
    """The folder of a clip's finished segments; rows: what was done to their frames, segments: their files."""

    def __init__(self, folder: Path, settings: Row) -> None:
        self.folder = folder
        self.unfinished = folder / "unfinished.mp4"
        self.rows: list[Row] = []
        self.segments: list[Path] = []
        place = folder / "settings.json"
        if _read_json(place) != settings:
            for stale in folder.iterdir():
                stale.unlink()
            _write_json(place, settings)
        while (path := self._segment()).is_file() and (rows := _read_json(path.with_suffix(".json"))):
            self.rows += rows
            self.segments.append(path)

    def add(self, rows: list[Row]) -> None:
        """Keep the unfinished segment as the next one."""
        path = self._segment()
        _write_json(path.with_suffix(".json"), rows)
        _take_name(self.unfinished, path)
        self.rows += rows
        self.segments.append(path)

    def _segment(self) -> Path:
        return self.folder / f"{len(self.segments):06}.mp4"


@contextlib.contextmanager
def _kept(target: Path, settings: Row) -> Iterator[_Parts]:
    """The parts of a clip; afterwards they are removed, unless the work broke off and some are of use.

    Raises OutputError where another run is at work on them.
    """
    folder = target.with_name(f".{target.name}.parts")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
    with locked(folder, f"{folder}: another run is at work on this clip"):
        parts = _Parts(folder, settings)
        try:
            yield parts
        except BaseException:
            if not parts.segments:
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def _take_name(unfinished: Path, path: Path) -> None:
    """Give a finished file its name, once its bytes are on the disk."""
    with unfinished.open("r+b") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_json(path: Path, thing: Any) -> None:
    files.write_file(path, json.dumps(thing).encode(), overwrite=True)
