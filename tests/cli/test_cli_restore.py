"""`unblur restore`."""

import json
import shutil

import numpy as np
import pytest

from unblur import METHODS, files
from unblur.physics import kernels


def pixels(path):
    return files.Source.open(path).read()


def test_writes_beside_the_input(unblur, photo):
    before = photo.read_bytes()
    ran = unblur("restore", photo)
    assert ran.code == 0, ran.err
    out = photo.with_name("photo.unblur.png")
    assert pixels(out).shape == pixels(photo).shape
    assert not np.array_equal(pixels(out), pixels(photo))
    assert str(out) in ran.out
    assert "gaussian" in ran.out
    assert photo.read_bytes() == before


def test_never_overwrites_without_being_told(unblur, photo):
    assert unblur("restore", photo).code == 0
    again = unblur("restore", photo)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert len(again.err.strip().splitlines()) == 1
    assert unblur("restore", photo, "--overwrite").code == 0
    before = photo.read_bytes()
    assert unblur("restore", photo, "-o", photo).code == 2
    assert photo.read_bytes() == before


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.models])
def test_every_method(unblur, photo, method, tmp_path):
    ran = unblur("restore", photo, "--method", method, "-o", tmp_path / "out.png", "--json")
    assert ran.code == 0, ran.err
    facts = json.loads(ran.out)
    assert facts["method"] in (method, "none")
    assert facts["input"] == str(photo)
    assert pixels(facts["output"]).shape == pixels(photo).shape


def test_every_option(unblur, photo, tmp_path):
    kernels.save_kernel(tmp_path / "k.npy", kernels.gaussian(1.5))
    ran = unblur(
        *("restore", photo, "-o", tmp_path / "a.jpg", "--method", "richardson-lucy", "--strength", "0.7"),
        *("--kernel", tmp_path / "k.npy", "--iterations", "4", "--memory", "4GB", "--json"),
        *("--compare", tmp_path / "c.png"),
    )
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["blur"]["kind"] == "kernel"
    height, width, _ = pixels(photo).shape
    assert pixels(tmp_path / "c.png").shape == (height, 2 * width, 3)
    assert np.array_equal(pixels(tmp_path / "c.png")[:, :width], pixels(photo))
    assert files.Source.open(tmp_path / "a.jpg").format == "jpeg"
    ran = unblur("restore", photo, "--sigma", "1.5", "--json")
    assert json.loads(ran.out)["blur"]["sigma"] == 1.5


def test_folders(unblur, photo, tmp_path):
    folder = tmp_path / "album"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(photo, folder / "a.png")
    shutil.copy(photo, folder / "deep" / "b.PNG")
    (folder / "notes.txt").write_text("not a picture")
    ran = unblur("restore", folder, "--json", "--method", "wiener")
    assert ran.code == 0, ran.err
    assert [json.loads(line)["output"] for line in ran.out.splitlines()] == [
        str(folder / "a.unblur.png"),
        str(folder / "deep" / "b.unblur.PNG"),
    ]
    # What was made by the first run is not taken for an input by the second.
    ran = unblur("restore", folder, photo, "-o", tmp_path / "out", "--method", "wiener")
    assert ran.code == 0, ran.err
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert made == ["a.png", "deep/b.PNG", "photo.png"]


def test_one_bad_picture_among_several(unblur, photo, tmp_path):
    (tmp_path / "bad.png").write_text("not a picture")
    ran = unblur("restore", photo, tmp_path / "bad.png", "-o", tmp_path / "out")
    assert ran.code == 1
    assert "bad.png" in ran.err
    assert "1 of 2" in ran.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["missing.png"], "missing.png"),
        (["PHOTO", "--method", "wienr"], "wiener"),
        (["PHOTO", "--strength", "2"], "strength"),
        (["PHOTO", "--sigma", "many"], "--sigma"),
        (["PHOTO", "--sigma", "1", "--kernel", "k.npy"], "not both"),
        (["PHOTO", "--memory", "1kB"], "memory"),
        (["PHOTO", "-o", "out.docx"], "docx"),
        (["PHOTO", "-o", "out.svg"], "svg"),
        (["PHOTO", "-o", "out.PNG.exe"], "exe"),
        (["PHOTO", "PHOTO"], "both become"),
        (["PHOTO", "--nonsense"], "nonsense"),
        ([], "INPUT"),
        (["EMPTY"], "no pictures"),
    ],
)
def test_one_clear_line_and_exit_2(unblur, photo, tmp_path, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    ran = unblur(
        "restore", *({"PHOTO": photo, "EMPTY": tmp_path / "empty"}.get(word_, word_) for word_ in arguments)
    )
    assert ran.code == 2
    assert word in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert "Traceback" not in ran.err
    assert sorted(tmp_path.rglob("*")) == before
