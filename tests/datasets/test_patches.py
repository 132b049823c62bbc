"""The patch selector and the study behind it, as a function and as a command."""

import builtins
import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from unblur.cli.patches import patches
from unblur.datasets import patches as module
from unblur.datasets.common import Pair
from unblur.errors import FileError, MissingExtraError, OptionError, OutputError
from unblur.image import to_array
from unblur.metrics import ssim
from unblur.physics.convolve import gaussian_blur


@pytest.fixture(scope="module")
def frames(astronaut):
    """A sharp frame, and one that is blurred in its right half only."""
    sharp = to_array(astronaut[:160, :320], np.uint8)
    blurred = sharp.copy()
    blurred[:, 160:] = to_array(gaussian_blur(astronaut[:160, :320], 3), np.uint8)[:, 160:]
    return blurred, sharp


@pytest.fixture
def counted(monkeypatch):
    calls = []

    def counting(*arguments, **options):
        calls.append(ssim(*arguments, **options))
        return calls[-1]

    monkeypatch.setattr(module, "ssim", counting)
    return calls


def test_a_frame_without_blur_still_gives_the_number_asked_for(frames, rng, counted):
    _, sharp = frames
    found = module.select_patches(sharp, sharp, 5, rng, size=32, tries=20)
    assert len(found) == 5
    assert counted == [1.0] * 20
    assert len({(patch.top, patch.left) for patch in found}) == 5


def test_patches_that_show_blur_are_preferred(frames, rng):
    blurred, sharp = frames
    for _ in range(5):
        found = module.select_patches(blurred, sharp, 6, rng, size=32)
        assert len(found) == 6
        for patch in found:
            assert ssim(patch.blurred, patch.sharp, data_range=255) < 0.9
            cut = np.s_[patch.top : patch.top + 32, patch.left : patch.left + 32]
            assert np.array_equal(patch.blurred, blurred[cut])
            assert np.array_equal(patch.sharp, sharp[cut])


def test_what_is_lacking_is_filled_up_behind_what_was_found(frames, rng, counted):
    blurred, sharp = frames
    found = module.select_patches(blurred, sharp, 12, rng, size=32, tries=10)
    first = [score for score in counted if score < 0.9]
    assert len(counted) == 10
    assert 0 < len(first) < 10
    assert len(found) == 12
    scores = [ssim(patch.blurred, patch.sharp, data_range=255) for patch in found]
    assert scores[: len(first)] == first
    assert max(scores[len(first) :]) >= 0.9
    assert module.select_patches(blurred, sharp, 0, rng, size=32) == []


def test_ssim_is_computed_no_further_than_needed(astronaut, rng, counted):
    sharp = to_array(astronaut[:128, :128], np.uint8)
    blurred = to_array(gaussian_blur(astronaut[:128, :128], 3), np.uint8)
    module.select_patches(blurred, sharp, 2, rng, size=32)
    assert sum(score < 0.9 for score in counted) == 2
    assert counted[-1] < 0.9
    assert len(counted) < 6


def test_selection_follows_the_seed_and_reaches_every_corner(frames):
    blurred, sharp = frames
    once, again, other = (
        [
            p[2:]
            for p in module.select_patches(
                blurred, sharp, 4, np.random.default_rng(seed), size=32, threshold=2
            )
        ]
        for seed in (1, 1, 2)
    )
    assert once == again != other
    small = sharp[:34, :33]
    every = module.select_patches(small, small, 6, np.random.default_rng(0), size=32, threshold=2)
    assert {p[2:] for p in every} == {(top, left) for top in range(3) for left in range(2)}
    exact = module.select_patches(small[:32, :32], small[:32, :32], 3, np.random.default_rng(0), size=32)
    assert [p[2:] for p in exact] == [(0, 0)] * 3
    with pytest.raises(OptionError, match="33x34 has no patch of 64"):
        module.select_patches(small, small, 1, np.random.default_rng(0), size=64)


