"""How sharp a picture looks."""

from __future__ import annotations

import numpy as np

from unblur.estimate.spectrum import Spectrum, frequencies, spectrum
from unblur.image import Image


def sharpness(image: Image) -> float:
    """The contrast above 1/4 cycle a pixel over that above 1/8, as amplitudes: 0 (blurred) .. 1 (noise).

    Sharp photographs have 0.4 to 0.7. Rounding noise is taken off, other noise counts as contrast. 0 for flat
    pictures and for those under 16 pixels on a side.
    """
    found = spectrum(image)
    return 0.0 if found is None else sharpness_of(found)


def sharpness_of(found: Spectrum) -> float:
    """`sharpness` where the spectrum is known already."""
    radius = np.hypot(*frequencies())
    power = np.maximum(found.power - found.floor, 0)
    coarse = power[radius > np.pi / 4].sum()
    return float((power[radius > np.pi / 2].sum() / coarse) ** 0.5) if coarse > 0 else 0.0
