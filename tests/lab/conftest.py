"""A training that takes a second."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_helpers import TINY, Stable

from unblur import files
from unblur.lab import recipe as recipes
from unblur.lab import report
from unblur.lab.recipe import Recipe


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, and no curves: drawing one takes longer than the trainings here."""
    torch.set_num_threads(1)
    monkeypatch.setattr(report, "save_curve", lambda *arguments: None)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of 24x20 with smooth and sharp parts."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(3)
    for number in range(24):
        blocks = rng.integers(0, 256, (6, 5, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        files.save(blocks, folder / f"{number:02}.png")
    return folder


@pytest.fixture
def tiny(photographs: Path) -> Callable[..., Recipe]:
    """The recipe, with changes as on the command line."""

    def make(*overrides: str) -> Recipe:
        content = copy.deepcopy(TINY)
        content["data"]["root"] = str(photographs)
        return recipes.parse(content, overrides)

    return make


@pytest.fixture(scope="session")
def stable() -> Iterator[Stable]:
    stable = Stable()
    yield stable
    stable.process.kill()
    stable.process.communicate()


@pytest.fixture
def recipe_file(photographs: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    content = {**TINY, "data": {**TINY["data"], "root": str(photographs)}}
    path.write_text(json.dumps({"recipe": content}))
    return path
