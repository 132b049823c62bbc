"""Weights by URL, against a server of this machine."""

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from unblur import models
from unblur.errors import FileError, OptionError
from unblur.models import weights


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    """unet20 lies on the server, and its card knows the checksum."""
    folder, url = server
    path = models.write_weights(
        folder / "unet20.safetensors", {"a": np.ones(3, np.float32)}, models.card("unet20")
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = models.card("unet20").model_copy(update={"sha256": digest})
    monkeypatch.setattr(weights, "card", lambda name: known)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(weights.URL_VARIABLE, url)
    monkeypatch.delenv("UNBLUR_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return path


def test_weights_are_fetched_once_and_verified(published, tmp_path):
    found = models.find_weights("unet20")
    assert found.read_bytes() == published.read_bytes()
    assert tmp_path / "cache" in found.parents
    published.unlink()
    assert models.find_weights("unet20") == found


def test_the_wrong_file_is_refused_and_not_kept(published, tmp_path):
    published.write_bytes(published.read_bytes() + b"!")
    with pytest.raises(FileError, match="sha256"):
        models.find_weights("unet20")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_what_was_damaged_in_the_cache_is_fetched_again(published):
    found = models.find_weights("unet20")
    whole = found.read_bytes()
    found.write_bytes(whole[:-3])
    assert models.find_weights("unet20") == found
    assert found.read_bytes() == whole


def test_what_is_at_hand_is_not_fetched(published, tmp_path, monkeypatch):
    mine = tmp_path / "mine" / "unet20.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"whatever it is")
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(mine.parent))
    assert models.find_weights("unet20") == mine
    assert not (tmp_path / "cache").exists()


def test_only_what_was_published_is_fetched(published):
    with pytest.raises(FileError, match=r"no weights for unet20 \(\.onnx\)"):
        models.find_weights("unet20", (".onnx",))


def test_without_a_checksum_nothing_is_fetched(published, monkeypatch):
    monkeypatch.setattr(weights, "card", models.card)
    assert not models.card("red30").sha256
    with pytest.raises(FileError, match="has no sha256"):
        models.find_weights("red30")


def test_a_file_that_is_not_there(published, monkeypatch):
    published.unlink()
    with pytest.raises(FileError, match="cannot be fetched"):
        models.find_weights("unet20")
    monkeypatch.setenv(weights.URL_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(FileError, match="cannot be fetched"):
        models.find_weights("unet20")
    for wrong in ("example.org/weights", "file:///weights", "ftp://example.org"):
        monkeypatch.setenv(weights.URL_VARIABLE, wrong)
        with pytest.raises(OptionError, match="https://"):
            models.find_weights("unet20")
