"""`unblur data fetch`, against a server of our own."""

import hashlib
import http.server
import io
import pickle
import tarfile
import threading

import numpy as np
import pytest

from unblur.datasets import cifar10


@pytest.fixture
def archive(rng):
    """A small set in the layout of CIFAR-10, packed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in (*cifar10.PARTS["train"], *cifar10.PARTS["test"]):
            content = {
                b"data": rng.integers(0, 256, (100, 3072), np.uint8),
                b"labels": [0] * 100,
                b"filenames": [b"a.png"] * 100,
            }
            raw = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(f"{cifar10.FOLDER}/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return packed.getvalue()


@pytest.fixture
def server(archive):
    """Serves the archive, the first time only its first half; knows from which byte each request wanted it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
            asked.append(begin)
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(archive) - begin))
            self.end_headers()
            self.wfile.write(archive[begin : len(archive) // 2 if len(asked) == 1 else None])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield f"http://127.0.0.1:{server.server_port}/cifar.tar.gz", asked
        server.shutdown()


def test_an_interrupted_fetch_goes_on(unblur, server, archive, tmp_path, monkeypatch):
    url, asked = server
    monkeypatch.setattr(cifar10.download, "__kwdefaults__", {
        **cifar10.download.__kwdefaults__, "checksum": f"sha256:{hashlib.sha256(archive).hexdigest()}"
    })  # fmt: skip
    ran = unblur("data", "fetch", "cifar10", tmp_path / "set", "--url", url)
    assert ran.code == 2
    assert "call again to go on" in ran.err
    ran = unblur("data", "fetch", "cifar10", tmp_path / "set", "--url", url)
    assert ran.code == 0, ran.err
    assert len(asked) == 2
    assert 0 < asked[1] <= len(archive) // 2
    assert ran.out.strip() == str(tmp_path / "set" / cifar10.FOLDER)
    assert len(cifar10.Cifar10.open(tmp_path / "set")) == 500
    # What is there is not fetched again.
    ran = unblur("data", "fetch", "CIFAR-10", tmp_path / "set", "--url", url, "--json")
    assert ran.out.startswith('{"set": "cifar10"')
    assert len(asked) == 2


def test_another_file_is_refused(unblur, server, tmp_path):
    url, asked = server
    asked.append(0)  # the whole archive at once
    ran = unblur("data", "fetch", "cifar10", tmp_path, "--url", url)
    assert ran.code == 2
    assert "not the archive that was expected" in ran.err
    assert not (tmp_path / cifar10.FOLDER).exists()


def test_an_unknown_set(unblur, tmp_path):
    ran = unblur("data", "fetch", "imagenet", tmp_path)
    assert ran.code == 2
    assert "cifar10 is the one" in ran.err
