"""Workers that are actors of a Ray cluster.

Actors, and not Ray Data, whose unit is a block of rows: there a picture that kills its worker is tried without end
or takes the whole job with it, a worker that hangs is waited for, and a block whose node is lost is done again from
its first picture. Here the unit is the picture, and what is tried again is decided in `pool`, as on one machine.
Only names and rows go through Ray; pixels go from store to worker to store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unblur.corpus.manifest import Job
from unblur.corpus.pool import Event, Worker
from unblur.corpus.worker import Restorer, limits
from unblur.errors import InputError, MissingExtraError

try:
    import ray
    from ray.exceptions import RayError
except ImportError as error:
    raise MissingExtraError("the engine ray", "cluster") from error


class Remote:
    """What runs in an actor."""

    def open(self, task: dict[str, Any]) -> dict[str, Any]:
        """Load what is needed; why not, where that cannot work."""
        try:
            self._restorer = Restorer(**task)
        except (InputError, MissingExtraError) as error:
            return {"refused": str(error)}
        return {"ready": True}

    def attempt(self, input_: str, output: str) -> dict[str, Any]:
        """Restore one picture."""
        return self._restorer.attempt(input_, output)


class Actor:
    """A worker actor, and what it was asked."""

    def __init__(self, task: dict[str, Any], threads: int) -> None:
        # An actor that dies is not restarted by Ray but replaced: only so is it known what it died of.
        self._remote = (
            ray.remote(Remote)
            .options(
                num_cpus=threads,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
                runtime_env={"env_vars": limits(threads)},
            )
            .remote()
        )
        self.asked: list[Any] = [self._remote.open.remote(task)]

    def give(self, job: Job) -> None:
        """Hand over a job."""
        self.asked.append(self._remote.attempt.remote(job.input, job.output))

    def kill(self) -> None:
        """End it at once."""
        self.asked = []
        ray.kill(self._remote)


class Actors:
    """The workers of a cluster: that which RAY_ADDRESS names, which runs here already, or a new one here.

    task: what `worker.Restorer` takes. threads: cores for each worker.
    """

    def __init__(self, task: dict[str, Any], threads: int) -> None:
        self._task, self._threads = task, threads
        self._began = not ray.is_initialized()
        if self._began:
            ray.init(log_to_driver=False, logging_level="ERROR")
        self._actors: list[Actor] = []

    @property
    def room(self) -> int:
        """The number of workers that the cluster has cores for."""
        return max(1, int(ray.cluster_resources().get("CPU", 1)) // self._threads)

    def start(self) -> Actor:
        """A new actor; it waits where the cluster has no room."""
        actor = Actor(self._task, self._threads)
        self._actors.append(actor)
        return actor

    def wait(self, seconds: float) -> Iterator[Event]:
        """What the actors answer."""
        asked = {reference: actor for actor in self._actors for reference in actor.asked}
        if not asked:
            return
        ray.wait(list(asked), num_returns=1, timeout=seconds)
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for reference in answered:
            actor = asked[reference]
            if reference not in actor.asked:
                continue
            actor.asked.remove(reference)
            yield self._event(actor, reference)

    def _event(self, actor: Actor, reference: Any) -> Event:
        try:
            said = ray.get(reference)
        except RayError as error:
            self.end(actor)
            return Event(actor, "died", reason=f"its worker was lost: {' '.join(str(error).split())[:300]}")
        if "ready" in said:
            return Event(actor, "ready")
        if "refused" in said:
            return Event(actor, "refused", reason=said["refused"])
        return Event(actor, "row", row=said)

    def end(self, worker: Worker) -> None:
        """End an actor at once."""
        assert isinstance(worker, Actor)
        self._actors.remove(worker)
        worker.kill()

    def close(self) -> None:
        """End all actors, and the cluster if it was begun here."""
        for actor in list(self._actors):
            self.end(actor)
        if self._began:
            ray.shutdown()
