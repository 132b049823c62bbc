"""How sharp a picture looks."""

from __future__ import annotations

import numpy as np

from unblur.estimate.spectrum import frequencies, spectrum
from unblur.image import Image


def sharpness(image: Image) -> float:
    """Share of the contrast between 1/8 and 1/2 cycle a pixel that lies above 1/4, as amplitudes: 0..1.

    Noise counts as contrast. 0 for flat pictures and for those under 16 pixels on a side.
    """
    found = spectrum(image)
    if found is None:
        return 0.0
    radius = np.hypot(*frequencies())
    power = np.maximum(found.power - found.floor, 0)
    fine = power[radius > np.pi / 2].sum()
    both = power[radius > np.pi / 4].sum()
    return float((fine / both) ** 0.5) if both > 0 else 0.0
