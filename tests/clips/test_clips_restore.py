"""Restoring clips: frames, steadiness, and going on after an interruption."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("av")

import unblur
from unblur.clips import restore
from unblur.clips.restore import restore_clip
from unblur.errors import OptionError, OutputError
from unblur.image import from_array
from unblur.metrics import psnr


@pytest.fixture
def short_segments(monkeypatch):
    monkeypatch.setattr(restore, "SEGMENT", 4)


def mean_psnr(frames, truth):
    pairs = zip(frames, truth, strict=True)
    return np.mean([psnr(from_array(one), from_array(other), data_range=1) for one, other in pairs])


def test_frames_get_sharper_and_the_blur_is_told(pan, make_clip, seen, tmp_path):
    path = make_clip("a.mp4", pan(9, 90, 160, sigma=1.5, noise=0.005), options={"crf": "20"})
    result = restore_clip(path, tmp_path / "b.mp4", "wiener", window=3)
    truth = list(pan(9, 90, 160))
    assert mean_psnr(seen(tmp_path / "b.mp4")["frames"], truth) > mean_psnr(seen(path)["frames"], truth) + 1
    told = json.loads(json.dumps(result.to_dict()))
    assert told["frames"] == told["restored"] == 9
    assert told["left_alone"] == told["resumed"] == 0
    assert told["blur"]["kinds"] == {"gaussian": 9}
    assert told["blur"]["sigma"] == pytest.approx(1.5, abs=0.3)
    assert 0 < told["flicker"] < 0.5
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "b.mp4"]
    assert "9 of 9 frames" in str(result)


def test_sharp_frames_are_left_alone(pan, make_clip, tmp_path):
    path = make_clip("a.mp4", pan(4, 90, 160), audio=None)
    result = restore_clip(path, tmp_path / "b.mp4", "wiener")
    assert (result.frames, result.restored, result.flicker) == (4, 0, 0.0)


class Stop(Exception):
    pass


def stop_after(frames, signal_number=None):
    def progress(done, total):
        if done == frames:
            if signal_number is not None:
                os.kill(os.getpid(), signal_number)
            raise Stop

    return progress


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx-vp9")])
def test_an_interrupted_run_goes_on_to_the_same_bytes(pan, make_clip, tmp_path, short_segments, name, codec):
    audio = "aac" if name == "a.mp4" else "libopus"
    path = make_clip(name, pan(10, 64, 96, sigma=1.2, noise=0.02), codec=codec, audio=audio)
    whole, other = tmp_path / f"whole{path.suffix}", tmp_path / f"other{path.suffix}"
    restore_clip(path, whole, "wiener", window=3)
    for frames in (6, 10):
        with pytest.raises(Stop):
            restore_clip(path, other, "wiener", window=3, progress=stop_after(frames))
        assert not other.exists()
        assert (tmp_path / f".{other.name}.parts").is_dir()
    calls = []
    result = restore_clip(path, other, "wiener", window=3, progress=lambda *step: calls.append(step))
    assert result.resumed == 8
    assert calls == [(9, 10), (10, 10)]
    assert other.read_bytes() == whole.read_bytes()
    assert not (tmp_path / f".{other.name}.parts").exists()


def test_a_killed_process_can_be_followed_by_another(pan, make_clip, tmp_path, short_segments):
    path = make_clip("a.mp4", pan(10, 64, 96, sigma=1.2), rotation=90)
    whole, other = tmp_path / "whole.mp4", tmp_path / "other.mp4"
    restore_clip(path, whole, "wiener", sigma=1.2)
    script = f"""
import os, signal
from unblur.clips import restore
restore.SEGMENT = 4
def kill(done, total):
    if done == 6:
        os.kill(os.getpid(), signal.SIGKILL)
