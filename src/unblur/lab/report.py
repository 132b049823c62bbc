"""What a run leaves for people: the log, curves, a sample, a summary of the layers, a bar while it runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from unblur.errors import OutputError
from unblur.files import encode, write_file
from unblur.image import to_array

#: Shortest side of a picture in the sample, in pixels; smaller ones are enlarged by a whole factor.
_SAMPLE_SIDE = 128


class Log:
    """JSON lines, one for each event, that can be cut back to where a checkpoint was taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def write(self, event: str, **facts: Any) -> None:
        """Append one event. Raises OutputError."""
        try:
            self._file.write(json.dumps({"event": event, **facts}).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def mark(self) -> int:
        """Bytes written so far, which are on the disk when this returns."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def cut(self, mark: int) -> None:
        """Forget what was written after a mark."""
        self._file.truncate(min(mark, self.path.stat().st_size))
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Every event of a log; a half-written last line is left out."""
    events = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            events.append(json.loads(line))
    return events


class Board:
    """TensorBoard's scalars, where that is installed."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(os.fspath(folder), purge_step=step or None)

    def write(self, prefix: str, numbers: Mapping[str, float], step: int) -> None:
        """Numbers of one step or epoch."""
        if self._writer is not None:
            for name, number in numbers.items():
                self._writer.add_scalar(f"{prefix}/{name}", number, step)

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.close()


class Bar:
    """The progress of a training on standard error, on a terminal only."""

    def __init__(self, what: str, total: int, shown: bool) -> None:
        self._display = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f}%  {task.fields[news]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not (shown and sys.stderr.isatty()),
        )
        self._task = self._display.add_task(what, total=total, news="")

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    def update(self, done: int, news: str) -> None:
        """Steps that are done, and a word on how it goes."""
        self._display.update(self._task, completed=done, news=news)


class Stopwatch:
    """How fast it goes, over the last steps: images a second, and the share of time spent waiting for data."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget the past."""
        self._start = time.perf_counter()
        self._images, self._data = 0, 0.0

    def count(self, images: int, data_seconds: float) -> None:
        """Note one step."""
        self._images += images
        self._data += data_seconds

    def read(self) -> dict[str, float]:
        """seconds, images_per_second, data_share since the last restart."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        return {
            "seconds": round(seconds, 3),
            "images_per_second": round(self._images / seconds, 2),
            "data_share": round(self._data / seconds, 4),
        }

    def __str__(self) -> str:
        speed = self.read()
        return f"{speed['images_per_second']:.0f} images/s  data {speed['data_share']:.0%}"


def save_curve(path: Path, events: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw the loss over the epochs, on a linear and on a logarithmic axis, as a PNG.

    events: of a log. Single steps are shown faintly, so that there is a curve before the first epoch is over.
    """
    from matplotlib.figure import Figure

    length = next((event["steps_per_epoch"] for event in events if event["event"] == "start"), 1)
    steps = [(event["steps"] / length, event["loss"]) for event in events if event["event"] == "step"]
    epochs = [event for event in events if event["event"] == "epoch"]
    training = [(event["epoch"] + 1, event["loss"]) for event in epochs]
    held_out = [(event["epoch"] + 1, event["validation"]["loss"]) for event in epochs if event["validation"]]
    if not steps and not epochs:
        return
    figure = Figure(figsize=(10, 4))
    positive = all(loss > 0 for _, loss in [*steps, *training, *held_out])
    marker = "." if len(epochs) < 40 else ""
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        for points, looks in (
            (steps, {"color": "C0", "alpha": 0.3, "linewidth": 0.8, "label": "single steps"}),
            (training, {"color": "C0", "marker": marker, "label": "training"}),
            (held_out, {"color": "C1", "marker": marker, "label": "validation"}),
        ):
            if points:
                axes.plot(*zip(*points, strict=True), **looks)
        axes.set(xlabel="epoch", ylabel="loss", yscale=scale if positive else "linear")
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_file(path, buffer.getvalue(), overwrite=True)


def save_sample(path: Path, rows: Sequence[Tensor]) -> None:
    """Put pictures side by side as a PNG, one row for each of blurred, predicted and sharp.

    Shape: (N, 3, H, W) each.
    """
    height, width = rows[0].shape[2:]
    gap = 4
    zoom = max(1, -(-_SAMPLE_SIDE // min(height, width)))
    sheet = np.ones(
        (len(rows) * (height * zoom + gap) - gap, len(rows[0]) * (width * zoom + gap) - gap, 3), np.float32
    )
    for i, row in enumerate(rows):
        for j, picture in enumerate(row.float().cpu().numpy()):
            large = picture.transpose(1, 2, 0).repeat(zoom, 0).repeat(zoom, 1)
            top, left = i * (height * zoom + gap), j * (width * zoom + gap)
            sheet[top : top + height * zoom, left : left + width * zoom] = large
    write_file(path, encode(to_array(sheet, np.uint8), "png"), overwrite=True)


def summary(net: nn.Module) -> str:
    """Every layer that has weights of its own: name, kind, shapes, number of weights; and the total."""
    lines = []
    for name, module in net.named_modules():
        own = list(module.named_parameters(recurse=False))
        if own:
            shapes = ", ".join(f"{key} {'x'.join(map(str, p.shape))}" for key, p in own)
            count = sum(p.numel() for _, p in own)
            lines.append(f"{name or '(root)':<32} {type(module).__name__:<18} {count:>12,}  {shapes}")
    total = sum(p.numel() for p in net.parameters())
    return "\n".join([*lines, f"{'total':<51} {total:>12,}\n"])
