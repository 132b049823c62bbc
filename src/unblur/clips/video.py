"""Clips in and out through PyAV: what is in them, their frames as RGB and back, encoding, and putting together."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unblur.errors import FileError, MissingExtraError, OutputError

try:
    import av
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Disposition, Stream
    from av.video.frame import PictureType
    from av.video.frame import VideoFrame as VideoFrame
    from av.video.reformatter import Interpolation
    from av.video.stream import VideoStream
except ImportError as error:
    raise MissingExtraError("restoring clips", "video") from error

Timing: TypeAlias = tuple[int, int]
"""When a frame is shown, and for how long, in units of the time base of its clip."""


class Target(NamedTuple):
    """How a suffix is written: the container, the encoder and its options."""

    container: str
    encoder: str
    options: Mapping[str, str]


# One thread, so that nothing depends on how threads are scheduled; encoding takes little time next to restoring. There
# are no B-frames, so that packets come in the order of the frames and need no times of their own; a short look-ahead
# bounds the memory.
_H264 = {"crf": "14", "preset": "medium", "bf": "0", "rc-lookahead": "10", "threads": "1"}
_VP9 = {"crf": "16", "b": "0", "cpu-used": "4", "row-mt": "0", "lag-in-frames": "0", "threads": "1"}

TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        ".mp4": Target("mp4", "libx264", _H264),
        ".m4v": Target("mp4", "libx264", _H264),
        ".mov": Target("mov", "libx264", _H264),
        ".mkv": Target("matroska", "libx264", _H264),
        ".webm": Target("webm", "libvpx-vp9", _VP9),
    }
)
"""What can be written, by suffix."""

#: What pixel formats are written as; any other becomes yuv420p.
_WRITTEN = {f"{name}{kind}": f"yuv{kind}" for name in ("yuv", "yuvj") for kind in ("420p", "422p", "444p")}

#: Transfer characteristics of more than the standard dynamic range: PQ and HLG.
_HDR = (16, 18)

#: Numbers of FFmpeg (after ITU-T H.273) for a range, and for a matrix that nobody tells, which players take for
#: that of BT.709 from 720 rows on, else of BT.601.
_LIMITED, _FULL = 1, 2
_UNSPECIFIED, _BT709, _BT601, _HD = 2, 1, 5, 720

#: What H.264 leaves behind is to be reckoned with as white noise of this standard deviation, and so much more for
#: each standard deviation of rounding by its quantiser: restores best over qualities (CRF) of 10 to 28 and Gaussian
#: blurs of 1 to 2 pixels. Where nobody tells the quantiser, a usual one.
_CODING, _CODING_BY_STEP, _CODING_USUAL = 0.008, 0.6, 0.013

_CONVERSION = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)

#: Tags that describe the container and not what it holds.
_OF_THE_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")

#: Streams that are copied packet by packet.
_COPIED = ("audio", "subtitle", "video", "attachment")

#: A clip that ends earlier than its header says by more than this many seconds is truncated.
_MISSING = 1

#: AVFMT_FLAG_BITEXACT: a container has no dates and no random numbers.
_BITEXACT = 0x400

#: Nine numbers as they lie in memory.
_MATRIX = struct.Struct("=9i")


VERSIONS: Mapping[str, Any] = av.library_versions
"""What encodes, by library."""


@dataclass(frozen=True)
class Clip:
    """What is known of a clip before its frames are read.

    pixels: the format of its frames. rate: frames a second, on average. colour: range, primaries, transfer and
    matrix as numbers of FFmpeg. lossy: whether its codec changes pixels. matrix: how it is turned for display,
    nothing where it is not. frames: as many as it has where nothing is damaged. copied: indices of the streams that
    are copied. left_out: what a restored clip will not have, one line each.
    """

    path: Path
    width: int
    height: int
    pixels: str
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colour: tuple[int, int, int, int]
    lossy: bool
    matrix: bytes
    frames: int
    copied: tuple[int, ...]
    left_out: tuple[str, ...]

    @property
    def written(self) -> str:
        """The pixel format of the restored clip."""
        # An odd number of rows or columns cannot be halved, as all but 4:4:4 do for colours.
        return "yuv444p" if (self.width | self.height) % 2 else _WRITTEN.get(self.pixels, "yuv420p")

    @property
    def meaning(self) -> tuple[int, int]:
        """The matrix and the range that its numbers are taken for."""
        matrix = self.colour[3]
        if matrix == _UNSPECIFIED:
            matrix = _BT709 if self.height >= _HD else _BT601
        return matrix, _FULL if _FULL in (
            self.colour[0],
            self.pixels.startswith("yuvj") * _FULL,
        ) else _LIMITED


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what FFmpeg says into one line about the clip."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise FileError(f"{path}: damaged, truncated or no clip ({error.strerror})") from error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        raise OutputError(
            f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})"
        ) from error


# Reading


def probe(path: Path) -> Clip:
    """Look at a clip: at its header, through all of its packets, and at its first frame.

    Raises FileError for what is no clip, damaged or truncated, of more than 8 bits or a high dynamic range,
    interlaced, or of a codec or kind of pixels that cannot be restored.
    """
    if not path.is_file():
        raise FileError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
    with _reading(path), av.open(path) as container:
        stream = _pictures(container, path)
        colour = _check_pixels(stream, path)
        frames = _count(container, stream, path)
        copied, left_out = [], []
        for other in container.streams:
            if other is stream:
                continue
            if other.type in _COPIED and (other.type == "attachment" or other.codec_context is not None):
                copied.append(other.index)
            elif other.name != "bin_data":  # the titles of chapters, which are copied as such
                left_out.append(f"a stream of type {other.type} is left out")
        rate, base, aspect = stream.average_rate, stream.time_base, stream.sample_aspect_ratio
        lossy = stream.codec.lossy
    first = next(read(path), None)
    if first is None:
        raise FileError(f"{path}: has no frame that can be read")
    if first.interlaced_frame:
        raise FileError(f"{path}: is interlaced; deinterlace it first, for example with ffmpeg -vf bwdif")
    return Clip(
        path=path,
        width=first.width,
        height=first.height,
        pixels=first.format.name,
        time_base=base or Fraction(1, 1000),
        rate=rate or Fraction(25),
        aspect=aspect or Fraction(1),
        colour=colour,
        lossy=lossy,
        matrix=b"".join(bytes(one) for one in first.side_data if one.type.name == "DISPLAYMATRIX"),  # type: ignore
        frames=frames,
        copied=tuple(copied),
        left_out=tuple(left_out),
    )


def _pictures(container: InputContainer, path: Path) -> VideoStream:
    """The stream of a clip that is restored: the first that is no cover."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise FileError(f"{path}: is of a codec that cannot be read")
            # With more threads quantisers are told wrong now and then.
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"export_side_data": "venc_params"}
            return stream
    raise FileError(f"{path}: has no pictures, only {container.format.long_name}")


