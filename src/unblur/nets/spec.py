"""`Spec`: a network as a described object. What others must know about it is data, not code."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from unblur.errors import OptionError
from unblur.models.card import PICTURES, Role
from unblur.nets.layers import extend

Loss: TypeAlias = Literal["mae", "mse", "psnr", "adversarial"]


@dataclass(frozen=True, eq=False)
class Spec:
    """A network's name, how to build it, and what its caller must keep to.

    Every network takes (N, `channels`, H, W) in [0, 1]; a restorer returns the same shape, nominally in [0, 1]
    and not clamped; a guided one is shown the 8 channels of `unblur.classical.guide`, perhaps more candidates behind
    them, and returns 3; an estimator returns (N,) standard deviations in pixels, a discriminator (N,) logits.

    family: its file. report: number of the student report that it comes from, "" for none.
    factory, arguments: what builds it. parameters: trainable, as published where somebody published them.
    running_stats: numbers that batch normalisation keeps besides; Keras counts them too.
    inner_range: what its layers work in; the network itself converts. size_multiple: H and W must be
    multiples of it. fixed_size: the only (H, W) that it takes, or None. halo: an output pixel depends on
    input pixels at most so many rows or columns away, where rows and columns count from a multiple of
    `size_multiple`; None for the whole picture. iterations: of total variation in the candidate that a guided one is
    shown; None for as many as that takes by itself. loss: what it is trained with by default. source: where the
    architecture is published.
    """

    name: str
    family: str
    factory: Callable[..., nn.Module]
    parameters: int
    source: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    report: str = ""
    role: Role = "restorer"
    channels: int = 3
    running_stats: int = 0
    inner_range: tuple[float, float] = (0.0, 1.0)
    size_multiple: int = 1
    fixed_size: tuple[int, int] | None = None
    halo: int | None = None
    iterations: int | None = None
    loss: Loss = "mse"

    @property
    def makes_pictures(self) -> bool:
        """Whether what comes out is a picture."""
        return self.role in PICTURES

    @property
    def total(self) -> int:
        """Parameters as Keras counts them: with the running statistics."""
        return self.parameters + self.running_stats

    def build(self, **overrides: Any) -> nn.Module:
        """The network, freshly initialised from torch's global generator.

        Raises OptionError for an argument that its factory does not have.
        """
        known = inspect.signature(self.factory).parameters
        for key in overrides:
            if key not in known:
                raise OptionError(f"{self.name} has no option {key!r}{nearest(key, known)}")
        return self.factory(**{**self.arguments, **overrides})

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The smallest size that the network takes and that holds a picture of this size.

        Raises OptionError where the network has a fixed size that is smaller.
        """
        if self.fixed_size is not None:
            if height > self.fixed_size[0] or width > self.fixed_size[1]:
                fixed = "x".join(map(str, self.fixed_size))
                raise OptionError(
                    f"{self.name} takes {fixed} pixels, got {height}x{width}; cut it into tiles"
                )
            return self.fixed_size
        step = self.size_multiple
        return -(-height // step) * step, -(-width // step) * step

    def card(self) -> str:
        """The network as a model card, in JSON: what travels with its weights."""
        from unblur.nets.cost import bytes_per_pixel, gmacs_per_megapixel

        own = {"factory", "running_stats", "inner_range"}
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        facts["total_parameters"] = self.total
        facts["gmacs_per_megapixel"] = round(gmacs_per_megapixel(self.name), 3)
        facts["bytes_per_pixel"] = bytes_per_pixel(self.name)
        # The factory itself says which of its arguments are none: a card's table has no such value.
        facts["arguments"] = {key: value for key, value in self.arguments.items() if value is not None}
        return json.dumps(facts)


def nearest(word: str, known: Mapping[str, Any]) -> str:
    """ "; did you mean ...?" for a mistyped word, or the words that there are."""
    close = difflib.get_close_matches(word, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else f"; one of {', '.join(known)}"


@torch.no_grad()
def apply(net: nn.Module, spec: Spec, x: Tensor) -> Tensor:
    """Restore pictures of any size: mirrored at the right and bottom to a size the network takes, then cropped.

    Shape: (N, C, H, W) in [0, 1], kept; the result is clamped.
    Raises OptionError for a picture larger than the network's fixed size.
    """
    height, width = x.shape[2:]
    rows, columns = spec.padded(height, width)
    y: Tensor = net(extend(x, 0, columns - width, 0, rows - height, "reflect101"))
    return y[:, :, :height, :width].clamp(0, 1)
