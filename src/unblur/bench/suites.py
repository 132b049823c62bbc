"""The suites: one name fixes data, split, degradation, arithmetic, seed, metrics, crop and averaging."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unblur.datasets import cifar10, folder, gopro, pairs, reds
from unblur.datasets.common import Pairs, Pictures, as_rgb, resize, split
from unblur.datasets.levin import Levin, levin
from unblur.errors import FileError, OptionError
from unblur.image import from_array, to_array
from unblur.metrics.stats import INVISIBLE
from unblur.physics import degrade, kernels
from unblur.physics.blur import Blur
from unblur.physics.convolve import convolve
from unblur.physics.resize import imresize
from unblur.physics.varying import blur_image

Pixels: TypeAlias = NDArray[Any]

#: Of every draw: 0 and 1 belong to training and validation.
SEED = 2

#: Samples that are made once and kept, in bytes of pixels: every method is judged on them.
_KEPT = 512 << 20

#: Standard deviation of Levin's noise: about 0.4 % of white.
_LEVIN_NOISE = 0.004


@dataclass(frozen=True, eq=False)
class Sample:
    """A blurred picture and its truth, (H, W, C) of one dtype.

    blur: how it was blurred, noise included, None where nobody knows. draw: the same as JSON types. group: the
    sigma, kernel, kind or scene over which scores are also averaged.
    """

    blurred: Pixels
    sharp: Pixels
    blur: Blur | None
    draw: Mapping[str, Any]
    group: str


@dataclass(eq=False)
class Samples:
    """The pictures of a suite by index, made when they are asked for.

    source: what they are, for people. notes: what the set lacks, one line each. digest: of the bytes that the
    first n samples are made of.
    """

    names: tuple[str, ...]
    make: Callable[[int], Sample]
    source: str
    notes: tuple[str, ...]
    digest: Callable[[int], str]
    _kept: dict[int, Sample] = field(default_factory=dict, repr=False)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if (found := self._kept.get(index)) is not None:
            return found
        made = self.make(index)
        size = made.blurred.nbytes + made.sharp.nbytes
        if self._bytes + size <= _KEPT:
            self._kept[index], self._bytes = made, self._bytes + size
        return made


@dataclass(frozen=True)
class Suite:
    """A named way to judge.

    protocol: of the scores. cap: on a picture's PSNR in dB. gain_cap: PSNR above which nothing is won or lost.
    kinds: the blurs that occur, none where nothing is blurred. told: whether the true blur is known. layout: what
    --data must hold. shape: (H, W) of every picture, where it is fixed. chunk: pictures that are restored together.
    clip: whether those are frames of a clip, in order. among: all blurs that occur, where they are a few known ones.
    loss: the family of networks whose report prints a loss here.
    """

    name: str
    about: str
    layout: str
    open: Callable[[Path], Samples]
    kinds: tuple[str, ...]
    protocol: str = "rgb8-v1"
    cap: float = 60.0
    gain_cap: float = INVISIBLE
    told: bool = True
    shape: tuple[int, int] | None = None
    chunk: int = 1
    clip: bool = False
    among: tuple[Blur, ...] = ()
    loss: str = ""


def get(name: str) -> Suite:
    """The suite of that name. Raises OptionError naming the nearest."""
    if name in SUITES:
        return SUITES[name]
    near = difflib.get_close_matches(name.lower().replace("_", "-"), SUITES, n=1, cutoff=0)
    raise OptionError(f"unknown suite {name!r}; did you mean {near[0]!r}? One of {', '.join(SUITES)}")


def open_samples(suite: Suite, data: Path) -> Samples:
    """Find the pictures of a suite in a folder.

    Raises FileError that says which layout is expected and where it was looked for.
    """
    if not data.is_dir():
        raise FileError(f"{data}: no such folder; {suite.name} needs --data with {suite.layout}")
    try:
        return suite.open(data)
    except FileError as error:
        raise FileError(
            f"{suite.name}: nothing to judge in {data}; expected there, or one folder below: {suite.layout} ({error})"
        ) from error


# Finding sets


def _first(data: Path, reader: Callable[[Path], Any]) -> Any:
    """What a reader finds in a folder, or else in the first of its subfolders that has it."""
    try:
        return reader(data)
    except FileError as error:
        complaint = error
    for below in sorted(path for path in data.iterdir() if path.is_dir() and path.name[0] != "."):
        try:
            return reader(below)
        except FileError:
            continue
    raise complaint


def _reds_test(data: Path) -> Pictures:
    """Five frames of each validation scene of REDS."""
    return reds.sharp(data, "inputskip-test")


def _photographs(data: Path) -> tuple[Pictures, str]:
    """Any pictures: those of a part called test, else of the folder itself."""
    for place in (data / "bsds500" / "test", data / "test"):
        try:
            return folder.pictures(
                place
            ), f"{len(folder.pictures(place))} photographs of {place.parent.name}/test"
        except FileError:
            continue
    found = folder.pictures(data)
    return found, f"{len(found)} pictures of {data.name}"


def _whole_imagenet(data: Path) -> tuple[Pictures, str]:
    """The test share of an ImageNet folder, by the name of that folder; else any pictures."""
    named = [data, *sorted(data.iterdir())]
    for place in (path for path in named if path.is_dir() and path.name.lower().startswith("imagenet")):
        found = folder.pictures(place)
        test = split(len(found), folder.SHARES, seed=0)[2]
        return found.take(
            sorted(map(int, test))
        ), f"the test share of {place.name}: {len(test)} of {len(found)} photographs"
    return _photographs(data)


# Synthetic blur


def _group(draw: degrade.Draw) -> str:
    """The sigma as it is where there are few, a range where it is continuous, the kind in a mixture."""
    if draw.degradation in ("mixed-u8", "sharp"):
        return "anisotropic" if "sigma_y" in draw.blur.parameters else draw.blur.kind
    sigma = draw.blur.parameters.get("sigma", 0.0)
    if draw.degradation == "cifar-int123-f32":
        return f"{sigma:g}"
    if draw.degradation.startswith("reds-"):
        return draw.degradation.removeprefix("reds-")
    edges = (0, 0.5, 1, 1.5, 2, 2.5, 3) if draw.degradation.startswith("cifar") else (0, 0.5, 1, 2, 4, 8)
    below = max(edge for edge in edges if edge <= sigma)
    above = [edge for edge in edges if edge > sigma]
    return f"{below:g}-{above[0]:g}" if above else f"{below:g}-"


def _degraded(sharp: Pixels, name: str, index: int) -> Sample:
    """Blur a picture as a named degradation does; the dtype is kept."""
    blurred, draw = degrade.degrade(from_array(sharp), name, SEED, index)
    truth = degrade.reference(from_array(sharp), draw)
    row = {
        key: round(value, 6) if isinstance(value, float) else value
        for key, value in draw.to_row().items()
        if value is not None and key not in ("index", "noise_seed")
    }
    blur = draw.blur
    if draw.jpeg is not None or draw.exposure != 1:
        # The draw cannot know what JPEG and clipping add to the noise: B - K * I tells.
        blur = replace(blur, noise=float(np.sqrt(np.square(blurred - blur_image(truth, blur)).mean())))
    return Sample(to_array(blurred, sharp.dtype), to_array(truth, sharp.dtype), blur, row, _group(draw))


def _cifar(data: Path, *, degradation: str) -> Samples:
    images = _first(data, lambda place: cifar10.Cifar10.open(place, "test"))
    pixels = images.images
    dtype = np.uint8 if degradation.endswith("u8") else np.float32

    def make(index: int) -> Sample:
        sharp = pixels[index] if dtype is np.uint8 else from_array(pixels[index])
        return _degraded(sharp, degradation, index)

    return Samples(
        tuple(f"{index:05}" for index in range(len(pixels))),
        make,
        f"{len(pixels)} test images of CIFAR-10",
        tuple(images.missing),
        lambda count: hashlib.sha256(pixels[:count].tobytes()).hexdigest(),
    )


def _on_pictures(
    data: Path,
    *,
    degradations: Sequence[str],
    shape: tuple[int, int] | None = None,
    find: Callable[[Path], tuple[Pictures, str]] = _photographs,
    frames: bool = False,
) -> Samples:
    """Blur every picture of a folder with each degradation in turn. frames: those of REDS come first."""
    squeeze = False
    try:
        if not frames:
            raise FileError("not asked for")
        pictures, source = _first(data, _reds_test), "5 frames of each validation scene of REDS"
        squeeze = True
    except FileError:
        pictures, source = find(data)
    each = len(degradations)

    def make(index: int) -> Sample:
        pixels = pictures[index // each]
        if shape is not None:
            if not squeeze and (pixels.shape[0] > pixels.shape[1]) != (shape[0] > shape[1]):
                # Upright in a wide frame, it would have to be enlarged, and what is enlarged is not sharp.
                pixels = np.ascontiguousarray(np.rot90(pixels))
            # Whole frames of REDS are reduced, as they were for the published network; others are cut to the aspect.
            pixels = as_rgb(resize(pixels, *shape) if squeeze else folder.fit(pixels, *shape))
        return _degraded(pixels, degradations[index % each], index)

    names = tuple(name if each == 1 else f"{name}@{one}" for name in pictures.names for one in degradations)
    return Samples(
        names,
        make,
        source + (f", {shape[1]}x{shape[0]}" if shape else ""),
        (*pictures.missing, *pictures.skipped),
        lambda count: _hash_files(pictures.paths[: -(-count // each)]),
    )


# Clips

#: Frames of a pan, their (H, W), how many pixels the view moves a frame, and the pictures that are panned over.
_PAN, _VIEW, _STEP, _PANNED = 24, (160, 240), 2, 8

#: Blur and noise of the pans in turn: some where the estimate of a single frame is sure, some where it is not.
_PANS = (
    ("gaussian-1.5", kernels.gaussian(1.5), 0.01),
    ("gaussian-0.6", kernels.gaussian(0.6), 0.01),
    ("disk-2", kernels.disk(2.0), 0.02),
    ("motion-7", kernels.motion(7.0, 30.0), 0.03),
)


def _pans(data: Path) -> Samples:
    """Views that move over sharp pictures, each with one blur and new noise in every frame."""
    pictures, source = _photographs(data)
    least = _VIEW[0], _VIEW[1] + _STEP * (_PAN - 1)

    def make(index: int) -> Sample:
        number, frame = divmod(index, _PAN)
        kind, kernel, noise = _PANS[number % len(_PANS)]
        sharp = as_rgb(folder.fit(pictures[number], *least))[:, _STEP * frame :][:, : _VIEW[1]]
        blurred = convolve(from_array(sharp), kernel)
        rng = np.random.default_rng((SEED, index))
        noisy = blurred + rng.normal(0, noise, blurred.shape).astype(np.float32)
        draw = {"kind": kind, "pan": pictures.names[number], "frame": frame}
        blur = Blur("kernel", kernel=kernel, noise=noise)
        return Sample(to_array(noisy, sharp.dtype), sharp, blur, draw, kind)

    count = min(_PANNED, len(pictures))
    return Samples(
        tuple(f"{name}@{frame:02}" for name in pictures.names[:count] for frame in range(_PAN)),
        make,
        f"{count} pans of {_PAN} frames of {_VIEW[1]}x{_VIEW[0]} over {source}",
        (*pictures.missing, *pictures.skipped),
        lambda wanted: _hash_files(pictures.paths[: -(-wanted // _PAN)]),
    )


# Real blur


def _real(
    found: Pairs,
    source: str,
    notes: Sequence[str] = (),
    shape: tuple[int, int] | None = None,
    grouped: bool = True,
) -> Samples:
    def make(index: int) -> Sample:
        name, blurred, sharp = found[index]
        if shape is not None:
            blurred, sharp = _bilinear(blurred, shape), _bilinear(sharp, shape)
        scene = name.rsplit("/", 1)[0] if grouped and "/" in name else "all"
        return Sample(blurred, sharp, None, {"scene": scene}, scene)

    return Samples(
        found.names,
        make,
        source + (f", {shape[1]}x{shape[0]}" if shape else ""),
        (*notes, *found.missing, *found.skipped),
        lambda count: _hash_files(path for row in found.rows[:count] for path in row),
    )


def _bilinear(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Antialiased bilinear reduction, rounded."""
    if pixels.shape[:2] == shape:
        return pixels
    reduced = imresize(from_array(pixels), shape, "bilinear")
    return to_array(reduced, pixels.dtype)


