"""REDS, GOPRO, Levin and kernels: real samples, and generated trees of the official layouts."""

import shutil

import numpy as np
import pytest

from unblur.datasets import gopro, kernels, levin, reds
from unblur.errors import FileError, OptionError
from unblur.image import from_array
from unblur.metrics import psnr
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, motion, save_kernel


@pytest.fixture(scope="module")
def reds_tree(tmp_path_factory, draw):
    """A part of REDS: path to pixels."""
    tmp_path, frames = tmp_path_factory.mktemp("reds"), {}
    for part, scenes in {"train": (0, 23, 24, 215, 216, 239), "val": (0, 28)}.items():
        for scene in scenes:
            for frame in (0, 29, 49, 50, 79, 99):
                for kind in ("blur", "sharp"):
                    path = f"{part}_{kind}/{scene:03}/{frame:08}.png"
                    frames[path] = draw(tmp_path / part / path)
    (tmp_path / "train/train_blur/239/00000099.png").unlink()
    draw(tmp_path / "train/train_sharp_bicubic/X4/000/00000000.png", (4, 4, 3))
    draw(tmp_path / "train/train_blur_bicubic/X4/000/00000000.png", (4, 4, 3))
    return tmp_path, frames


def test_reds_selections_are_the_published_ones():
    sizes = {name: len(s.scenes) * len(s.frames) for name, s in reds.SELECTIONS.items()}
    assert sizes == {
        "train": 24_000, "val": 3_000, "srn-train": 10_800, "srn-val": 1_500, "srn-test": 1_200,
        "inputskip-train": 648, "inputskip-val": 72, "inputskip-test": 150,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ("srn-test", [f"{s}/000000{f}" for s in ("000", "023") for f in (50, 79, 99)]),
        (
            "srn-train",
            [f"{s}/000000{f}" for s in ("024", "215", "216", "239") for f in (50, 79, 99)][:-1],
        ),
        ("srn-val", [f"{s}/000000{f}" for s in ("000", "028") for f in (50, 79, 99)]),
        ("inputskip-train", [f"{s}/000000{f}" for s in ("000", "023", "024", "215") for f in ("00", "79")]),
        ("inputskip-val", [f"{s}/000000{f}" for s in ("216", "239") for f in ("00", "79")]),
        ("inputskip-test", [f"{s}/000000{f}" for s in ("000", "028") for f in (29, 99)]),
        (reds.Selection("val", (28,), (99, 0)), ["028/00000099", "028/00000000"]),
    ],
)
def test_reds_selects_scenes_and_frames(reds_tree, selection, names):
    root, frames = reds_tree
    found = reds.pairs(root, selection)
    assert list(found.names) == names
    pair = found[1]
    part = "val" if selection in ("srn-val", "inputskip-test") or "028" in names[0] else "train"
    assert np.array_equal(pair.blurred, frames[f"{part}_blur/{names[1]}.png"])
    assert np.array_equal(pair.sharp, frames[f"{part}_sharp/{names[1]}.png"])


def test_reds_says_what_is_missing(reds_tree):
    root, _ = reds_tree
    found = reds.pairs(root / "val", "val")
    assert len(found) == 12
    assert len(found.missing) == 30
    assert found.missing[:2] == (
        "scene 000: 94 of 100 frames missing",
        "scene 001: 100 of 100 frames missing",
    )
    with pytest.raises(FileError, match=r"scene 000: 94 .* and 27 more"):
        reds.pairs(root, "val", strict=True)
    whole = reds.Selection("train", (0, 23), (0, 99))
    assert len(reds.pairs(root, whole, strict=True)) == 4
    with pytest.raises(FileError, match="scene 100"):
        reds.pairs(root, reds.Selection("train", (100,)))
    with pytest.raises(FileError, match="no folder train_sharp or train/train_sharp"):
        reds.sharp(root / "val", "train")
    with pytest.raises(OptionError, match="srn-train"):
        reds.pairs(root, "srn")


def test_reds_sharp_alone_reduced_and_bad(reds_tree, tmp_path):
    root, frames = shutil.copytree(reds_tree[0], tmp_path, dirs_exist_ok=True), reds_tree[1]
    last = reds.sharp(root, reds.Selection("train", (239,), (99,)))
    assert np.array_equal(last[0], frames["train_sharp/239/00000099.png"])
    reduced = reds.pairs(root, "train", reduced=True)
    assert reduced.names == ("000/00000000",)
    assert reduced[0].sharp.shape == (4, 4, 3)
    (root / "train/train_blur/000/00000050.png").write_bytes(b"")
    found = reds.pairs(root, "srn-test")
    assert "000/00000050" not in found.names
    assert len(found.skipped) == 1
    assert "train_blur/000/00000050.png: empty file" in found.skipped[0]


@pytest.fixture
def gopro_tree(tmp_path, draw):
    frames = {}
    for sequence in ("GOPR0384_11_05", "GOPR0384_11_00"):
        for number in (1, 2, 11):
            for kind in ("blur", "blur_gamma", "sharp"):
                path = f"test/{sequence}/{kind}/{number:06}.png"
                frames[path] = draw(tmp_path / "GOPRO_Large" / path)
    return tmp_path, frames


