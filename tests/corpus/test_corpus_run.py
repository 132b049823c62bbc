"""Whole runs on this machine."""

import hashlib
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import BROKEN, make_corpus, outputs

import unblur
from unblur import files
from unblur.corpus import manifest
from unblur.corpus.local import Process, Processes
from unblur.corpus.manifest import STATUS, Settings, rows, status
from unblur.corpus.pool import AHEAD
from unblur.corpus.run import run
from unblur.corpus.worker import Restorer, limits
from unblur.errors import FileError, OptionError, OutputError
from unblur.physics import kernels

FAST = Settings(method="wiener", sigma=1.2)


def test_a_run_its_outputs_and_its_status(corpus, tmp_path):
    out = tmp_path / "out"
    broken = {str(path.relative_to(corpus)) for path in corpus.rglob("*.*") if path.read_bytes() in BROKEN}
    assert len(broken) == 2
    seen = []
    summary = run(str(corpus), str(out), workers=2, progress=lambda *numbers: seen.append(numbers))
    assert (summary.files, summary.done, summary.quarantined, summary.remaining) == (12, 10, 2, 0)
    assert seen[-1] == (12, 12, 2)
    assert [done for done, _, _ in seen] == list(range(1, 13))
    assert outputs(out) == outputs(corpus) - broken

    table = pq.read_table(out / "_unblur" / "status" / "00000.parquet")
    assert table.schema.equals(STATUS)
    told = {row["input"]: row for row in table.to_pylist()}
    assert told.keys() == outputs(corpus)
    for name, row in told.items():
        if name in broken:
            assert row["attempts"] == 3
            assert (
                row["error"] in ("is empty",) or "is not a PNG" in row["error"] or "damaged" in row["error"]
            )
            assert row["output"] is None
            continue
        given, made = (corpus / name).read_bytes(), (out / name).read_bytes()
        picture = files.Source.open(given)
        assert (row["output"], row["attempts"], row["error"]) == (name, 1, None)
        assert (row["bytes"], row["output_bytes"]) == (len(given), len(made))
        assert row["sha256"] == hashlib.sha256(given).hexdigest()
        assert row["output_sha256"] == hashlib.sha256(made).hexdigest()
        assert (row["width"], row["height"]) == (picture.width, picture.height)
        assert row["seconds"] > 0
        if picture.format == "jpeg":  # one format is enough to restore once more
            continue
        alone = unblur.restore(given)
        assert (row["method"], row["blur"]) == (alone.method, alone.blur.kind)
        assert dict(row["blur_parameters"]) == pytest.approx(dict(alone.blur.parameters), rel=1e-4)
        if alone.method == "none":
            assert made == given
            assert row["left_alone"] == list(alone.left_alone)
        else:
            expected = files.encode(alone.image, Path(name).suffix, like=picture)
            difference = files.decode(made).astype(int) - files.decode(expected)
            assert np.abs(difference).max() <= 1
    methods = {row["method"] for row in told.values() if row["error"] is None}
    assert methods == {"none", "auto"}
    assert summary.left_alone == sum(row["method"] == "none" for row in told.values())
    assert summary.bytes == sum(row["bytes"] or 0 for row in told.values())
    assert {path.name for path in (out / "_unblur").iterdir()} == {
        "corpus.json",
        "lock",
        "manifest",
        "status",
    }


