"""`Blur`: one type for the blur that was drawn, that was estimated, and that a user gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from unblur.errors import OptionError

Kernel: TypeAlias = NDArray[np.float32]
"""float32 (k, k), k odd, non-negative, sums to 1, centroid at the centre unless it says otherwise."""

Kind: TypeAlias = Literal["none", "gaussian", "disk", "motion", "shake", "kernel", "varying"]

#: Which parameters each kind has: pixels, for angle degrees counter-clockwise from +x, and for resampled, which tells
#: an enlarged picture from a sharp one, cycles a pixel.
PARAMETERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "none": ("resampled",),
        "gaussian": ("sigma", "sigma_y", "angle"),
        "disk": ("radius",),
        "motion": ("length", "angle"),
        "shake": ("size",),
        "kernel": (),
        "varying": (),
    }
)


@dataclass(frozen=True, eq=False)
class Blur:
    """How an image was blurred: B = K * I + N.

    kind: what sort of kernel K is. `parameters`: its numbers (see `PARAMETERS`; an isotropic Gaussian has
    only `sigma`). `kernel`: K itself, or None for "none" and "varying". `where`: the weight of this blur at
    each pixel, (H, W) in [0, 1], or None for everywhere. `parts`: for "varying", the blurs that are blended;
    their `where` sum to one. `confidence`: 0..1, 1 for what is known. `noise`: standard deviation of N in
    [0, 1] units, or None where unknown.
    Raises OptionError for an unknown kind or parameter.
    """

    kind: Kind
    parameters: Mapping[str, float] = field(default_factory=dict)
    kernel: Kernel | None = None
    where: NDArray[np.float32] | None = None
    parts: tuple[Blur, ...] = ()
    confidence: float = 1.0
    noise: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise OptionError(f"unknown blur kind {self.kind!r}; one of {', '.join(get_args(Kind))}")
        unknown = set(self.parameters) - set(PARAMETERS[self.kind])
        if unknown:
            raise OptionError(f"a {self.kind} blur has no parameter {', '.join(sorted(unknown))}")
        object.__setattr__(
            self,
            "parameters",
            MappingProxyType({key: float(value) for key, value in self.parameters.items()}),
        )

    def __str__(self) -> str:
        numbers = ", ".join(f"{key} {value:.2f}" for key, value in self.parameters.items())
        return f"{self.kind} ({numbers})" if numbers else self.kind

    def window(self, rows: slice, columns: slice) -> Blur:
        """The same blur as seen in a window of the picture: `where` and those of the parts are cut out."""
        if self.where is None and not self.parts:
            return self
        return replace(
            self,
            where=None if self.where is None else self.where[rows, columns],
            parts=tuple(part.window(rows, columns) for part in self.parts),
        )

    def to_dict(self) -> dict[str, Any]:
        """The blur as plain JSON types; arrays are left out, the kernel's size is named."""
        return {
            "kind": self.kind,
            **{key: round(value, 4) for key, value in self.parameters.items()},
            "kernel_size": None if self.kernel is None else int(self.kernel.shape[0]),
            "confidence": round(float(self.confidence), 4),
            "noise": None if self.noise is None else round(float(self.noise), 6),
            "parts": [part.to_dict() for part in self.parts],
        }


NO_BLUR = Blur("none")
"""The identity."""