def test_patch_ssims(frames, rng):
    blurred, sharp = frames
    pairs = [Pair("a", blurred, sharp), Pair("b", sharp, sharp)]
    scores = module.patch_ssims(pairs, rng, 8, size=40)
    assert scores.shape == (16,)
    assert (scores[8:] == 1).all()
    assert scores[:8].min() < 0.9
    whole = module.patch_ssims([Pair("c", blurred[:40, 200:240], sharp[:40, 200:240])], rng, 8, size=40)
    assert whole == pytest.approx([ssim(blurred[:40, 200:240], sharp[:40, 200:240], data_range=255)], abs=0)


@pytest.fixture
def study(tmp_path, draw, frames):
    """A folder of two pairs, one of them without blur."""
    blurred, sharp = frames
    for name, picture in (("a", blurred), ("b", sharp)):
        draw(tmp_path / "pairs" / "blurred" / f"{name}.png", picture)
        draw(tmp_path / "pairs" / "sharp" / f"{name}.png", sharp)
    return tmp_path / "pairs"


def run(*arguments):
    app = typer.Typer()
    app.command()(patches)
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran


def test_the_command_in_json_and_words(study):
    options = (study, "--size", 40, "--per-frame", 12, "--seed", 4)
    facts = json.loads(run(*options, "--json").stdout)
    assert facts["pairs"] == 2
    assert facts["patches"] == sum(facts["counts"]) == 24
    assert len(facts["edges"]) == len(facts["counts"]) + 1 == len(facts["density"])
    assert 0.5 < facts["share_above"] < 1
    assert facts == json.loads(run(*options, "--json").stdout)
    strict = json.loads(run(*options, "--json", "--threshold", 1.1).stdout)
    assert strict["share_above"] == 0
    words = run(*options).stdout
    assert "24 patches of 40x40 from 2 pairs" in words
    assert f"{facts['share_above']:.1%}" in words
    assert json.loads(run(*options, "--json", "--limit", 1).stdout)["pairs"] == 1


def test_a_density_over_equal_scores_is_none(study):
    (study / "blurred" / "a.png").unlink()
    facts = json.loads(run(study, "--size", 40, "--json", "--per-frame", 3).stdout)
    assert facts["share_above"] == 1
    assert facts["density"] is None


def test_the_plot(study, tmp_path, frames):
    pytest.importorskip("matplotlib")
    from unblur.datasets.common import read

    plot = tmp_path / "plot.png"
    run(study, "--size", 40, "-o", plot)
    pixels = read(plot).reshape(-1, 3)
    assert len(pixels) > 100_000
    assert (pixels == (214, 39, 40)).all(axis=1).sum() > 50  # the threshold is drawn in red
    with pytest.raises(OutputError, match="exists"):
        run(study, "--size", 40, "-o", plot)
    run(study, "--size", 40, "-o", plot, "--overwrite")
    with pytest.raises(OptionError, match=r"\.png"):
        run(study, "-o", tmp_path / "plot.txt")


def test_the_plot_without_matplotlib(study, tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r"unblur\[train\]"):
        run(study, "--size", 40, "-o", tmp_path / "plot.png")
    assert json.loads(run(study, "--size", 40, "--json").stdout)["pairs"] == 2


def test_the_command_on_bad_input(study, tmp_path):
    with pytest.raises(FileError, match="no folders blurred and sharp, nor is it the root of REDS"):
        run(tmp_path)
    for option, value in (("--size", 10), ("--per-frame", 0), ("--limit", 0)):
        with pytest.raises(OptionError, match=option):
            run(study, option, value)
    with pytest.raises(OptionError, match="give a smaller size"):
        run(study, "--size", 161)
    damaged = study / "blurred" / "a.png"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    facts = json.loads(run(study, "--size", 40, "--json").stdout)
    assert (facts["pairs"], facts["skipped"]) == (1, 1)
    (study / "blurred" / "b.png").unlink()
    with pytest.raises(FileError, match="none of the 1 pairs"):
        run(study, "--size", 40)


@pytest.mark.data
def test_real_patches(data):
    facts = json.loads(run(data / "reds-sample", "--per-frame", 2, "--limit", 2, "--json").stdout)
    assert facts["patches"] == 4
    assert facts["mean"] < 0.9
