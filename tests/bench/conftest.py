"""Small data sets in the layouts of the real ones, made of public-domain pictures."""

import pickle

import numpy as np
import pytest
from skimage import data as pictures

from unblur import files


@pytest.fixture(scope="session")
def crops():
    """Twelve different colour crops, uint8 (12, 96, 128, 3)."""
    sources = (pictures.astronaut(), pictures.coffee(), pictures.chelsea()[:, :, :3])
    return np.stack([one[y : y + 96, x : x + 128] for one in sources for y in (40, 180) for x in (100, 250)])


@pytest.fixture(scope="session")
def cifar(tmp_path_factory, crops):
    """CIFAR-10's test batch of 12 pictures; the folder that holds the official one."""
    root = tmp_path_factory.mktemp("cifar")
    (root / "cifar-10-batches-py").mkdir()
    small = crops.reshape(12, 32, 3, 32, 4, 3).mean(axis=(2, 4)).round().astype(np.uint8)
    content = {
        b"data": small.transpose(0, 3, 1, 2).reshape(12, -1).copy(),
        b"labels": [0] * 12,
        b"filenames": [b"%d.png" % i for i in range(12)],
    }
    (root / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory, crops):
    """A folder of six sharp pictures."""
    root = tmp_path_factory.mktemp("photos")
    for number, crop in enumerate(crops[::2]):
        files.save(crop, root / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def shaken(tmp_path_factory):
    """Two grey pictures of Levin's layout, both shaken by kernels 1 and 2, stored for correlation."""
    from unblur.image import from_array, to_array
    from unblur.physics.convolve import convolve
    from unblur.physics.kernels import shake

    root = tmp_path_factory.mktemp("shaken")
    (root / "levin09" / "gt").mkdir(parents=True)
    (root / "kernels").mkdir()
    rng = np.random.default_rng(3)
    grey = pictures.camera()
    for number, corner in ((1, 60), (2, 200)):
        sharp = np.ascontiguousarray(grey[corner : corner + 120, 120:240, None])
        files.save(sharp, root / "levin09" / "gt" / f"im{number}.png")
        for kernel in (1, 2):
            place = root / "kernels" / f"levin09_{kernel}.npy"
            if not place.exists():
                np.save(place, shake(9, rng)[::-1, ::-1])
            true = np.ascontiguousarray(np.load(place)[::-1, ::-1])
            blurred = to_array(convolve(from_array(sharp), true), np.uint8)
            files.save(blurred, root / "levin09" / f"im{number}_kernel{kernel}_img.png")
    return root


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights named by $UNBLUR_WEIGHTS that holds unet16, untrained; and nothing anywhere else."""
    import torch

    from unblur import models
    from unblur.nets import create

    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    tensors = {name: value.numpy() for name, value in create("unet16").state_dict().items()}
    models.write_weights(folder / "unet16.safetensors", tensors, models.card("unet16"))
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("UNBLUR_WEIGHTS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder
