"""What a training is: a frozen, checked model of everything that decides its result, read from TOML.

    recipe = load("recipes/unet20/cifar-u03-u8.toml", ["batch.size=64", "data.root=/data/cifar"])

One section for one thing. An unknown key is an error that names the nearest right one.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unblur.datasets.cifar10 import SPLITS
from unblur.datasets.reds import SELECTIONS
from unblur.errors import FileError, OptionError
from unblur.nets import Spec, spec
from unblur.physics import degrade

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Size: TypeAlias = tuple[Count, Count]
"""Height and width in pixels."""


#: Where recipes lie: in the working directory, in an installed package, in a checkout.
_PLACES = (Path("recipes"), Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")


class Section(BaseModel):
    """A part of a recipe: immutable, without room for unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Net(Section):
    """Which network. `options`: arguments that replace those of its preset. `start`: weights to begin with.

    part: these are the weights of a part of it, as of an SRN without its LSTM or of the same layers with fewer
    channels, and the rest begins at random.
    identity: it begins by returning its input, where its layers allow it. norms: batch normalisation by the
    statistics of each batch, or by those of the first one, fixed.
    """

    name: str
    options: dict[str, Any] = {}
    start: Path | None = None
    part: bool = False
    identity: bool = False
    norms: Literal["batch", "fixed"] = "batch"

    @property
    def spec(self) -> Spec:
        """The description of the network."""
        return spec(self.name)

    @model_validator(mode="after")
    def _known(self) -> Net:
        spec(self.name)
        return self


class _Pictures(Section):
    """Any set whose pictures are files.

    root: its folder. size: every picture is cut to this aspect about its centre and reduced, or with `squeeze`
    reduced without being cut. crop: then a random window for training, the central one for validation. patches: so
    many windows of each picture drawn, those with an SSIM between blurred and sharp below `ssim_below` preferred.
    strict: a picture that cannot be read is an error, not a warning. cache_mb: megabytes of decoded pictures that
    are kept.
    """

    root: Path = Path("data")
    size: Size | None = None
    squeeze: bool = False
    crop: Size | None = None
    patches: Count = 1
    ssim_below: Share = 0.0
    strict: bool = False
    cache_mb: Annotated[int, Field(ge=0)] = 1024

    @model_validator(mode="after")
    def _patches_are_crops(self) -> _Pictures:
        if (self.patches > 1 or self.ssim_below) and self.crop is None:
            raise ValueError("patches and ssim_below need a crop")
        if self.ssim_below and self.crop is not None and self.crop[0] != self.crop[1]:
            raise ValueError("ssim_below needs a square crop")
        return self


class Cifar10(Section):
    """CIFAR-10's training images under a published split; more 32x32 pictures may join the training part.

    extra: .npz files, relative to `root`. crops: so many of photographs below `photographs`, relative to `root`.
    """

    set: Literal["cifar10"]
    root: Path = Path("data")
    split: Literal["40k/10k", "42.5k/7.5k", "45k/5k"]
    split_seed: int = 0
    extra: tuple[Path, ...] = ()
    crops: Annotated[int, Field(ge=0)] = 0
    photographs: Path | None = None
    strict: bool = False

    @model_validator(mode="after")
    def _checked(self) -> Cifar10:
        if self.split not in SPLITS:
            raise ValueError(f"unknown split; one of {', '.join(SPLITS)}")
        if self.crops and self.photographs is None:
            raise ValueError("crops need photographs")
        return self


class Reds(_Pictures):
    """REDS: `train` and `validation` name selections. `reduced`: the 320x180 frames."""

    set: Literal["reds"]
    train: str
    validation: str | None = None
    reduced: bool = False

    @model_validator(mode="after")
    def _selections(self) -> Reds:
        for name in (self.train, self.validation):
            if name is not None and name not in SELECTIONS:
                raise ValueError(f"unknown selection {name!r}; one of {', '.join(SELECTIONS)}")
        return self


class Gopro(_Pictures):
    """GOPRO_Large's training part. `validation`: share of its sequences that are held out, the last ones."""

    set: Literal["gopro"]
    variant: Literal["blur", "blur_gamma"] = "blur_gamma"
    validation: Share = 0.0


