"""Large pictures through a network, piece by piece."""

import numpy as np
import pytest
from scipy import ndimage

from unblur import models
from unblur.classical.guide import guide
from unblur.image import quantise
from unblur.methods import pieces
from unblur.methods.network import open_backend
from unblur.methods.pieces import run_in_pieces
from unblur.models.weights import SHIPPED
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk


class Averages:
    """Stands for a network that looks less far than pieces share: the mean of 17x17 pixels."""

    def __init__(self):
        self.shapes = []

    def run(self, batch):
        self.shapes.append(batch.shape[2:])
        return ndimage.uniform_filter(batch[:, :3], (1, 1, 17, 17), mode="constant")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(pieces, "_SIDE", 64)


@pytest.mark.parametrize("size", [(64, 64), (132, 200), (68, 300)])
def test_pieces_make_the_whole(small, rng, size):
    card = models.card("unblur-m")
    planes = rng.random((8, *size)).astype(np.float32)
    backend = Averages()
    restored = run_in_pieces(backend, card, planes)
    np.testing.assert_allclose(restored, Averages().run(planes[None])[0].transpose(1, 2, 0), atol=1e-5)
    assert all(side % card.size_multiple == 0 for shape in backend.shapes for side in shape)
    assert max(max(shape) for shape in backend.shapes) <= 64 + 2 * 44


@pytest.mark.parametrize("wanted", [np.s_[0:50, 60:110], np.s_[101:132, 149:200]])
def test_only_what_is_wanted_is_computed(small, rng, wanted):
    card = models.card("unblur-m")
    planes = rng.random((8, 132, 200)).astype(np.float32)
    backend = Averages()
    whole = run_in_pieces(backend, card, planes)
    all_pieces, backend.shapes = backend.shapes, []
    restored = run_in_pieces(backend, card, planes, wanted)
    np.testing.assert_allclose(restored[wanted], whole[wanted], atol=1e-5)
    assert len(backend.shapes) < len(all_pieces)
    assert all(side % card.size_multiple == 0 for shape in backend.shapes for side in shape)
    far = restored[:50, :12]
    assert np.array_equal(far, planes[3:6, :50, :12].transpose(1, 2, 0))


@pytest.mark.parametrize("noise", [0.0, 10 / 255])
def test_what_is_not_shared_hardly_matters(small, astronaut, rng, noise):
    backend = open_backend(SHIPPED / "unblur-m.onnx")
    blurred = convolve(astronaut[:192, :192], disk(2.2))
    image = quantise(blurred + np.float32(noise) * rng.standard_normal(blurred.shape, np.float32))
    shown = guide(image, disk(2.2), noise=noise, border="unknown")
    restored = run_in_pieces(backend, backend.card, shown)
    difference = np.abs(restored - backend.run(shown[None])[0].transpose(1, 2, 0))
    assert difference.max() < 0.4 / 255
    assert np.quantile(difference, 0.999) < 0.15 / 255
