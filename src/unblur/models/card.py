"""`ModelCard`: all that a caller must know about a network, without torch."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import pydantic

from unblur.errors import FileError, OptionError

Role: TypeAlias = Literal["restorer", "guided", "estimator", "discriminator"]

#: The roles of networks whose result is a picture.
PICTURES: frozenset[Role] = frozenset(("restorer", "guided"))


class _Facts(pydantic.BaseModel):
    """Facts that do not change once stated, and no others than those named."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Result(_Facts):
    """What a model reached on a suite. Means over `images`; PSNR in dB."""

    suite: str
    protocol: str
    images: int
    psnr: float
    ssim: float | None = None
    mse: float | None = None
    gain: float | None = None


class ModelCard(_Facts):
    """A network and, once it is trained, its weights, described.

    Every network takes (N, `channels`, H, W) float32 in `input_range`; a restorer gives the same shape in
    `output_range`, not clamped; a guided one, shown the 8 channels of `unblur.classical.guide` and perhaps more
    candidates behind them, gives 3; an estimator gives (N,) standard deviations in pixels, a discriminator (N,) logits.
    size_multiple: H and W must be multiples of it. fixed_size: the only (H, W) it takes, or None.
    halo: an output pixel depends on input at most so many pixels away; None for the whole picture.
    iterations: of total variation in the candidate that a guided one is shown; None for as many as it takes by itself.
    bytes_per_pixel: of activations that are alive at once, for each pixel of a picture.
    parameters: trainable. arguments: of its constructor. loss: what it is trained with by default.
    blur_kinds: what it was made for. trained_on, licence: of the weights; empty for a network without any.
    sha256: of the file of weights, empty where there is none.
    """

    name: str
    family: str
    role: Role = "restorer"
    report: str = ""
    source: str = ""
    arguments: dict[str, Any] = pydantic.Field(default_factory=dict)
    parameters: int
    total_parameters: int
    gmacs_per_megapixel: float
    bytes_per_pixel: int = 1024
    channels: int = 3
    input_range: tuple[float, float] = (0.0, 1.0)
    output_range: tuple[float, float] = (0.0, 1.0)
    size_multiple: int = 1
    fixed_size: tuple[int, int] | None = None
    halo: int | None = None
    iterations: int | None = None
    loss: str = "mse"
    blur_kinds: tuple[str, ...] = ()
    trained_on: str = ""
    licence: str = ""
    sha256: str = ""
    results: tuple[Result, ...] = ()

    @property
    def makes_pictures(self) -> bool:
        """Whether what comes out is a picture."""
        return self.role in PICTURES

    def to_dict(self) -> dict[str, Any]:
        """The card as plain JSON types."""
        return self.model_dump(mode="json")


def parse(facts: str | bytes | Mapping[str, Any], where: str) -> ModelCard:
    """A card from JSON text or a table. Raises FileError naming `where` for anything that is none."""
    try:
        if isinstance(facts, (str, bytes)):
            return ModelCard.model_validate_json(facts)
        return ModelCard.model_validate(facts)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise FileError(f"{where}: not a model card ({place}: {first['msg']})") from error


@lru_cache(maxsize=1)
def cards() -> Mapping[str, ModelCard]:
    """The cards in the package, by name, in the order of their names."""
    folder = resources.files(__package__).joinpath("cards")
    found = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            one = parse(tomllib.loads(file.read_text(encoding="utf-8")), file.name)
            found[one.name] = one
    return MappingProxyType(found)


def card(name: str) -> ModelCard:
    """The card of that name. Raises OptionError naming the nearest."""
    known = cards()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`unblur models` lists them"
    raise OptionError(f"unknown model {name!r}; {hint}")
