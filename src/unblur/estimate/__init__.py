"""What blur an image has: how much, of what kind, in which direction, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unblur.estimate.gaussian import gaussian_sigma
from unblur.estimate.noise import noise_sigma
from unblur.estimate.sharpness import sharpness
from unblur.image import Image, check_image
from unblur.physics import kernels
from unblur.physics.blur import Blur

__all__ = ["Estimate", "analyse", "estimate_blur", "gaussian_sigma", "noise_sigma", "sharpness"]

#: A Gaussian blur below this is what sharp photographs have by themselves.
SHARP_SIGMA = 0.5


@dataclass(frozen=True, eq=False)
class Estimate:
    """All that is known about how an image was blurred.

    blur: the decision. sigma: of the Gaussian that fits best, pixels, whatever the kind. sharpness: 0..1.
    noise: standard deviation in [0, 1] units. angle, length: of the straight motion that fits best, degrees
    and pixels, or None. map: local sigma (H, W), or None where not asked for.
    """

    blur: Blur
    sigma: float
    sharpness: float
    noise: float
    angle: float | None = None
    length: float | None = None
    map: NDArray[np.float32] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain JSON types, without the map."""
        return {
            **self.blur.to_dict(),
            "gaussian_sigma": round(self.sigma, 4),
            "sharpness": round(self.sharpness, 4),
            "noise": round(self.noise, 6),
            "motion_angle": self.angle if self.angle is None else round(self.angle, 2),
            "motion_length": self.length if self.length is None else round(self.length, 2),
        }


def estimate_blur(image: Image) -> Blur:
    """The blur of an image: kind, parameters, kernel, confidence and noise.

    Kind "none", with confidence 0, where the picture is too small or too flat to tell.
    Raises ImageError for what is no image.
    """
    return analyse(image).blur


def analyse(image: Image) -> Estimate:
    """All that can be told about the blur of an image.

    Raises ImageError for what is no image.
    """
    check_image(image)
    noise = noise_sigma(image)
    sigma, confidence = gaussian_sigma(image)
    if sigma < SHARP_SIGMA:
        blur = Blur("none", confidence=confidence, noise=noise)
    else:
        blur = Blur(
            "gaussian", {"sigma": sigma}, kernel=kernels.gaussian(sigma), confidence=confidence, noise=noise
        )
    return Estimate(blur, sigma, sharpness(image), noise)
