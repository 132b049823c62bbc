"""What the methods for photographs share: how they find a blur of any kind, and what arithmetic alone takes out."""

from __future__ import annotations

from dataclasses import replace

from unblur.estimate import Estimate, analyse
from unblur.estimate.fit import RADIUS_OF_SIGMA, periodogram, remainder
from unblur.estimate.likelihood import ARITHMETIC_NOISE, LARGEST, are_whole, cosine_filter
from unblur.estimate.shake import explains_worse, shake_blur, turned
from unblur.image import Image, luma
from unblur.methods.base import Options
from unblur.physics import kernels
from unblur.physics.blur import Blur

#: A kernel that was found pixel by pixel is believed from this confidence on: a wrong one costs decibels.
_BELIEVED = 0.7

#: ... and where it is not as likely turned by half a turn. With less noise than the second number, which hides that, of
#: random shakes those below the first lost up to 2.6 dB, three of five; of those above all but a few gained 2 and more.
_TURNED, _HIDDEN = 0.033, 0.01

#: A line, or a Gaussian narrower than the first number, or a disk no wider than that, which leaves more of the spectrum
#: unexplained than the second may be a shake: in most photographs right kernels leave 0.05 to 0.09, shakes taken for
#: one of these 0.12 to 0.31. A wide disk or Gaussian is asked about from the third on.
_NARROW, _DOUBTFUL, _STRANGE = 1.4, 0.1, 0.16

#: Where there is noise, a wrong kernel leaves less unexplained but asks for more noise than shows in the pixels: 1.8
#: times and more, where right ones asked for 1.3.
_NOISY = 1.5

#: It is one where a shake's kernel, believed from the first number on, explains the spectrum better by the second at
#: least, in the logarithm of the deviance: next to true lines and Gaussians that was below 0.1, next to others mostly
#: 0.2 and more. Between the two neither is right. Below the third number no kernel was found that holds; then it is
#: none of all, unless it is JPEG that leaves so much unexplained. A kernel that is found pixel by pixel explains some
#: of JPEG's error as well: next to it the fourth number is asked for.
_LIKELY, _BETTER, _NOTHING, _BETTER_IN_JPEG = 0.6, 0.17, 0.2, 0.35
_NEITHER = 0.1

#: A kernel that leaves no more than this may be right even so: shakes taken for something else leave 0.12 and more.
_WRONG = 0.115

#: Under JPEG the pixels do not tell a small disk from a Gaussian, which may then be a fifth and more too wide. Too
#: wide a kernel does harm, one that is too narrow little: a Gaussian from the first number up to `_NARROW` is taken
#: out as if it were so much narrower. Of 29 such draws the mean gain rose by 0.1 dB; others no longer lost up to 1.
_SMALL_DISK, _NARROWER = 0.8, 0.92


def find(image: Image) -> Blur:
    """The blur of an image, camera shake included; "none" where it cannot be told. Raises ImageError."""
    return _decided(image, analyse(image))


def look(image: Image) -> Estimate:
    """All that is told about the blur of an image, with the blur that `find` decides on. Raises ImageError."""
    found = analyse(image)
    blur = _decided(image, found)
    if blur is found.blur:
        return found
    fine = periodogram(image)
    left = remainder(fine, blur.kernel) if fine and blur.kernel is not None else None
    noise = found.noise if blur.noise is None else blur.noise
    return replace(found, blur=blur, noise=noise, unexplained=left.unexplained if left else 0.0)


def _decided(image: Image, found: Estimate) -> Blur:
    """The blur to go by: that of the estimate, a shake that explains the picture better, or "none"."""
    blur = found.blur
    if blur.kind == "shake":
        shake = shake_blur(image)
        unsure = Blur("none", confidence=0.0, noise=blur.noise)
        return shake if shake.confidence >= _BELIEVED and _right_way(image, shake) else unsure
    compressed = found.jpeg_quality is not None
    noisy = found.noise_ratio > _NOISY and not compressed
    looks_so = _can_be_a_shake(blur) and (found.unexplained > _DOUBTFUL or noisy)
    if looks_so or (blur.kernel is not None and found.unexplained > _STRANGE):
        wrong = found.unexplained > _WRONG and not compressed
        least = _LIKELY if noisy else _NOTHING if wrong else 0.0
        blur = _or_shake(image, blur, least=least, compressed=compressed)
    return _narrower(blur) if compressed else blur


def _can_be_a_shake(blur: Blur) -> bool:
    """Whether a shake can look like it."""
    sigmas = (blur.parameters.get(name, 0) for name in ("sigma", "sigma_y"))
    return (
        blur.kind == "motion"
        or (blur.kind == "gaussian" and max(sigmas) < _NARROW)
        or (blur.kind == "disk" and blur.parameters["radius"] < RADIUS_OF_SIGMA * _NARROW)
    )


def _narrower(blur: Blur) -> Blur:
    """A Gaussian found under JPEG that may be a small disk as what does no harm if it is; any other blur as it is."""
    if blur.kind != "gaussian" or "sigma_y" in blur.parameters:
        return blur
    if not _SMALL_DISK <= blur.parameters["sigma"] < _NARROW:
        return blur
    sigma = _NARROWER * blur.parameters["sigma"]
    return replace(blur, parameters={"sigma": sigma}, kernel=kernels.gaussian(sigma))


def _or_shake(image: Image, blur: Blur, *, least: float, compressed: bool) -> Blur:
    """A blur, the shake that explains the picture better, or "none" where neither can be right.

    least: the blur cannot be right either where a shake is found with less confidence than this. compressed: by JPEG.
    """
    shake = shake_blur(image)
    if shake.kernel is None or blur.kernel is None:
        return blur
    # A shake seldom looks like any other: then it is rather a scene unlike others that leaves so much.
    neither = Blur("none", confidence=0.0, noise=blur.noise) if _can_be_a_shake(blur) else blur
    if shake.confidence < least:
        return neither
    if shake.confidence < _LIKELY:
        return blur
    better = explains_worse(luma(image), blur.kernel, shake.kernel)
    if better >= (_BETTER_IN_JPEG if compressed else _BETTER):
        return shake if _right_way(image, shake) else neither
    return neither if better >= _NEITHER and not compressed else blur


def _right_way(image: Image, shake: Blur) -> bool:
    """Whether a shake's kernel is not as likely turned by half a turn, as far as noise lets that be seen."""
    if shake.kernel is None or (shake.noise or 0.0) >= _HIDDEN:
        return True
    return turned(image, shake.kernel) >= _TURNED


def divided(image: Image, blur: Blur, options: Options) -> Image | None:
    """A thumbnail that arithmetic alone had blurred, with the blur divided out; None for any other picture."""
    if not _is_arithmetic(image, blur):
        return None
    assert blur.kernel is not None
    assert blur.noise is not None
    restored = cosine_filter(image, blur.kernel, blur.noise)
    # Whole numbers come back from a mirrored scene alone, also where its borders do not look like one.
    return restored if options.border == "reflect101" or are_whole(restored) else None


def _is_arithmetic(image: Image, blur: Blur) -> bool:
    """Whether a thumbnail was blurred by arithmetic alone: symmetrically, and not rounded.

    If it was mirrored at its borders, linear inversion with the right spectrum brings back all that is left.
    """
    quiet = blur.kind == "gaussian" and blur.kernel is not None and (blur.noise or 1) < ARITHMETIC_NOISE
    return quiet and max(image.shape[:2]) <= LARGEST
