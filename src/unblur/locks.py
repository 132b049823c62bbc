"""One run at a time where two would spoil each other's files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from unblur.errors import OutputError


@contextlib.contextmanager
def locked(path: Path, complaint: str) -> Iterator[None]:
    """Keep other runs of this machine from a file or folder that is there; where locks do not work, nothing is done.

    Raises OutputError with that complaint where another run holds it, OSError where it cannot be opened.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    # Some network folders lock only what may be written, and a folder cannot be opened for that.
    lock = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(complaint) from error
        except OSError:  # a network folder without locks
            pass
        yield
    finally:
        os.close(lock)
