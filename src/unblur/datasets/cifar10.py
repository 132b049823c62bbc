"""CIFAR-10 in its Python layout, downloaded and verified, and more 32x32 pictures to train with.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

import os
import pickle
import tarfile
import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unblur.datasets.common import Pixels, as_rgb, read, some
from unblur.errors import FileError, OptionError, OutputError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CHECKSUM = "md5:c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"

PARTS = MappingProxyType(
    {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
)
"""The batch files of each part, of `BATCH_SIZE` images each."""

BATCH_SIZE = 10_000

SPLITS = MappingProxyType({"40k/10k": (0.80, 0.20), "42.5k/7.5k": (0.85, 0.15), "45k/5k": (0.90, 0.10)})
"""Shares of training and validation among the training images under the published protocols, for `split`."""

#: Seconds without a byte after which a download counts as broken off.
_TIMEOUT = 30


class _Batch(NamedTuple):
    images: Pixels
    labels: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Cifar10:
    """One part of the set; the pickles are read when the first pixel, label or count is asked for.

    A batch file that is missing, short or damaged is named in `missing` or `skipped`, or refused with `strict`, and
    the others are used; without any, FileError.
    """

    root: Path
    part: Literal["train", "test"] = "train"
    strict: bool = False

    @classmethod
    def open(
        cls,
        root: str | os.PathLike[str],
        part: Literal["train", "test"] = "train",
        *,
        strict: bool = False,
    ) -> Cifar10:
        """Find the set in its folder cifar-10-batches-py, or in the folder that holds that.

        Raises OptionError for another part, FileError where no batch file is there.
        """
        if part not in PARTS:
            raise OptionError(f"unknown part {part!r} of CIFAR-10; one of {', '.join(PARTS)}")
        for folder in (Path(root), Path(root) / FOLDER):
            if any((folder / name).is_file() for name in PARTS[part]):
                return cls(folder, part, strict)
        raise FileError(f"{root}: no {PARTS[part][0]}; give the folder {FOLDER} or the one that holds it")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Pixels:
        return self.images[index]

    @cached_property
    def images(self) -> Pixels:
        """uint8 (N, 32, 32, 3), in the order of the batches."""
        return np.concatenate([batch.images for batch in self._batches.values()])

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of each image, (N,) in 0..9."""
        return np.concatenate([batch.labels for batch in self._batches.values()])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The file name that each image had among the tiny images."""
        return tuple(name for batch in self._batches.values() for name in batch.names)

    @property
    def counts(self) -> dict[str, int]:
        """Images that are there, by batch file."""
        return {name: len(batch.images) for name, batch in self._batches.items()}

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not there, one line for each batch file."""
        return tuple(
            f"{self.root / name}: {self.counts.get(name, 0)} of {BATCH_SIZE} images"
            for name in PARTS[self.part]
            if self.counts.get(name) != BATCH_SIZE
        )

    @property
    def skipped(self) -> tuple[str, ...]:
        """Batch files that are there and cannot be used, one line each."""
        return self._read[1]

    @property
    def complete(self) -> bool:
        """Whether every image of the part is there."""
        return not self.missing

    @property
    def _batches(self) -> dict[str, _Batch]:
        return self._read[0]

    @cached_property
    def _read(self) -> tuple[dict[str, _Batch], tuple[str, ...]]:
        batches: dict[str, _Batch] = {}
        skipped = []
        for name in PARTS[self.part]:
            if (path := self.root / name).is_file():
                try:
                    batches[name] = _read_batch(path)
                except FileError as error:
                    skipped.append(str(error))
        if not batches:
            raise FileError(some(skipped) or f"{self.root}: the batch files are gone")
        short = [
            name
            for name in PARTS[self.part]
            if name not in batches or len(batches[name].images) != BATCH_SIZE
        ]
        if self.strict and (skipped or short):
            raise FileError(some(skipped) or f"{self.root}: not all images of {', '.join(short)} are there")
        return batches, tuple(skipped)


