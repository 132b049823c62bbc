"""Two nodes of a Ray cluster on this machine."""

import os
import signal
import threading
import time

import pytest
from corpora import check_whole, make_corpus

from unblur.corpus.manifest import Settings
from unblur.corpus.run import run

ray = pytest.importorskip("ray")

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

FAST = Settings(method="wiener", sigma=1.2)


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of two nodes with a core each, connected to; the second node can be removed."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    nodes.add_node(num_cpus=1, object_store_memory=100_000_000)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    try:
        nodes.wait_for_nodes()
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def actors():
    """Node and process of each actor that lives."""
    from ray._private.state import actors as all_actors  # the public list needs the dashboard

    alive = (actor for actor in all_actors().values() if actor["State"] == "ALIVE")
    return [(actor["Address"]["NodeID"], actor["Pid"]) for actor in alive]


@pytest.mark.parametrize("count", [2000])
def test_a_worker_killed_and_a_node_lost(cluster, tmp_path, count):
    broken = make_corpus(tmp_path / "in", count, count // 100)
    out = tmp_path / "out"
    head = cluster.head_node.node_id
    second = next(node for node in cluster.list_all_nodes() if node.node_id != head)
    happened = []

    def progress(done, total, given_up):
        if done >= 0.3 * total and not happened:
            pid = next(pid for node, pid in found if node == head)
            os.kill(pid, signal.SIGKILL)
            happened.append("killed")
        if done >= 0.6 * total and len(happened) == 1:
            happened.append("removed")
            threading.Thread(target=cluster.remove_node, args=(second, False)).start()
        if done == 20:
            found.extend(actors())

    found = []
    summary = run(str(tmp_path / "in"), str(out), FAST, engine="ray", workers=2, progress=progress)
    assert happened == ["killed", "removed"]
    assert {node for node, _ in found} == {head, second.node_id}
    assert (summary.files, summary.done, summary.quarantined) == (count, count - len(broken), len(broken))
    check_whole(tmp_path / "in", out, broken, count)
    started = time.perf_counter()
    assert run(str(tmp_path / "in"), str(out), FAST, engine="ray", resume=True) == summary
    assert time.perf_counter() - started < 5