def _check_pixels(stream: VideoStream, path: Path) -> tuple[int, int, int, int]:
    """Range, primaries, transfer and matrix of a clip whose frames can be restored; FileError for any other."""
    context = stream.codec_context
    form = context.format
    if context.pix_fmt is None or form is None or not form.width:
        raise FileError(f"{path}: its pictures cannot be read; it is damaged or truncated")
    bits = max(component.bits for component in form.components)
    if bits > 8:
        raise FileError(f"{path}: has {bits} bits a colour; only clips of 8 bits are restored")
    if context.color_trc in _HDR:
        raise FileError(f"{path}: has a high dynamic range; only clips of the standard range are restored")
    if form.is_rgb or form.has_palette or len(form.components) != 3:
        raise FileError(f"{path}: has {form.name} pixels; only YUV clips without transparency are restored")
    return context.color_range, context.color_primaries, context.color_trc, context.colorspace


def _count(container: InputContainer, stream: VideoStream, path: Path) -> int:
    """The packets of a stream; FileError where packets are missing or damaged."""
    frames, end, cut_off = 0, Fraction(0), False
    for packet in container.demux():
        if packet.size:
            frames, cut_off = frames + (packet.stream is stream), packet.is_corrupt
        if packet.pts is not None and packet.time_base:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
    length = Fraction((container.duration or 0) + min(container.start_time or 0, 0), av.time_base)
    if cut_off or end < length - _MISSING:
        raise FileError(f"{path}: truncated: ends after {float(end):.1f} of {float(length):.1f} s")
    return frames


