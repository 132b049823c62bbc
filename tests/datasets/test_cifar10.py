"""CIFAR-10: the layout, hostile pickles, the splits, and downloads that break."""

import functools
import hashlib
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading

import cv2
import numpy as np
import pytest

from unblur.datasets import cifar10, folder
from unblur.datasets.common import split
from unblur.errors import FileError, OptionError, OutputError


def batch(rng, count):
    return {
        b"batch_label": b"some",
        b"labels": rng.integers(0, 10, count).tolist(),
        b"data": rng.integers(0, 256, (count, 3072), np.uint8),
        b"filenames": [f"{number}.png".encode() for number in range(count)],
    }


def python2_pickle(content):
    """A batch as the Python 2 of 2009 wrote it: byte strings, and numpy's old module names."""

    def text(value):
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value

    def integer(value):
        return b"J" + struct.pack("<i", value)

    data = content[b"data"]
    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\0K\1\x87R(K\3"
        + text(b"|")
        + b"NNN"
        + integer(-1) * 2
        + b"K\0tb"
    )
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
        b"(K\1" + integer(data.shape[0]) + integer(data.shape[1]) + b"\x86" + dtype + b"\x89"
        + text(data.tobytes()) + b"tb"
    )  # fmt: skip
    labels = b"](" + b"".join(integer(label) for label in content[b"labels"]) + b"e"
    names = b"](" + b"".join(text(name) for name in content[b"filenames"]) + b"e"
    items = {b"batch_label": text(b"x"), b"labels": labels, b"data": array, b"filenames": names}
    return b"\x80\2}(" + b"".join(text(key) + value for key, value in items.items()) + b"u."


@pytest.fixture
def tree(tmp_path, rng):
    """A whole small set, and what its batches hold."""
    root = tmp_path / "set" / cifar10.FOLDER
    root.mkdir(parents=True)
    batches = {name: batch(rng, 35) for part in cifar10.PARTS.values() for name in part}
    for name, content in batches.items():
        (root / name).write_bytes(pickle.dumps(content, protocol=2))
    return root, batches


