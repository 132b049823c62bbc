"""What goes wrong on real machines: one line, the right exit code, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import pyvips

from unblur import files


def make_empty(path):
    path.write_bytes(b"")


def make_text(path):
    path.write_text("this is no picture")


def make_truncated(path):
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(
        path, "jpeg"
    )
    path.write_bytes(path.read_bytes()[:5000])


def make_huge_header(path):
    import struct
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def make_nan(path):
    pixels = np.full((20, 20, 3), 0.5, np.float32)
    pixels[3, 3] = np.nan
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))


def make_svg(path):
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    )


BAD = {
    "empty.png": make_empty,
    "text.png": make_text,
    "truncated.jpg": make_truncated,
    "huge.png": make_huge_header,
    "nan.tif": make_nan,
    "drawing.svg": make_svg,
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("verb", ["restore", "estimate", "blur", "score"])
def test_bad_files(unblur, tmp_path, name, verb):
    path = tmp_path / name
    BAD[name](path)
    more = {"blur": ["-o", tmp_path / "out.png"], "score": [path]}.get(verb, [])
    started = time.perf_counter()
    ran = unblur(verb, path, *more)
    assert time.perf_counter() - started < 5
    assert ran.code == 2
    assert name in ran.err
    assert len(ran.err.strip().splitlines()) == 1, ran.err
    assert ran.out == ""
    assert [made.name for made in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 3), (5000, 1), (2, 2)])
def test_thin_pictures_are_restored(unblur, tmp_path, shape):
    path = tmp_path / "thin.png"
    files.save(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8), path)
    ran = unblur("restore", path, "--sigma", "1")
    assert ran.code == 0, ran.err
    assert files.Source.open(tmp_path / "thin.unblur.png").read().shape[:2] == shape[:2]
    assert unblur("estimate", path, "--json").code == 0


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])}


@pytest.mark.skipif(os.name != "posix", reason="users and permissions of POSIX")
def test_an_unwritable_folder(photo, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    command = [sys.executable, "-m", "unblur", "restore", str(photo), "-o", str(locked / "out.png")]
    if os.getuid() == 0:
        # The superuser may write anywhere but below a file.
        command[-1] = str(photo / "out.png")
    else:
        locked.chmod(0o500)
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert ran.returncode == 2, ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ran.stderr
    assert list(locked.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs a tmpfs of its own")
def test_a_full_disk(photo, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)], check=False).returncode:
        pytest.skip("may not mount")
    try:
        command = [sys.executable, "-m", "unblur", "restore", str(photo), "-o", str(disk / "out.png")]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        assert ran.returncode == 2, ran.stderr
        assert "space" in ran.stderr
        assert len(ran.stderr.strip().splitlines()) == 1
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_in_the_middle(tmp_path):
    path = tmp_path / "large.png"
    files.save(np.random.default_rng(0).integers(0, 255, (3000, 3000, 3), dtype=np.uint8), path)
    command = [
        sys.executable,
        "-m",
        "unblur",
        "restore",
        str(path),
        "--sigma",
        "3",
        "--method",
        "richardson-lucy",
    ]
    process = subprocess.Popen(
        [*command, "--iterations", "500"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    time.sleep(4)
    assert process.poll() is None, "done before the signal: " + process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert len(err.strip().splitlines()) == 1
    assert [made.name for made in tmp_path.iterdir()] == ["large.png"]