@pytest.mark.parametrize("blur", ["blur", "blur_gamma"])
def test_gopro(gopro_tree, monkeypatch, blur):
    root, frames = gopro_tree
    (root / "GOPRO_Large/test/GOPR0384_11_00" / blur / "Thumbs.db").touch()
    found = gopro.pairs(root, "test", blur=blur)
    assert found.names == tuple(
        f"GOPR0384_11_{s}/{n}" for s in ("00", "05") for n in ("000001", "000002", "000011")
    )
    _, blurred, sharp = found[3]
    assert np.array_equal(blurred, frames[f"test/GOPR0384_11_05/{blur}/000001.png"])
    assert np.array_equal(sharp, frames["test/GOPR0384_11_05/sharp/000001.png"])
    (counted,) = found.missing
    assert "6 pairs of 2 sequences; the whole set has 1111 of 11" in counted
    monkeypatch.setitem(gopro.COUNTS, "test", (2, 6))
    assert gopro.pairs(root / "GOPRO_Large", "test", blur=blur, strict=True).missing == ()
    (root / "GOPRO_Large/test/GOPR0384_11_00/sharp/000002.png").unlink()
    found = gopro.pairs(root, "test", blur=blur)
    assert len(found) == 5
    assert found.missing[0].endswith("GOPR0384_11_00/sharp/000002.png: missing")
    with pytest.raises(FileError, match="no folder train"):
        gopro.pairs(root, "train", blur=blur)


def test_kernel_sets(tmp_path):
    save_kernel(tmp_path / "b.npy", motion(9, 20))
    np.save(tmp_path / "a.npy", np.stack([disk(2), disk(2).T * 2]))
    (tmp_path / "broken.mat").write_bytes(b"no kernel")
    off = np.zeros((5, 5))
    off[0, 1] = 1
    np.save(tmp_path / "off.npy", off)
    found = kernels.kernel_set(tmp_path)
    assert found.names == ("a.npy[0]", "a.npy[1]", "b.npy", "off.npy")
    assert len(found.skipped) == 1
    assert "broken.mat" in found.skipped[0]
    assert np.allclose(found[2], motion(9, 20))
    assert all(abs(kernel.sum() - 1) < 1e-6 for kernel in found)
    assert found[3][0, 1] == 1
    centred = kernels.kernel_set(tmp_path / "off.npy", centred=True)[0]
    assert centred[len(centred) // 2, len(centred) // 2] == 1
    with pytest.raises(FileError, match=r"broken\.mat"):
        kernels.kernel_set(tmp_path, strict=True)
    with pytest.raises(FileError, match="no such"):
        kernels.kernel_set(tmp_path / "absent")
    (tmp_path / "none").mkdir()
    with pytest.raises(FileError, match="no kernels here"):
        kernels.kernel_set(tmp_path / "none")


def test_levin_layout(tmp_path, draw):
    sharp = draw(tmp_path / "gt" / "im2.png", (20, 20, 1))
    blurred = draw(tmp_path / "im2_kernel7_img.png", (20, 20, 1))
    draw(tmp_path / "im2_kernel8_img.png", (20, 20, 1))
    for number in (7, 8):
        save_kernel(tmp_path / "gt" / f"kernel{number}.png", disk(number))
    found = levin.levin(tmp_path)
    assert len(found) == 2
    shaken = found[0]
    assert shaken.name == "im2_kernel7"
    assert np.array_equal(shaken.blurred, blurred)
    assert np.array_equal(shaken.sharp, sharp)
    assert np.abs(shaken.kernel - disk(7)).max() < 1e-4  # 8-bit weights
    assert len(found.pairs.missing) == 30
    # Kernels of another folder come first, exact ones before pictures.
    other = tmp_path / "other"
    other.mkdir()
    for number in (7, 8):
        save_kernel(other / f"levin09_{number}.npy", motion(number, 30))
        save_kernel(other / f"kernel{number}.png", disk(3))
    assert np.allclose([*levin.levin(tmp_path, other)][1].kernel, motion(8, 30))
    with pytest.raises(FileError, match=r"im1_kernel1_img\.png and .*: missing"):
        levin.levin(tmp_path, strict=True)
    (other / "levin09_7.npy").unlink()
    (other / "kernel7.png").unlink()
    with pytest.raises(FileError, match="no file of kernel 7"):
        levin.levin(tmp_path, other)


@pytest.mark.data
def test_real_frames(data):
    found = reds.pairs(data / "reds-sample", "train")
    assert found.names == tuple(f"020/{number:08}" for number in range(6))
    pair = found[0]
    assert pair.sharp.shape == (720, 1280, 3)
    assert 20 < psnr(pair.blurred, pair.sharp, data_range=255) < 23
    reduced = reds.pairs(data / "reds-sample", "train", reduced=True)
    assert len(reduced) == 50
    assert reduced[49].sharp.shape == (180, 320, 3)
    assert reduced[0].name == "027/00000000"


@pytest.mark.data
def test_real_shakes(data):
    found = levin.levin(data / "levin09")
    assert len(found) == 16
    shaken = found[3]
    assert shaken.name == "im1_kernel4"

    def best(kernel):
        """The camera moved between the shots: the best of some whole shifts."""
        again = convolve(from_array(shaken.sharp), np.ascontiguousarray(kernel))
        target = from_array(shaken.blurred)[40:-40, 40:-40]
        steps = range(-4, 5)
        return max(
            psnr(np.roll(again, (y, x), (0, 1))[40:-40, 40:-40], target, data_range=1)
            for y in steps
            for x in steps
        )

    assert best(shaken.kernel) > 40
    assert best(shaken.kernel[::-1, ::-1]) < 35
    exact = levin.levin(data / "levin09", data / "kernels")
    assert len({len(shaken.kernel) for shaken in exact}) == 7
    whole = kernels.kernel_set(data / "kernels")
    assert len(whole) == 28
    assert not whole.skipped
    assert np.allclose(whole[whole.names.index("Levin09.mat[3]")], whole[whole.names.index("levin09_4.npy")])