def _gopro(data: Path, *, blur: Any) -> Samples:
    found = _first(data, lambda place: gopro.pairs(place, "test", blur=blur))
    return _real(found, f"{len(found)} pairs of GOPRO test, {blur}")


def _reds(
    data: Path, *, selection: str, stand_in: reds.Selection, shape: tuple[int, int] | None = None
) -> Samples:
    try:
        found = _first(data, lambda place: reds.pairs(place, selection))
        return _real(found, f"{len(found)} pairs of REDS, {selection}", shape=shape)
    except FileError:
        found = _first(data, lambda place: reds.pairs(place, stand_in))
    scenes = ", ".join(dict.fromkeys(name.split("/")[0] for name in found.names))
    what = f"a stand-in: {len(found)} pairs of REDS, training scene {scenes}"
    return _real(replace(found, missing=()), what, (what,), shape)


def _pairs(data: Path) -> Samples:
    found = pairs.inside(data)
    return _real(found, f"{len(found)} pairs of {data.name}")


def _levin(data: Path) -> Samples:
    def reader(place: Path) -> Levin:
        beside = next((p for p in (place / "kernels", place.parent / "kernels") if p.is_dir()), None)
        try:
            return levin(place, beside)
        except FileError:
            if beside is None:
                raise
            return levin(place)

    found: Levin = _first(data, reader)

    def make(index: int) -> Sample:
        shaken = found[index]
        # The files hold the kernels for correlation.
        kernel = np.ascontiguousarray(shaken.kernel[::-1, ::-1])
        number = shaken.name.split("_")[1]
        blur = Blur("kernel", kernel=kernel, noise=_LEVIN_NOISE)
        return Sample(shaken.blurred, shaken.sharp, blur, {"kind": "shake", "kernel": number}, number)

    return Samples(
        found.pairs.names,
        make,
        f"{len(found)} of the 32 pictures of Levin et al. 2009",
        tuple(found.pairs.missing),
        lambda count: _hash_files(
            path
            for row, kernel in zip(found.pairs.rows[:count], found.kernels[:count], strict=True)
            for path in (*row, kernel)
        ),
    )


