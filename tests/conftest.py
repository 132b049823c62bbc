"""Shared fixtures."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Shared machines stall now and then; a run must not depend on luck.
settings.register_profile("unblur", deadline=None, derandomize=True)
settings.load_profile("unblur")

# A shell that starts the tests in the background has them ignore Ctrl-C, and the commands they start would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of sample data sets: $UNBLUR_DATA, or shared/data beside the checkout."""
    candidates = [os.environ.get("UNBLUR_DATA"), REPO.parent / "shared" / "data", REPO / "shared" / "data"]
    for candidate in candidates:
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("no sample data: set UNBLUR_DATA")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A public-domain portrait, float32 (512, 512, 3)."""
    from skimage import data as pictures

    from unblur.image import from_array

    return from_array(pictures.astronaut())


@pytest.fixture(scope="session")
def camera() -> np.ndarray:
    """A public-domain grey photograph, float32 (512, 512, 1)."""
    from skimage import data as pictures

    from unblur.image import from_array

    return from_array(pictures.camera())
