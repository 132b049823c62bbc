"""One picture after another, in a process of its own: `python -m unblur.corpus.worker` reads jobs and writes rows.

Each is a line of JSON, on standard input and output. The first line in says what to do; the first line out is
{"ready": true}, or {"refused": WHY} where no picture could be done that way. Whatever else is printed meanwhile goes
to standard error. The process ends with its input, so that none is left when its driver is killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import PurePosixPath
from typing import Any

from unblur.corpus.store import Store, one_line
from unblur.errors import InputError, MissingExtraError


def limits(threads: int) -> dict[str, str]:
    """Environment variables that keep a process to so many threads, set before it starts."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VIPS_CONCURRENCY")
    return dict.fromkeys(names, str(threads))


class Restorer:
    """Restores pictures of one store into another, with the engine and its models kept loaded.

    options: those of `unblur.restore`. Raises InputError or MissingExtraError for options that no picture could
    be restored with.
    """

    def __init__(self, source: str, destination: str, options: dict[str, Any]) -> None:
        # Imported here: who only drives workers needs none of this.
        import numpy as np

        from unblur import engine

        self._source, self._destination = Store(source), Store(destination)
        if options.get("kernel") is not None:
            options = {**options, "kernel": np.asarray(options["kernel"], np.float32)}
        self._plan = engine.Plan.make(**options)
        self._plan.load()

    def attempt(self, input_: str, output: str) -> dict[str, Any]:
        """Restore one picture: its row, with `error` None; or input, `error` and the `stage` that failed.

        The stages are "read", "restore" and "write".
        """
        started = time.perf_counter()
        stage = "read"
        try:
            data = self._source.read(input_)
            stage = "restore"
            facts, restored = self._restore(data, input_, output)
            stage = "write"
            self._destination.write(output, restored)
        # Whatever a file does to a library, it must not stop the others.
        except Exception as error:  # noqa: BLE001
            reason = one_line(error).removeprefix("picture: ")
            return {"input": input_, "stage": stage, "error": reason}
        return {
            "input": input_,
            "output": output,
            "bytes": len(data),
            "output_bytes": len(restored),
            "sha256": hashlib.sha256(data).hexdigest(),
            "output_sha256": hashlib.sha256(restored).hexdigest(),
            **facts,
            "seconds": time.perf_counter() - started,
            "error": None,
        }

    def _restore(self, data: bytes, input_: str, output: str) -> tuple[dict[str, Any], bytes]:
        from unblur import files

        picture = files.Source.open(data)
        result = self._plan.restore(data)  # the bytes: a JPEG's tables tell its noise
        if result.method == "none" and input_ == output:
            restored = data  # not even encoded anew
        else:
            restored = files.encode(result.image, PurePosixPath(output).suffix, like=picture)
        facts = {
            "width": picture.width,
            "height": picture.height,
            "blur": result.blur.kind,
            "blur_parameters": dict(result.blur.parameters),
            "method": result.method,
            "left_alone": list(result.left_alone),
        }
        return facts, restored


def main() -> None:
    """Serve jobs until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def reply(thing: dict[str, Any]) -> None:
        print(json.dumps(thing), file=replies)

    try:
        restorer = Restorer(**json.loads(sys.stdin.readline()))
    except (InputError, MissingExtraError) as error:
        reply({"refused": str(error)})
        return
    reply({"ready": True})
    for line in sys.stdin:
        reply(restorer.attempt(*json.loads(line)))


if __name__ == "__main__":
    main()
