"""Restoring clips: frames, steadiness, and going on after an interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("av")

import unblur
from unblur.clips import restore
from unblur.clips.restore import restore_clip
from unblur.engine import Plan
from unblur.errors import OptionError, OutputError
from unblur.image import from_array
from unblur.metrics import psnr
from unblur.physics.blur import Blur
from unblur.physics.kernels import gaussian


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


def test_what_was_said_before_a_break_counts_across_a_cut(
    pan, make_clip, tmp_path, short_segments, monkeypatch
):
    """Frames 8 and 9 are restored only because frame 7 was, of the scene that began with frame 6."""
    view = list(pan(12))
    for index in range(12):
        view[index] = view[index] // (2 if index < 6 else 1)
        view[index][:16, :16] = 255 * (index in (6, 7))
    path = make_clip("a.mp4", view, audio=None)
    blur = Blur("gaussian", {"sigma": 1.2}, gaussian(1.2), confidence=1.0, noise=0.01)
    sharp = Blur("none", confidence=1.0, noise=0.01)
    plan = Plan.make("wiener")
    plan = replace(
        plan, row=replace(plan.row, find=lambda image: blur if image[:12, :12].mean() > 0.5 else sharp)
    )
    monkeypatch.setattr(Plan, "make", lambda *options: plan)
    whole, other = tmp_path / "whole.mp4", tmp_path / "other.mp4"
    assert restore_clip(path, whole, window=3).blur["kinds"] == {"none": 8, "gaussian": 4}
    with pytest.raises(Stop):
        restore_clip(path, other, window=3, progress=stop_after(9))
    assert restore_clip(path, other, window=3).resumed == 8
    assert other.read_bytes() == whole.read_bytes()


def test_two_runs_at_once(pan, make_clip, tmp_path, short_segments):
    path = make_clip("a.mp4", pan(6), audio=None)
    target = tmp_path / "b.mp4"

    def second(done, total):
        with pytest.raises(OutputError, match="another run"):
            restore_clip(path, target, "wiener", sigma=1.0 + done / 10)

    result = restore_clip(path, target, "wiener", sigma=1.0, progress=second)
    assert (result.frames, result.resumed) == (6, 0)
    assert not (tmp_path / f".{target.name}.parts").exists()


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
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", ["wiener", "auto"])
def test_ten_seconds_keep_frames_duration_and_sound(pan, make_clip, tmp_path, seen, method):
    """A pan that is out of focus for two of its ten seconds, killed halfway, which is amid those."""
    sharp = list(pan(250, 360, 640))
    soft = [*sharp[:100], *list(pan(150, 360, 640, sigma=1.5, noise=0.005))[100:], *sharp[150:]]
    path = make_clip("a.mp4", soft, options={"crf": "18"})
    whole, target = tmp_path / "whole.mp4", tmp_path / "b.mp4"
    command = [sys.executable, "-m", "unblur", "restore", str(path), "--method", method, "-o"]
    subprocess.run([*command, str(whole)], check=True)
    running = subprocess.Popen([*command, str(target)])
    parts = tmp_path / f".{target.name}.parts"
    while not (parts / "000003.mp4").exists():
        assert running.poll() is None
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert not target.exists()
    told = json.loads(
        subprocess.run([*command, str(target), "--json"], check=True, capture_output=True).stdout
    )
    assert told["frames"] == 250
    assert 45 <= told["restored"] <= 55
    assert 4 * restore.SEGMENT <= told["resumed"] < 250
    assert target.read_bytes() == whole.read_bytes()
    before, after = seen(path), seen(target)
    assert len(after["frames"]) == 250
    assert after["frames"][0].shape == (360, 640, 3)
    for key in ("times", "duration", "sound"):
        assert after[key] == before[key]
    assert len(after["sound"]) > 400
    assert after["duration"] == pytest.approx(10_000_000, abs=25_000)  # sound ends with a whole packet
    among = slice(105, 145, 5)
    assert (
        mean_psnr(after["frames"][among], sharp[among]) > mean_psnr(before["frames"][among], sharp[among]) + 1
    )