def _hash_files(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


_ANY = "any folder of sharp pictures (of a folder with bsds500/test or test, those)"
_CIFAR = "cifar-10-batches-py/test_batch, the Python version of CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html)"
_FRAMES = f"val/val_sharp/SSS/NNNNNNNN.png of REDS, or {_ANY}"
_ZOO = ("none", "gaussian", "disk", "motion", "shake", "varying")
_MOTION = ("motion", "shake")

#: Nobody trains on scene 020 of REDS.
_SCENE_20 = reds.Selection("train", (20,))


def _cifar_suite(name: str, about: str, protocol: str) -> Suite:
    opener = partial(_cifar, degradation=name)
    return Suite(name, about, _CIFAR, opener, ("gaussian",), protocol, shape=(32, 32), chunk=128)


#: The blurs of report 002: one network was to undo them all.
_REDS_BLURS = tuple(
    degrade.degrade(np.zeros((1, 1, 1), np.float32), name, SEED)[1].blur
    for name in ("reds-k3", "reds-k7", "reds-k11")
)


def _reds_blur(name: str, about: str, degradations: tuple[str, ...], **caps: float) -> Suite:
    shape = (256, 448)
    opener = partial(_on_pictures, degradations=degradations, shape=shape, frames=True)
    return Suite(name, about, _FRAMES, opener, ("gaussian",), shape=shape, among=_REDS_BLURS, **caps)  # type: ignore[arg-type]


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        suite.name: suite
        for suite in (
            _cifar_suite("cifar-u03-u8", "CIFAR-10 test, sigma U(0, 3), 8 bits", "rgb8-v1"),
            _cifar_suite("cifar-int123-f32", "CIFAR-10 test, sigma 1, 2 or 3, unrounded floats", "rgbf-v1"),
            _cifar_suite("cifar-u03-f32", "CIFAR-10 test, sigma U(0, 3), unrounded floats", "rgbf-v1"),
            _reds_blur(
                "reds-k3", "448x256, 3 taps, sigma 0.3, 8 bits", ("reds-k3",), cap=80.0, gain_cap=80.0
            ),
            _reds_blur("reds-k7", "448x256, 7 taps, sigma 1.0, 8 bits", ("reds-k7",)),
            _reds_blur("reds-k11", "448x256, 11 taps, sigma 1.6, 8 bits", ("reds-k11",)),
            _reds_blur("reds-k7+k11", "each picture of reds-k7 and of reds-k11", ("reds-k7", "reds-k11")),
            Suite(
                "halfnormal5-u8",
                "240x160, sigma |N(0, 5)|, MATLAB's imgaussfilt, 8 bits",
                f"a folder imagenet* (its test share, one fifth by seed 0), or {_ANY}",
                partial(
                    _on_pictures, degradations=("halfnormal5-u8",), shape=(160, 240), find=_whole_imagenet
                ),
                ("gaussian",),
                shape=(160, 240),
            ),
            *(
                Suite(
                    name,
                    f"GOPRO_Large test, real pairs of 1280x720 from {blur}",
                    f"GOPRO_Large/test/GOPR*/{{{blur},sharp}}/NNNNNN.png",
                    partial(_gopro, blur=blur),
                    _MOTION,
                    told=False,
                    loss="mscnn",
                )
                for name, blur in (("gopro", "blur"), ("gopro-gamma", "blur_gamma"))
            ),
            Suite(
                "reds-val",
                "REDS validation, 3,000 real pairs of 1280x720",
                "val/val_blur/SSS/NNNNNNNN.png and val/val_sharp of REDS",
                partial(_reds, selection="val", stand_in=_SCENE_20),
                _MOTION,
                told=False,
            ),
            Suite(
                "reds-scenes0-23",
                "REDS, frames 50-99 of training scenes 000-023, real pairs of 1280x720",
                "train/train_blur/SSS/NNNNNNNN.png and train/train_sharp of REDS",
                partial(_reds, selection="srn-test", stand_in=_SCENE_20),
                _MOTION,
                told=False,
            ),
            Suite(
                "reds-val-144x256",
                "REDS validation reduced to 256x144, antialiased bilinear",
                "val/val_blur/SSS/NNNNNNNN.png and val/val_sharp of REDS",
                partial(_reds, selection="val", stand_in=_SCENE_20, shape=(144, 256)),
                _MOTION,
                told=False,
                shape=(144, 256),
            ),
            Suite(
                "levin09",
                "Levin et al. 2009: real camera shake, grey 255x255; best of all shifts, 15 pixels cropped",
                "levin09/imI_kernelK_img.png with gt/imI.png, kernels beside in kernels/levin09_K.npy or in gt/",
                _levin,
                ("shake",),
                protocol="levin-v1",
                shape=(255, 255),
            ),
            Suite(
                "pairs",
                "any real pairs",
                "blurred/ (or blur/) and sharp/ with pictures of equal names",
                _pairs,
                ("gaussian", "disk", *_MOTION),
                told=False,
            ),
            Suite(
                "sharp",
                "sharp pictures: does a method leave them alone?",
                _ANY,
                partial(_on_pictures, degradations=("sharp",)),
                ("none",),
                told=False,
            ),
            Suite(
                "clip",
                "pans over photographs, one blur a pan and noise: how far does a method's strength jump?",
                _ANY,
                _pans,
                ("gaussian", "disk", "motion"),
                shape=_VIEW,
                chunk=_PAN,
                clip=True,
            ),
            Suite(
                "mixed-u8",
                "the blur zoo: Gaussian, defocus, motion, shake, varying or none; noise, clipping, JPEG",
                _ANY,
                partial(_on_pictures, degradations=("mixed-u8",)),
                _ZOO,
            ),
        )
    }
)
"""Every suite by name."""
