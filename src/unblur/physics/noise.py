"""What happens to an image after the blur: noise, clipped highlights, JPEG."""

from __future__ import annotations

import numpy as np
import pyvips

from unblur.errors import OptionError
from unblur.image import Image, from_array, to_array


def gaussian_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Add white Gaussian noise of standard deviation `sigma`, in units of [0, 1].

    Shape: any, kept. The result is not clipped.
    Raises OptionError for a negative sigma.
    """
    if not sigma >= 0:
        raise OptionError(f"noise: expected a standard deviation of 0 or more, got {sigma}")
    return image + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)


def shot_read_noise(image: Image, shot: float, read: float, rng: np.random.Generator) -> Image:
    """Add a sensor's noise: Gaussian of variance shot * image + read ** 2, independent in every sample.

    Shape: any, kept. `shot` in units of [0, 1] (one over the electrons of white), `read` a standard deviation
    in units of [0, 1]. The result is not clipped. Foi et al., "Practical Poissonian-Gaussian noise modeling
    and fitting for single-image raw-data" (2008), with the Poisson part taken as Gaussian.
    Raises OptionError for a negative level.
    """
    if not (shot >= 0 and read >= 0):
        raise OptionError(f"noise: expected levels of 0 or more, got shot {shot} and read {read}")
    deviation = np.sqrt(np.float32(shot) * np.clip(image, 0, None) + np.float32(read) ** 2)
    noisy: Image = image + deviation * rng.standard_normal(image.shape, np.float32)
    return noisy


def clip_highlights(image: Image, exposure: float) -> Image:
    """Expose an image by the factor `exposure` and clip what goes over white. Shape: any, kept."""
    clipped: Image = np.clip(image * np.float32(exposure), 0, 1)
    return clipped


def jpeg(image: Image, quality: int) -> Image:
    """Write an image as an 8-bit JPEG of `quality` 1..100, chroma at half size, and read it back.

    Shape: (H, W, C), kept.
    Raises OptionError for another quality.
    """
    if not 1 <= quality <= 100:
        raise OptionError(f"JPEG quality must lie in 1..100, got {quality}")
    pixels = to_array(image, np.uint8)
    height, width, bands = pixels.shape
    picture = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, bands, "uchar")
    picture = picture.copy(interpretation="b-w" if bands == 1 else "srgb")
    encoded = picture.jpegsave_buffer(Q=int(quality), subsample_mode="on")
    return from_array(pyvips.Image.jpegload_buffer(encoded).numpy().reshape(pixels.shape))
