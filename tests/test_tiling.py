"""Tiles cover a picture once, and what is computed in them is what the whole picture gives."""

import os
import platform
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import unblur
from unblur import threads, tiling
from unblur.engine import _of_pixels
from unblur.errors import OptionError

sizes = st.integers(1, 200)


@given(height=sizes, width=sizes, side=st.integers(1, 90), halo=st.integers(0, 40))
def test_tiles_cover_every_pixel_once(height, width, side, halo):
    count = np.zeros((height, width), int)
    for tile in tiling.tiles(height, width, side, halo):
        count[tile.inner] += 1
        assert tile.bottom - tile.top <= side
        assert tile.right - tile.left <= side
        assert np.array_equal(
            np.arange(height)[tile.outer[0]][tile.crop[0]], np.arange(height)[tile.inner[0]]
        )
        assert tile.outer_top == max(tile.top - halo, 0)
        assert tile.outer_right == min(tile.right + halo, width)
    assert (count == 1).all()


@pytest.mark.parametrize("shape", [(97, 131, 3), (64, 64, 1), (1, 200, 3), (200, 1, 1), (5, 5, 3)])
@pytest.mark.parametrize("side", [16, 33, 64])
def test_tiles_equal_the_whole_where_the_halo_is_declared(shape, side, rng):
    picture = rng.random(shape, dtype=np.float32)
    radius = 6

    def smooth(window, _tile=None):
        return ndimage.uniform_filter(window, (2 * radius + 1, 2 * radius + 1, 1), mode="mirror")

    whole = smooth(picture)
    tiled = np.full_like(picture, np.nan)
    seen = []
    tiling.map_tiles(
        picture,
        smooth,
        lambda tile, image: tiled.__setitem__(tile.inner, image),
        side=side,
        halo=radius,
        progress=lambda done, total: seen.append((done, total)),
    )
    np.testing.assert_allclose(tiled, whole, atol=1e-6)
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_a_halo_that_is_too_small_shows(rng):
    picture = rng.random((64, 64, 1), dtype=np.float32)
    tiled = np.empty_like(picture)
    tiling.map_tiles(
        picture,
        lambda window, _: ndimage.uniform_filter(window, (13, 13, 1), mode="mirror"),
        lambda tile, image: tiled.__setitem__(tile.inner, image),
        side=16,
        halo=2,
    )
    assert np.abs(tiled - ndimage.uniform_filter(picture, (13, 13, 1), mode="mirror")).max() > 1 / 255


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2GB", 2e9),
        ("512MB", 512e6),
        ("512 MiB", 512 * 2**20),
        ("1.5g", 1.5e9),
        ("1000000", 1e6),
        (7, 7),
        ("8k", 8e3),
    ],
)
def test_memory_is_read(text, amount):
    assert tiling.parse_memory(text) == amount


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "2TB!", "GB"])
def test_memory_that_cannot_be_read(text):
    with pytest.raises(OptionError):
        tiling.parse_memory(text)


def test_sides_for_memory_keep_the_budget():
    high, wide = tiling.sides_for_memory(100_000_000, 100, 50, (90_000, 90_000))
    assert (high + 100) * (wide + 100) * 100 <= 100_000_000
    assert min(high, wide) >= 800
    with pytest.raises(OptionError, match="raise --memory"):
        tiling.sides_for_memory(1_000_000, 100, 50, (3000, 3000))
    with pytest.raises(OptionError):
        tiling.sides_for_memory(-5, 100, 0, (3000, 3000))


@pytest.mark.parametrize(
    ("size", "count"), [((1000, 1000), 1), ((1880, 1850), 4), ((1100, 900), 1), ((5000, 2501), 16)]
)
@pytest.mark.parametrize("multiple", [1, 4])
def test_tiles_at_the_border_may_be_larger(size, count, multiple):
    budget = 100_000_000
    plan = tiling.tiles(*size, tiling.sides_for_memory(budget, 100, 50, size, multiple), 50, multiple)
    assert max(tiling.pixels_read([tile]) for tile in plan) * 100 <= budget
    squares = tiling.tiles(*size, int((budget / 100) ** 0.5) - 100, 50, multiple)
    assert len(plan) <= len(squares)
    assert tiling.pixels_read(plan) <= tiling.pixels_read(squares)
    assert len(plan) <= count


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_tiles_abreast_come_in_order_and_share_the_cores(workers, monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    picture = np.arange(60 * 70, dtype=np.float32).reshape(60, 70, 1)
    begun, done, told = [], [], []

    def function(window, tile):
        begun.append(tile)
        assert threads.cores() == 6 // workers
        assert threads.spread(lambda row: row.sum(), window) == [row.sum() for row in window]
        return -window

    def write(tile, image):
        done.append(tile)
        assert len(begun) - len(done) < max(workers, 2)
        np.testing.assert_array_equal(image, -picture[tile.inner])

    tiling.map_tiles(
        picture, function, write, side=16, halo=3, workers=workers, progress=lambda *step: told.append(step)
    )
    assert done == tiling.tiles(60, 70, 16, 3)
    assert told == [(at, len(done)) for at in range(1, len(done) + 1)]
    assert threads.cores() == 6


def test_what_goes_wrong_in_a_tile_is_raised():
    def function(window, tile):
        raise OptionError("a tile")

    with pytest.raises(OptionError, match="a tile"):
        tiling.map_tiles(np.zeros((64, 64, 1)), function, lambda *_: None, side=16, halo=0, workers=2)


def test_memory_in_use_is_plausible():
    assert 20e6 < tiling.memory_in_use() < 20e9


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are not asked")
def test_memory_that_was_freed_is_not_in_use():
    before = tiling.memory_in_use()
    blocks = [np.ones(1 << 10) for _ in range(20_000)]  # 8 kB each: below what the allocator maps one by one
    last = np.ones(1 << 10)  # above them on the heap, which would shrink by itself otherwise
    assert tiling.memory_in_use() > before + 150_000_000
    del blocks
    assert tiling.memory_in_use() < before + 20_000_000
    assert last.all()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its allocator")
def test_freed_memory_is_kept_for_the_next_and_given_back_at_the_end():
    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = tiling.memory_in_use()
    with tiling.keeping(), tiling.keeping():
        many = [np.ones(1_000_000, np.float32) for _ in range(25)]
        del many
        assert resident() > before + 80e6
    assert resident() < before + 30e6


def test_a_budget_is_split_between_pixels_and_what_is_fixed():
    row = replace(unblur.METHODS["total-variation"], fixed_bytes=100, bytes_with_fixed=10)
    assert _of_pixels(row, 1000, 10) == 900  # all pixels take as much beside what is fixed
    assert _of_pixels(row, 1000, 40) == 1000  # 25 pixels take 1000 before, and 250 + 100 with it
    assert _of_pixels(row, 110, 40) == 40
    assert _of_pixels(replace(row, fixed_bytes=0, bytes_with_fixed=None), 1000, 40) == 1000
