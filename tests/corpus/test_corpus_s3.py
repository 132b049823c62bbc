"""From bucket to bucket, over HTTP to a real server of the S3 protocol."""

import os
import subprocess
import sys
import time

import pytest
from corpora import make_corpus, outputs

from unblur.corpus.manifest import Settings, rows, status
from unblur.corpus.run import run
from unblur.corpus.store import Store
from unblur.errors import FileError

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """The URL of an empty bucket."""
    log = tmp_path / "server.log"
    with log.open("wb") as words:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stdout=words, stderr=words
        )
    try:
        deadline = time.monotonic() + 30
        while b"Running on http://" not in log.read_bytes():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        address = log.read_text().split("Running on ")[1].split()[0]
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "something",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("corpora")
        yield "s3://corpora"
        s3fs.S3FileSystem.clear_instance_cache()
    finally:
        server.kill()
        server.wait()


def test_from_bucket_to_bucket(bucket, tmp_path):
    broken = make_corpus(tmp_path / "in", 12, 2)
    source, out = Store(f"{bucket}/in"), Store(f"{bucket}/results/one")
    names = outputs(tmp_path / "in")
    for name in names:
        source.write(name, (tmp_path / "in" / name).read_bytes())
    assert {(entry.name, entry.bytes) for entry in source.files()} == {
        (name, (tmp_path / "in" / name).stat().st_size) for name in names
    }
    fast = Settings(method="wiener", sigma=1.2)

    def stop(done, total, given_up):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source.url, out.url, fast, workers=1, progress=stop)
    assert status(out).remaining == 7
    summary = run(source.url, out.url, fast, workers=1, resume=True)
    assert (summary.done, summary.quarantined, summary.remaining) == (10, 2, 0)
    made = {entry.name: entry.bytes for entry in out.files() if not entry.name.startswith("_unblur/")}
    assert made.keys() == names - broken
    told = {row["input"]: row for row in rows(out)}
    assert {name for name, row in told.items() if row["error"]} == broken
    assert {name: row["output_bytes"] for name, row in told.items() if not row["error"]} == made
    assert {path.name for path in (tmp_path / "in").iterdir()} == {str(number) for number in range(7)}

    started = time.perf_counter()
    assert run(source.url, out.url, fast, resume=True) == summary
    assert time.perf_counter() - started < 5


def test_a_bucket_that_is_not_there(bucket, tmp_path):
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1")
    with pytest.raises(FileError, match="cannot be listed"):
        run("s3://no-such-bucket/in", str(tmp_path / "out"))