restore.restore_clip({str(path)!r}, {str(other)!r}, "wiener", sigma=1.2, progress=kill)
"""
    ran = subprocess.run([sys.executable, "-c", script], check=False, timeout=120)
    assert ran.returncode == -signal.SIGKILL
    assert not other.exists()
    assert restore_clip(path, other, "wiener", sigma=1.2).resumed == 4
    assert other.read_bytes() == whole.read_bytes()


def test_other_settings_start_anew(pan, make_clip, tmp_path, short_segments):
    path = make_clip("a.mp4", pan(6), audio=None)
    target = tmp_path / "b.mp4"
    with pytest.raises(Stop):
        restore_clip(path, target, "wiener", sigma=1.0, progress=stop_after(5))
    result = restore_clip(path, target, "wiener", sigma=1.1)
    assert result.resumed == 0
    assert result.blur["sigma"] == 1.1
    with pytest.raises(OutputError, match="exists already"):
        restore_clip(path, target, "wiener", sigma=1.1)


def test_nothing_is_left_of_a_run_that_finished_nothing(pan, make_clip, tmp_path):
    path = make_clip("a.mp4", pan(3), audio=None)
    with pytest.raises(Stop):
        restore_clip(path, tmp_path / "b.mp4", "wiener", sigma=1.0, progress=stop_after(1))
    with pytest.raises(OptionError, match="does not iterate"):
        restore_clip(path, tmp_path / "b.mp4", "wiener", iterations=3)
    with pytest.raises(OptionError, match="window"):
        restore_clip(path, tmp_path / "b.mp4", window=-1)
    with pytest.raises(OutputError, match="no such folder"):
        restore_clip(path, tmp_path / "none" / "b.mp4")
    assert list(tmp_path.iterdir()) == [path]


def test_a_given_blur_is_that_of_every_frame(pan, make_clip, tmp_path, seen):
    path = make_clip("a.mp4", pan(3, sigma=1.0), audio=None)
    kernel = np.zeros((3, 3), np.float32)
    kernel[1] = 1 / 3
    result = restore_clip(path, tmp_path / "b.mp4", "richardson-lucy", 0.5, kernel, iterations=3)
    assert result.blur["kinds"] == {"kernel": 3}
    frames = seen(path)["frames"]
    noise = result.blur["noise"]
    first = unblur.restore(
        frames[0],
        "richardson-lucy",
        0.5,
        blur=unblur.Blur("kernel", kernel=kernel, noise=noise),
        iterations=3,
    )
    assert np.abs(seen(tmp_path / "b.mp4")["frames"][0].astype(float) - first.image).mean() < 2


def test_the_middle_frame_can_be_compared(pan, make_clip, tmp_path):
    path = make_clip("a.mp4", pan(5, 64, 96), audio=None, rotation=-90)
    restore_clip(path, tmp_path / "b.mp4", "wiener", sigma=1.0, compare=tmp_path / "c.png")
    both = unblur.files.Source.open(tmp_path / "c.png").read()
    assert both.shape == (96, 128, 3)
    middle = list(pan(5, 64, 96))[2]
    assert psnr(from_array(np.rot90(middle, -1)), from_array(both[:, :64]), data_range=1) > 28


@pytest.mark.slow
def test_ten_seconds_keep_frames_duration_and_sound(pan, make_clip, tmp_path, seen):
    path = make_clip(
        "a.mp4", pan(250, 360, 640, sigma=1.5, noise=0.01) if False else pan(250, 300, 330, sigma=1.5)
    )
    target = tmp_path / "b.mp4"
    command = [sys.executable, "-m", "unblur", "restore", str(path), "-o", str(target), "--method", "wiener",
               "--sigma", "1.5"]  # fmt: skip
    running = subprocess.Popen(command)
    parts = tmp_path / f".{target.name}.parts"
    while not (parts / "000003.mp4").exists():
        assert running.poll() is None
    running.kill()
    running.wait()
    assert not target.exists()
    subprocess.run(command, check=True)
    whole = tmp_path / "whole.mp4"
    subprocess.run([*command[:-6], "-o", str(whole), *command[-4:]], check=True)
    assert target.read_bytes() == whole.read_bytes()
    before, after = seen(path), seen(target)
    assert len(after["frames"]) == 250
    for key in ("times", "duration", "sound"):
        assert after[key] == before[key]
    assert after["duration"] == 10_000_000