def test_pixels_labels_and_names(tree):
    root, batches = tree
    for given in (root, root.parent):
        found = cifar10.Cifar10.open(given)
        assert found.images.shape == (175, 32, 32, 3)
        assert found.images.dtype == np.uint8
        for index in (0, 40, 174):
            planes = batches[cifar10.PARTS["train"][index // 35]][b"data"][index % 35].reshape(3, 32, 32)
            assert np.array_equal(found[index], planes.transpose(1, 2, 0))
        assert found.labels.tolist() == [x for n in cifar10.PARTS["train"] for x in batches[n][b"labels"]]
        assert found.names[36] == "1.png"
    assert len(cifar10.Cifar10.open(root, "test")) == 35
    assert not found.complete
    assert found.counts == dict.fromkeys(cifar10.PARTS["train"], 35)
    assert "data_batch_2: 35 of 10000" in found.missing[1]


def test_a_whole_part_is_complete(tree, monkeypatch):
    monkeypatch.setattr(cifar10, "BATCH_SIZE", 35)
    found = cifar10.Cifar10.open(tree[0], strict=True)
    assert found.complete
    assert len(found) == 175


def test_the_official_pickles(tmp_path, rng):
    content = batch(rng, 3)
    raw = python2_pickle(content)
    assert np.array_equal(pickle.loads(raw, encoding="bytes")[b"data"], content[b"data"])
    (tmp_path / "test_batch").write_bytes(raw)
    found = cifar10.Cifar10.open(tmp_path, "test")
    assert np.array_equal(found.images, content[b"data"].reshape(3, 3, 32, 32).transpose(0, 2, 3, 1))
    assert found.labels.tolist() == content[b"labels"]


class Runs:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def hostile(rng, marker):
    good = batch(rng, 2)
    return {
        "a call": Runs(marker),
        "a call inside": {**good, b"labels": [Runs(marker), 1]},
        "objects for pixels": {**good, b"data": np.array([[Runs(marker)] * 3072] * 2)},
        "floats for pixels": {**good, b"data": good[b"data"].astype(np.float32)},
        "too few labels": {**good, b"labels": [1]},
        "too few names": {**good, b"filenames": [b"a"]},
        "another shape": {**good, b"data": good[b"data"][:, :100]},
        "no pixels": {b"labels": [1]},
        "another thing": [1, 2, 3],
    }


@pytest.mark.parametrize("what", hostile(np.random.default_rng(0), ""))
def test_hostile_and_wrong_pickles_run_nothing(tree, tmp_path, rng, what):
    root, _ = tree
    marker = tmp_path / "pwned"
    (root / "data_batch_3").write_bytes(pickle.dumps(hostile(rng, marker)[what], protocol=2))
    found = cifar10.Cifar10.open(root)
    assert len(found) == 140
    assert list(found.counts) == [name for name in cifar10.PARTS["train"] if name != "data_batch_3"]
    assert len(found.skipped) == 1
    assert "data_batch_3: not a batch of CIFAR-10" in found.skipped[0]
    with pytest.raises(FileError, match="data_batch_3"):
        len(cifar10.Cifar10.open(root, strict=True))
    assert not marker.exists()


def test_damaged_and_missing_batches(tree):
    root, _ = tree
    whole = (root / "test_batch").read_bytes()
    (root / "test_batch").write_bytes(whole[:1000])
    with pytest.raises(FileError, match="test_batch"):
        len(cifar10.Cifar10.open(root, "test"))
    (root / "data_batch_1").unlink()
    found = cifar10.Cifar10.open(root)
    assert len(found) == 140
    assert "data_batch_1: 0 of 10000" in found.missing[0]
    with pytest.raises(FileError, match="no data_batch_1"):
        cifar10.Cifar10.open(root.parent.parent)
    with pytest.raises(OptionError, match="validation"):
        cifar10.Cifar10.open(root, "validation")


def test_published_splits():
    for name, (train, val) in {"40k/10k": (40, 10), "42.5k/7.5k": (42.5, 7.5), "45k/5k": (45, 5)}.items():
        parts = split(50_000, cifar10.SPLITS[name], seed=0)
        assert [len(part) for part in parts] == [train * 1000, val * 1000]
        assert len(np.intersect1d(*parts)) == 0
    assert [len(part) for part in split(5438, cifar10.SPLITS["42.5k/7.5k"])] == [4622, 816]


def test_extra_images(tmp_path, rng):
    images = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "extra.npz", images=images)
    assert np.array_equal(cifar10.extra_images(tmp_path / "extra.npz"), images)
    np.savez(tmp_path / "other.npz", pictures=images)
    np.savez(tmp_path / "float.npz", images=images / 255)
    np.savez(tmp_path / "object.npz", images=np.array([Runs(tmp_path / "pwned")]))
    np.save(tmp_path / "plain.npy", images)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "extra.npz").read_bytes()[:3000])
    for name in ("other.npz", "float.npz", "object.npz", "plain.npy", "cut.npz", "absent.npz"):
        with pytest.raises(FileError, match=name):
            cifar10.extra_images(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_crops_average_by_area(tmp_path, draw, rng):
    smallest = draw(tmp_path / "a.png", (64, 64, 3))  # only one crop fits
    crops = cifar10.crops32([tmp_path / "a.png"], 3, rng)
    blocks = smallest.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.array_equal(crops, np.stack([np.floor(blocks + 0.5)] * 3))
    odd = rng.integers(0, 256, (77, 77, 3), np.uint8)
    reference = cv2.resize(odd.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(cifar10._average(odd) - reference).max() <= 0.5 + 1e-3


def test_crops_depend_on_the_seed_and_cover_the_photograph(tmp_path, draw):
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 90, 1))
    draw(tmp_path / "ramp.png", np.ascontiguousarray(ramp))
    draw(tmp_path / "noise.png", (70, 80, 3))
    paths = [tmp_path / "ramp.png", tmp_path / "noise.png"]
    crops = cifar10.crops32(paths, 200, np.random.default_rng(1))
    assert np.array_equal(crops, cifar10.crops32(paths, 200, np.random.default_rng(1)))
    assert not np.array_equal(crops, cifar10.crops32(paths, 200, np.random.default_rng(2)))
    of_ramp = crops[(crops == crops[:, :, :1, :1]).all(axis=(1, 2, 3))].astype(int)
    assert 70 < len(of_ramp) < 130
    spans = of_ramp[:, -1, 0, 0] - of_ramp[:, 0, 0, 0]
    assert (spans.min(), spans.max()) == (62, 87)  # sides 64 to 90, less the mean of the outer pixels
    assert of_ramp.min() <= 3
    assert of_ramp.max() >= 196