def extra_images(path: str | os.PathLike[str]) -> Pixels:
    """More pictures to train with: the array `images` of an .npz file. Shape: (N, 32, 32, 3) uint8.

    Raises FileError for anything else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images = file["images"]
    except Exception as error:  # damaged archives may raise anything
        raise FileError(f"{path}: not an .npz file with an array named images ({error})") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
        raise FileError(f"{path}: expected uint8 (N, 32, 32, 3), got {images.dtype} {images.shape}")
    return images


def crops32(
    paths: Iterable[str | os.PathLike[str]],
    count: int,
    rng: np.random.Generator,
    *,
    warn: Callable[[str], object] | None = None,
) -> Pixels:
    """Pictures like those of CIFAR out of photographs: random square crops, averaged by area to 32x32.

    Shape: (count, 32, 32, 3) uint8. Each crop takes a random photograph, a random side from 64 pixels to the
    shorter side, and a random place; grey photographs give grey crops. `warn` hears of each photograph that cannot
    be decoded or is below 64 pixels a side, and the next one takes its place.
    Raises FileError for no photographs or none that will do, and, without `warn`, for the first that will not.
    """
    photographs = [Path(path) for path in paths]
    if not photographs:
        raise FileError("no photographs to take crops from")
    crops = np.empty((count, 32, 32, 3), np.uint8)
    wanted = defaultdict(list)
    # All is drawn before anything is read, so that crop i depends on nothing but the seed and the list.
    draws = rng.random((count, 3))
    for crop, chosen in enumerate(rng.integers(len(photographs), size=count)):
        wanted[int(chosen)].append(crop)
    bad: set[int] = set()
    queue = deque(wanted.items())
    while queue:
        chosen, of_this = queue.popleft()
        try:
            photograph = None if chosen in bad else _photograph(photographs[chosen])
        except FileError as error:
            bad.add(chosen)
            if warn is None or len(bad) == len(photographs):
                raise
            warn(f"{error} (skipped, {len(bad)} so far)")
            photograph = None
        if photograph is None:
            queue.append(((chosen + 1) % len(photographs), of_this))
            continue
        height, width = photograph.shape[:2]
        for crop in of_this:
            side = 64 + int(draws[crop, 0] * (min(height, width) - 63))
            top, left = (
                int(u * (room - side + 1)) for u, room in zip(draws[crop, 1:], (height, width), strict=True)
            )
            crops[crop] = _average(photograph[top : top + side, left : left + side])
    return crops


def download(
    root: str | os.PathLike[str],
    *,
    url: str = URL,
    checksum: str = CHECKSUM,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Path:
    """Fetch the set (163 MB) into a folder, verify and unpack it; the folder cifar-10-batches-py is returned.

    What is already there is left alone. An interrupted download goes on where it stopped at the next call, where the
    server can. `checksum`: algorithm:hexdigest of the archive. `progress` gets bytes done and bytes in all (0 where
    the server does not say).
    Raises FileError where the archive cannot be had or is not the right one, OutputError where it cannot be stored.
    """
    import pooch
    import requests

    root = Path(root)
    folder = root / FOLDER
    if folder.is_dir():
        return folder
    part = root / "cifar-10-python.tar.gz.part"

    def fetch(address: str, output: str, _: Any) -> None:
        _resume(address, part, progress)
        os.replace(part, output)

    pooch.get_logger().setLevel("WARNING")
    try:
        archive = pooch.retrieve(url, checksum, part.stem, root, downloader=fetch)
        _unpack(Path(archive), folder)
    except requests.RequestException as error:
        raise FileError(f"{url}: cannot be downloaded ({_reason(error)}); call again to go on") from error
    except (ValueError, tarfile.TarError, EOFError) as error:
        raise FileError(f"{url}: not the archive that was expected ({_reason(error)})") from error
    except OSError as error:
        raise OutputError(f"{root}: the set cannot be stored here ({error.strerror or error})") from error
    os.remove(archive)
    return folder


def _resume(url: str, part: Path, progress: Callable[[int, int], object]) -> None:
    """Download to `part`, after the bytes that it already holds if the server agrees to that."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the part is whole, or of another file: the checksum tells
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            have = 0
        length = int(response.headers.get("Content-Length", 0))
        total = have + length if length else 0
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_content(1 << 18):
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
    if have < total:
        raise requests.ConnectionError(f"the connection ended after {have} of {total} bytes")


def _unpack(archive: Path, folder: Path) -> None:
    """Extract to a folder beside, then move into place: a folder that is there is whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as scratch:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(scratch, filter="data")
        if not (Path(scratch) / FOLDER).is_dir():
            raise tarfile.TarError(f"no folder {FOLDER} in it")
        os.replace(Path(scratch) / FOLDER, folder)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _photograph(path: Path) -> Pixels:
    """A photograph with room for crops."""
    photograph = as_rgb(read(path))
    if min(photograph.shape[:2]) < 64:
        raise FileError(f"{path}: {photograph.shape[1]}x{photograph.shape[0]}; crops need 64 pixels a side")
    return photograph


def _average(crop: Pixels) -> Pixels:
    """Area average of a square crop to 32x32, each pixel weighted by how much of it lies under; rounded."""
    side = crop.shape[0]
    edges = np.arange(33) * (side / 32)
    pixels = np.arange(side)
    under = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(under, 0, None) * (32 / side)
    rows = (weights @ crop.reshape(side, -1)).reshape(32, side, 3)
    mean = weights @ rows  # each row of (side, 3) to (32, 3)
    return np.floor(mean + 0.5).astype(np.uint8)


def _read_batch(path: Path) -> _Batch:
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
        data = content[b"data"].array
        labels = np.asarray(content[b"labels"], np.int64)
        names = tuple(name.decode("latin-1") for name in content[b"filenames"])
    except Exception as error:  # unpickling damaged bytes may raise anything
        raise FileError(f"{path}: not a batch of CIFAR-10 ({_reason(error)})") from error
    if data.ndim != 2 or data.shape[1] != 3072 or labels.shape != (len(data),) or len(names) != len(data):
        raise FileError(
            f"{path}: not a batch of CIFAR-10 (data {data.shape}, {labels.size} labels, {len(names)} names)"
        )
    images = np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return _Batch(images, labels, names)


class _Array:
    """Stands for a pickled uint8 array: numpy's own unpickling trusts its input."""

    array: Pixels

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array without a dtype")
        self.array = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


class _Dtype:
    """Stands for a pickled dtype, which must be uint8."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        if code not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"an array of {code!r} in the place of uint8")

    def __setstate__(self, state: object) -> None:
        pass


def _new_array(*_: object) -> _Array:
    return _Array()


def _latin1(text: str, encoding: bytes | str) -> bytes:
    """What Python 3 writes for bytes at the protocol of the set."""
    return text.encode("latin-1")


class _Unpickler(pickle.Unpickler):
    """Builds what a batch holds, and runs nothing that a pickle names."""

    _KNOWN = MappingProxyType(
        {
            ("numpy.core.multiarray", "_reconstruct"): _new_array,
            ("numpy._core.multiarray", "_reconstruct"): _new_array,
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Dtype,
            ("_codecs", "encode"): _latin1,
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None
