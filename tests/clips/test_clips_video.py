"""Clips in and out: what is copied, what keeps its colour, and what is refused."""

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")

from unblur.clips import is_clip, video, written_suffix  # noqa: E402
from unblur.clips.restore import restore_clip  # noqa: E402
from unblur.errors import FileError, OptionError  # noqa: E402


@pytest.fixture
def copied(tmp_path):
    """Restore nothing: everything of a clip is taken apart and put together again."""

    def copy(path, suffix=None):
        target = tmp_path / f"copy{suffix or path.suffix}"
        return target, restore_clip(path, target, "wiener", 0.0, sigma=1.0, overwrite=True)

    return copy


@pytest.mark.parametrize(
    ("name", "codec", "audio"),
    [
        ("a.mp4", "libx264", "aac"),
        ("a.mov", "libx264", "aac"),
        ("a.mkv", "libx264", "libopus"),
        ("a.webm", "libvpx-vp9", "libopus"),
    ],
)
def test_everything_but_the_pictures_is_copied(pan, make_clip, copied, seen, name, codec, audio):
    path = make_clip(name, pan(12), codec=codec, audio=audio, tags={"title": "a view", "artist": "somebody"})
    target, result = copied(path)
    before, after = seen(path), seen(target)
    assert result.frames == 12
    assert result.restored == 0
    assert after["sound"] == before["sound"]
    assert len(after["sound"]) > 15
    for key in ("times", "time_base", "duration", "colour", "pixels", "rotation"):
        assert after[key] == before[key], key
    assert {name.lower(): text for name, text in after["tags"].items()}.items() >= {
        "title": "a view",
        "artist": "somebody",
    }.items()
    for one, other in zip(before["frames"], after["frames"], strict=True):
        assert np.square((one.astype(float) - other).mean(axis=2)).mean() < 255**2 / 10**4  # 40 dB


def test_variable_rates_rotation_and_chapters_are_copied(pan, make_clip, copied, seen):
    times = [0, 512, 1300, 1301, 4000, 9000, 9512, 20000]
    chapters = [
        {
            "id": number,
            "start": start,
            "end": end,
            "time_base": Fraction(1, 1000),
            "metadata": {"title": title},
        }
        for number, start, end, title in ((1, 0, 200, "first"), (2, 200, 320, "second"))
    ]
    path = make_clip("a.mp4", pan(8), pts=times, rotation=-90, chapters=chapters)
    target, result = copied(path)
    before, after = seen(path), seen(target)
    assert after["times"] == before["times"] == times
    assert after["rotation"] == before["rotation"] == -90
    assert after["chapters"] == before["chapters"] == [(0.0, {"title": "first"}), (0.2, {"title": "second"})]
    assert result.warnings == ()


def test_a_start_behind_zero_is_kept(pan, make_clip, copied, seen):
    path = make_clip("a.mp4", pan(5), pts=[1280 + 512 * index for index in range(5)])
    target, _ = copied(path)
    assert seen(target)["times"] == seen(path)["times"]
    assert seen(target)["times"][0] == 1280


@pytest.mark.parametrize("name", ["a.avi", "a.ts"])
def test_other_containers_become_matroska(pan, make_clip, copied, seen, name):
    path = make_clip(name, pan(6), codec="mpeg4", options={"qmax": "2"}, colour=(0, 2, 2, 2), audio="mp2")
    assert is_clip(path)
    assert written_suffix(path) == ".mkv"
    target, result = copied(path, ".mkv")
    assert result.frames == len(seen(target)["frames"]) == 6
    assert [data for data, *_ in seen(target)["sound"]] == [data for data, *_ in seen(path)["sound"]]


