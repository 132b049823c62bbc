"""Frozen ways of scoring a picture: a reported number names one, and it never changes under that name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from unblur.errors import ImageError, OptionError
from unblur.image import Image, check_image, to_array
from unblur.metrics.psnr import mae, mse, psnr_of_mse
from unblur.metrics.ssim import find_flavour, ms_ssim


@dataclass(frozen=True)
class Protocol:
    """What happens to both pictures before they are compared, and the cap on their PSNR.

    `dtype`: what they are clipped and converted to. `data_range`: its white. `cap`: in dB.
    """

    dtype: DTypeLike
    data_range: float
    cap: float


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "rgb8-v1": Protocol(np.uint8, 255.0, 60.0),
        "rgbf-v1": Protocol(np.float32, 1.0, 60.0),
    }
)
"""rgb8-v1: rounded to 8 bits. rgbf-v1: clipped, unrounded. Both: all channels, no crop, capped at 60 dB."""


@dataclass(frozen=True)
class Scores:
    """How near a picture is to its reference.

    `mse`, `mae`: over [0, 1]. `psnr`: in dB, infinite for an exact picture; `psnr_capped`: at most the cap.
    `ssim`, `ms_ssim`: at most 1, None where the picture is too small for them. `exact`: no sample differs.
    """

    protocol: str
    ssim_flavour: str
    mse: float
    mae: float
    psnr: float
    psnr_capped: float
    ssim: float | None
    ms_ssim: float | None
    exact: bool

    def to_dict(self) -> dict[str, Any]:
        """The scores as plain JSON types; `psnr` is the capped one, since JSON has no infinity."""
        return {
            "protocol": self.protocol,
            "mse": self.mse,
            "mae": self.mae,
            "psnr": self.psnr_capped,
            "ssim": self.ssim,
            "ssim_flavour": self.ssim_flavour,
            "ms_ssim": self.ms_ssim,
            "exact": self.exact,
        }


def score(
    reference: Image,
    image: Image,
    *,
    protocol: str = "rgb8-v1",
    ssim_flavour: str = "tf",
    cap: float | None = None,
) -> Scores:
    """Score an image against its reference under a protocol.

    Shape: (H, W, C) each, equal; a grey pair is scored on its one channel. `cap`: in dB, instead of the
    protocol's, for a suite that states its own.
    Raises ImageError for what is not an image or for shapes that differ, OptionError for an unknown protocol
    or flavour.
    """
    if protocol not in PROTOCOLS:
        raise OptionError(f"unknown protocol {protocol!r}; one of {', '.join(PROTOCOLS)}")
    rules = PROTOCOLS[protocol]
    flavour = find_flavour(ssim_flavour)
    check_image(reference, "reference")
    check_image(image, "image")
    if reference.shape != image.shape:
        raise ImageError(
            f"the reference has shape {reference.shape} and the image {image.shape}; they must agree"
        )
    a, b = to_array(reference, rules.dtype), to_array(image, rules.dtype)
    error = mse(a, b) / rules.data_range**2
    ratio = psnr_of_mse(error, data_range=1)
    return Scores(
        protocol=protocol,
        ssim_flavour=ssim_flavour,
        mse=error,
        mae=mae(a, b) / rules.data_range,
        psnr=ratio,
        psnr_capped=min(ratio, rules.cap if cap is None else cap),
        ssim=_where_defined(lambda: flavour(a, b, rules.data_range)),
        ms_ssim=_where_defined(lambda: ms_ssim(a, b, data_range=rules.data_range)),
        exact=error == 0,
    )


def _where_defined(metric: Callable[[], float]) -> float | None:
    try:
        return metric()
    except OptionError:
        return None
