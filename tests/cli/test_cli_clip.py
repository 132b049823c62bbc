"""`unblur restore` on clips."""

import json
import sys

import numpy as np
import pytest

from unblur import clips

av = pytest.importorskip("av")


@pytest.fixture
def clip(tmp_path, rng):
    """Three grey frames with a little noise."""
    path = tmp_path / "clip.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            pixels = rng.integers(100, 130, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def test_a_clip_is_written_beside_itself(unblur, clip):
    ran = unblur("restore", clip, "--method", "wiener", "--sigma", "1", "--json", "--memory", "2GB")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["output"] == str(clip.with_name("clip.unblur.mp4"))
    assert told["frames"] == 3
    assert told["restored"] + told["left_alone"] == 3
    assert {"blur", "flicker", "seconds", "method", "input"} <= told.keys()
    with av.open(told["output"]) as container:
        assert len(list(container.decode(video=0))) == 3
    again = unblur("restore", clip, "--method", "wiener", "--sigma", "1")
    assert again.code == 2
    assert "exists already" in again.err


def test_a_clip_with_pictures_into_a_folder(unblur, clip, photo, tmp_path):
    ran = unblur("restore", clip, photo, "-o", tmp_path / "out", "--method", "wiener", "--sigma", "1")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.mp4", "photo.png"]
    assert "of 3 frames" in ran.out


def test_what_is_wrong_takes_one_line(unblur, clip, tmp_path):
    bad = tmp_path / "bad.mov"
    bad.write_text("nothing")
    for arguments in (
        (bad,),
        (clip, "-o", tmp_path / "a.png"),
        (clip, "--strength", "2"),
        (tmp_path / "no.mkv",),
    ):
        ran = unblur("restore", *arguments)
        assert ran.code == 2
        assert ran.err.count("\n") == 1


def test_without_the_extra(unblur, clip, monkeypatch):
    for name in ("restore", "video"):
        monkeypatch.delitem(sys.modules, f"unblur.clips.{name}", raising=False)
        monkeypatch.delattr(clips, name, raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    ran = unblur("restore", clip)
    assert ran.code == 2
    assert "pip install 'unblur[video]'" in ran.err


def test_ctrl_c_leaves_no_half_written_file(unblur, clip, monkeypatch):
    from unblur.clips import restore

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(restore, "_restore_frame", interrupt)
    ran = unblur("restore", clip, "--method", "wiener", "--sigma", "1")
    assert ran.code == 130
    assert ran.err.count("\n") == 1
    assert list(clip.parent.iterdir()) == [clip]
