"""The page under load."""

import statistics
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests

pytestmark = pytest.mark.slow

UPLOADS, CLIENTS = 200, 20


def resident(process):
    """Bytes of memory of a process and all that it started."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:  # ended meanwhile
            continue
        if str(process) in (lines["Pid"].strip(), lines["PPid"].strip()):
            total += int(lines.get("VmRSS", "0 kB").split()[0]) * 1024
    return total


def settled(process):
    """The memory once nothing changes any more."""
    last = resident(process)
    while True:
        time.sleep(1)
        now = resident(process)
        if abs(now - last) < 1e6:
            return now
        last = now


@pytest.mark.parametrize("queue", [32, 4])
def test_200_uploads_from_20_clients(command, tmp_path, photo, sharp, tiff, queue):
    pictures = [("a.jpg", photo), ("b.png", sharp), ("c.tif", tiff)]
    with command(tmp_path, "--queue", queue, "--rate", 0) as server:
        for _ in range(4):  # what is loaded once, is
            for picture in pictures:
                requests.post(f"{server.url}/api/restore", files={"file": picture}, timeout=60)
        start = settled(server.process.pid)
        answers, lock, turns = [], threading.Lock(), iter(range(UPLOADS))

        def client():
            with requests.Session() as session:
                while True:
                    with lock:
                        if (turn := next(turns, None)) is None:
                            return
                    picture = pictures[turn % len(pictures)]
                    began = time.perf_counter()
                    answer = session.post(
                        f"{server.url}/api/restore",
                        files={"file": picture},
                        data={"answer": "json"},
                        timeout=300,
                    )
                    with lock:
                        answers.append((answer.status_code, time.perf_counter() - began))

        began = time.perf_counter()
        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - began
        end = settled(server.process.pid)
        assert server.left_behind() == []
    statuses = [status for status, _ in answers]
    times = sorted(seconds for status, seconds in answers if status == 200)
    print(
        f"\nqueue {queue}: {statuses.count(200)} restored, {UPLOADS - statuses.count(200)} refused in {taken:.1f} s;"
        f" answered in {statistics.median(times):.2f} s (median), {np.percentile(times, 95):.2f} s (p95);"
        f" memory {start / 1e6:.0f} MB before, {end / 1e6:.0f} MB after"
    )
    assert len(statuses) == UPLOADS
    assert set(statuses) <= {200, 429, 503}
    assert statuses.count(200) >= (UPLOADS if queue >= CLIENTS else queue)
    assert end - start < 100e6
