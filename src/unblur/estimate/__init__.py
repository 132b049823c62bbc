"""What blur an image has: how much, of what kind, in which direction, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unblur.estimate.defocus import disk_radius, radius_of
from unblur.estimate.fit import periodogram, refine
from unblur.estimate.gaussian import Sigma, gaussian_sigma, sigma_at
from unblur.estimate.jpeg import Jpeg, jpeg, quality_noise
from unblur.estimate.likelihood import Likely, likely_gaussian
from unblur.estimate.maps import blur_map
from unblur.estimate.motion import Motion, linear_motion, motion_of
from unblur.estimate.noise import noise_level, noise_sigma
from unblur.estimate.sharpness import sharpness, sharpness_of
from unblur.estimate.spectrum import spectrum
from unblur.image import Image, check_image
from unblur.physics import kernels
from unblur.physics.blur import Blur

__all__ = [
    "Estimate",
    "Jpeg",
    "Motion",
    "Sigma",
    "analyse",
    "blur_map",
    "disk_radius",
    "estimate_blur",
    "gaussian_sigma",
    "jpeg",
    "linear_motion",
    "noise_level",
    "noise_sigma",
    "quality_noise",
    "sharpness",
]

#: A Gaussian blur up to this is what sharp photographs have by themselves.
SHARP_SIGMA = 0.5

#: Less sure than this of a kind, it is not called so.
SURE = 0.4


@dataclass(frozen=True, eq=False)
class Estimate:
    """All that is known about how an image was blurred.

    blur: the decision. sigma: of the Gaussian that fits best, pixels, whatever the kind. sharpness: 0..1.
    noise: what to reckon with, a standard deviation in [0, 1] units. angle, length: of the straight motion that
    fits best, degrees and pixels, or None. map: local sigma (H, W), or None where not asked for.
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

    Kind "none", "gaussian", "disk" or "motion"; "none" with confidence 0 where the picture is too small or too
    flat to tell.
    Raises ImageError for what is no image.
    """
    return analyse(image).blur


def analyse(image: Image, *, map: bool = False) -> Estimate:  # noqa: A002
    """All that can be told about the blur of an image; `map` asks for the local blur as well.

    Raises ImageError for what is no image.
    """
    check_image(image)
    noise = noise_level(image)
    local = blur_map(image) if map else None
    found = spectrum(image)
    if (thumbnail := likely_gaussian(image)) is not None:
        return _of_thumbnail(thumbnail, sharpness_of(found) if found else 0.0, local)
    if found is None:
        return Estimate(Blur("none", confidence=0.0, noise=noise), 0.0, 0.0, noise, map=local)
    gaussian = sigma_at(image, found)
    motion = motion_of(image, found)
    radius, round_confidence = radius_of(image, found)
    fine = periodogram(image)
    if motion is not None and motion.confidence >= SURE:
        if fine is not None and (better := refine(fine, "motion", (motion.length, motion.angle))) is not None:
            motion = motion._replace(length=better[0], angle=better[1])
        blur = Blur(
            "motion",
            {"length": motion.length, "angle": motion.angle},
            kernels.motion(motion.length, motion.angle),
            confidence=motion.confidence,
            noise=noise,
        )
    elif round_confidence >= SURE:
        if fine is not None and (better := refine(fine, "disk", (radius,))) is not None:
            radius = better[0]
        blur = Blur(
            "disk", {"radius": radius}, kernels.disk(radius), confidence=round_confidence, noise=noise
        )
    elif gaussian.sigma >= SHARP_SIGMA and gaussian.confidence >= SURE:
        kernel = kernels.gaussian(gaussian.sigma)
        blur = Blur(
            "gaussian", {"sigma": gaussian.sigma}, kernel, confidence=gaussian.confidence, noise=noise
        )
    else:
        blur = Blur("none", confidence=gaussian.confidence, noise=noise)
    angle, length = (None, None) if motion is None else (motion.angle, motion.length)
    return Estimate(blur, gaussian.sigma, sharpness_of(found), noise, angle, length, local)


def _of_thumbnail(found: Likely, sharp: float, local: NDArray[np.float32] | None) -> Estimate:
    confidence = float(1 / (1 + found.spread / max(found.sigma, SHARP_SIGMA)))
    if found.sure:
        blur = Blur("gaussian", {"sigma": found.sigma}, found.kernel, confidence=confidence, noise=found.noise)
    else:
        blur = Blur("none", confidence=confidence, noise=found.noise)
    return Estimate(blur, found.sigma, sharp, found.noise, map=local)
