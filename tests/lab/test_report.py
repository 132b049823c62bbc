from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unblur import files
from unblur.lab import report
from unblur.lab.report import Log


def test_a_log_is_cut_back_to_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path)
    log.write("one", x=1)
    mark = log.mark()
    log.write("two", y=0.1)
    log.close()
    with path.open("ab") as file:
        file.write(b'{"event": "half')
    again = Log(path)
    again.cut(mark)
    again.write("three")
    again.close()
    assert report.read_log(path) == [{"event": "one", "x": 1}, {"event": "three"}]
    # A log that somebody emptied does not stand in the way.
    path.write_bytes(b"")
    again = Log(path)
    again.cut(mark)
    again.write("four")
    assert report.read_log(path) == [{"event": "four"}]


def test_the_sample_shows_the_pictures(tmp_path: Path) -> None:
    rows = [torch.rand(2, 3, 32, 48), torch.rand(2, 3, 32, 48) * 3 - 1, torch.zeros(2, 3, 32, 48)]
    report.save_sample(tmp_path / "sample.png", rows)
    sheet = files.Source.open(tmp_path / "sample.png").read()
    # Four times enlarged, with 4 white pixels between.
    assert sheet.shape == (3 * 128 + 8, 2 * 192 + 4, 3)
    assert (sheet[128:132] == 255).all()
    assert (sheet[264:, :192] == 0).all()
    picture = (rows[1][1].clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy().transpose(1, 2, 0)
    assert np.array_equal(sheet[132:260:4, 196::4], picture)


@pytest.mark.parametrize("loss", [0.5, -20.0])
def test_the_curve_is_a_picture(tmp_path: Path, loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    events = [{"event": "start", "steps_per_epoch": 5}]
    events += [
        {"event": "epoch", "epoch": n, "loss": loss * 0.9**n, "validation": {"loss": loss}} for n in range(3)
    ]
    report.save_curve(tmp_path / "curve.png", events, "a test")
    picture = files.Source.open(tmp_path / "curve.png").read()
    assert picture.shape == (400, 1000, 3)
    assert picture.std() > 10


def test_there_is_a_curve_before_the_first_epoch_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    start = {"event": "start", "steps_per_epoch": 100}
    report.save_curve(tmp_path / "curve.png", [start], "a test")
    assert not (tmp_path / "curve.png").exists()
    report.save_curve(
        tmp_path / "curve.png",
        [start, *({"event": "step", "steps": n, "loss": 1 / n} for n in (10, 20))],
        "a test",
    )
    assert files.Source.open(tmp_path / "curve.png").read().std() > 10


def test_the_summary_counts_every_weight() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1))
    lines = report.summary(net).splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["Conv2d", "BatchNorm2d", "Conv2d"]
    assert "8x3x3x3" in lines[0]
    assert lines[3].split() == ["total", "267"]


def test_the_stopwatch() -> None:
    watch = report.Stopwatch()
    watch.count(10, 0.01)
    time.sleep(0.05)
    watch.count(10, 0.01)
    read = watch.read()
    assert 0.05 <= read["seconds"] < 5
    assert read["images_per_second"] == pytest.approx(20 / read["seconds"], rel=0.02)
    assert read["data_share"] == pytest.approx(0.02 / read["seconds"], rel=0.02)
    assert str(watch).endswith("%")
