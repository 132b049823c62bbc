"""Listing, reading and splitting: what all readers share."""

import numpy as np
import pytest

from unblur.datasets import folder, pairs
from unblur.datasets.common import as_rgb, read, resize, split
from unblur.errors import FileError, OptionError
from unblur.physics.resize import imresize


def test_split_sizes_are_the_published_ones():
    assert [len(part) for part in split(25_064, folder.SHARES)] == [18_798, 1_253, 5_013]
    assert [len(part) for part in split(10, (0.5, 0.5, 0.0))] == [5, 5, 0]
    assert [len(part) for part in split(0, (0.5, 0.5))] == [0, 0]


def test_split_deals_each_index_once_and_the_same_way_for_a_seed():
    parts = split(1000, (0.7, 0.1, 0.2), seed=3)
    assert sorted(np.concatenate(parts)) == list(range(1000))
    again = split(1000, (0.7, 0.1, 0.2), seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts[0], split(1000, (0.7, 0.1, 0.2), seed=4)[0])
    # Published splits must not move with a new numpy.
    train, val = split(10, (0.8, 0.2), seed=0)
    assert (train.tolist(), val.tolist()) == ([4, 6, 2, 7, 3, 5, 9, 0], [8, 1])


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (1.5, -0.5)])
def test_split_refuses_shares_that_are_none(shares):
    with pytest.raises(OptionError, match="sum to 1"):
        split(10, shares)


def test_folder_is_sorted_recursive_and_keeps_hidden_files_out(tmp_path, draw):
    b = draw(tmp_path / "b.png")
    a = draw(tmp_path / "sub" / "a.tif")
    upper = draw(tmp_path / "Z.PNG")
    draw(tmp_path / ".thumbnails" / "b.png")
    (tmp_path / "._b.png").write_bytes(b"\0\5\x16\7 finder")
    (tmp_path / "notes.txt").write_text("no picture")
    found = folder.pictures(tmp_path, strict=True)
    assert found.names == ("Z.PNG", "b.png", "sub/a.tif")
    assert len(found) == 3
    for pixels, expected in zip(found, (upper, b, a), strict=True):
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, expected)
    taken = found.take(np.array([2, 0]))
    assert taken.names == ("sub/a.tif", "Z.PNG")
    assert taken.paths == (tmp_path / "sub" / "a.tif", tmp_path / "Z.PNG")
    with pytest.raises(IndexError):
        found[3]