def test_a_finished_corpus_is_left_as_it_is(corpus, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = run(str(corpus), str(out), FAST, workers=1)
    with pytest.raises(OutputError, match="--resume"):
        run(str(corpus), str(out), FAST)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(Processes, "start", lambda self: pytest.fail("a worker was started"))
    assert run(str(corpus), str(out), FAST, resume=True) == first == status(str(out))
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert {path for path in after if path.name != "lock" and after[path] != before.get(path)} == set()


def test_given_up_pictures_are_tried_again_when_asked(corpus, tmp_path):
    out = tmp_path / "out"
    assert run(str(corpus), str(out), FAST, workers=1, tries=1).quarantined == 2
    bad, stays = sorted(row["input"] for row in rows(str(out)) if row["error"])
    whole = next(path for path in corpus.rglob("*.png") if path.stat().st_size > 1000)
    (corpus / bad).write_bytes(whole.read_bytes())
    assert run(str(corpus), str(out), FAST, resume=True).quarantined == 2
    again = run(str(corpus), str(out), FAST, workers=1, resume=True, retry=True, tries=2)
    assert (again.done, again.quarantined, again.remaining) == (11, 1, 0)
    told = {row["input"]: row for row in rows(str(out))}
    assert told[bad]["error"] is None
    assert told[stays]["attempts"] == 2
    assert [path.name for path in (out / "_unblur" / "status").iterdir()] == ["00000.parquet"]


def test_a_driver_that_is_interrupted_and_resumed(tmp_path, monkeypatch):
    make_corpus(tmp_path / "in", 30, 0)
    monkeypatch.setattr(manifest, "SHARD_FILES", 12)
    out = tmp_path / "out"

    def stop_at(number):
        def progress(done, total, given_up):
            if done == number:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(KeyboardInterrupt):
        run(str(tmp_path / "in"), str(out), FAST, workers=1, progress=stop_at(17))
    half = status(str(out))
    assert (half.files, half.done, half.remaining) == (30, 17, 13)
    # What was written but not yet noted is done again, and nothing else.
    assert 17 <= len(outputs(out)) <= 17 + AHEAD
    kept = {name: (out / name).stat().st_mtime_ns for name in (row["output"] for row in rows(str(out)))}
    assert not (out / "_unblur" / "partial").exists()
    with pytest.raises(OptionError, match="method wiener, not blind"):
        run(str(tmp_path / "in"), str(out), Settings(method="blind", sigma=1.2), resume=True)
    with pytest.raises(OptionError, match="source"):
        run(str(tmp_path), str(out), FAST, resume=True)
    done = run(str(tmp_path / "in"), str(out), FAST, workers=1, resume=True)
    assert (done.done, done.remaining) == (30, 0)
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    names = [row["input"] for row in rows(str(out))]
    assert len(names) == len(set(names)) == 30
    assert sorted(path.name for path in (out / "_unblur" / "status").iterdir()) == [
        "00000.parquet",
        "00001.parquet",
        "00002.parquet",
    ]


def test_a_list_that_was_cut_off_is_made_again(corpus, tmp_path):
    out = tmp_path / "out"
    (out / "_unblur" / "manifest").mkdir(parents=True)
    (out / "_unblur" / "manifest" / "00007.parquet").write_bytes(b"half")
    assert run(str(corpus), str(out), FAST, workers=1, resume=True).done == 10
    assert [path.name for path in (out / "_unblur" / "manifest").iterdir()] == ["00000.parquet"]


def test_a_worker_that_is_killed(tmp_path, started):
    make_corpus(tmp_path / "in", 24, 0)
    summary = run(
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        FAST,
        workers=1,
        progress=lambda done, total, bad: os.kill(started[0].pid, signal.SIGKILL) if done == 12 else None,
    )
    assert len(started) == 2
    assert (summary.done, summary.quarantined) == (24, 0)
    assert len(outputs(tmp_path / "out")) == 24
    assert sum(row["attempts"] for row in rows(str(tmp_path / "out"))) in (24, 25)


def test_a_worker_that_hangs_is_replaced_and_its_picture_given_up(corpus, tmp_path):
    for path in corpus.rglob("*.jpg"):
        path.unlink()
    os.mkfifo(corpus / "pipe.png")  # reading it never ends
    summary = run(str(corpus), str(tmp_path / "out"), FAST, workers=1, tries=1, timeout=1.0)
    told = {row["input"]: row for row in rows(str(tmp_path / "out"))}
    assert told["pipe.png"]["error"] == "took longer than 1 s"
    assert told["pipe.png"]["attempts"] == 1
    assert summary.remaining == 0


def test_a_disk_that_is_full_stops_the_run(corpus, tmp_path):
    out = tmp_path / "out"

    def interrupt(done, total, given_up):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(str(corpus), str(out), FAST, workers=1, progress=interrupt)
    shutil.rmtree(out / "1", ignore_errors=True)
    (out / "1").write_bytes(b"a file where a folder must be")
    with pytest.raises(OutputError, match="stopped"):
        run(str(corpus), str(out), FAST, workers=1, resume=True)
    (out / "1").unlink()
    summary = run(str(corpus), str(out), FAST, workers=1, resume=True)
    assert (summary.done, summary.quarantined) == (10, 2)


def test_formats_that_cannot_be_written_become_png(tmp_path):
    pytest.importorskip("pillow_heif")
    from PIL import Image

    source = tmp_path / "in"
    source.mkdir()
    noise = np.random.default_rng(1).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.fromarray(noise).save(source / "a.heic")
    Image.fromarray(noise).save(source / "a.PNG")
    (source / "notes.txt").write_text("not a picture")
    assert run(str(source), str(source / "out"), FAST, workers=1).done == 2
    assert outputs(source / "out") == {"a.heic.png", "a.PNG"}
    assert files.Source.open(source / "out" / "a.heic.png").format == "png"
    # Inside its source, a destination is none.
    assert run(str(source), str(tmp_path / "second"), FAST, workers=1).files == 4
    assert run(str(source), str(source / "out"), FAST, resume=True).files == 2


def test_every_option_goes_through(corpus, tmp_path):
    kernel = kernels.gaussian(1.1)
    settings = Settings("richardson-lucy", strength=0.5, kernel=kernel.tolist(), iterations=3, memory="3GB")
    run(str(corpus), str(tmp_path / "out"), settings, workers=1, tries=1)
    told = next(row for row in rows(str(tmp_path / "out")) if row["error"] is None and "png" in row["input"])
    assert (told["method"], told["blur"]) == ("richardson-lucy", "kernel")
    alone = unblur.restore(
        corpus / told["input"], "richardson-lucy", strength=0.5, kernel=kernel, iterations=3
    )
    made = files.Source.open(tmp_path / "out" / told["output"]).read()
    assert np.abs(made.astype(int) - np.atleast_3d(alone.image)).max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": Settings(method="wienr")}, "wiener"),
        ({"settings": Settings(memory="1KB")}, "memory"),
        ({"engine": "spark"}, "engine"),
        ({"workers": 0}, "workers"),
        ({"tries": 0}, "tries"),
        ({"timeout": 0.0}, "timeout"),
    ],
)
def test_what_no_picture_could_be_restored_with(corpus, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        run(str(corpus), str(tmp_path / "out"), **{"workers": 1, **options})
    assert outputs(tmp_path / "out") == set()


def test_places_that_cannot_be(corpus, tmp_path):
    with pytest.raises(OptionError, match="are the same"):
        run(str(corpus), f"{corpus}/../in")
    with pytest.raises(OutputError, match="holds 'in'"):
        run(str(corpus), str(tmp_path))
    with pytest.raises(OutputError, match="holds '0'"):
        run(str(corpus / "0"), str(corpus))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="no pictures"):
        run(str(tmp_path / "empty"), str(tmp_path / "out"))
    with pytest.raises(FileError, match="no corpus"):
        status(str(corpus))
    with pytest.raises(FileError, match="no corpus"):
        list(rows(str(corpus)))


