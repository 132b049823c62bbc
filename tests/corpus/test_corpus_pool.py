"""The scheduler, with a fleet that does what it is told."""

from collections import Counter, deque

import pytest

from unblur.corpus.manifest import Job
from unblur.corpus.pool import AHEAD, Event, drive
from unblur.errors import FileError, OptionError, OutputError, UnblurError


class Puppet:
    def __init__(self):
        self.jobs = deque()
        self.said_ready = False

    def give(self, job):
        self.jobs.append(job)


class Fleet:
    """Workers that do one job a wait; `script` says what happens to a job at each attempt."""

    def __init__(self, script=None, birth=lambda number: "ready"):
        self.script, self.birth = script or {}, birth
        self.workers, self.started, self.ended, self.closed = [], 0, [], False
        self.tried, self.most = Counter(), 0

    def start(self):
        self.started += 1
        self.workers.append(Puppet())
        return self.workers[-1]

    def wait(self, seconds):
        for worker in list(self.workers):
            self.most = max(self.most, len(worker.jobs))
            if not worker.said_ready:
                worker.said_ready = True
                kind = self.birth(self.started)
                if kind == "died":
                    self.workers.remove(worker)
                yield Event(worker, kind, reason="because")
            elif worker.jobs:
                job = worker.jobs[0]
                does = self.script.get(job.input, ())
                tried = self.tried[job.input]
                what = does[min(tried, len(does) - 1)] if does else "done"
                if what == "hangs":
                    continue
                self.tried[job.input] += 1
                if what == "dies":
                    self.workers.remove(worker)
                    yield Event(worker, "died", reason="killed")
                    continue
                worker.jobs.popleft()
                row = {"input": job.input, "error": None}
                if what != "done":
                    row = {"input": job.input, "error": "no good", "stage": what}
                yield Event(worker, "row", row=row)

    def end(self, worker):
        self.tried[worker.jobs[0].input] += 1
        self.workers.remove(worker)
        self.ended.append(worker)

    def close(self):
        self.closed = True


def go(fleet, shards, workers=2, tries=3, timeout=60.0):
    """What was finished, as input to row; nothing may be finished twice."""
    finished = {}

    def finish(job, row):
        assert job.input not in finished
        finished[job.input] = row

    try:
        drive(
            fleet,
            workers,
            iter([[Job(at, name, name) for name in shard] for at, shard in enumerate(shards)]),
            finish,
            tries=tries,
            timeout=timeout,
            tick=lambda: None,
        )
    finally:
        assert fleet.closed
    return finished


def test_everything_once_and_never_more_than_two_jobs_a_worker():
    fleet = Fleet()
    shards = [[f"{shard}-{number}" for number in range(30)] for shard in range(4)]
    finished = go(fleet, shards)
    assert set(finished) == {name for shard in shards for name in shard}
    assert all(row["attempts"] == 1 for row in finished.values())
    assert fleet.most == AHEAD == 2
    assert fleet.started == 2


def test_shards_are_opened_one_after_the_other():
    opened = []

    def shards():
        for number in range(3):
            opened.append(number)
            yield [Job(number, f"{number}-{at}", "x") for at in range(10)]

    drive(
        Fleet(),
        1,
        shards(),
        lambda job, row: opened.append(job.input),
        tries=1,
        timeout=9,
        tick=lambda: None,
    )
    # At most the jobs that a worker is ahead by are open when the next shard is.
    assert opened.index(1) >= 1 + 10 - AHEAD
    assert opened.index(2) >= 2 + 20 - AHEAD


def test_a_picture_is_tried_again_and_then_given_up():
    finished = go(Fleet({"bad": ["restore"], "once": ["restore", "done"]}), [["bad", "once", "good"]])
    assert finished["bad"] == {"input": "bad", "error": "no good", "attempts": 3}
    assert finished["once"]["error"] is None
    assert [finished[name]["attempts"] for name in ("once", "good")] == [2, 1]


def test_a_dead_worker_is_replaced_and_only_its_first_job_is_to_blame():
    fleet = Fleet({"poison": ["dies"]})
    finished = go(fleet, [["a", "poison", "b", "c", "d"]], workers=1)
    assert finished["poison"] == {"input": "poison", "error": "killed", "attempts": 3}
    assert {name: finished[name]["attempts"] for name in "abcd"} == dict.fromkeys("abcd", 1)
    assert fleet.started == 1 + 3


def test_a_worker_that_hangs_is_ended():
    fleet = Fleet({"slow": ["hangs", "done"]})
    finished = go(fleet, [["a", "slow", "b"]], timeout=0.05)
    assert len(fleet.ended) == 1
    assert finished["slow"]["attempts"] == 2
    assert finished["b"]["attempts"] == 1


def test_refusal_ends_the_run():
    with pytest.raises(OptionError, match="because"):
        go(Fleet(birth=lambda number: "refused"), [["a"]])


def test_workers_that_never_start_end_the_run():
    with pytest.raises(UnblurError, match="do not start"):
        go(Fleet(birth=lambda number: "died"), [["a"]])


def test_a_few_that_do_not_start_are_replaced():
    finished = go(Fleet(birth=lambda number: "died" if number < 4 else "ready"), [["a"]], workers=1)
    assert finished["a"]["attempts"] == 1


def test_what_cannot_be_written_ends_the_run_and_blames_no_picture():
    fleet = Fleet({"a": ["write"]})
    with pytest.raises(OutputError, match="no good"):
        go(fleet, [["a", "b"]])
    assert fleet.tried["a"] == 3


def test_a_source_that_went_away_ends_the_run():
    names = [f"{number:03}" for number in range(200)]
    with pytest.raises(FileError, match="in a row"):
        go(Fleet(dict.fromkeys(names[10:], ("read",))), [names], tries=1)
    # A few that cannot be read are the pictures' own fault.
    assert len(go(Fleet(dict.fromkeys(names[::2], ("read",))), [names], tries=1)) == 200
