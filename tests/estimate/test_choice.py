"""Which of a few known blurs it was."""

from __future__ import annotations

import pytest

from unblur.errors import OptionError
from unblur.estimate import estimate_blur
from unblur.estimate.choice import likeliest
from unblur.image import Image, quantise
from unblur.physics.blur import NO_BLUR, Blur, Kernel
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, gaussian, motion


def known(kernel: Kernel) -> Blur:
    return Blur("kernel", kernel=kernel)


KNOWN = [
    known(gaussian(1.0, size=7)),
    known(gaussian(1.6, size=11)),
    known(disk(3.0)),
    known(motion(9.0, 20.0)),
]


@pytest.mark.parametrize("number", range(len(KNOWN)))
def test_the_one_that_was_is_found(astronaut: Image, number: int) -> None:
    kernel = KNOWN[number].kernel
    assert kernel is not None
    found = estimate_blur(quantise(convolve(astronaut, kernel)))
    chosen = likeliest(found, KNOWN)
    assert chosen.kernel is kernel
    assert (chosen.noise, chosen.confidence) == (found.noise, found.confidence)


@pytest.mark.parametrize("sigma", [0.9, 1.2])
def test_nearness_is_that_of_spectra(sigma: float) -> None:
    chosen = likeliest(known(gaussian(sigma)), KNOWN)
    assert chosen.kernel is KNOWN[0].kernel


def test_next_to_the_identity_is_left_alone() -> None:
    almost = [known(gaussian(0.3, size=3)), KNOWN[0]]
    assert likeliest(NO_BLUR, almost).kind == "none"
    assert likeliest(known(gaussian(0.5)), almost).kind == "none"
    assert likeliest(known(gaussian(1.0)), almost).kernel is KNOWN[0].kernel


def test_large_kernels() -> None:
    wide, wider = known(gaussian(9.0)), known(gaussian(14.0))
    assert likeliest(known(gaussian(10.0)), [wide, wider]).kernel is wide.kernel


def test_refusals() -> None:
    with pytest.raises(OptionError, match="at least one"):
        likeliest(NO_BLUR, [])
    with pytest.raises(OptionError, match="one kernel each"):
        likeliest(NO_BLUR, [Blur("varying", parts=(KNOWN[0],))])