def read(path: Path) -> Iterator[VideoFrame]:
    """The frames of a clip in the order in which they are shown.

    Raises FileError where one cannot be read, or is of another size or kind than the first.
    """
    with _reading(path), av.open(path) as container:
        kind = None
        for number, frame in enumerate(container.decode(_pictures(container, path))):
            found = frame.width, frame.height, frame.format.name
            kind = kind or found
            if found != kind:
                raise FileError(
                    f"{path}: changes from {kind} to {found} at frame {number}; cut it there first"
                )
            yield frame


def coding_noise(frame: VideoFrame, clip: Clip) -> float:
    """The standard deviation that a deconvolution should reckon with for what the codec did, in [0, 1] units.

    Compression leaves little noise where a picture is flat, and errors where it is not.
    """
    for one in frame.side_data:
        if one.type.name == "VIDEO_ENC_PARAMS" and one.codec_type.name == "H264" and one.nb_blocks:  # type: ignore
            quantiser = float(one.qp_map().mean())  # type: ignore
            # The step doubles every six, and is 0.625 levels for 0, which is also how lossless clips are marked.
            step = 0.625 * 2 ** (quantiser / 6) / 255
            return _CODING + _CODING_BY_STEP * step / 12**0.5 if quantiser > 0 else 0.0
    return _CODING_USUAL if clip.lossy else 0.0


# Colours


def to_rgb(frame: VideoFrame, clip: Clip) -> NDArray[np.uint8]:
    """A frame as pixels. Shape: (H, W, 3)."""
    matrix, span = clip.meaning
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=span,
        dst_color_range=_FULL,
        interpolation=_CONVERSION,
    )
    return np.asarray(rgb.to_ndarray(), np.uint8)


def from_rgb(
    restored: NDArray[np.uint8], before: NDArray[np.uint8], frame: VideoFrame, clip: Clip
) -> VideoFrame:
    """A frame with restored pixels, where `before` are the pixels it had. Shape: (H, W, 3) both.

    What the way to RGB and back changes by itself is taken out: pixels that are not restored stay as they were.
    """
    result, plain = _to_yuv(restored, clip), _to_yuv(before, clip)
    source = as_written(frame, clip)
    for new, old, kept in zip(_planes(result), _planes(plain), _planes(source), strict=True):
        new[...] = np.clip(new.astype(np.int16) - old + kept, 0, 255)
    return result


def as_written(frame: VideoFrame, clip: Clip) -> VideoFrame:
    """A frame in the pixel format of the restored clip: itself, in most."""
    matrix, span = clip.meaning
    if frame.format.name == clip.written:
        return frame
    return frame.reformat(
        format=clip.written,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=_FULL if frame.format.is_rgb else span,
        dst_color_range=span,
        interpolation=_CONVERSION,
    )


