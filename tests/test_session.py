"""Many pictures at once: shared sessions, bounded streams, and nothing left running."""

import asyncio
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import unblur
from unblur import files, models, nets, tiling
from unblur.errors import FileError, ImageError, OptionError
from unblur.image import to_array
from unblur.physics.convolve import gaussian_blur

QUICK = {"method": "richardson-lucy", "sigma": 1.2, "iterations": 2}


@pytest.fixture(scope="module")
def pictures(astronaut):
    """Eight different pictures under a Gaussian of sigma 1.2, 8 bit."""
    blurred = to_array(gaussian_blur(astronaut, 1.2), np.uint8)
    return [blurred[at : at + 90, 2 * at : 2 * at + 80] for at in range(60, 140, 10)]


@pytest.fixture(scope="module")
def expected(pictures):
    return [unblur.restore(picture, **QUICK).image for picture in pictures]


@pytest.fixture
def session():
    with unblur.Session(**QUICK) as made:
        yield made


def working():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("unblur")]


class Slow:
    """Stands in for `progress`: says when the first tile is done, and lets no further one begin until told."""

    def __init__(self):
        self.begun, self.go_on, self.steps = threading.Event(), threading.Event(), 0

    def __call__(self, done, total):
        assert total > 1
        self.steps += 1
        self.begun.set()
        assert self.go_on.wait(20)


@pytest.fixture
def in_tiles(monkeypatch):
    monkeypatch.setattr(tiling, "sides_for_memory", lambda *_: 64)


def test_threads_share_a_session(session, pictures, expected):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(session.restore, pictures * 2))
    for result, image in zip(results, expected * 2, strict=True):
        assert np.array_equal(result.image, image)


def test_asyncio_tasks_share_a_session_and_the_loop_goes_on(pictures, expected):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        async with unblur.Session(**QUICK) as session:
            results = await asyncio.gather(*map(session.arestore, pictures))
        ticking.cancel()
        return results, ticks

    results, ticks = asyncio.run(main())
    assert all(np.array_equal(result.image, image) for result, image in zip(results, expected, strict=True))
    assert ticks > 5
    assert not working()


def test_a_network_in_many_threads(pictures, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    tensors = {name: value.numpy() for name, value in nets.create("unet16").state_dict().items()}
    path = models.write_weights(tmp_path / "unet16.safetensors", tensors, models.card("unet16"))
    small = [picture[:32, :32] for picture in pictures]
    alone = [unblur.restore(picture, str(path)).image for picture in small]
    with unblur.Session(str(path), workers=4) as session, ThreadPoolExecutor(8) as pool:
        together = [result.image for result in pool.map(session.restore, small)]
    assert all(np.array_equal(*pair) for pair in zip(alone, together, strict=True))


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_backend_in_many_threads(backend, rng, tmp_path):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip(f"unblur.runtime.{backend}")
    weight = onnx.numpy_helper.from_array(rng.random((3, 3, 5, 5), np.float32), "w")
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3, "h", "w_"]) for name in "xy"
    ]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[2, 2, 2, 2])
    graph = onnx.helper.make_graph([node], "blur", ends[:1], ends[1:], [weight])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.helper.set_model_props(made, {"card": "{}"})
    onnx.save(made, tmp_path / "model.onnx")
    runner = {"onnx": "OnnxBackend", "openvino": "OpenVinoBackend"}[backend]
    shared = getattr(runtime, runner)(tmp_path / "model.onnx")
    batches = [rng.random((1, 3, 200, 200), np.float32) for _ in range(24)]
    alone = [shared.run(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(shared.run, batches))
    assert all(np.array_equal(*pair) for pair in zip(alone, together, strict=True))


def test_no_more_than_the_workers_run_at_once(pictures, in_tiles):
    running, most, lock = set(), 0, threading.Lock()

    def progress(done, total):
        nonlocal most
        with lock:
            running.add(threading.get_ident())
            most = max(most, len(running))
            if done == total:
                running.discard(threading.get_ident())
        time.sleep(0.01)  # long enough for another to begin, on a busy machine as well

    with unblur.Session(**QUICK, workers=2) as session, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda picture: session.restore(picture, progress=progress), pictures))
    assert most == 2


def test_a_stream_keeps_the_order(pictures, expected):
    mixed = [picture[: 20 + 10 * index] for index, picture in enumerate(reversed(pictures))]
    results = list(unblur.restore_stream(mixed, **QUICK, workers=3))
    for result, picture in zip(results, mixed, strict=True):
        assert np.array_equal(result.image, unblur.restore(picture, **QUICK).image)
    assert not working()


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_stream_is_bounded(ahead, session, pictures):
    taken = 0

    def endless():
        nonlocal taken
        for picture in itertools.cycle(pictures):
            taken += 1
            yield picture

    stream = session.stream(endless(), ahead=ahead)
    assert taken == 0
    for given in range(1, 12):
        next(stream)
        assert taken - (given - 1) <= ahead
    stream.close()
    assert taken <= 11 + ahead