class Folder(_Pictures):
    """A folder of sharp pictures, dealt by a seeded permutation into training, validation and the rest."""

    set: Literal["folder"]
    train: Share = 0.9
    validation: Share = 0.1
    split_seed: int = 0

    @model_validator(mode="after")
    def _shares(self) -> Folder:
        if self.train + self.validation > 1 + 1e-9:
            raise ValueError("train and validation are shares: together at most 1")
        return self


class Pairs(Folder):
    """A folder of pairs, in the folders `blurred` and `sharp`, dealt likewise."""

    set: Literal["pairs"]  # type: ignore[assignment]


Data: TypeAlias = Annotated[Cifar10 | Reds | Gopro | Folder | Pairs, Field(discriminator="set")]


class Blur(Section):
    """Degradations by name, each as likely as the others, drawn once for each picture or anew at every access.

    Drawn once, picture i is degraded as `unblur.physics.degrade.degrade` does with `seed` and index i. Validation
    pictures always are, with `validation_seed`. margin: crops are blurred with so many more pixels on each side, so
    that what comes in over their borders is real.
    """

    names: tuple[str, ...] = Field(min_length=1)
    drawn: Literal["once", "anew"]
    margin: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    validation_seed: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _known(self) -> Blur:
        for name in self.names:
            degrade.get(name)
        return self


class Guide(Section):
    """For guided networks: how often the candidate's kernel is the true one, a wrong one, and else none at all.

    Of a thumbnail it is what the estimate finds, which takes a twentieth of a second. found: share of the photographs
    of which it is that, too, which takes up to two seconds and wants crops of some 300 pixels; the other shares are of
    the rest, and of those in which no blur is found.
    error: typical size of what is wrong, see `unblur.lab.guided.astray`. noise: deviation of the logarithm of the
    noise that is told. border: share of the candidates that are made without the scene beyond the crop.
    false_alarms: share of the sharp pictures with a candidate for a blur that is not there. kept: so many pictures
    are made, candidates and all, and stay in memory; they come again and again, flipped and turned by `augment`.
    0: every picture is made anew.
    """

    found: Share = 0.0
    true: Share = 0.45
    wrong: Share = 0.4
    error: Annotated[float, Field(ge=0)] = 0.5
    noise: Annotated[float, Field(ge=0)] = 0.15
    border: Share = 0.1
    false_alarms: Share = 0.3
    kept: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _shares(self) -> Guide:
        if self.true + self.wrong > 1:
            raise ValueError("true and wrong are shares: together at most 1")
        return self


class Augment(Section):
    """Applied to the sharp picture before it is blurred, or to both where the blur is given or drawn once.

    flips: up-down and left-right, each with probability 1/2. turns: by a random multiple of
    90 degrees, of 180 if the picture is not square.
    """

    flips: bool = False
    turns: bool = False


class Batch(Section):
    """How steps are made of pictures. `size` counts over all processes, so that it means the same on any machine.

    accumulate: a step is computed in so many parts. order: "shuffled" anew each epoch, "replaced" draws uniformly
    with replacement, "fixed". steps: of an epoch; a pass over the set where not given. unpaired: the sharp pictures
    follow an order of their own. windows: sides of the squares that are cut from the pictures, each for an equal part
    of the epochs, to begin with small ones, whose steps are quick; whole pictures where not given.
    """

    size: Count
    accumulate: Count = 1
    order: Literal["shuffled", "replaced", "fixed"] = "shuffled"
    steps: Count | None = None
    unpaired: bool = False
    windows: tuple[Count, ...] = ()


class Loss(Section):
    """A weighted sum of per-picture losses on [0, 1].

    charbonnier: sqrt(d^2 + 0.001^2). ssim: 1 - SSIM. psnr: minus the PSNR in dB; psnr45: limited to 45. scales:
    supervise only the finest output of a network, or all, each with weight 1.
    """

    mse: float = 0.0
    mae: float = 0.0
    charbonnier: float = 0.0
    ssim: float = 0.0
    psnr: float = 0.0
    psnr45: float = 0.0
    scales: Literal["finest", "all"] = "finest"

    @property
    def terms(self) -> dict[str, float]:
        """The terms whose weight is not 0."""
        named = {
            name: getattr(self, name) for name in ("mse", "mae", "charbonnier", "ssim", "psnr", "psnr45")
        }
        return {name: weight for name, weight in named.items() if weight}

    @model_validator(mode="after")
    def _something(self) -> Loss:
        if not self.terms:
            raise ValueError("a loss needs a weight that is not 0")
        return self