def _to_yuv(pixels: NDArray[np.uint8], clip: Clip) -> VideoFrame:
    return as_written(VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"), clip)


def _planes(frame: VideoFrame) -> list[NDArray[np.uint8]]:
    """The planes of a frame, as they lie in its memory."""
    return [
        np.asarray(memoryview(plane)).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]


# Writing


class Segment:
    """Encodes consecutive frames into a file of their own; use as a context manager."""

    def __init__(self, path: Path, clip: Clip, target: Target) -> None:
        self._path, self._clip, self._target = path, clip, target
        self._count = 0

    def __enter__(self) -> Segment:
        clip = self._clip
        with _writing(self._path):
            self._container = av.open(self._path, "w", format="mp4")
        self._container.flags |= _BITEXACT
        rate = clip.rate.limit_denominator(1 << 16)
        stream = self._container.add_stream(self._target.encoder, rate, dict(self._target.options))
        assert isinstance(stream, VideoStream)
        self._stream, context = stream, stream.codec_context
        context.width, context.height, context.pix_fmt = clip.width, clip.height, clip.written
        context.sample_aspect_ratio = clip.aspect
        context.time_base = 1 / rate
        span, context.color_primaries, context.color_trc, context.colorspace = clip.colour
        context.color_range = _FULL if clip.pixels.startswith("yuvj") else span
        return self

    def write(self, frame: VideoFrame) -> None:
        """Encode the next frame. It is shown when `assemble` says, not when it says itself."""
        frame.pts, frame.time_base = self._count, self._stream.codec_context.time_base
        frame.pict_type = PictureType.NONE
        self._count += 1
        with _writing(self._path):
            self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with _writing(self._path):
                    self._container.mux(self._stream.encode())
        finally:
            with _writing(self._path):
                self._container.close()


def assemble(
    clip: Clip, segments: Sequence[Path], timings: Sequence[Timing], path: Path, target: Target
) -> list[str]:
    """Put segments together with all that the clip carries beside its pictures; one line for each thing left out.

    timings: of all frames. The same bytes for the same input.
    """
    left_out: list[str] = []
    with (
        _writing(path),
        av.open(clip.path) as source,
        av.open(segments[0]) as first,
        av.open(path, "w", target.container, container_options=_muxing(clip, source, target)) as output,
    ):
        output.flags |= _BITEXACT
        output.metadata.update(_tags(source.metadata))
        output.set_chapters(source.chapters())
        shown = _pictures(source, clip.path)
        pictures = output.add_stream_from_template(first.streams.video[0], opaque=True)
        pictures.time_base = clip.time_base
        pictures.metadata.update(_tags(shown.metadata))
        pictures.disposition = shown.disposition
        if clip.matrix:
            pictures.set_display_matrix(_MATRIX.unpack(clip.matrix))
        copies: dict[int, Stream] = {}
        for stream in (source.streams[index] for index in clip.copied):
            try:
                copy: Stream = output.add_stream_from_template(stream, opaque=True)
            except (ValueError, av.error.FFmpegError) as error:
                left_out.append(f"a stream of type {stream.type} is left out ({error})")
                continue
            copy.metadata.update(_tags(stream.metadata))
            copy.disposition = stream.disposition
            copies[stream.index] = copy
        encoded = _encoded(segments, timings, pictures, clip.time_base)
        for packet in merge(encoded, _packets(source, copies), key=_moment):
            output.mux_one(packet)
    return left_out


def _muxing(clip: Clip, source: InputContainer, target: Target) -> dict[str, str]:
    """What the writer of the container is told."""
    options: dict[str, str] = {}
    if target.container in ("mp4", "mov"):
        if clip.time_base.numerator == 1:
            scale = str(clip.time_base.denominator)
            options = {"movie_timescale": scale, "video_track_timescale": scale}
        if any(name.startswith("com.") for name in source.metadata):  # what telephones tell: place, model
            options["movflags"] = "use_metadata_tags"
    return options


def _encoded(
    segments: Sequence[Path], timings: Sequence[Timing], stream: VideoStream, base: Fraction
) -> Iterator[Packet[Any]]:
    """The packets of all segments, at the times of their frames."""
    times = iter(timings)
    for path in segments:
        with av.open(path) as segment:
            for packet in segment.demux(segment.streams.video[0]):
                if not packet.size:
                    continue
                pts, duration = next(times)
                packet.stream, packet.time_base = stream, base
                packet.pts = packet.dts = pts
                packet.duration = duration
                yield packet


def _packets(source: InputContainer, copies: Mapping[int, Stream]) -> Iterator[Packet[Any]]:
    if not copies:
        return
    for packet in source.demux([source.streams[index] for index in copies]):
        if packet.size:
            packet.stream = copies[packet.stream.index]
            yield packet


def _moment(packet: Packet[Any]) -> Fraction:
    time = packet.dts if packet.dts is not None else packet.pts
    return (time or 0) * packet.time_base


def _tags(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name.lower() not in _OF_THE_CONTAINER}
