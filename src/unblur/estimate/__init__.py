"""What blur an image has: how much, of what kind, in which direction, and where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unblur.estimate.defocus import disk_radius, radius_of
from unblur.estimate.fit import (
    CLEARLY,
    Periodogram,
    Truncated,
    coarse_taps,
    periodogram,
    refine,
    remainder,
    round_blur,
    truncated,
)
from unblur.estimate.gaussian import Sigma, gaussian_sigma, sigma_at
from unblur.estimate.jpeg import Jpeg, jpeg, quality_noise
from unblur.estimate.learned import KINDS, Guess, guess_at
from unblur.estimate.likelihood import ROUNDED, Likely, likely_gaussian
from unblur.estimate.maps import blur_map
from unblur.estimate.motion import Motion, linear_motion, motion_of
from unblur.estimate.noise import Seen, look, noise_level, noise_sigma
from unblur.estimate.resampling import resampling
from unblur.estimate.sharpness import sharpness, sharpness_of
from unblur.estimate.spectrum import SIDE, Spectrum, spectrum
from unblur.image import Image, check_image, rounding_noise
from unblur.physics import kernels
from unblur.physics.blur import Blur, Kind

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
    "resampling",
    "sharpness",
]

#: A Gaussian blur up to this is what sharp photographs have by themselves.
SHARP_SIGMA = 0.5

#: Below this sigma what looks like a Gaussian may be a disk that is too small for its rings to be seen; it is looked
#: for from so many times the sigma on, up and down.
RINGLESS = 1.6
_FIRST_RADIUS = 1.15

#: From this sigma on the taps that a Gaussian has in 8-bit arithmetic are worth telling from smooth ones.
COARSE = 1.4

#: Undoing such a disk changes more than undoing a Gaussian: the blur must be surer.
STEEP = 0.7

#: Less sure than this of a kind, it is not called so.
SURE = 0.4

#: The network's word counts from here on; against stripes in the spectrum, from the second number on.
LIKELY, STRIPED = 0.5, 0.8

#: An oblique Gaussian is what uneven blur looks like as well: it must be surer.
OBLIQUE = 0.7

#: A blur that is less likely round than this is not taken for a round one, even where the rings would have it so.
ROUND = 0.15

#: Pictures with fewer windows are not asked about a direction of their blur.
FEWEST_WINDOWS = 4

#: Of less noise than this, in [0, 1] units, one cannot say how much of it there is under a kernel.
_GRAIN = 0.003


@dataclass(frozen=True, eq=False)
class Estimate:
    """All that is known about how an image was blurred.

    blur: the decision. sigma: of the Gaussian that fits best, pixels, whatever the kind. sharpness: 0..1.
    noise: what to reckon with, a standard deviation in [0, 1] units. angle, length: of the straight motion that
    fits best, degrees and pixels, or None. map: local sigma (H, W), or None where not asked for. unexplained: what the
    blur's kernel leaves unexplained of the spectrum, mean deviance of a frequency; 0 where there is no kernel.
    jpeg_quality: 1 to 100, of a compression that shows in the pixels, or None. noise_ratio: by how much the noise that
    stands in the spectrum under the kernel is more than what shows in the pixels; 1 where that is untold.
    """

    blur: Blur
    sigma: float
    sharpness: float
    noise: float
    angle: float | None = None
    length: float | None = None
    map: NDArray[np.float32] | None = None
    unexplained: float = 0.0
    jpeg_quality: int | None = None
    noise_ratio: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain JSON types, without the map."""
        return {
            **self.blur.to_dict(),
            "gaussian_sigma": round(self.sigma, 4),
            "sharpness": round(self.sharpness, 4),
            "noise": round(self.noise, 6),
            "motion_angle": self.angle if self.angle is None else round(self.angle, 2),
            "motion_length": self.length if self.length is None else round(self.length, 2),
            "unexplained": round(self.unexplained, 4),
            "jpeg_quality": self.jpeg_quality,
            "noise_ratio": round(self.noise_ratio, 3),
        }


