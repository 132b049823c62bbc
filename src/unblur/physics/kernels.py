"""What a blur kernel is, the families of kernels, and the way from files to kernels and back.

A *kernel* is a float32 array of shape (k, k), k odd, non-negative, that sums to 1, with its centroid at the
centre unless it says otherwise. It is convolved (flipped), never correlated. Lengths are in pixels; angles
in degrees counter-clockwise from +x as seen on the screen, so an angle of 90 points up, to lower rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyvips
from numpy.typing import ArrayLike, NDArray

from unblur.errors import FileError, KernelError, MissingExtraError, OptionError, OutputError, UnblurError
from unblur.physics.blur import Kernel, Kind

SizeRule: TypeAlias = Literal["matlab", "opencv-u8", "opencv-f32"]

#: A Gaussian narrower than this is the identity.
SMALLEST_SIGMA = 1e-3

#: Sub-columns of a pixel over which area coverage is averaged.
_SUBCOLUMNS = 32


def check_kernel(array: ArrayLike, what: str = "kernel") -> Kernel:
    """Return `array` as a kernel: float32, scaled to sum 1.

    Shape: (k, k), k odd. Values finite, none negative, not all zero.
    Raises KernelError naming `what`.
    """
    kernel = np.asarray(array)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise KernelError(f"{what}: expected shape (k, k) with k odd, got {kernel.shape}")
    if kernel.dtype.kind not in "buif":
        raise KernelError(f"{what}: expected real numbers, got {kernel.dtype}")
    kernel = kernel.astype(np.float64)
    if not np.isfinite(kernel).all():
        raise KernelError(f"{what}: has NaN or infinite weights")
    if kernel.min() < 0:
        raise KernelError(f"{what}: has negative weights (smallest {kernel.min():.4g})")
    total = kernel.sum()
    if not 0 < total < math.inf:
        raise KernelError(f"{what}: its weights sum to {total:.4g}, not to a positive number")
    normalised: Kernel = (kernel / total).astype(np.float32)
    return normalised


def delta() -> Kernel:
    """The kernel of no blur. Shape: (1, 1)."""
    return np.ones((1, 1), np.float32)


def gaussian_size(sigma: float, rule: SizeRule) -> int:
    """How many taps a Gaussian of `sigma` pixels gets under a published rule; odd.

    "matlab" is imgaussfilt, "opencv-u8" and "opencv-f32" are cv2.GaussianBlur with ksize (0, 0).
    Raises OptionError for an unknown rule, KernelError for a sigma that is not a length.
    """
    if not 0 <= sigma < math.inf:
        raise KernelError(f"sigma: expected pixels, 0 or more, got {sigma}")
    if rule == "matlab":
        return 2 * math.ceil(2 * sigma) + 1
    if rule == "opencv-u8":
        return round(6 * sigma + 1) | 1
    if rule == "opencv-f32":
        return round(8 * sigma + 1) | 1
    raise OptionError(f"unknown size rule {rule!r}; one of matlab, opencv-u8, opencv-f32")


def gaussian_taps(
    sigma: float, *, size: int | None = None, rule: SizeRule = "opencv-f32"
) -> NDArray[np.float64]:
    """One-dimensional Gaussian sampled at whole pixels, summing to 1.

    Shape: (size,), size odd, by `rule` where not given. `sigma` in pixels; under 0.001 it is the identity.
    Raises KernelError for a negative sigma or an even size.
    """
    by_rule = gaussian_size(sigma, rule)
    size = by_rule if size is None else _odd(size)
    x = np.arange(size) - size // 2
    taps: NDArray[np.float64]
    if sigma < SMALLEST_SIGMA:
        taps = (x == 0).astype(np.float64)
    else:
        taps = np.exp(x * x * (-0.5 / (sigma * sigma)))
        taps /= taps.sum()
    return taps


def fixed_point(taps: NDArray[np.float64]) -> NDArray[np.float32]:
    """Taps in 1/256, rounded from the ends inwards with the error carried on; the centre takes the rest.

    Shape: (size,), symmetric, kept. As OpenCV's getGaussianKernelFixedPoint_ED. They sum to 256.
    """
    half = taps.size // 2
    fixed, error = [], 0.0
    for tap in (taps[:half] * 256).tolist():
        carried = tap + error
        fixed.append(round(carried))
        error = carried - fixed[-1]
    return np.array([*fixed, 256 - 2 * sum(fixed), *fixed[::-1]], np.float32)


def gaussian_u8(sigma: float, *, size: int | None = None) -> Kernel:
    """The kernel that cv2.GaussianBlur really has for 8-bit pictures: its taps are multiples of 1/256.

    Shape: (size, size), size odd, by the rule "opencv-u8" where not given. `sigma` in pixels. Where a wide Gaussian has
    left next to nothing, what rounding its taps did is most of what is there.
    Raises KernelError for a negative sigma or an even size.
    """
    taps = fixed_point(gaussian_taps(sigma, size=size, rule="opencv-u8"))
    return np.outer(taps, taps) / np.float32(1 << 16)


def distinct_u8(sigmas: Iterable[float]) -> list[tuple[list[float], NDArray[np.float32]]]:
    """All the taps that `gaussian_u8` has for some sigmas, which are fewer: each with the sigmas that have them.

    Both in the order given. Taps: (size,), summing to 1.
    """
    found: dict[bytes, tuple[list[float], NDArray[np.float32]]] = {}
    for sigma in sigmas:
        taps = fixed_point(gaussian_taps(sigma, rule="opencv-u8")) / np.float32(256)
        found.setdefault(taps.tobytes(), ([], taps))[0].append(sigma)
    return list(found.values())


def gaussian(
    sigma: float,
    sigma_y: float | None = None,
    angle: float = 0.0,
    *,
    size: int | None = None,
    rule: SizeRule = "opencv-f32",
) -> Kernel:
    """Gaussian kernel, sampled at pixel centres.

    Shape: (size, size), size odd, by `rule` from the larger sigma where not given. `sigma` in pixels along
    the axis at `angle` degrees, `sigma_y` across it (equal to `sigma` where not given). If both are under
    0.001 it is `delta`.
    Raises KernelError for a negative sigma or an even size.
    """
    sigma_y = sigma if sigma_y is None else sigma_y
    largest = max(sigma, sigma_y)
    if min(sigma, sigma_y) < 0:
        raise KernelError(f"sigma: expected pixels, 0 or more, got {min(sigma, sigma_y)}")
    if largest < SMALLEST_SIGMA:
        return delta()
    size = _odd(size) if size is not None else gaussian_size(largest, rule)
    if sigma == sigma_y:
        taps = gaussian_taps(sigma, size=size)
        return np.outer(taps, taps).astype(np.float32)
    along, across = _rotated(size, angle)
    floor = SMALLEST_SIGMA
    exponent = (along / max(sigma, floor)) ** 2 + (across / max(sigma_y, floor)) ** 2
    return check_kernel(np.exp(-0.5 * exponent))


def disk(radius: float) -> Kernel:
    """Uniform disk, the blur of a lens out of focus; each weight is the area of its pixel that is covered.

    Shape: the smallest odd size that holds the disk. `radius` in pixels; up to 0.5 it is `delta`.
    Raises KernelError for a negative radius.
    """
    if not 0 <= radius < math.inf:
        raise KernelError(f"radius: expected pixels, 0 or more, got {radius}")
    if radius <= 0.5:
        return delta()
    size = 2 * math.ceil(radius - 0.5) + 1
    half = np.sqrt(np.maximum(radius**2 - _subcolumns(size) ** 2, 0))
    covered = _coverage(-half, half, size)
    return check_kernel(covered + covered.T)


def motion(length: float, angle: float) -> Kernel:
    """Straight motion at constant speed: a line `length` pixels long and one pixel wide, at `angle` degrees.

    Shape: the smallest odd size that holds the line. Each weight is the area of its pixel that the line
    covers, so a horizontal line of odd length has equal weights. A length up to 1 counts as 1.
    Raises KernelError for a negative length.
    """
    if not (0 <= length < math.inf and math.isfinite(angle)):
        raise KernelError(f"motion: expected a length of 0 or more and an angle, got {length} and {angle}")
    # The line is laid into the octants nearest to the x axis, where its long edges cut the sub-columns.
    radians = math.radians(angle % 180)
    steep = abs(math.sin(radians)) > abs(math.cos(radians))
    if steep:
        radians = math.pi / 2 - radians
    cos, sin = math.cos(radians), math.sin(radians)
    half = max(length, 1.0) / 2
    reach = half * max(abs(cos), abs(sin)) + 0.5 * min(abs(cos), abs(sin))
    size = 2 * math.ceil(reach - 0.5 - 1e-9) + 1
    x = _subcolumns(size)
    # |x cos + y sin| <= half (along) and |y cos - x sin| <= 1/2 (across), y up.
    low, high = (x * sin - 0.5) / cos, (x * sin + 0.5) / cos
    if cos < 0:
        low, high = high, low
    if abs(sin) > 1e-12:
        ends = np.sort([(-half - x * cos) / sin, (half - x * cos) / sin], axis=0)
        low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    else:
        # Ends that stand upright cut one sub-column each.
        high = low + (high - low) * np.clip((half - np.abs(x)) * _SUBCOLUMNS + 0.5, 0, 1)
    covered = _coverage(low, high, size)
    up = covered.T[::-1, ::-1] if steep else covered
    return check_kernel((up + up[::-1, ::-1])[::-1])


def shake(size: int, rng: np.random.Generator) -> Kernel:
    """Camera shake: a random smooth path of a hand-held camera, splatted bilinearly.

    Shape: (size, size), size odd and at least 3; centroid at the centre. The velocity is a random walk with
    inertia and a few sudden kicks, after Boracchi and Foi, "Modeling the performance of image restoration
    from motion blur" (2012); where the path is slow, the kernel is bright.
    Raises KernelError for an even or smaller size.
    """
    if _odd(size) < 3:
        raise KernelError(f"size: camera shake needs 3 pixels or more, got {size}")
    steps = 64 * size
    fade = np.exp(-np.arange(steps) / (steps * rng.uniform(0.02, 0.5)))
    pushes = rng.standard_normal((2, steps)) * math.sqrt(1 - fade[1] ** 2)
    kicks = rng.random(steps) < rng.poisson(1.0) / steps
    pushes[:, kicks] += rng.standard_normal((2, int(kicks.sum()))) * 2
    velocity = fade * np.cumsum(pushes / fade, axis=1)
    drift = rng.standard_normal((2, 1)) * rng.uniform(0, 1)
    path = np.cumsum(velocity + drift, axis=1)
    path -= path.mean(axis=1, keepdims=True)
    path *= (size - 1) / 2 * rng.uniform(0.7, 1) / np.abs(path).max()
    return _splat(path + size // 2, size)


def from_parameters(kind: Kind, parameters: Mapping[str, float]) -> Kernel:
    """The kernel of a family by its numbers, named as in `blur.PARAMETERS`.

    Raises KernelError for a kind that numbers do not determine, or without the numbers it needs.
    """
    try:
        if kind == "none":
            return delta()
        if kind == "gaussian":
            sigma = parameters["sigma"]
            return gaussian(sigma, parameters.get("sigma_y"), parameters.get("angle", 0.0))
        if kind == "disk":
            return disk(parameters["radius"])
        if kind == "motion":
            return motion(parameters["length"], parameters["angle"])
    except KeyError as error:
        raise KernelError(f"a {kind} blur needs its {error.args[0]}") from None
    raise KernelError(f"a {kind} blur is not determined by numbers; give its kernel")


def embed(kernel: Kernel, size: int) -> Kernel:
    """The same kernel on a larger support. Shape: (size, size), size odd and at least the kernel's own.

    Raises KernelError for an even or smaller size.
    """
    margin, odd = divmod(_odd(size) - kernel.shape[0], 2)
    if margin < 0 or odd:
        raise KernelError(f"kernel: cannot embed {kernel.shape} in {size} x {size}")
    return np.pad(kernel, margin)


def centre(kernel: Kernel) -> Kernel:
    """The kernel moved by whole pixels so that its centroid is as near to the centre as can be.

    Shape: as given, or larger where weights would be lost.
    """
    size = kernel.shape[0]
    x = np.arange(size) - size // 2
    down = round(float(x @ kernel.sum(axis=1, dtype=np.float64)))
    right = round(float(x @ kernel.sum(axis=0, dtype=np.float64)))
    if down == right == 0:
        return kernel
    room = max(abs(down), abs(right))
    moved = np.roll(np.pad(kernel, room), (-down, -right), axis=(0, 1))
    held = np.abs(np.argwhere(moved) - moved.shape[0] // 2).max()
    trim = moved.shape[0] // 2 - max(int(held), size // 2)
    return np.ascontiguousarray(moved[trim : moved.shape[0] - trim, trim : moved.shape[0] - trim])


def load_kernel(path: str | PathLike[str], *, index: int = 0, centred: bool = False) -> Kernel:
    """Read a kernel from .npy, .mat (v5 or v7.3) or any picture, and scale it to sum 1.

    Shape: (k, k); an array with an even or a shorter side is padded with zeros. `index` picks one of several:
    of the cells or planes of a .mat file in order, of the first axis of a .npy array. `centred` applies
    `centre`. Pictures are taken as linear weights, the mean of their colours.
    Raises FileError for an unreadable file, KernelError for what is no kernel or an index out of range,
    MissingExtraError for a v7.3 file without h5py.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    read = {".npy": _read_npy, ".mat": _read_mat}.get(path.suffix.lower(), _read_picture)
    try:
        found = read(path)
    except UnblurError:
        raise
    except Exception as error:  # the libraries raise all sorts on broken files
        raise FileError(f"{path}: cannot be read as a kernel ({_first_line(error)})") from error
    if not -len(found) <= index < len(found):
        raise KernelError(f"{path}: has {len(found)} kernels, index {index} is out of range")
    kernel = check_kernel(_odd_square(np.asarray(found[index])), str(path))
    return centre(kernel) if centred else kernel


