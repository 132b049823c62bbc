"""Servers to talk to, and pictures to send."""

import contextlib
import io
import os
import socket
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
import uvicorn
from PIL import Image as Pil

from unblur import files
from unblur.image import to_array
from unblur.metadata import png_chunk
from unblur.physics.convolve import gaussian_blur
from unblur.web.app import create_app
from unblur.web.settings import Settings

CAMERA = "Camera & Sons"


@contextlib.contextmanager
def _serving(**limits):
    """The address of a server inside this process, with one worker."""
    settings = Settings(**({"workers": 1} | limits))
    config = uvicorn.Config(create_app(settings), log_level="error", access_log=False, proxy_headers=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def serving():
    """Serve with the limits that are named: `with serving(rate=3) as url`."""
    return _serving


class Server:
    """A server as the command line starts it: its address, its process, its folder for temporary files."""

    def __init__(self, url, process, temporary):
        self.url, self.process, self.temporary = url, process, temporary

    def left_behind(self):
        """Names in its folder for temporary files, but for one that ONNX Runtime puts there when it is imported."""
        return [path.name for path in self.temporary.iterdir() if path.name != ".ses"]


@contextlib.contextmanager
def _command(temporary, *options):
    environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "unblur", "serve", "--port", "0", *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        url = process.stdout.readline().split()[0].rstrip("/")
        yield Server(url, process, temporary)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def command():
    """Start `unblur serve` with options: `with command(folder, "--rate", 0) as server`."""
    return _command


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One `unblur serve` for all tests that need nothing special."""
    with _command(
        tmp_path_factory.mktemp("temporary"), "--workers", 1, "--rate", 0, "--max-size", "20MB"
    ) as one:
        yield one


@pytest.fixture(scope="session")
def blurred(astronaut):
    """A blurred picture, uint8 (H, W, 3)."""
    return to_array(gaussian_blur(astronaut, 1.8)[60:260, 120:380], "uint8")


@pytest.fixture(scope="session")
def photo(blurred):
    """The bytes of a blurred JPEG with EXIF."""
    exif = Pil.Exif()
    exif[0x010F] = CAMERA
    exif[0x9003] = "2024:05:06 07:08:09"
    out = io.BytesIO()
    Pil.fromarray(blurred).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


@pytest.fixture(scope="session")
def sharp(astronaut):
    """The bytes of a sharp PNG."""
    return files.encode(to_array(astronaut[:300, :400], "uint8"), "png")


@pytest.fixture(scope="session")
def tiff(blurred):
    """The bytes of a blurred 16-bit TIFF."""
    return files.encode(blurred.astype(np.uint16) * 257, "tiff")


def _png(width, height, pixels):
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    )


@pytest.fixture(scope="session")
def png():
    """A PNG of width, height and compressed pixels as given, true or not."""
    return _png


@pytest.fixture(scope="session")
def bomb():
    """A PNG of 64x64 pixels whose data inflate to 128 MB."""
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    return _png(64, 64, b"".join(packer.compress(zeros) for _ in range(128)) + packer.flush())