def test_bad_files_are_named_and_skipped_or_refused(tmp_path, draw):
    draw(tmp_path / "good.png", (64, 64, 3))
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    found = folder.pictures(tmp_path)
    assert found.names == ("cut.png", "good.png")
    assert len(found.skipped) == 2
    assert "empty.png: empty" in found.skipped[0]
    assert "page.jpg: not a picture" in found.skipped[1]
    with pytest.raises(FileError, match=r"empty\.png.*page\.jpg"):
        folder.pictures(tmp_path, strict=True)
    # Damage behind the header shows when the picture is asked for.
    with pytest.raises(FileError, match=r"cut\.png"):
        found[0]
    assert found[1].shape == (64, 64, 3)


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(FileError, match="no such folder"):
        folder.pictures(tmp_path / "absent")
    with pytest.raises(FileError, match="nothing to read"):
        folder.pictures(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(FileError, match=r"a\.png: empty"):
        folder.pictures(tmp_path)


def test_read_gives_8_bits_and_the_channels_of_the_file(tmp_path, draw):
    deep = np.array([[0, 128, 129, 385, 386, 65535]], np.uint16)[:, :, None]
    draw(tmp_path / "deep.png", deep)
    assert read(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 0, 1, 1, 2, 255]
    grey = draw(tmp_path / "grey.png", (5, 6, 1))
    assert np.array_equal(read(tmp_path / "grey.png"), grey)
    assert np.array_equal(as_rgb(grey), np.dstack([grey[:, :, 0]] * 3))
    colour = draw(tmp_path / "colour.png", (5, 6, 3))
    assert as_rgb(colour) is colour


def test_fit_keeps_the_largest_centred_window(rng):
    wide = rng.integers(0, 256, (90, 400, 3), np.uint8)
    wide[:, 140:260] = (10, 20, 30)  # 90 x 120 in the middle
    assert (folder.fit(wide, 30, 40) == np.array([10, 20, 30])).all()
    wide[:, 140] = wide[:, 259] = 255
    assert (folder.fit(wide, 30, 40)[:, [0, -1]] > 30).all()
    tall = wide.transpose(1, 0, 2)
    assert np.array_equal(folder.fit(tall, 40, 30), folder.fit(wide, 30, 40).transpose(1, 0, 2))


def test_fit_keeps_dtype_range_and_a_picture_of_the_right_size(rng):
    image = rng.integers(0, 256, (24, 36, 1), np.uint8)
    assert np.array_equal(folder.fit(image, 24, 36), image)
    small = folder.fit(image, 7, 5)
    assert small.shape == (7, 5, 1)
    assert small.dtype == np.uint8
    real = folder.fit((image / np.float32(255)).astype(np.float32), 48, 72)
    assert real.dtype == np.float32
    assert (real.min(), real.max()) == (0, 1)  # overshoot of an enlargement is clipped
    deep = folder.fit(np.full((24, 30, 3), 65535, np.uint16), 7, 5)
    assert deep.dtype == np.uint16
    assert (deep == 65535).all()
    with pytest.raises(OptionError):
        folder.fit(image, 0, 5)


def test_resize_rounds_half_up_in_8_bits():
    # The mean of 0 and 1 lies on a half, and so does every sum of the dyadic weights of a halving here.
    stripes = np.tile(np.array([[0, 1]], np.uint8), (16, 8))[:, :, None]
    exact = imresize(stripes.astype(np.float32), (8, 8))[2:-2, 2:-2]
    assert (exact == 0.5).all()
    assert (resize(stripes, 8, 8)[2:-2, 2:-2] == 1).all()


def test_pairs_match_by_stem_and_name_what_is_missing(tmp_path, draw):
    blurred, sharp = {}, {}
    for name in ("a", "s/b", "c"):
        blurred[name] = draw(tmp_path / "blur" / f"{name}.png")
        sharp[name] = draw(tmp_path / "sharp" / f"{name}.tif")
    draw(tmp_path / "blur" / "lonely.png")
    draw(tmp_path / "sharp" / "alone.png")
    draw(tmp_path / "blur" / "c.tif")
    found = pairs.inside(tmp_path)
    assert found.names == ("a", "s/b")
    for name, one, other in found:
        assert np.array_equal(one, blurred[name])
        assert np.array_equal(other, sharp[name])
    assert np.array_equal(found.sharp[1], sharp["s/b"])
    assert np.array_equal(found.blurred[1], blurred["s/b"])
    alone, c, lonely = found.missing
    assert "alone.png: no partner" in alone
    assert "only in suffix" in c
    assert "lonely.png: no partner" in lonely
    with pytest.raises(FileError, match=r"alone\.png"):
        pairs.inside(tmp_path, strict=True)


def test_pairs_lose_both_sides_of_a_bad_file_and_refuse_unequal_shapes(tmp_path, draw):
    for name in "ab":
        draw(tmp_path / "x" / f"{name}.png")
        draw(tmp_path / "y" / f"{name}.png", (12, 15, 3))
    (tmp_path / "y" / "a.png").write_bytes(b"")
    found = pairs.match(tmp_path / "x", tmp_path / "y")
    assert found.names == ("b",)
    assert len(found.skipped) == 1
    with pytest.raises(FileError, match=r"b\.png.*one shape.*\(12, 16, 3\) and \(12, 15, 3\)"):
        found[0]
    with pytest.raises(FileError, match="no folders blurred and sharp"):
        pairs.inside(tmp_path)
    with pytest.raises(FileError, match="nothing to read"):
        pairs.match(tmp_path / "x", (tmp_path / "z").mkdir() or tmp_path / "z")


@pytest.mark.data
def test_real_photographs(data):
    found = folder.pictures(data / "bsds500")
    assert len(found) == 500
    assert found.names[0] == "test/100007.jpg"
    assert not found.skipped
    assert found[0].shape == (321, 481, 3)
    channels = {read(path).shape[2] for path in folder.pictures(data / "imagenet-sample").paths[:60]}
    assert channels <= {1, 3}
