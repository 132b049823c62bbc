"""The arithmetic of scripts/training_minutes.py: pictures, multiplications, minutes, curves."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from lab_helpers import REPO
from test_published_recipes import OURS, RECIPES

SCRIPT = REPO / "scripts" / "training_minutes.py"
if not SCRIPT.is_file():
    pytest.skip("not a checkout", allow_module_level=True)
found = importlib.util.spec_from_file_location("training_minutes", SCRIPT)
minutes = importlib.util.module_from_spec(found)
found.loader.exec_module(minutes)

PUBLISHED = minutes.published()


def test_published_recipes_are_neither_better_ones_nor_stand_ins():
    assert set(PUBLISHED) == {name for name in RECIPES if not name.endswith("-plus") and name not in OURS}


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("unet20/cifar-u03-u8", 40_000),
        ("resunet1/cifar-int123-f32", 42_500),
        ("srn_cifar/cifar-int123-f32", 45_000),
        ("srn_reds/reds", 216 * 50 * 2),
        ("unet_inputskip/reds-k3-k7-k11", 64 * 10),
        ("mscnn_ps/gopro", 2_103),
        ("sigma_cnn_160x240/imagenet-halfnormal5-u8", 18_798),
        ("sigma_cnn_144x256/reds-halfnormal5-u8", 24_000),
        ("unet_d3/reds", 24_000),
        ("gan_generator/reds", 24_000),
    ],
)
def test_pictures_of_an_epoch(name, pictures):
    assert minutes.epoch_pictures(PUBLISHED[name]) == pictures


def test_multiplications_of_a_picture():
    """At 256x256 of 890 a megapixel; for the GAN a generator once and its judge twice at 144x256."""
    assert minutes.gmacs(PUBLISHED["mscnn_ps/gopro"]) == pytest.approx(58.320, abs=1e-3)
    card = minutes.models.card
    each = [card(name).gmacs_per_megapixel * 0.144 * 0.256 for name in ("gan_generator", "gan_discriminator")]
    assert minutes.gmacs(PUBLISHED["gan_generator/reds"]) == pytest.approx(each[0] + 2 * each[1])


def test_minutes():
    # 10^9 multiplications forward are 6 GFLOP of a step; a million of them at 0.4 * 10 TFLOP/s take 1,500 s.
    assert minutes.gpu_minutes(1.0, 1e6, 10.0) == pytest.approx(25.0)
    row = minutes.cost("", PUBLISHED["unet20/cifar-u03-u8"], {"seconds_a_picture": 0.003})
    assert row["whole"]["pictures"] == 20_000_000
    assert row["whole"]["cpu_minutes"] == pytest.approx(1000)
    assert row["ran"]["cpu_minutes"] == pytest.approx(120)
    row = minutes.cost("", PUBLISHED["mscnn_ps/gopro"], None)
    assert row["ran"] is None
    assert row["whole"]["cpu_minutes"] is None


def test_the_estimate_beside_what_was_stated():
    of = minutes.Stated("resunet1/cifar-int123-f32", 2.5, "")
    row = minutes.check(of, PUBLISHED[of.name])
    # 204.48 GMAC a megapixel, 42,500 pictures of 1,024 pixels, at 0.4 * 4.4 TFLOP/s
    assert row["estimated_minutes"] == pytest.approx(0.5057, abs=1e-3)
    assert row["ratio"] == pytest.approx(2.5 / 0.5057, abs=0.02)


def test_curve_of_two_trainings_in_one_log():
    def epoch(steps, psnr):
        return {"event": "epoch", "steps": steps, "validation": {"psnr": psnr, "mae": 0.0}}

    start, blurred = {"event": "start"}, {"event": "blurred", "psnr": 20.0}
    events = [start, blurred, epoch(10, 21.0), epoch(20, 22.0), start, blurred | {"psnr": 21.9}]
    one = minutes.curve([*events, epoch(10, 23.0), epoch(20, 24.0), epoch(30, 24.5)])
    assert (one["epochs"], one["steps"], one["blurred"]) == (5, 50, 20.0)
    assert (one["first"], one["middle"], one["last"]) == (21.0, 23.0, 24.5)
    assert one["last_fifth"] == pytest.approx(0.5)


def test_curve_of_an_estimator_falls():
    events = [
        {"event": "epoch", "steps": 10 * n, "validation": {"mae": error}} for n, error in ((1, 2.0), (2, 1.0))
    ]
    one = minutes.curve(events)
    assert one["middle"] is None
    assert one["last_fifth"] == pytest.approx(0.4)


def test_what_was_spent_stands_for_a_published_training():
    page = (
        "| `unet_d3`, `imagenet-halfnormal5-u8-plus`, crops of 96 | 11 | 2,000 | x |\n| `reds-k3`, 24 | a |\n"
    )
    assert minutes.spent(page) == [
        {"name": "unet_d3/imagenet-halfnormal5-u8-plus", "minutes": 11, "pictures": 2000}
    ]
    assert minutes.stands_for("unet_d3/imagenet-halfnormal5-u8-plus", "unet_d3/imagenet-halfnormal5-u8")
    assert not minutes.stands_for("unet_d3/imagenet-halfnormal5-u8-plus", "unet_d3/reds")
    assert minutes.stands_for("mscnn_ps/motion", "mscnn_ps/gopro")
    assert not minutes.stands_for("mscnn_ps/motion", "mscnn_tc/gopro")


@pytest.mark.parametrize("name", ["unet16/cifar-u03-u8", "sigma_cnn_144x256/reds-halfnormal5-u8"])
def test_a_step_is_timed(name, monkeypatch):
    monkeypatch.setattr(minutes, "MOST", (2, 100.0, 2**18))
    monkeypatch.setattr(minutes, "SECONDS", 0.0)
    times = minutes.timed(PUBLISHED[name])
    assert (times["batch"], times["steps"]) == (2, 2)
    assert 0 < times["seconds_a_picture"] < 60


def test_times_of_every_published_recipe_are_kept():
    assert set(json.loads(minutes.TIMES.read_text())) == set(PUBLISHED)


def test_tables_replace_what_is_between_the_marks(tmp_path: Path):
    begin, end = minutes.MARKS
    assert minutes.PAGE.read_text().count(begin) == minutes.PAGE.read_text().count(end) == 1
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{begin}\nold\n{end}\nafter\n")
    minutes.main(into=page)
    first = page.read_text()
    assert first.startswith(f"before\n\n{begin}\n| recipe |")
    assert first.endswith(f"|\n{end}\nafter\n")
    assert "old" not in first
    minutes.main(into=page)
    assert page.read_text() == first