def test_a_damaged_status_is_said(corpus, tmp_path):
    run(str(corpus), str(tmp_path / "out"), FAST, workers=1)
    (tmp_path / "out" / "_unblur" / "status" / "00000.parquet").write_bytes(b"PAR1 rubbish")
    with pytest.raises(FileError, match="damaged"):
        status(str(tmp_path / "out"))


def test_a_worker_ends_with_its_driver_and_says_what_it_died_of(corpus, tmp_path):
    task = {"source": str(corpus), "destination": str(tmp_path), "options": {}}
    fleet = Processes(task, 1)
    worker = fleet.start()
    assert isinstance(worker, Process)
    while not (events := list(fleet.wait(1.0))):
        pass
    assert [event.kind for event in events] == ["ready"]
    environment = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    assert {f"{name}={value}".encode() for name, value in limits(1).items()} <= set(environment)
    worker._stdin.close()
    (event,) = fleet.wait(20.0)
    assert (event.kind, "exit code 0" in event.reason) == ("died", True)
    broken = Processes({"nonsense": 1}, 1)
    broken.start()
    (event,) = broken.wait(20.0)
    assert (event.kind, "TypeError" in event.reason) == ("died", True)
    for one in (fleet, broken):
        one.close()


@pytest.mark.parametrize(
    ("workers", "told", "threads"),
    [(2, "", 4), (3, "", 2), (None, "", 1), (9, "", 1), (2, "3", 3), (2, "9", 4)],
)
def test_workers_share_the_cores(corpus, tmp_path, monkeypatch, workers, told, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    given = []

    def begin(task, threads):
        given.append(threads)
        raise KeyboardInterrupt

    monkeypatch.setattr("unblur.corpus.run.Processes", begin)
    with pytest.raises(KeyboardInterrupt):
        run(str(corpus), str(tmp_path / "out"), FAST, workers=workers)
    assert given == [threads]


def test_a_restorer_blames_the_stage(corpus, tmp_path):
    good = next(str(path.relative_to(corpus)) for path in corpus.rglob("*.png") if path.stat().st_size > 99)
    restorer = Restorer(str(corpus), str(tmp_path / "out"), {"method": "wiener", "sigma": 1.0})
    assert restorer.attempt("none.png", "none.png")["stage"] == "read"
    (corpus / "bad.png").write_bytes(b"bad")
    assert restorer.attempt("bad.png", "bad.png")["stage"] == "restore"
    assert restorer.attempt(good, good)["error"] is None
    (tmp_path / "out" / "file").write_bytes(b"")
    assert restorer.attempt(good, "file/a.png")["stage"] == "write"


def test_two_runs_at_once(corpus, tmp_path):
    out = str(tmp_path / "out")
    other: list[BaseException] = []

    def second():
        try:
            run(str(corpus), out, FAST, resume=True)
        except OutputError as error:
            other.append(error)

    def progress(done, total, given_up):
        if done == 3:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    run(str(corpus), out, FAST, workers=1, progress=progress)
    assert "another run" in str(other[0])


def test_rows_are_noted_while_a_shard_is_at_work(tmp_path, monkeypatch):
    make_corpus(tmp_path / "in", 9, 0)
    monkeypatch.setattr("unblur.corpus.run.FLUSH", 0.0)
    most = []

    def progress(done, total, given_up):
        time.sleep(0.02)
        most.append(len(list((tmp_path / "out" / "_unblur" / "status").glob("*.*.parquet"))))

    run(str(tmp_path / "in"), str(tmp_path / "out"), FAST, workers=1, progress=progress)
    assert max(most) > 1
    assert status(str(tmp_path / "out")).done == 9


def test_a_jpeg_is_restored_as_restore_does(tmp_path):
    """A JPEG's tables tell its noise, which the pixels alone do not always."""
    from skimage import data as pictures

    from unblur.image import from_array, to_array
    from unblur.physics.convolve import gaussian_blur

    blurred = to_array(gaussian_blur(from_array(pictures.astronaut()[:24, :24]), 1.5), "uint8")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(files.encode(blurred, ".jpg", quality=70))
    options = {"method": "wiener", "sigma": 1.5}
    made = Restorer(str(tmp_path / "in"), str(tmp_path / "out"), options).attempt("a.jpg", "a.jpg")
    assert made["error"] is None
    unblur.restore(tmp_path / "in" / "a.jpg", **options).save(tmp_path / "other.jpg")
    assert (tmp_path / "out" / "a.jpg").read_bytes() == (tmp_path / "other.jpg").read_bytes()
    alone = unblur.restore(files.Source.open(tmp_path / "in" / "a.jpg").read(), **options)
    assert not np.array_equal(alone.image, unblur.restore(tmp_path / "in" / "a.jpg", **options).image)