class Optimiser(Section):
    """Adam, AdamW, SGD or Muon. `eps` and `betas` are Adam's, `momentum` is SGD's and Muon's. recurrent_max_norm: L2
    norm that the input weights of a recurrent unit may have after a step.
    """

    kind: Literal["adam", "adamw", "sgd", "muon"]
    rate: Positive
    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: Positive = 1e-8
    momentum: Share = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    recurrent_max_norm: Positive | None = None


class Clip(Section):
    """Limits on gradients, applied in this order: of every entry, L2 norm of every tensor, L2 norm of all."""

    value: Positive | None = None
    tensor_norm: Positive | None = None
    global_norm: Positive | None = None


class Constant(Section):
    """The rate stays."""

    kind: Literal["constant"]


class Plateau(Section):
    """Keras's ReduceLROnPlateau: times `factor` at the `patience`-th epoch in a row whose validation loss is not
    lower by more than `min_delta` than the lowest before.
    """

    kind: Literal["plateau"]
    factor: Share
    patience: Count
    min_delta: Annotated[float, Field(ge=0)] = 1e-4
    min_rate: Annotated[float, Field(ge=0)] = 0.0


class Steps(Section):
    """Times `factor` at the start of each of these epochs, counted from 0."""

    kind: Literal["steps"]
    epochs: tuple[Count, ...]
    factor: Share = 0.5


class Cosine(Section):
    """A linear rise over `warm_up` steps, then half a cosine down to `final` times the rate at the last step."""

    kind: Literal["cosine"]
    warm_up: Annotated[int, Field(ge=0)] = 0
    final: Share = 0.0


Schedule: TypeAlias = Annotated[Constant | Plateau | Steps | Cosine, Field(discriminator="kind")]


class Stop(Section):
    """When training ends and which weights are kept.

    patience: epochs without a lower validation loss. keep: the weights of the best epoch, or the last.
    """

    epochs: Count
    patience: Count | None = None
    keep: Literal["best", "final"] = "best"


class Gan(Section):
    """Adversarial training of the network against a discriminator (report 004, or with a content loss).

    content_weight: of the recipe's loss in the generator's. rate, betas: of the discriminator's Adam, whose eps is
    the generator's. floor: probabilities are not taken lower before the logarithm.
    """

    discriminator: str = "gan_discriminator"
    options: dict[str, Any] = {}
    content_weight: Annotated[float, Field(ge=0)] = 0.0
    rate: Positive = 2e-4
    betas: tuple[Share, Share] = (0.5, 0.999)
    floor: Positive = 1e-5


class Run(Section):
    """How it is computed and watched: may be changed when a run goes on.

    precision: "auto" takes bf16 where the processor multiplies it natively. log_every: steps between log lines.
    checkpoint_minutes: 0 is after every step. workers: threads that prepare batches.
    """

    precision: Literal["auto", "32", "bf16"] = "auto"
    channels_last: bool = True
    log_every: Count = 50
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10.0
    workers: Annotated[int, Field(ge=0)] = 2


