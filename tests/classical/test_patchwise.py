"""Restoration by cells and by parts."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical.patchwise import cell_margin, restore_cells
from unblur.classical.total_variation import total_variation
from unblur.errors import OptionError
from unblur.metrics import psnr


def identity(patch, *_):
    return patch


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 40, 3), (50, 61, 1), (144, 256, 3)])
@pytest.mark.parametrize("grid", [(1, 1), (5, 5), (2, 7)])
@pytest.mark.parametrize("margin", [0, 16, lambda row, column: 3 * row + column])
def test_identity_is_the_input_to_the_last_bit(shape, grid, margin, rng):
    image = rng.random(shape, dtype=np.float32)
    assert np.array_equal(restore_cells(image, identity, grid=grid, margin=margin), image)


@pytest.mark.parametrize("feather", [1, 7, 8])
def test_identity_survives_feathering(feather, rng):
    image = rng.random((90, 101, 3), dtype=np.float32)
    assert np.array_equal(restore_cells(image, identity, feather=feather), image)


def test_every_cell_is_asked_once_with_its_margin(rng):
    image = rng.random((40, 60, 1), dtype=np.float32)
    asked = {}

    def restore(patch, row, column):
        asked[row, column] = patch.copy()
        return patch

    restore_cells(image, restore, grid=(2, 3), margin=4)
    assert set(asked) == {(row, column) for row in range(2) for column in range(3)}
    around = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    for (row, column), patch in asked.items():
        assert np.array_equal(patch, around[20 * row : 20 * row + 28, 20 * column : 20 * column + 28])


def test_pasted_cells_meet_at_a_seam_and_feathered_ones_across_it():
    image = np.zeros((20, 40, 1), np.float32)

    def restore(patch, row, column):
        return np.full_like(patch, column)

    pasted = restore_cells(image, restore, grid=(1, 2))
    assert np.array_equal(pasted[:, :, 0], np.repeat([[0, 1]], 20, axis=1).repeat(20, axis=0))
    feathered = restore_cells(image, restore, grid=(1, 2), feather=8)
    expected = np.concatenate([np.zeros(16), (np.arange(8) + 0.5) / 8, np.ones(16)])
    assert np.allclose(feathered[:, :, 0], expected, atol=1e-6)


def test_cells_restored_apart_are_the_whole(portrait, blurred, kernel):
    whole = total_variation(blurred, kernel)
    cells = restore_cells(
        blurred, lambda patch, *_: total_variation(patch, kernel), grid=(2, 2), margin=cell_margin(1.5)
    )
    gains = [psnr(x, portrait, data_range=1) - psnr(blurred, portrait, data_range=1) for x in (whole, cells)]
    assert gains[1] > gains[0] - 0.5


def test_the_margin_is_four_sigmas_and_never_small():
    assert [cell_margin(sigma) for sigma in (0.5, 4.0, 4.1, 10.0)] == [16, 16, 18, 40]


def test_cells_out_of_range(portrait):
    with pytest.raises(OptionError, match="cell"):
        restore_cells(portrait, identity, grid=(0, 5))
    with pytest.raises(OptionError, match="margin"):
        restore_cells(portrait, identity, margin=4, feather=8)
    with pytest.raises(OptionError, match="smallest cell"):
        restore_cells(portrait, identity, grid=(30, 30), feather=8)
    with pytest.raises(OptionError, match="another shape"):
        restore_cells(portrait, lambda patch, *_: patch[1:])
