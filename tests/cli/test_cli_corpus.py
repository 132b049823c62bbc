"""`unblur corpus run` and `unblur corpus status`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import unblur as package
from unblur import files
from unblur.image import to_array
from unblur.physics import kernels

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def _found_by_workers(monkeypatch):
    here = str(Path(package.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
def album(tmp_path, astronaut):
    """A folder of four pictures and a broken one."""
    folder = tmp_path / "album"
    (folder / "deep").mkdir(parents=True)
    for number in range(4):
        crop = astronaut[100 + 20 * number : 160 + 20 * number, 120:200]
        files.save(to_array(crop, "uint8"), folder / "deep" / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"nothing")
    return folder


def test_run_and_status(unblur, album, tmp_path):
    out = tmp_path / "out"
    ran = unblur("corpus", "run", album, out, "--method", "wiener", "--sigma", "1", "--workers", "1")
    assert ran.code == 1
    assert "4 of 5 pictures done" in ran.out
    assert "1 given up" in ran.err
    assert sorted(path.name for path in (out / "deep").iterdir()) == ["0.png", "1.png", "2.png", "3.png"]

    again = unblur("corpus", "run", album, out, "--method", "wiener", "--sigma", "1")
    assert (again.code, "--resume" in again.err) == (2, True)
    assert unblur("corpus", "run", album, out, "--resume").code == 2
    ran = unblur("corpus", "run", album, out, "--method", "wiener", "--sigma", "1", "--resume", "--json")
    assert ran.code == 1
    facts = json.loads(ran.out)
    assert (facts["done"], facts["quarantined"], facts["finished"]) == (4, 1, True)

    told = unblur("corpus", "status", out)
    assert told.code == 0
    assert "broken.jpg: is not a PNG" in told.out
    first, second = map(json.loads, unblur("corpus", "status", out, "--json").out.splitlines())
    assert (first["files"], first["methods"]) == (5, {"wiener": 4})
    assert second["input"] == "broken.jpg"
    assert second["attempts"] == 3


def test_every_option(unblur, album, tmp_path):
    (album / "broken.jpg").unlink()
    kernels.save_kernel(tmp_path / "k.npy", kernels.gaussian(1.0))
    ran = unblur(
        *("corpus", "run", album, tmp_path / "out", "--method", "richardson-lucy", "--strength", "0.6"),
        *("--kernel", tmp_path / "k.npy", "--iterations", "3", "--memory", "3GB", "--engine", "local"),
        *("--workers", "1", "--resume", "--retry", "--tries", "2", "--timeout", "100", "--json"),
    )
    assert ran.code == 0, ran.err
    facts = json.loads(ran.out.splitlines()[-1])
    assert (facts["done"], facts["blurs"]) == (4, {"kernel": 4})


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--engine", "spark"], "local, ray"),
        (["--retry"], "--resume"),
        (["--method", "wienr"], "wiener"),
    ],
)
def test_wrong_use(unblur, album, tmp_path, options, word):
    ran = unblur("corpus", "run", album, tmp_path / "out", "--workers", "1", *options)
    assert (ran.code, word in ran.err) == (2, True)
    assert len(ran.err.strip().splitlines()) == 1


def test_everything_given_up(unblur, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no")
    assert unblur("corpus", "run", tmp_path / "in", tmp_path / "out", "--workers", "1").code == 2
    assert unblur("corpus", "status", tmp_path).code == 2


def test_ctrl_c(album, tmp_path):
    out = tmp_path / "out"
    for number in range(4, 150):
        os.link(album / "deep" / "0.png", album / f"{number}.png")
    command = [sys.executable, "-m", "unblur", "corpus", "run", str(album), str(out), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.png"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=20)
    assert process.returncode == 130
    assert len(words.strip().splitlines()) == 1
    assert "interrupted" in words
    from unblur.corpus.manifest import status

    half = status(str(out))
    assert half.files == 151
    # The worker may be stopped when a picture is there whole, and not yet in the books: it will be made again.
    assert half.done + half.quarantined >= len(list(out.glob("*.png"))) - 1
    assert half.remaining > 0
    assert not (out / "_unblur" / "partial").exists()
    for path in out.glob("*.png"):
        assert files.Source.open(path).read().shape == (60, 80, 3)