class Recipe(Section):
    """A whole training. `about`: one line for people. `ema`: decay of the averaged weights, 0 for none."""

    about: str
    net: Net
    data: Data
    blur: Blur | None = None
    guide: Guide | None = None
    augment: Augment = Augment()
    batch: Batch
    loss: Loss
    optimiser: Optimiser
    clip: Clip = Clip()
    schedule: Schedule = Constant(kind="constant")
    stop: Stop
    ema: Share = 0.0
    gan: Gan | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    run: Run = Run()

    @property
    def held_out(self) -> bool:
        """Whether there is a validation part."""
        return isinstance(self.data, Cifar10) or bool(self.data.validation)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.blur is None and (self.data.set in ("cifar10", "folder") or self.net.spec.role != "restorer"):
            raise ValueError(f"{self.data.set} and {self.net.name} need a section blur")
        if not self.held_out and (
            self.stop.keep == "best" or self.stop.patience or self.schedule.kind == "plateau"
        ):
            raise ValueError("without validation: stop.keep must be 'final', without patience or plateau")
        crop = getattr(self.data, "crop", None)
        if self.blur is not None and crop is not None and self.blur.drawn == "once":
            raise ValueError("random crops are blurred anew: blur.drawn must be 'anew'")
        if self.blur is not None and crop is None and self.blur.margin:
            raise ValueError("blur.margin needs data.crop")
        if (self.guide is not None) != (self.net.spec.role == "guided"):
            raise ValueError("guided networks, and no others, need a section guide")
        if self.batch.unpaired and self.gan is None:
            raise ValueError("only adversarial training can use unpaired pictures")
        if self.batch.size % getattr(self.data, "patches", 1):
            raise ValueError("batch.size must be a multiple of data.patches")
        return self


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a TOML file, or the recipe.json of a run.

    overrides: `section.key=value` each, the value in TOML or a bare word.
    Raises FileError for a file that is neither, OptionError for an unknown key or a bad value.
    """
    try:
        with open(path, "rb") as file:
            content = json.load(file)["recipe"] if Path(path).suffix == ".json" else tomllib.load(file)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}; name a recipe file, or system/protocol") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path}: not a recipe: {error}") from error
    return parse(content, overrides, str(path))


def parse(content: dict[str, Any], overrides: Iterable[str] = (), what: str = "recipe") -> Recipe:
    """Check a recipe that is given as plain types; `what` names it in errors. Raises OptionError."""
    for override in overrides:
        _set(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise OptionError(f"{what}: {_first(error)}") from error


def find(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """The file of a recipe: a path, or system/protocol among the recipes of `folder`.

    Without a folder: `recipes` where one stands, else those that came with the package.
    Raises FileError, naming the nearest, for what is neither.
    """
    if Path(name).is_file():
        return Path(name)
    folder = folder or next((place for place in _PLACES if place.is_dir()), _PLACES[0])
    known = {path.relative_to(folder).with_suffix("").as_posix(): path for path in all_recipes(folder)}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    raise FileError(f"{name}: no such recipe{f'; did you mean {near[0]}?' if near else ''}")


def all_recipes(folder: str | os.PathLike[str] = "recipes") -> list[Path]:
    """Every recipe file of a folder, sorted."""
    return sorted(Path(folder).glob("*/*.toml"))


def changes(old: Recipe, new: Recipe) -> list[str]:
    """The keys in which two recipes differ, but for those that may change when a run goes on."""
    before, after = dict(_flat(old.model_dump(mode="json"))), dict(_flat(new.model_dump(mode="json")))
    differing = [key for key in before | after if before.get(key) != after.get(key)]
    return [
        key for key in differing if key not in ("about", "stop.epochs", "data.root") and key[:4] != "run."
    ]


def _set(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last:
        raise OptionError(f"cannot read {override!r}; write section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise OptionError(f"{override!r}: {section} is no section")
    content[last] = value


def _first(error: ValidationError) -> str:
    """The first complaint in one line; an unknown key is told the nearest known one."""
    complaint = error.errors(include_url=False)[0]
    known = dict(_keys(Recipe))
    # A place inside one of several kinds of section names the kind too.
    place = ".".join(str(part) for part in complaint["loc"])
    for section in ("data", "schedule"):
        head, _, rest = place.partition(".")
        if head == section:
            place = f"{section}.{rest.partition('.')[2]}" if "." in rest else place
    if complaint["type"] == "extra_forbidden":
        here = [key for key in known if key.rpartition(".")[0] == place.rpartition(".")[0]] or list(known)
        near = difflib.get_close_matches(place, here, n=1, cutoff=0)
        return f"unknown key {place}; did you mean {near[0]}?"
    message = complaint["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _keys(model: Any, prefix: str = "") -> Iterator[tuple[str, None]]:
    """Every dotted key that a model can have."""
    for name, field in model.model_fields.items():
        yield prefix + name, None
        for section in _sections(field.annotation):
            yield from _keys(section, f"{prefix}{name}.")


def _sections(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) in (Union, types.UnionType, Annotated):
        for part in typing.get_args(annotation):
            yield from _sections(part)
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