def test_crops_refuse_what_is_too_small(tmp_path, draw, rng):
    draw(tmp_path / "icon.png", (63, 200, 3))
    with pytest.raises(FileError, match=r"icon\.png: 200x63"):
        cifar10.crops32([tmp_path / "icon.png"], 1, rng)
    with pytest.raises(FileError, match="no photographs"):
        cifar10.crops32([], 1, rng)
    assert cifar10.crops32([tmp_path / "icon.png"], 0, rng).shape == (0, 32, 32, 3)


def test_photographs_that_will_not_do_are_told_and_passed_over(tmp_path, draw):
    draw(tmp_path / "a.png", (64, 64, 3))
    draw(tmp_path / "b.png", (63, 90, 3))
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    said = []
    crops = cifar10.crops32(paths, 20, np.random.default_rng(1), warn=said.append)
    assert (crops == crops[0]).all()  # only one crop fits into the one that is good
    assert sorted(line.partition(":")[0] for line in said) == [str(path) for path in paths[1:]]
    assert said[1].endswith("(skipped, 2 so far)")
    with pytest.raises(FileError, match=r"[bc]\.png"):
        cifar10.crops32(paths, 20, np.random.default_rng(1))
    with pytest.raises(FileError, match=r"[bc]\.png"):
        cifar10.crops32(paths[1:], 20, np.random.default_rng(1), warn=said.append)


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves files by range; `cut` breaks the next answer off after so many bytes."""

    ranges = True
    cut: list[int]
    asked: list[str | None]

    def do_GET(self):
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            return self.send_error(404)
        content = open(path, "rb").read()  # noqa: SIM115
        wanted = self.headers["Range"]
        self.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.cut.pop() if self.cut else None])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path, tree, monkeypatch):
    """A server of the archive of the small set: its address, the checksum, the handler."""
    monkeypatch.setenv("NO_PROXY", "*")
    web = tmp_path / "web"
    web.mkdir()
    with tarfile.open(web / "cifar.tar.gz", "w:gz") as tar:
        tar.add(tree[0], cifar10.FOLDER)
    handler = type("Handler", (Server,), {"cut": [], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(web)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/cifar.tar.gz", checksum(web / "cifar.tar.gz"), handler
    server.shutdown()
    thread.join()
    server.server_close()


def checksum(path):
    return f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"


def test_download(site, tmp_path, tree):
    url, known, handler = site
    seen = []
    root = tmp_path / "new" / "folder"
    found = cifar10.download(root, url=url, checksum=known, progress=lambda *numbers: seen.append(numbers))
    assert found == root / cifar10.FOLDER
    assert np.array_equal(cifar10.Cifar10.open(root).images, cifar10.Cifar10.open(tree[0]).images)
    size = seen[-1][1]
    assert [total for _, total in seen] == [size] * len(seen)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == size > 500_000
    assert os.listdir(root) == [cifar10.FOLDER]  # neither archive nor scraps
    cifar10.download(root, url=url, checksum=known)
    assert len(handler.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(site, tmp_path, ranges):
    url, known, handler = site
    handler.ranges = ranges
    handler.cut.append(400_000)
    with pytest.raises(FileError, match="call again to go on"):
        cifar10.download(tmp_path / "new", url=url, checksum=known)
    (part,) = (tmp_path / "new").iterdir()
    have = part.stat().st_size
    assert 0 < have <= 400_000
    seen = []
    cifar10.download(tmp_path / "new", url=url, checksum=known, progress=lambda *n: seen.append(n))
    assert handler.asked == [None, f"bytes={have}-"]
    assert (seen[0][0] > have) is ranges
    assert len(cifar10.Cifar10.open(tmp_path / "new")) == 175


def test_a_part_that_was_whole_already(site, tmp_path):
    url, known, handler = site
    (tmp_path / "new").mkdir()
    archive = (tmp_path / "web" / "cifar.tar.gz").read_bytes()
    (tmp_path / "new" / "cifar-10-python.tar.gz.part").write_bytes(archive)
    cifar10.download(tmp_path / "new", url=url, checksum=known)
    assert handler.asked == [f"bytes={len(archive)}-"]


def test_a_wrong_checksum_leaves_nothing(site, tmp_path):
    url, known, _ = site
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "cifar-10-python.tar.gz.part").write_bytes(b"of another file")
    with pytest.raises(FileError, match="not the archive that was expected"):
        cifar10.download(tmp_path / "new", url=url, checksum=known)
    assert os.listdir(tmp_path / "new") == []
    cifar10.download(tmp_path / "new", url=url, checksum=known)
    with pytest.raises(FileError, match="not the archive"):
        cifar10.download(tmp_path / "other", url=url)  # the official checksum


def test_no_network_no_page_no_folder(site, tmp_path):
    url, known, _ = site
    with pytest.raises(FileError, match="cannot be downloaded"):
        cifar10.download(tmp_path, url="http://127.0.0.1:9/a.tar.gz", checksum=known)
    with pytest.raises(FileError, match="404"):
        cifar10.download(tmp_path, url=url + ".gone", checksum=known)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be stored"):
        cifar10.download(tmp_path / "file" / "below", url=url, checksum=known)


@pytest.mark.parametrize("member", ["../escaped", f"{cifar10.FOLDER}/../../escaped", "elsewhere/file"])
def test_archives_that_reach_out_or_hold_something_else(site, tmp_path, member):
    url, _, _ = site
    archive = tmp_path / "web" / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(member), io.BytesIO())
    with pytest.raises(FileError, match="not the archive"):
        cifar10.download(tmp_path / "new", url=url, checksum=checksum(archive))
    assert not list(tmp_path.rglob("escaped"))
    assert not (tmp_path / "new" / cifar10.FOLDER).exists()


@pytest.mark.data
def test_the_real_set(data):
    found = cifar10.Cifar10.open(data / "cifar-10-subset")
    assert len(found) == sum(found.counts.values()) == 5438
    assert not found.complete
    assert len(found.missing) == 5
    assert not found.skipped
    test = cifar10.Cifar10.open(data / "cifar-10-subset", "test")
    assert test.counts == {"test_batch": 508}
    # Statistics of the whole set: mean 0.4914, 0.4822, 0.4465; standard deviation 0.247, 0.2435, 0.2616.
    thinned = found.images[::4].astype(np.float32).reshape(-1, 3) / 255
    assert np.abs(thinned.mean(axis=0) - (0.4914, 0.4822, 0.4465)).max() < 0.015
    assert np.abs(thinned.std(axis=0) - (0.2470, 0.2435, 0.2616)).max() < 0.015
    assert set(found.labels) == set(range(10))
    extra = cifar10.extra_images(data / "cifar-100-extra.npz")
    assert len(extra) == 2033
    crops = cifar10.crops32(
        folder.pictures(data / "bsds500" / "train").paths[:20], 100, np.random.default_rng(0)
    )
    roughness = [np.abs(np.diff(i.astype(float), axis=1)).mean() for i in (crops, found.images[:500])]
    assert 0.5 < roughness[0] / roughness[1] < 2