@pytest.mark.parametrize("colour", [(1, 1, 1, 1), (1, 6, 6, 6), (2, 1, 1, 1), (0, 2, 2, 2), (1, 9, 14, 9)])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_a_colour_ramp_keeps_its_mean(make_clip, copied, seen, colour, pixels):
    ramp = np.zeros((64, 128, 3), np.uint8)
    ramp[..., 0] = np.linspace(20, 235, 128)
    ramp[..., 1] = np.linspace(200, 30, 64)[:, None]
    ramp[..., 2] = 128
    path = make_clip("a.mp4", [ramp] * 2, pixels=pixels, colour=colour, audio=None)
    clip = video.probe(path)
    assert clip.colour == colour
    frame = next(video.read(path))
    rgb = video.to_rgb(frame, clip)
    again = video.from_rgb(rgb, rgb, frame, clip)
    for old, new in zip(video._planes(frame), video._planes(again), strict=True):
        assert np.array_equal(old, new)
    brighter = path.with_name("brighter.mp4")
    with video.Segment(brighter, clip, video.TARGETS[".mp4"]) as segment:
        segment.write(video.from_rgb(rgb + 10, rgb, frame, clip))
    mean = seen(path)["frames"][0].mean((0, 1))
    assert seen(brighter)["frames"][0].mean((0, 1)) == pytest.approx(mean + 10, abs=0.75)
    target, _ = copied(path)
    after = seen(target)
    assert after["colour"] == colour
    assert after["pixels"] in (pixels, pixels.replace("yuv", "yuvj"))
    assert after["frames"][0].mean((0, 1)) == pytest.approx(mean, abs=0.75)


def test_odd_sizes_keep_their_shape(pan, make_clip, copied, seen):
    path = make_clip("a.webm", pan(3, 63, 95), codec="libvpx-vp9", audio=None)
    target, _ = copied(path, ".mkv")
    assert seen(target)["frames"][0].shape == (63, 95, 3)


def refusal(path):
    with pytest.raises(FileError) as error:
        video.probe(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_more_than_eight_bits_and_hdr_are_refused(pan, make_clip):
    ten = make_clip("a.mp4", pan(2), pixels="yuv420p10le", audio=None)
    assert "10 bits" in refusal(ten)
    assert "high dynamic range" in refusal(make_clip("b.mp4", pan(2), colour=(1, 9, 16, 9), audio=None))


def test_rgb_and_interlaced_clips_are_refused(pan, make_clip):
    assert "only YUV" in refusal(
        make_clip("a.mkv", pan(2), codec="libx264rgb", pixels="rgb24", colour=(2, 1, 1, 0), audio=None)
    )
    fields = make_clip("b.mp4", pan(4), options={"x264-params": "interlaced=1"}, audio=None)
    assert "deinterlace" in refusal(fields)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_truncated_clips_are_refused(pan, make_clip, name):
    path = make_clip(
        name, pan(60), audio=None, container_options={"movflags": "faststart"} if name == "a.mp4" else {}
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 5])
    assert "truncated" in refusal(path)
    path.write_bytes(data[:300])
    assert str(path) in refusal(path)


def test_what_is_no_clip_is_refused(tmp_path, make_clip, pan):
    assert "no such file" in refusal(tmp_path / "none.mp4")
    (tmp_path / "a.mp4").write_text("not a clip" * 100)
    assert "no clip" in refusal(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"")
    refusal(tmp_path / "b.mp4")
    with av.open(tmp_path / "c.mp4", "w") as container:
        stream = container.add_stream("aac", 48000)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
        sound.sample_rate = 48000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    assert "no pictures" in refusal(tmp_path / "c.mp4")
    data = make_clip("d.mp4", pan(2), audio=None).read_bytes()
    (tmp_path / "d.mp4").write_bytes(data.replace(b"avc1", b"zzz1"))
    refusal(tmp_path / "d.mp4")


def test_clips_are_written_as_clips(tmp_path, pan, make_clip):
    with pytest.raises(OptionError, match=r"\.mp4, \.m4v"):
        restore_clip(make_clip("a.mp4", pan(2)), tmp_path / "b.gif")
