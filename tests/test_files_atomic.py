"""A file appears whole or not at all: existing names, interruption, full disks, folders that cannot be written."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from unblur import files
from unblur.errors import OutputError
from unblur.files import Sink, Source, check_output, save, write_file

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])}
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")


@pytest.fixture
def array(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)


def test_existing_file_stays_unless_told(array, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    for write in (lambda: save(array, path), lambda: write_file(path, b"x"), lambda: check_output(path)):
        with pytest.raises(OutputError, match=r"a\.png: exists already"):
            write()
        assert path.read_bytes() == b"mine"
    assert save(array, path, overwrite=True) == path
    np.testing.assert_array_equal(Source.open(path).read(), array)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_name_that_is_taken_meanwhile_is_not_overwritten(array, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    honest = files._encode

    def slow(*args: object, **options: object) -> list[files.Piece]:
        path.write_bytes(b"someone was faster")
        return honest(*args, **options)

    monkeypatch.setattr(files, "_encode", slow)
    with pytest.raises(OutputError, match="exists already"):
        save(array, path)
    assert path.read_bytes() == b"someone was faster"
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    assert write_file(tmp_path / "a.bin", b"new").read_bytes() == b"new"
    with pytest.raises(OutputError, match="exists already"):
        write_file(tmp_path / "a.bin", b"newer")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="Operation not supported"):
        write_file(tmp_path / "b.bin", b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.bin": b"new"}


@pytest.mark.parametrize("step", ["fsync", "link", "replace", "fdopen"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_nothing_is_left_whatever_fails(step, error, tmp_path, monkeypatch):
    (tmp_path / "old.bin").write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    overwrite = step != "link"
    expected = OutputError if isinstance(error, OSError) else type(error)
    if step == "link" and expected is OutputError:
        pytest.skip("has a way round: see above")
    with pytest.raises(expected):
        write_file(tmp_path / ("old.bin" if overwrite else "new.bin"), b"new", overwrite=overwrite)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"old.bin": b"old"}


def test_folder_that_does_not_exist(array, tmp_path):
    with pytest.raises(OutputError, match="no such folder"):
        save(array, tmp_path / "no" / "a.png")
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        save(array, tmp_path / "dir.png", overwrite=True)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        save(array, tmp_path / "file" / "a.png")
    with pytest.raises(OutputError):
        save(array, tmp_path / ("x" * 300 + ".png"))
    with pytest.raises(OutputError):
        save(array, "a\0b.png")


@posix
def test_folder_without_permission(tmp_path):
    # in a process of its own, which gives up root's rights
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    script = textwrap.dedent(
        f"""
        import os, sys
        import numpy as np
        from unblur.errors import OutputError
        from unblur.files import save, write_file
        os.chdir({str(locked)!r})
        if os.geteuid() == 0:
            os.setegid(65534); os.seteuid(65534)
        else:
            os.chmod(".", 0o555)
        for write in (lambda: save(np.zeros((4, 4)), "a.png"), lambda: write_file("a.bin", b"1")):
            try:
                write()
            except OutputError as error:
                print(error)
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert len(lines) == 2
    assert all("ermission" in line for line in lines)
    assert list(locked.iterdir()) == []


@posix
def test_permissions_of_the_file(array, tmp_path):
    path = tmp_path / "a.png"
    before = os.umask(0o027)
    try:
        save(array, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    save(array, path, overwrite=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@posix
def test_overwriting_through_a_link_keeps_the_link(array, tmp_path):
    (tmp_path / "real").mkdir()
    real = save(array, tmp_path / "real" / "a.png")
    link = tmp_path / "link.png"
    link.symlink_to(real)
    with pytest.raises(OutputError, match="exists already"):
        save(array, link)
    assert save(255 - array, link, overwrite=True) == link
    assert link.is_symlink()
    np.testing.assert_array_equal(Source.open(real).read(), 255 - array)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_keeps_the_old_file(small_disk, rng, monkeypatch):
    small = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    large = rng.integers(0, 256, (500, 500, 3)).astype(np.uint8)
    path = save(small, small_disk / "a.png")
    for overwrite, name in ((True, "a.png"), (False, "b.png")):
        with pytest.raises(OutputError, match="No space left on device") as caught:
            save(large, small_disk / name, overwrite=overwrite)
        assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(Source.open(path).read(), small)
    assert [file.name for file in small_disk.iterdir()] == ["a.png"]
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with (
        pytest.raises(OutputError, match="no place for temporary rows"),
        Sink(path.with_name("b.png"), large.shape) as sink,
    ):
        sink.write(large)
    assert [file.name for file in small_disk.iterdir()] == ["a.png"]


@posix
@pytest.mark.parametrize("delay", [0.05, 0.2, 0.35])
def test_interrupted_saves_leave_whole_files_only(delay, tmp_path):
    script = textwrap.dedent(
        """
        import sys
        import numpy as np
        from unblur.files import save
        array = np.random.default_rng(1).integers(0, 256, (1200, 1600, 3)).astype(np.uint8)
        save(array, "0.tif")
        print("go", flush=True)
        for number in range(1, 10**6):
            save(array, f"{number}.tif")
            save(array, "0.tif", overwrite=True)
        """
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == "go\n"
        time.sleep(delay)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=30)
    finally:
        run.kill()
    assert run.returncode != 0
    assert "KeyboardInterrupt" in errors
    left = list(tmp_path.iterdir())
    assert left
    for path in left:
        assert path.suffix == ".tif"
        assert Source.open(path).read().shape == (1200, 1600, 3)
