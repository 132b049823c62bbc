"""Making small corpora, and looking at what became of them."""

from pathlib import Path

import numpy as np

from unblur import files
from unblur.corpus.manifest import rows, status
from unblur.image import from_array, to_array
from unblur.physics.convolve import gaussian_blur

BROKEN = (b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(50))


def make_corpus(root, count, broken, seed=5):
    """Crops of public-domain pictures, two of three blurred, in subfolders; the names of the broken ones."""
    from skimage import data as pictures

    rng = np.random.default_rng(seed)
    whole = [pictures.astronaut(), pictures.camera()[:, :, None], pictures.coffee(), pictures.rocket()]
    bad = set(rng.choice(count, broken, replace=False).tolist())
    names = []
    for number in range(count):
        name = f"{number % 7}/{number:04}.{('png', 'jpg')[number % 2]}"
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if number in bad:
            path.write_bytes(BROKEN[len(names) % len(BROKEN)])
            names.append(name)
            continue
        height, width = int(rng.integers(48, 151)), int(rng.integers(64, 201))
        picture = whole[number % len(whole)]
        top = int(rng.integers(0, picture.shape[0] - height))
        left = int(rng.integers(0, picture.shape[1] - width))
        crop = from_array(picture[top : top + height, left : left + width])
        if number % 3:
            crop = gaussian_blur(crop, float(rng.uniform(0.6, 2.5)))
        path.write_bytes(files.encode(to_array(crop, "uint8"), path.suffix))
    return set(names)


def outputs(folder):
    """Relative names of all files below that are no state."""
    return {
        str(path.relative_to(folder))
        for path in Path(folder).rglob("*")
        if path.is_file() and "_unblur" not in path.relative_to(folder).parts
    }


def check_whole(source, out, broken, count):
    """None missing, none twice, none partial; the broken ones given up, with reasons."""
    assert outputs(out) == outputs(source) - broken
    told = list(rows(str(out)))
    assert len(told) == len({row["input"] for row in told}) == count
    for row in told:
        if row["input"] in broken:
            assert row["error"]
            assert row["attempts"] == 3
        else:
            assert row["error"] is None
            given, made = files.Source.open(source / row["input"]), files.Source.open(out / row["output"])
            assert made.read().shape == given.read().shape
            assert made.path is not None
            assert made.path.stat().st_size == row["output_bytes"]
    assert status(str(out)).remaining == 0