def estimate_blur(image: Image) -> Blur:
    """The blur of an image: kind, parameters, kernel, confidence and noise.

    Kind "none", "gaussian", "disk" or "motion"; "none" with confidence 0 where the picture is too small or too
    flat to tell, or blurred in a way that has no formula: there `analyse` says "shake", without a kernel. "none" with
    the parameter `resampled`, see `resampling`, where it was enlarged: what it lacks no blur took.
    Raises ImageError for what is no image.
    """
    blur = analyse(image).blur
    return Blur("none", confidence=0.0, noise=blur.noise) if blur.kind == "shake" else blur


def analyse(image: Image, *, map: bool = False) -> Estimate:  # noqa: A002
    """All that can be told about the blur of an image; `map` asks for the local blur as well.

    Raises ImageError for what is no image.
    """
    check_image(image)
    local = blur_map(image) if map else None
    found = spectrum(image)
    if (thumbnail := likely_gaussian(image)) is not None:
        return _of_thumbnail(thumbnail, sharpness_of(found) if found else 0.0, local)
    if found is None:
        noise = noise_level(image)
        return Estimate(Blur("none", confidence=0.0, noise=noise), 0.0, 0.0, noise, map=local)
    gaussian = sigma_at(image, found)
    motion = motion_of(image, found)
    fine = periodogram(image)
    seen = look(image)
    trace = resampling(image, seen.jpeg)
    if trace is None:
        blur = _kind_of(image, found, fine, gaussian, motion, seen)
    else:
        blur = Blur("none", {"resampled": trace})
    left = remainder(fine, blur.kernel) if fine and blur.kernel is not None else None
    noise = noise_level(image, under=left.noise if left else None, seen=seen)
    blur = replace(blur, noise=noise)
    angle, length = (None, None) if motion is None else (motion.angle, motion.length)
    if blur.kind == "motion":
        angle, length = blur.parameters["angle"], blur.parameters["length"]
    return Estimate(
        blur,
        gaussian.sigma,
        sharpness_of(found),
        noise,
        angle,
        length,
        local,
        unexplained=left.unexplained if left else 0.0,
        jpeg_quality=seen.jpeg.quality if seen.jpeg else None,
        noise_ratio=left.noise / seen.noise if left and seen.noise > _GRAIN else 1.0,
    )


def _kind_of(
    image: Image,
    found: Spectrum,
    fine: Periodogram | None,
    gaussian: Sigma,
    motion: Motion | None,
    pixels: Seen,
) -> Blur:
    """The decision: the network tells blurs with a direction from round ones, rings tell round ones apart."""
    seen = motion if motion is not None and motion.confidence >= SURE else None
    if min(found.side) == SIDE and found.windows >= FEWEST_WINDOWS:
        guess = guess_at(image, found, pixels.noise)
        kind = max(KINDS, key=lambda kind: guess.chances[kind])
        sure = guess.chances[kind]
        if kind == "shake" and sure >= (STRIPED if seen else LIKELY):
            return Blur("shake", confidence=sure)
        if (
            kind in ("oblique", "motion")
            and sure >= (OBLIQUE if kind == "oblique" else LIKELY)
            and (blur := _lengthwise(fine, guess, kind, seen))
        ):
            return blur
    if seen is not None:
        length, angle = _finer(fine, "motion", (seen.length, seen.angle))
        return _known("motion", seen.confidence, length=length, angle=angle)
    radius, sure = radius_of(image, found)
    if sure >= SURE:
        disk = refine(fine, "disk", (radius,)) if fine else None
        if (
            fine
            and (cut := truncated(fine, radius))
            and not (disk and disk.deviance < cut.deviance)
            and pixels.jpeg is None  # whose error lies where rings are
        ):
            return _of_eight_bits(fine, pixels, radius, sure, cut) or _cut_off(cut, sure)
        return _known("disk", sure, radius=disk.numbers[0] if disk else radius)
    if gaussian.sigma >= SHARP_SIGMA and gaussian.confidence >= SURE:
        small = gaussian.sigma < RINGLESS and gaussian.confidence >= STEEP
        if small and (radius := _small_disk(fine, gaussian.sigma)):
            return _known("disk", gaussian.confidence, radius=radius)
        if fine and gaussian.sigma >= COARSE:
            end = truncated(fine, gaussian.sigma)
            if blur := _of_eight_bits(fine, pixels, gaussian.sigma, gaussian.confidence, end):
                return blur
            if end and gaussian.sigma >= RINGLESS:
                return _cut_off(end, gaussian.confidence)
        if fine and pixels.jpeg is None:
            told = round_blur(fine, gaussian.sigma)
            number = "radius" if told.kind == "disk" else "sigma"
            return _known(told.kind, gaussian.confidence, **{number: told.number})
        return _known("gaussian", gaussian.confidence, sigma=gaussian.sigma)
    return Blur("none", confidence=gaussian.confidence)


