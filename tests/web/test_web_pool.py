"""Workers: what happens to slow jobs, dead workers and clients that left."""

import asyncio
import os
import time

import pytest

from unblur.web.pool import Pool
from unblur.web.refusal import Refusal


def work(job):
    """A job that does what its first word says."""
    what, number = job
    if what == "sleep":
        time.sleep(number)
    if what == "die":
        os._exit(1)
    return number, os.getpid()


async def here():
    return False


async def left():
    return True


def in_pool(story, workers=1, seconds=20.0):
    """Run a coroutine with a pool of processes."""

    async def told():
        pool = Pool(work, workers, seconds)
        pool.start()
        try:
            return await story(pool)
        finally:
            pool.stop()

    return asyncio.run(told())


def test_a_worker_stays(monkeypatch):
    async def story(pool):
        return [await pool.run(("count", number), here) for number in range(3)]

    answers = in_pool(story)
    assert [number for number, _ in answers] == [0, 1, 2]
    assert len({worker for _, worker in answers}) == 1
    assert answers[0][1] != os.getpid()


def test_a_dead_worker_is_replaced():
    async def story(pool):
        _, first = await pool.run(("count", 1), here)
        with pytest.raises(Refusal) as refused:
            await pool.run(("die", 1), here)
        return first, refused.value, await pool.run(("count", 2), here)

    first, refused, (number, second) = in_pool(story)
    assert (refused.status_code, refused.code) == (500, "died")
    assert number == 2
    assert first != second


def test_a_slow_job_is_ended():
    async def story(pool):
        _, first = await pool.run(("count", 1), here)
        pool._seconds = 0.3
        started = time.perf_counter()
        with pytest.raises(Refusal) as refused:
            await pool.run(("sleep", 30), here)
        taken = time.perf_counter() - started
        pool._seconds = 20
        return first, refused.value, taken, await pool.run(("count", 2), here)

    first, refused, taken, (number, second) = in_pool(story)
    assert (refused.status_code, refused.code) == (504, "too_slow")
    assert taken < 5
    assert number == 2
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert second != first


def test_who_waits_too_long_is_sent_away():
    async def story(pool):
        await pool.run(("count", 1), here)
        pool._seconds = 1.0
        slow = asyncio.create_task(pool.run(("sleep", 0.8), here))
        await asyncio.sleep(0.05)
        pool._seconds = 0.2
        with pytest.raises(Refusal) as refused:
            await pool.run(("count", 2), here)
        return refused.value, await slow

    refused, (number, _) = in_pool(story)
    assert (refused.status_code, refused.retry) == (503, 10)
    assert number == 0.8


def test_nothing_is_done_for_clients_that_left():
    async def story(pool):
        with pytest.raises(Refusal, match="did not wait"):
            await pool.run(("die", 1), left)
        return await pool.run(("count", 2), here)

    assert in_pool(story)[0] == 2
