from itertools import pairwise

import numpy as np
import pytest
from skimage import data as pictures

from unblur.estimate import estimate_blur
from unblur.estimate.temporal import Moment, colours, combine, is_cut, steady
from unblur.image import from_array, to_array
from unblur.methods import classical
from unblur.methods.base import Options
from unblur.metrics.flicker import flicker
from unblur.physics import kernels
from unblur.physics.blur import Blur
from unblur.physics.convolve import convolve

SHARP = Blur("none", confidence=0.9, noise=0.01)
UNKNOWN = Blur("none", confidence=0.0, noise=0.01)


def gaussian(sigma, noise=0.01):
    return Blur("gaussian", {"sigma": sigma}, kernels.gaussian(sigma), confidence=0.8, noise=noise)


def motion(length, angle):
    return Blur("motion", {"length": length, "angle": angle}, kernels.motion(length, angle), noise=0.01)


def said(blurs, radius=2, cuts=()):
    moments = [(index, Moment(blur, index in cuts)) for index, blur in enumerate(blurs)]
    found = list(steady(moments, radius))
    assert [index for index, _ in found] == list(range(len(blurs)))
    return [blur for _, blur in found]


def test_parameters_and_noise_are_medians():
    found = combine([gaussian(1.0, 0.02), gaussian(5.0, 0.03), gaussian(1.2, 0.01)])
    assert found.parameters == {"sigma": 1.2}
    assert found.noise == 0.02
    assert np.allclose(found.kernel, kernels.gaussian(1.2), atol=1e-6)
    assert np.allclose(combine([gaussian(1.0), gaussian(2.0)]).kernel, kernels.gaussian(1.5), atol=1e-6)


def test_angles_meet_across_the_horizontal():
    found = combine([motion(9, 1), motion(9, 179), motion(9, 178), motion(9, 2)])
    assert np.sin(np.radians(found.parameters["angle"])) == pytest.approx(0, abs=1e-8)
    assert np.allclose(found.kernel, kernels.motion(9, 0), atol=1e-5)


def test_kernels_without_numbers_are_averaged():
    one, other = np.zeros((3, 3), np.float32), np.zeros((5, 5), np.float32)
    one[1, 1], other[2, 3] = 1, 1
    found = combine([Blur("kernel", kernel=one), Blur("kernel", kernel=other)])
    assert found.kernel.shape == (5, 5)
    assert found.kernel[2, 2] == found.kernel[2, 3] == 0.5


def test_a_short_kernel_stays_short():
    short = [Blur("gaussian", {"sigma": s}, kernels.gaussian(s, rule="matlab")) for s in (1.0, 1.1)]
    assert combine(short).kernel.shape == short[1].kernel.shape


def test_decisions_do_not_toggle():
    toggling = [gaussian(0.6), SHARP] * 10
    assert len({blur.kind for blur in said(toggling)}) == 1
    # One frame in three is not enough to begin with, and enough to go on.
    rare = [SHARP, SHARP, gaussian(0.6)] * 4
    assert {blur.kind for blur in said(rare, 4)} == {"none"}
    assert [blur.kind for blur in said([gaussian(1.0)] * 6 + rare, 4)][-8:] == ["gaussian"] * 8


def test_kinds_do_not_toggle():
    disk = Blur("disk", {"radius": 2.0}, kernels.disk(2.0), noise=0.01)
    kinds = [blur.kind for blur in said([gaussian(1.2)] * 5 + [disk, gaussian(1.2)] * 5 + [disk] * 5)]
    assert sum(a != b for a, b in pairwise(kinds)) == 1


def test_frames_that_tell_nothing_do_not_vote():
    assert said([gaussian(1.0), UNKNOWN, UNKNOWN, UNKNOWN, gaussian(1.0)])[2].kind == "gaussian"
    assert said([UNKNOWN] * 3)[1].kind == "none"


def test_a_cut_resets_the_window():
    found = said([gaussian(1.0)] * 6 + [SHARP] * 6, radius=5, cuts=(6,))
    assert [blur.kind for blur in found] == ["gaussian"] * 6 + ["none"] * 6


def test_no_window_is_every_frame_by_itself():
    blurs = [gaussian(1.0), SHARP, gaussian(2.0)]
    assert said(blurs, radius=0) == blurs


def test_going_on_says_the_same():
    rng = np.random.default_rng(5)
    blurs = [gaussian(s) if rng.random() < 0.6 else SHARP for s in rng.uniform(0.5, 1, 40)]
    whole = said(blurs, 4)
    for done in (1, 3, 17, 39):
        history = min(done, 4)
        rest = [(index, Moment(blur)) for index, blur in enumerate(blurs)][done - history :]
        resumed = list(steady(rest, 4, history=history, previous=whole[done - 1]))
        assert [index for index, _ in resumed] == list(range(done, 40))
        assert [b.to_dict() for _, b in resumed] == [b.to_dict() for b in whole[done:]]


def test_scenes_are_told_apart():
    one, other = (from_array(picture()) for picture in (pictures.astronaut, pictures.coffee))
    assert is_cut(colours(one[:200, :300]), colours(other[:200, :300]))
    assert not is_cut(colours(one[:200, :300]), colours(one[:200, 12:312]))
    assert not is_cut(colours(one), colours(np.clip(one * 1.03, 0, 1)))
    assert colours(one[:, :, :1]).sum() == pytest.approx(1)


def test_the_window_takes_flicker_out_of_a_pan(rng):
    """Half of the estimates of this pan say Gaussian, half motion: without the window the strength jumps."""
    blurred = convolve(from_array(pictures.astronaut()), kernels.motion(7, 30))
    frames = []
    for index in range(10):
        crop = blurred[60:200, 2 * index : 2 * index + 200]
        noisy = crop + rng.normal(0, 0.03, crop.shape)
        frames.append(to_array(np.clip(noisy, 0, 1).astype(np.float32), "uint8"))
    estimates = [estimate_blur(from_array(frame)) for frame in frames]

    def restored(blurs):
        for frame, blur in zip(frames, blurs, strict=True):
            image = from_array(frame)
            options = classical.prepare(image, blur, Options())
            yield to_array(classical.solve("wiener", image, blur, options), "uint8")

    jumping, calm = flicker(frames, restored(estimates)), flicker(frames, restored(said(estimates, 5)))
    assert calm < 0.5 * jumping, (calm, jumping)