def _lengthwise(fine: Periodogram | None, guess: Guess, kind: str, seen: Motion | None) -> Blur | None:
    """A motion or an oblique Gaussian as the network guesses, or None where the fit takes it for neither."""
    start = (guess.sigma, guess.sigma_y, guess.axis)
    gaussian = refine(fine, "gaussian", start) if fine and kind == "oblique" else None
    line = (guess.length, guess.angle) if seen is None else (seen.length, seen.angle)
    motion = refine(fine, "motion", line) if fine and (kind == "motion" or seen) else None
    if motion and not (gaussian and gaussian.deviance < motion.deviance):
        return _known("motion", guess.chances[kind], length=motion.numbers[0], angle=motion.numbers[1])
    if kind == "motion":
        return None
    along, across, angle = gaussian.numbers if gaussian else start
    return _known("gaussian", guess.chances[kind], sigma=along, sigma_y=across, angle=angle)


def _small_disk(fine: Periodogram | None, sigma: float) -> float:
    """The radius of a disk whose first ring is out of sight, if it explains the picture better than a Gaussian does."""
    if fine is None or (flat := refine(fine, "disk", (_FIRST_RADIUS * sigma,))) is None:
        return 0.0
    round_ = refine(fine, "round", (sigma,))
    return flat.numbers[0] if round_ and flat.deviance < round_.deviance - CLEARLY else 0.0


def _of_eight_bits(
    fine: Periodogram, pixels: Seen, sigma: float, confidence: float, cut: Truncated | None
) -> Blur | None:
    """The Gaussian of cv2.GaussianBlur in 8 bits, where it shows, and better than one that ends early explains it."""
    if pixels.noise > ROUNDED * rounding_noise(np.uint8):  # that would hide it
        return None
    found = coarse_taps(fine, cut.sigma if cut else sigma)
    if found is None or (cut and cut.deviance < found.deviance) or pixels.jpeg is not None:
        return None
    kernel = kernels.gaussian_u8(found.sigma)
    return Blur("gaussian", {"sigma": found.sigma}, kernel, confidence=confidence)


def _cut_off(cut: Truncated, confidence: float) -> Blur:
    kernel = kernels.gaussian(cut.sigma, size=cut.size)
    return Blur("gaussian", {"sigma": cut.sigma}, kernel, confidence=confidence)


def _finer(fine: Periodogram | None, kind: str, numbers: tuple[float, ...]) -> tuple[float, ...]:
    found = refine(fine, kind, numbers) if fine else None
    return found.numbers if found else numbers


def _known(kind: Kind, confidence: float, **parameters: float) -> Blur:
    return Blur(kind, parameters, kernels.from_parameters(kind, parameters), confidence=confidence)


def _of_thumbnail(found: Likely, sharp: float, local: NDArray[np.float32] | None) -> Estimate:
    confidence = float(1 / (1 + found.spread / max(found.sigma, SHARP_SIGMA)))
    if found.sure:
        blur = Blur(
            "gaussian", {"sigma": found.sigma}, found.kernel, confidence=confidence, noise=found.noise
        )
    else:
        blur = Blur("none", confidence=confidence, noise=found.noise)
    return Estimate(blur, found.sigma, sharp, found.noise, map=local)