def test_an_error_ends_a_stream_or_is_given(session, pictures, tmp_path):
    path = files.save(pictures[0], tmp_path / "a.png")
    mixed = [pictures[0], tmp_path / "missing.png", path, np.zeros((4, 4), np.int32)]
    given = list(session.stream(mixed, on_error="return"))
    assert [type(one) for one in given] == [unblur.Result, FileError, unblur.Result, ImageError]
    assert np.array_equal(given[0].image, given[2].image)
    stream = session.stream(mixed)
    assert next(stream).image.shape == pictures[0].shape
    with pytest.raises(FileError, match="no such file") as caught:
        next(stream)
    assert caught.value.__notes__ == ["picture 1 of the stream"]
    with pytest.raises(StopIteration):
        next(stream)


def test_an_error_of_the_source_is_passed_on(session, pictures):
    def broken():
        yield pictures[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(session.stream(broken()))


def test_a_dropped_stream_leaves_nothing_running(pictures, in_tiles):
    stream = unblur.restore_stream(itertools.cycle(pictures), **QUICK, ahead=8)
    next(stream)
    assert working()
    stream.close()
    assert not working()


def test_cancellation_leaves_nothing_running(pictures, in_tiles):
    slow = Slow()

    async def main():
        session = unblur.Session(**QUICK, workers=1)
        running = asyncio.create_task(session.arestore(pictures[0], progress=slow))
        waiting = asyncio.create_task(session.arestore(pictures[1], progress=slow))
        assert await asyncio.to_thread(slow.begun.wait, 20)
        for task in (waiting, running):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        slow.go_on.set()
        result = await session.arestore(pictures[2])  # the only worker is free again
        await asyncio.to_thread(session.close)
        return result

    assert asyncio.run(main()).method == QUICK["method"]
    assert slow.steps == 1, "the picture went on, or the other began"
    assert not working()


def test_closing_gives_up_what_runs_and_what_waits(pictures, in_tiles):
    slow = Slow()
    session = unblur.Session(**QUICK, workers=1)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(session.restore, pictures[0], progress=slow)
        assert slow.begun.wait(20)
        waiting = pool.submit(session.restore, pictures[1], progress=slow)
        threading.Timer(0.1, slow.go_on.set).start()
        while not session._pool._work_queue.qsize():
            time.sleep(0.001)
        session.close()
        for future in (running, waiting):
            with pytest.raises(OptionError, match="session is closed"):
                future.result(20)
    assert slow.steps == 1
    assert not working()
    with pytest.raises(OptionError, match="session is closed"):
        session.restore(pictures[0])
    with pytest.raises(OptionError, match="session is closed"):
        asyncio.run(session.arestore(pictures[0]))
    session.close()


def test_closing_while_tasks_wait_is_no_cancellation(pictures, in_tiles):
    slow = Slow()

    async def main():
        async with unblur.Session(**QUICK, workers=1) as session:
            task = asyncio.create_task(session.arestore(pictures[0], progress=slow))
            assert await asyncio.to_thread(slow.begun.wait, 20)
            threading.Timer(0.05, slow.go_on.set).start()
        with pytest.raises(OptionError, match="session is closed"):
            await task

    asyncio.run(main())


def test_the_memory_is_shared(pictures, monkeypatch):
    rooms, true = [], tiling.sides_for_memory
    monkeypatch.setattr(
        tiling, "sides_for_memory", lambda room, *more: rooms.append(room) or true(room, *more)
    )
    for workers in (1, 4):
        budget = tiling.memory_in_use() + 1_000_000_000
        with unblur.Session(**QUICK, workers=workers, memory=budget) as session:
            rooms.clear()
            session.restore(pictures[0])
            rooms.append(rooms.pop() * workers)
            assert rooms[-1] == pytest.approx(budget - session._plan.idle, abs=1e6)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: unblur.Session(workers=0), "workers"),
        (lambda: unblur.Session("wienr"), "did you mean"),
        (lambda: unblur.Session(sigma=-1), "sigma"),
        (lambda: unblur.restore_stream([], workers=0), "workers"),
        (lambda: unblur.restore_stream([], ahead=0), "ahead"),
        (lambda: unblur.restore_stream([], on_error="ignore"), "on_error"),
    ],
)
def test_wrong_options_are_told_at_once(make, word):
    with pytest.raises(OptionError, match=word):
        make()


def test_what_no_picture_could_be_restored_with_is_told_at_once():
    with pytest.raises(FileError):
        unblur.Session("no-such-file.onnx")