def save_kernel(path: str | PathLike[str], kernel: Kernel) -> None:
    """Write a kernel as .npy (exact), or as an 8-bit grey .png in which its largest weight is white.

    Raises OptionError for another suffix, OutputError where the file cannot be written.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            with path.open("wb") as file:
                np.save(file, kernel)
        elif path.suffix.lower() == ".png":
            grey = np.floor(kernel / kernel.max() * 255 + 0.5).astype(np.uint8)
            pyvips.Image.new_from_array(grey).cast("uchar").copy(interpretation="b-w").pngsave(str(path))
        else:
            raise OptionError(f"{path}: kernels are written as .npy or .png")
    except (OSError, pyvips.Error) as error:
        raise OutputError(f"{path}: cannot be written ({_first_line(error)})") from error


def _read_npy(path: Path) -> Sequence[NDArray[Any]]:
    array = np.load(path, allow_pickle=False)
    if array.ndim != 3:
        return [array]
    if array.shape[1] != array.shape[2]:
        raise KernelError(f"{path}: expected shape (k, k) or (n, k, k), got {array.shape}")
    return list(array)


def _read_mat(path: Path) -> Sequence[NDArray[Any]]:
    with path.open("rb") as file:
        if b"\x89HDF" in file.read(516):  # v7.3: HDF5, after a header of 512 bytes
            return _read_hdf5(path)
    from scipy.io import loadmat

    found: list[NDArray[Any]] = []
    for name, value in loadmat(path).items():
        if not name.startswith("__"):
            cells = value.ravel("F") if value.dtype == object else [value]
            found += [plane for cell in cells for plane in _planes(cell)]
    return found


def _read_hdf5(path: Path) -> Sequence[NDArray[Any]]:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("reading MATLAB v7.3 files", "mat") from error
    found: list[NDArray[Any]] = []
    with h5py.File(path) as file:
        for name in file:
            if not isinstance(value := file[name], h5py.Dataset):
                continue
            is_cell = h5py.check_ref_dtype(value.dtype) is not None
            cells = [file[cell] for cell in value[()].ravel()] if is_cell else [value]
            # MATLAB writes every array transposed.
            found += [plane for cell in cells for plane in _planes(cell[()].T)]
    return found


def _planes(array: NDArray[Any]) -> list[NDArray[Any]]:
    """The matrices of a MATLAB array: one, or one for each index of the third axis."""
    return list(np.moveaxis(array, 2, 0)) if array.ndim == 3 else [array]


def _read_picture(path: Path) -> Sequence[NDArray[Any]]:
    picture = pyvips.Image.new_from_file(str(path), fail_on="truncated")
    weights = picture.numpy().astype(np.float64).reshape(picture.height, picture.width, picture.bands)
    colours = picture.bands - 1 if picture.hasalpha() else picture.bands
    return [weights[:, :, :colours].mean(axis=2)]


def _odd_square(array: NDArray[Any]) -> NDArray[Any]:
    """Zeros added on all sides; the centre of an even side of n pixels is the one at index n / 2."""
    if array.ndim != 2 or 0 in array.shape:
        return array
    size = max(side | 1 for side in array.shape)
    before = [size // 2 - side // 2 for side in array.shape]
    return np.pad(array, [(b, size - side - b) for b, side in zip(before, array.shape, strict=True)])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _splat(path: NDArray[np.float64], size: int) -> Kernel:
    """Points (2, n) of rows and columns, each spread bilinearly over its four pixels. Shape: (size, size)."""
    corner = np.minimum(np.floor(path).astype(np.intp), size - 2)
    part = path - corner
    kernel = np.zeros(size * size)
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - part[0]) * np.abs(1 - right - part[1])
            cells = (corner[0] + down) * size + corner[1] + right
            kernel += np.bincount(cells, weight, size * size)
    return check_kernel(kernel.reshape(size, size))


def _odd(size: int) -> int:
    if size < 1 or size % 2 == 0:
        raise KernelError(f"size: expected an odd number of pixels, got {size}")
    return int(size)


def _rotated(size: int, angle: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of each pixel along the axis at `angle` degrees and across it. Shape: (size, size) each."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x = np.arange(size, dtype=np.float64) - size // 2
    up = -x[:, None]
    return x * cos + up * sin, up * cos - x * sin


def _subcolumns(size: int) -> NDArray[np.float64]:
    """The x of the middle of every sub-column of `size` pixels about 0. Shape: (size * _SUBCOLUMNS,)."""
    count = size * _SUBCOLUMNS
    return (np.arange(count) + 0.5) / _SUBCOLUMNS - size / 2


def _coverage(low: NDArray[np.float64], high: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Area of each pixel between the curves `low` and `high`, given at `_subcolumns`. Shape: (size, size)."""
    edge = np.arange(size)[:, None] - size / 2
    covered = np.clip(np.minimum(high, edge + 1) - np.maximum(low, edge), 0, None)
    areas: NDArray[np.float64] = covered.reshape(size, size, _SUBCOLUMNS).mean(axis=2)
    return areas
