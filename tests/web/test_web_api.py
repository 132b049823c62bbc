"""The REST interface: what goes in and comes out."""

import base64
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image as Pil

import unblur
from unblur import engine, files
from unblur.image import from_array
from unblur.methods.photograph import look

#: For one tile, as in a fresh worker, whatever this process holds already.
PLENTY = "8GB"


def restore(server, data, name="photo.jpg", **fields):
    return requests.post(f"{server.url}/api/restore", files={"file": (name, data)}, data=fields, timeout=60)


def test_restore_is_the_engine(server, photo):
    answer = restore(server, photo)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''photo.unblur.jpg"
    expected = engine.restore(photo, memory=PLENTY)
    source = files.Source.open(photo)
    assert answer.content == files.encode(expected.image, "jpeg", like=source)
    facts = json.loads(answer.headers["x-unblur-result"])
    assert facts["method"] == expected.method == "auto"
    assert facts["blur"] == expected.blur.to_dict()
    assert (facts["width"], facts["height"], facts["unchanged"]) == (260, 200, False)
    assert abs(facts["blur"]["sigma"] - 1.8) < 0.2


def test_exif_is_kept(server, photo):
    before, after = (Pil.open(io.BytesIO(data)) for data in (photo, restore(server, photo).content))
    assert dict(after.getexif()) == dict(before.getexif())
    assert after.getexif()[0x010F] == "Camera & Sons"


def test_a_sharp_picture_comes_back_byte_for_byte(server, sharp):
    answer = restore(server, sharp, "sharp.png")
    assert answer.content == sharp
    facts = json.loads(answer.headers["x-unblur-result"])
    assert facts["unchanged"]
    assert facts["method"] == "none"
    assert facts["sharp"]
    assert facts["left_alone"][0].startswith("everything: the picture is sharp")


def test_json_has_the_pictures(server, tiff):
    answer = restore(server, tiff, "scan.tif", answer="json")
    assert answer.headers["content-type"] == "application/json"
    facts = answer.json()
    pictures = {
        name: base64.b64decode(facts[name]) for name in ("picture", "before", "after", "kernel", "map")
    }
    restored = files.decode(pictures["picture"])
    assert restored.dtype == np.uint16
    assert np.array_equal(restored, engine.restore(tiff, memory=PLENTY).image)
    assert facts["name"] == "scan.unblur.tif"
    for name in ("before", "after"):
        assert pictures[name][:3] == b"\xff\xd8\xff"
        assert files.decode(pictures[name]).shape == (200, 260, 3)
    kernel = files.decode(pictures["kernel"])
    assert kernel.shape[0] == kernel.shape[1] == facts["blur"]["kernel_size"]
    assert kernel.max() == 255
    assert kernel.argmax() == kernel.size // 2
    local = files.decode(pictures["map"]).mean() / 255 * facts["map_white"]
    assert abs(local - 1.8) < 0.5


def test_a_phones_heic(server, blurred):
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(Pil.fromarray(blurred)).save(out, quality=95)
    facts = restore(server, out.getvalue(), "IMG_1.HEIC", answer="json").json()
    assert (facts["name"], facts["type"]) == ("IMG_1.unblur.png", "image/png")
    assert files.decode(base64.b64decode(facts["before"])).shape == (200, 260, 3)
    assert facts["after"] is None


def test_browsers_are_not_sent_what_they_have(server, photo):
    facts = restore(server, photo, answer="json").json()
    assert facts["before"] is None
    assert facts["after"] is None


def test_options_reach_the_engine(server, photo):
    half = restore(server, photo, method="wiener", strength=0.5, sigma=1.5, format="png")
    assert half.headers["content-type"] == "image/png"
    assert half.headers["content-disposition"].endswith("photo.unblur.png")
    expected = engine.restore(photo, "wiener", 0.5, sigma=1.5, memory=PLENTY)
    assert np.array_equal(files.decode(half.content), expected.image)
    assert json.loads(half.headers["x-unblur-result"])["blur"]["sigma"] == 1.5


