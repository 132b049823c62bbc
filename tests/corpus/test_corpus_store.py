"""Folders, local and behind URLs."""

import errno
import os

import pytest

from unblur.corpus.store import PARTIAL, Store, one_line
from unblur.errors import FileError, OptionError, OutputError


@pytest.fixture(params=["folder", "memory", "moved"])
def store(request, tmp_path, monkeypatch):
    """A local folder, a store that takes files whole, and one where they are renamed into place."""
    if request.param == "folder":
        yield Store(tmp_path / "there")
        return
    if request.param == "moved":
        monkeypatch.setattr("unblur.corpus.store._PUTS_WHOLE", frozenset())
    found = Store(f"memory://{tmp_path.name}")
    yield found
    found.remove("")


def test_reads_what_was_written(store):
    store.write("a/b c/ü.png", b"one")
    store.write("a/b c/ü.png", b"two")
    assert store.read("a/b c/ü.png") == b"two"
    assert store.names("a/b c") == ["ü.png"]
    assert store.names(PARTIAL) == []
    with pytest.raises(FileNotFoundError):
        store.read("a/nothing")
    store.remove("a")
    store.remove("a")
    assert store.names("a") == []


def test_lists_in_order_with_sizes_and_leaves_another_store_out(store):
    for name in ("b/2.png", "a.png", "b/1.png", "out/a.png"):
        store.write(name, name.encode())
    within = [entry for entry in store.files() if not entry.name.startswith("_unblur")]
    assert within == [("a.png", 5), ("b/1.png", 7), ("b/2.png", 7), ("out/a.png", 9)]
    left = [entry.name for entry in store.files(leave_out=Store(f"{store.url}/out"))]
    assert "out/a.png" not in left
    assert "b/2.png" in left


def test_links_to_folders_are_not_followed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "y.png").symlink_to(tmp_path / "a" / "x.png")
    assert sorted(entry.name for entry in Store(tmp_path).files()) == ["a/x.png", "y.png"]


def test_a_name_that_is_no_text(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):
        pass
    with pytest.raises(FileError, match="not UTF-8"):
        list(Store(tmp_path).files())


def test_a_write_that_is_cut_off_leaves_the_old_file(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.write("a", b"old")

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        store.write("a", b"new and longer")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a"]


def test_one_run_at_a_time(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    with first.locked(), pytest.raises(OutputError, match="another run"), second.locked():
        pass
    with Store(tmp_path).locked():
        pass


def test_bad_places(tmp_path):
    with pytest.raises(OptionError, match="known kind"):
        Store("nonsense://a/b")
    with pytest.raises(FileError, match="cannot be listed"):
        list(Store(tmp_path / "nothing").files())


def test_errors_on_one_line():
    assert one_line(MemoryError()) == "MemoryError"
    assert one_line(KeyError("sigma")) == "KeyError 'sigma'"
    assert one_line(OSError("what\n  happened")) == "what happened"
