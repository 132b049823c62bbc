"""Two thousand pictures on this machine, with workers that are killed."""

import os
import signal
import time
from pathlib import Path

import pytest
from corpora import check_whole, make_corpus

from unblur.corpus.manifest import Settings
from unblur.corpus.run import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FAST = Settings(method="wiener", sigma=1.2)


def resident(process):
    """Bytes that a process has in memory."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("count", [2000])
def test_workers_killed(tmp_path, count, started):
    broken = make_corpus(tmp_path / "in", count, count // 100)
    killed = []

    def progress(done, total, given_up):
        for share, worker in ((0.3, 0), (0.6, 1)):
            if done == round(share * total):
                os.kill(started[worker].pid, signal.SIGKILL)
                killed.append(worker)
        if done in (round(0.7 * total), round(0.99 * total)):
            memory.append([resident("self"), *(resident(worker.pid) for worker in started[2:])])

    memory = []
    out = tmp_path / "out"
    summary = run(str(tmp_path / "in"), str(out), FAST, workers=2, progress=progress)
    assert killed == [0, 1]
    assert len(started) == 4
    early, late = memory
    assert all(after - before < 30_000_000 for before, after in zip(early, late, strict=True)), memory
    assert (summary.done, summary.quarantined) == (count - len(broken), len(broken))
    check_whole(tmp_path / "in", out, broken, count)
    begun = time.perf_counter()
    assert run(str(tmp_path / "in"), str(out), FAST, resume=True) == summary
    assert time.perf_counter() - begun < 5