def test_no_strength_is_no_change(server, photo):
    assert restore(server, photo, strength=0).content == photo


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ünïcode wörds.JPG", "%C3%9Cn%C3%AFcode%20w%C3%B6rds.unblur.JPG"),
        ("no suffix", "no%20suffix.unblur.jpg"),
        ("lies.png", "lies.unblur.jpg"),
        ("C:\\pictures\\old.jpg", "old.unblur.jpg"),  # as an old browser calls it
        ("version 2.final", "version%202.final.unblur.jpg"),
        ("semi; x='1'.jpg", "semi%3B%20x%3D%271%27.unblur.jpg"),
    ],
)
def test_names(server, photo, name, expected):
    answer = restore(server, photo, name, strength=0, method="wiener", sigma=1)
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{expected}"


def test_estimate(server, photo):
    answer = requests.post(f"{server.url}/api/estimate", files={"file": ("a.jpg", photo)}, timeout=60)
    facts = answer.json()
    expected = look(from_array(files.decode(photo))).to_dict()
    assert {name: facts[name] for name in expected} == json.loads(json.dumps(expected))
    assert base64.b64decode(facts["kernel"])[1:4] == b"PNG"


def test_an_enlarged_picture_is_not_called_sharp(server, astronaut):
    pixels = (astronaut[::2, ::2] * 255).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    facts = restore(server, files.encode(pixels, "png"), "a.png", answer="json").json()
    assert facts["enlarged"]
    assert not facts["sharp"]
    assert "enlarged" in facts["left_alone"][0]


def test_about(server):
    about = requests.get(f"{server.url}/api/about", timeout=10).json()
    offered = {choice["name"] for choice in about["methods"] if choice["kind"] == "method"}
    assert {"auto", "wiener", "richardson-lucy", "total-variation", "blind"} <= offered <= set(unblur.METHODS)
    assert about["max_bytes"] == 20_000_000
    assert about["version"] == unblur.__version__


def test_healthz(server):
    answer = requests.get(f"{server.url}/healthz", timeout=10)
    assert answer.json() == {"status": "ok", "version": unblur.__version__}


def test_openapi_and_its_page(server):
    schema = requests.get(f"{server.url}/openapi.json", timeout=10).json()
    assert set(schema["paths"]) == {"/api/restore", "/api/estimate", "/api/about", "/healthz"}
    page = requests.get(f"{server.url}/docs", timeout=10).text
    for word in (*schema["paths"], "strength", "sigma", "X-Unblur-Result", "429"):
        assert word in page
    assert "<script" not in page


def test_nothing_is_left_in_the_temporary_folder(server, photo, astronaut):
    large = files.encode((astronaut * 255).astype(np.uint8), "tiff")
    assert restore(server, large, "large.tif", method="wiener", sigma=1).status_code == 200
    assert restore(server, photo[:1000]).status_code in (415, 422)
    assert server.left_behind() == []


def test_what_cannot_be_told_is_not_called_sharp(server):
    flat = files.encode(np.full((64, 64, 3), 90, np.uint8), "png")
    facts = json.loads(restore(server, flat, "flat.png").headers["x-unblur-result"])
    assert facts["unchanged"]
    assert not facts["sharp"]


def test_workers_end_with_the_server(command, tmp_path):
    """Even where it cannot tell them any more."""
    with command(tmp_path, "--workers", 1) as server:
        parent = server.process.pid
        workers = []
        while not workers:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            time.sleep(0.1)
        server.process.kill()
        server.process.wait()
    until = time.monotonic() + 10
    while any(map(lives, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(lives, workers))


def lives(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_taken_port(server):
    port = server.url.rpartition(":")[2]
    ran = subprocess.run(
        [sys.executable, "-m", "unblur", "serve", "--port", port], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("--workers", "0"), ("--trusted-proxy", "everyone"), ("--root-path", "x y"), ("--max-size", "big")],
)
def test_wrong_settings(unblur_command, option, value):
    ran = unblur_command("serve", option, value)
    assert ran.code == 2
    assert value in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.fixture
def unblur_command(monkeypatch, capsys):
    from unblur import cli

    class Ran:
        def __init__(self, code, err):
            self.code, self.err = code, err

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unblur", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return Ran(exit_.value.code, capsys.readouterr().err)

    return run
