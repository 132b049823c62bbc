"""Clips to restore: a window that moves over a public-domain photograph, with a sine for sound."""

from fractions import Fraction

import numpy as np
import pytest
from skimage import data as pictures

from unblur.image import from_array, to_array
from unblur.physics.convolve import gaussian_blur

av = pytest.importorskip("av")

BASE = Fraction(1, 12800)
STEP = 512


@pytest.fixture(scope="session")
def pan():
    """pan(count, height, width, sigma, noise): frames of a moving view, uint8 (H, W, 3)."""
    picture = from_array(np.pad(pictures.astronaut(), ((0, 0), (0, 256), (0, 0)), "reflect"))

    def frames(count, height=64, width=96, sigma=0.0, noise=0.0):
        rng = np.random.default_rng(3)
        view = gaussian_blur(picture, sigma) if sigma else picture
        for index in range(count):
            # Back and forth, so that any number of frames fits.
            left = 60 + abs((index + 60) % 120 - 60)
            crop = view[90 : 90 + height, left : left + width]
            yield to_array(crop + rng.normal(0, noise, crop.shape).astype(np.float32), "uint8")

    return frames


@pytest.fixture
def make_clip(tmp_path):
    """make_clip(name, frames, ...): write frames as a clip with sound and tags."""

    def make(
        name,
        frames,
        *,
        codec="libx264",
        pixels="yuv420p",
        colour=(1, 1, 1, 1),
        options=None,
        audio="aac",
        pts=None,
        rotation=0,
        tags=None,
        chapters=(),
        container_options=None,
    ):
        path = tmp_path / name
        frames = list(frames)
        with av.open(path, "w", container_options=container_options or {}) as container:
            container.metadata.update(tags or {})
            container.set_chapters(list(chapters))
            stream = container.add_stream(codec, 25, options={"crf": "10"} if options is None else options)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pixels
            context = stream.codec_context
            context.time_base = BASE
            context.color_range, context.color_primaries, context.color_trc, context.colorspace = colour
            if rotation:
                stream.set_display_rotation(rotation)
            sound = container.add_stream(audio, 48000) if audio else None
            for index, pixels_ in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels_, format="rgb24").reformat(
                    format=pixels,
                    dst_colorspace=colour[3],
                    dst_color_range=max(colour[0], 1),
                    src_color_range=2,
                )
                frame.pts, frame.time_base = (pts[index] if pts else index * STEP), BASE
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if sound is not None:
                time = np.arange(48000 * len(frames) // 25) / 48000
                wave = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
                samples = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
                samples.sample_rate, samples.pts, samples.time_base = 48000, 0, Fraction(1, 48000)
                container.mux(sound.encode(samples))
                container.mux(sound.encode())
        return path

    return make


@pytest.fixture
def seen():
    """seen(path): what a player learns of a clip."""

    def look(path):
        with av.open(path) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            found = {
                "colour": (
                    context.color_range, context.color_primaries, context.color_trc, context.colorspace
                ),
                "pixels": context.pix_fmt,
                "codec": context.name,
                "time_base": stream.time_base,
                "duration": container.duration,
                "tags": dict(container.metadata),
                "chapters": [
                    (float(one["start"] * one["time_base"]), one["metadata"]) for one in container.chapters()
                ],
                "times": [], "frames": [],
            }  # fmt: skip
            for frame in container.decode(stream):
                found["times"].append(frame.pts)
                found["frames"].append(frame.to_ndarray(format="rgb24", dst_color_range=2))
                found["rotation"] = frame.rotation
        with av.open(path) as container:
            found["sound"] = [
                (bytes(packet), packet.pts, packet.duration)
                for packet in container.demux(audio=0)
                if packet.size
            ] if container.streams.audio else []  # fmt: skip
        return found

    return look
