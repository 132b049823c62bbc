"""The blur of a clip, steady in time: estimates of single frames jump, and strength that jumps is seen as flicker."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from unblur.estimate.learned import axis_of
from unblur.image import Image
from unblur.physics import kernels
from unblur.physics.blur import NO_BLUR, Blur

T = TypeVar("T")

#: The estimates of so many frames before and after a frame decide about it.
RADIUS = 5

#: Share of the frames around that must be blurred for a frame to be restored: at the start of a scene, after a
#: frame that was left alone, and after one that was restored. The gap between the last two is the hysteresis.
_FIRST, _BEGIN, _GO_ON = 1 / 2, 2 / 3, 1 / 3

#: A kind is kept as long as it has this share of the frames that are blurred.
_KEEP_KIND = 1 / 3

#: Two pictures of which this share of the pixels has changed colour are of two scenes.
_CUT = 0.5
#: Steps in which colours are told apart there, for each channel.
_COLOURS = 4


class Moment(NamedTuple):
    """One frame of a clip as `steady` needs it.

    estimate: its blur, found on it alone. cut: whether a scene begins with it.
    """

    estimate: Blur
    cut: bool = False


def steady(
    frames: Iterable[tuple[T, Moment]],
    radius: int = RADIUS,
    *,
    history: int = 0,
    previous: Blur | None = None,
) -> Iterator[tuple[T, Blur]]:
    """The blur of each frame, from the estimates of the frames around it in the same scene; in order.

    frames: anything that goes with a frame, and its moment; at most `radius` + 1 of them are held. radius: so many
    frames on each side; with 0 every frame has its own estimate. history: so many of the first frames lend their
    estimates only, and nothing is said about them. previous: what was said about the last frame of the history.
    """
    items = iter(frames)
    ahead: deque[tuple[T, Moment]] = deque()
    behind: deque[Blur] = deque(maxlen=radius)
    number = 0
    while True:
        while len(ahead) <= radius and (item := next(items, None)) is not None:
            ahead.append(item)
        if not ahead:
            return
        thing, moment = ahead.popleft()
        if moment.cut:
            behind.clear()
            # What was said about the end of the history is of its last scene.
            previous = previous if number < history else None
        after = []
        for _, later in ahead:
            if later.cut:
                break
            after.append(later.estimate)
        if number >= history:
            previous = combine([*behind, moment.estimate, *after], previous) if radius else moment.estimate
            yield thing, previous
        behind.append(moment.estimate)
        number += 1


def combine(estimates: Sequence[Blur], previous: Blur | None = None) -> Blur:
    """One blur for the middle of a few frames of one scene.

    Whether there is any blur, and of which kind, is voted on, with hysteresis towards `previous`, the blur of the
    frame before; a frame that tells nothing (kind "none", confidence 0) does not vote. Parameters and noise are
    medians, an angle the mean direction, a kernel without parameters the mean kernel.
    """
    noises = [one.noise for one in estimates if one.noise is not None]
    noise = float(np.median(noises)) if noises else None
    votes = [one for one in estimates if one.kind != "none" or one.confidence > 0]
    blurred = [one for one in votes if one.kind != "none"]
    share = _FIRST if previous is None else _BEGIN if previous.kind == "none" else _GO_ON
    if not blurred or len(blurred) < share * len(votes):
        confidence = float(np.median([one.confidence for one in votes])) if votes else 0.0
        return replace(NO_BLUR, confidence=confidence, noise=noise)
    counts = Counter(one.kind for one in blurred)
    kind = counts.most_common(1)[0][0]
    if previous is not None and counts[previous.kind] >= _KEEP_KIND * len(blurred):
        kind = previous.kind
    return replace(_middle([one for one in blurred if one.kind == kind]), noise=noise)


def _middle(blurs: Sequence[Blur]) -> Blur:
    """The middle of blurs of one kind."""
    names = Counter(frozenset(one.parameters) for one in blurs).most_common(1)[0][0]
    alike = [one for one in blurs if frozenset(one.parameters) == names]
    first = alike[0]
    confidence = float(np.median([one.confidence for one in alike]))
    found = [one.kernel for one in alike if one.kernel is not None]
    if not names or not found:
        if len(found) == len(alike):
            size = max(len(kernel) for kernel in found)
            mean = np.mean([kernels.embed(kernel, size) for kernel in found], axis=0)
            first = replace(first, kernel=kernels.check_kernel(mean))
        return replace(first, confidence=confidence)
    parameters = {
        name: (_mean_axis if name == "angle" else _median)([one.parameters[name] for one in alike])
        for name in first.parameters
    }
    if parameters == dict(first.parameters):
        return replace(first, confidence=confidence)
    kernel = kernels.from_parameters(first.kind, parameters)
    # A method may cut its kernels off nearer than others do.
    margin = max(0, len(kernel) - max(len(one) for one in found)) // 2
    kernel = kernels.check_kernel(kernel[margin : len(kernel) - margin, margin : len(kernel) - margin])
    return replace(first, parameters=parameters, kernel=kernel, confidence=confidence)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _mean_axis(degrees: Sequence[float]) -> float:
    double = np.exp(2j * np.radians(np.asarray(degrees))).mean()
    return axis_of(double.real, double.imag)


def colours(image: Image) -> NDArray[np.float64]:
    """The share of each coarse colour in an image: what `is_cut` compares. Shape: (H, W, C) in, (4 ** C,) out."""
    steps = np.minimum((image[::2, ::2] * _COLOURS).astype(np.intp), _COLOURS - 1)
    index = steps @ (_COLOURS ** np.arange(image.shape[2]))
    return np.bincount(index.ravel(), minlength=_COLOURS ** image.shape[2]) / index.size


def is_cut(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether a scene ends between two frames, from their `colours`: half of the pixels change colour."""
    return float(np.abs(after - before).sum()) / 2 > _CUT
