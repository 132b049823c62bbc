"""Small corpora, and workers that find the package."""

import os
from pathlib import Path

import pytest
from corpora import make_corpus

import unblur
from unblur.corpus.local import Processes


@pytest.fixture
def corpus(tmp_path):
    """A folder of 12 pictures, 2 of them broken."""
    make_corpus(tmp_path / "in", 12, 2)
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def _found_by_workers(monkeypatch):
    """Workers are processes of their own: let them find the package that is tested."""
    here = str(Path(unblur.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
def started(monkeypatch):
    """The worker processes that were started, in order."""
    workers = []
    begin = Processes.start

    def start(self):
        workers.append(begin(self))
        return workers[-1]

    monkeypatch.setattr(Processes, "start", start)
    return workers
