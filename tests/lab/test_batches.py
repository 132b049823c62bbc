"""What every sample is follows from the seed, the epoch and its place; what is wrong with a set is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from unblur import files
from unblur.datasets.common import read
from unblur.errors import FileError, OptionError
from unblur.image import from_array
from unblur.lab import batches
from unblur.lab.batches import Batch, Batches
from unblur.lab.recipe import Recipe
from unblur.physics.degrade import degrade

Make = Callable[..., Recipe]


def take(of: Batches, steps: int, epoch: int = 0, step: int = 0) -> list[Batch]:
    stream = of.stream(epoch, step)
    taken = [part for _ in range(steps) for part in next(stream)]
    stream.close()
    return taken


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.blurred, b.blurred) and torch.equal(a.sharp, b.sharp) and a.share == b.share


def keys(parts: list[Batch]) -> set[bytes]:
    return {picture.numpy().tobytes() for part in parts for picture in part.sharp}


def test_a_stream_can_begin_anywhere(tiny: Make) -> None:
    training, _ = batches.build(tiny())
    assert training.steps == 5
    whole = take(training, 12)
    for begin in (1, 5, 8):
        part = take(batches.build(tiny())[0], 12 - begin, *divmod(begin, 5))
        assert all(same(a, b) for a, b in zip(whole[begin:], part, strict=True))


def test_threads_do_not_matter(tiny: Make) -> None:
    alone, many = (take(batches.build(tiny(f"run.workers={n}"))[0], 7) for n in (0, 3))
    assert all(same(a, b) for a, b in zip(alone, many, strict=True))


def test_every_epoch_has_every_picture_once_in_another_order(tiny: Make) -> None:
    training, _ = batches.build(tiny("data.patches=1", "augment={}", "blur.names=['sharp']"))
    orders = [training._order(epoch, 0).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(18)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    fixed, _ = batches.build(tiny("batch.order=fixed"))
    assert fixed._order(2, 0).tolist() == list(range(18))
    replaced, _ = batches.build(tiny("batch.order=replaced", "batch.steps=50"))
    drawn = replaced._order(0, 0)
    assert len(drawn) == 200
    assert np.bincount(drawn, minlength=18).min() > 0
    assert len(set(drawn[:18].tolist())) < 18


def test_blur_drawn_anew_differs_and_blur_drawn_once_does_not(photographs: Path, tiny: Make) -> None:
    whole = f"data={{set='folder', root='{photographs}', size=[20, 20], train=0.5, validation=0.5}}"
    anew, _ = batches.build(tiny(whole, "augment={}", "batch.order=fixed"))
    first, second = (take(anew, 1, epoch)[0] for epoch in (0, 1))
    assert torch.equal(first.sharp, second.sharp)
    assert not torch.equal(first.blurred, second.blurred)
    once, _ = batches.build(tiny(whole, "augment={}", "batch.order=fixed", "blur.drawn=once"))
    first, second = (take(once, 1, epoch)[0] for epoch in (0, 1))
    assert torch.equal(first.blurred, second.blurred)


def test_blur_drawn_once_is_that_of_the_named_set(photographs: Path, tiny: Make) -> None:
    whole = f"data={{set='folder', root='{photographs}', size=[20, 24], train=0.5, validation=0.5}}"
    recipe = tiny(
        whole, "augment={}", "batch.order=fixed", "blur={names=['cifar-u03-u8'], drawn='once', seed=5}"
    )
    training, held_out = batches.build(recipe)
    assert held_out is not None
    for part, source, seed in (
        (training.first(), training.source, 5),
        (next(held_out.once())[0], held_out.source, 1),
    ):
        assert isinstance(source, batches.Files)
        for place in range(4):
            sharp = from_array(source._fitted(read(source.reader.paths[place])))
            expected, draw = degrade(sharp, "cifar-u03-u8", seed=seed, index=int(source.ids[place]))
            assert np.array_equal(part.blurred[place].numpy().transpose(1, 2, 0), expected)
            assert part.sigma is not None
            assert float(part.sigma[place]) == pytest.approx(draw.blur.parameters["sigma"], rel=1e-6)


def test_training_and_validation_share_no_picture(tiny: Make) -> None:
    training, held_out = batches.build(tiny())
    assert held_out is not None
    names = [set(part.source.reader.names) for part in (training, held_out)]  # type: ignore[attr-defined]
    assert [len(part) for part in names] == [18, 6]
    assert not names[0] & names[1]


def test_flips_and_turns_are_those_of_the_whole_pair(photographs: Path, tiny: Make) -> None:
    whole = f"data={{set='folder', root='{photographs}', size=[20, 20], train=0.5, validation=0.5}}"
    plain, _ = batches.build(tiny(whole, "augment={}", "batch.order=fixed", "blur.drawn=once"))
    moved, _ = batches.build(tiny(whole, "batch.order=fixed", "blur.drawn=once"))
    ways = set()
    for a, b in zip(take(plain, 12), take(moved, 12), strict=True):
        for blurred, sharp, of_blurred, of_sharp in zip(a.blurred, a.sharp, b.blurred, b.sharp, strict=True):
            found = [
                (flip, turns)
                for flip in (False, True)
                for turns in range(4)
                if torch.equal((sharp.flip(2) if flip else sharp).rot90(turns, (1, 2)), of_sharp)
            ]
            ((flip, turns),) = found
            assert torch.equal((blurred.flip(2) if flip else blurred).rot90(turns, (1, 2)), of_blurred)
            ways.add((flip, turns))
    assert len(ways) == 8


def test_pictures_that_are_not_square_turn_by_half(photographs: Path, tiny: Make) -> None:
    whole = f"data={{set='folder', root='{photographs}', size=[10, 20], train=0.5, validation=0.5}}"
    training, _ = batches.build(tiny(whole))
    assert all(part.sharp.shape[2:] == (10, 20) for part in take(training, 4))


def test_processes_share_each_step_without_repeats(tiny: Make) -> None:
    # 18 pictures in steps of 4: the last step has 2, so that the third process has none.
    recipe = tiny("augment={}", "run.workers=0")
    alone, _ = batches.build(recipe)
    parts = [batches.build(recipe, rank=rank, world=3)[0] for rank in range(3)]
    for step in range(5):
        whole = keys(take(alone, 1, 0, step))
        ours = [take(part, 1, 0, step) for part in parts]
        counted = [part for own in ours for part in own if part.share]
        assert sum(part.share for part in counted) == pytest.approx(1)
        assert sum(len(part.sharp) for part in counted) == len(whole)
        assert keys(counted) == whole
    assert [part.share for own in ours for part in own] == [0.5, 0.5, 0.0]
    with pytest.raises(OptionError, match="5 processes cannot share"):
        batches.build(recipe, rank=0, world=5)


def test_parts_of_a_step_are_the_step(tiny: Make) -> None:
    whole = take(batches.build(tiny())[0], 5)
    parts = batches.build(tiny("batch.accumulate=3"))[0]
    for step, expected in enumerate(whole):
        own = take(parts, 1, 0, step)
        assert len(own) == min(3, len(expected.sharp))
        assert sum(part.share for part in own) == pytest.approx(1)
        assert torch.equal(torch.cat([part.blurred for part in own]), expected.blurred)


def test_a_margin_brings_in_real_pixels(photographs: Path, tiny: Make) -> None:
    recipe = tiny("data.crop=[8, 8]", "blur={names=['reds-k11'], drawn='anew', margin=5}", "augment={}")
    part = batches.build(recipe)[0].first()
    assert part.blurred.shape[2:] == part.sharp.shape[2:] == (8, 8)
    # The middle of a blurred 18x18 window is what it would be in the whole picture.
    source = batches.build(recipe)[0].source
    assert isinstance(source, batches.Files)
    pictures = [from_array(read(path)) for path in source.reader.paths]
    found = 0
    for blurred, sharp in zip(part.blurred, part.sharp, strict=True):
        for image in pictures:
            whole = degrade(image, "reds-k11", 0)[0]
            for top in range(5, image.shape[0] - 12):
                for left in range(5, image.shape[1] - 12):
                    cut = np.s_[top : top + 8, left : left + 8]
                    if np.array_equal(image[cut], sharp.numpy().transpose(1, 2, 0)):
                        assert np.array_equal(whole[cut], blurred.numpy().transpose(1, 2, 0))
                        found += 1
    assert found == len(part.sharp)


def test_unreadable_pictures_are_named_and_replaced(photographs: Path, tmp_path: Path, tiny: Make) -> None:
    for path in photographs.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (tmp_path / "03.png").read_bytes()
    (tmp_path / "03.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "05.png").write_bytes(b"")
    said: list[str] = []
    change = f"data={{set='folder', root='{tmp_path}', crop=[16, 16], train=1.0, validation=0}}"
    changes = [change, "stop={epochs=1, keep='final'}", "schedule={kind='constant'}"]
    training, _ = batches.build(tiny(*changes, "run.workers=1"), warn=said.append)
    assert training.pictures == 23
    assert len(said) == 1
    assert "05.png: empty file" in said[0]
    for _ in range(2):
        assert sum(len(part.sharp) for part in take(training, training.steps)) == 23
    assert len(said) == 2
    assert "03.png" in said[1]
    assert said[1].endswith("(skipped, 1 so far)")
    with pytest.raises(FileError, match=r"05\.png: empty file"):
        batches.build(tiny(*changes, "data.strict=true"))
    (tmp_path / "05.png").unlink()
    strict, _ = batches.build(tiny(*changes, "data.strict=true"))
    with pytest.raises(FileError, match=r"03\.png"):
        take(strict, strict.steps)


def test_what_is_kept_in_memory_does_not_change_the_data(tiny: Make) -> None:
    kept, fresh = (batches.build(tiny(f"data.cache_mb={size}", "run.workers=0"))[0] for size in (1, 0))
    assert all(same(a, b) for a, b in zip(take(kept, 10), take(fresh, 10), strict=True))
    assert isinstance(kept.source, batches.Files)
    assert isinstance(fresh.source, batches.Files)
    assert (len(kept.source._kept), len(fresh.source._kept)) == (18, 0)
    assert kept.source._bytes == 18 * 24 * 20 * 3


def test_a_set_of_nothing_readable_ends(tmp_path: Path, tiny: Make) -> None:
    for number in range(4):
        files.save(np.zeros((9, 9, 3), np.uint8), tmp_path / f"{number}.png")
    change = f"data={{set='folder', root='{tmp_path}', crop=[16, 16], train=0.5, validation=0.5}}"
    training, _ = batches.build(tiny(change))
    with pytest.raises(FileError, match="no picture can be read: .*9x9 is too small for 16x16 crops"):
        take(training, 1)
    with pytest.raises(OptionError, match="no picture is left for validation"):
        batches.build(tiny(change.replace("0.5", "0.99", 1).replace("validation=0.5", "validation=0.01")))


def test_pictures_of_different_sizes_need_a_size(tmp_path: Path, tiny: Make) -> None:
    for number in range(6):
        files.save(np.zeros((20 + number, 20, 3), np.uint8), tmp_path / f"{number}.png")
    change = f"data={{set='folder', root='{tmp_path}', train=0.5, validation=0.5}}"
    training, _ = batches.build(tiny(change))
    with pytest.raises(OptionError, match=r"give data\.size or data\.crop"):
        take(training, 1)


def test_pairs_and_patches_with_blur(tmp_path: Path, tiny: Make, rng: np.random.Generator) -> None:
    """Of pairs whose left half is sharp in both, the selector takes patches from the right."""
    for kind in ("blurred", "sharp"):
        (tmp_path / kind).mkdir()
    for number in range(4):
        sharp = rng.integers(0, 256, (24, 80, 3), np.uint8)
        blurred = sharp.copy()
        blurred[:, 40:] = 128
        files.save(sharp, tmp_path / "sharp" / f"{number}.png")
        files.save(blurred, tmp_path / "blurred" / f"{number}.png")
    content = tiny().model_dump(mode="json")
    content["data"] = {
        "set": "pairs", "root": str(tmp_path), "crop": [16, 16], "patches": 2, "ssim_below": 0.9,
        "train": 0.5, "validation": 0.5,
    }  # fmt: skip
    content |= {"blur": None, "augment": {}}
    recipe = Recipe.model_validate(content)
    training, _ = batches.build(recipe)
    assert training.steps == 1
    parts = take(training, 6)
    assert all(part.sharp.shape == (4, 3, 16, 16) for part in parts)
    assert all(((part.blurred[:, :, :, -1] * 255).round() == 128).all() for part in parts)


def test_unpaired_pictures_follow_orders_of_their_own(tmp_path: Path, tiny: Make) -> None:
    for kind in ("blurred", "sharp"):
        (tmp_path / kind).mkdir()
    for number in range(12):
        for kind, add in (("blurred", 0), ("sharp", 100)):
            files.save(np.full((16, 16, 3), 5 * number + add, np.uint8), tmp_path / kind / f"{number}.png")
    content = tiny().model_dump(mode="json")
    content |= {"blur": None, "gan": {}, "batch": {"size": 8, "unpaired": True}}
    content["data"] = {"set": "pairs", "root": str(tmp_path), "train": 0.7, "validation": 0.3}
    training, held_out = batches.build(Recipe.model_validate(content))
    assert held_out is not None
    (part,) = take(training, 1)
    gaps = ((part.sharp - part.blurred) * 255).round()[:, 0, 0, 0]
    assert len(set(gaps.tolist())) > 1
    (part,) = next(held_out.once())
    assert (((part.sharp - part.blurred) * 255).round() == 100).all()


@pytest.mark.data
def test_reduced_frames(data: Path, tiny: Make) -> None:
    content = tiny().model_dump(mode="json")
    content |= {"blur": None, "stop": {"epochs": 1, "keep": "final"}, "schedule": {"kind": "constant"}}
    content["data"] = {
        "set": "reds", "root": str(data / "reds-sample"), "train": "train", "reduced": True, "crop": [32, 48],
    }  # fmt: skip
    said: list[str] = []
    training, held_out = batches.build(Recipe.model_validate(content), warn=said.append)
    assert held_out is None
    assert training.pictures == 50
    assert "scene 000: 100 of 100 frames missing" in said[0]
    (part,) = take(training, 1)
    assert part.blurred.shape == (4, 3, 32, 48)
    # The pair is of one scene: nearer to each other than to the next picture.
    near = (part.blurred - part.sharp).square().mean()
    assert near < (part.blurred - part.sharp.roll(1, 0)).square().mean() / 2


@pytest.mark.data
def test_cifar_with_more_pictures(data: Path, tiny: Make) -> None:
    content = tiny().model_dump(mode="json")
    content["data"] = {"set": "cifar10", "root": str(data / "cifar-10-subset"), "split": "42.5k/7.5k"}
    said: list[str] = []
    training, held_out = batches.build(Recipe.model_validate(content), warn=said.append)
    assert held_out is not None
    assert (training.pictures, held_out.pictures) == (4622, 816)
    assert said == [f"{data / 'cifar-10-subset'}: a part of CIFAR-10, 5438 of 50000 training images"]
    content["data"] |= {
        "extra": ["../cifar-100-extra.npz"],
        "crops": 10,
        "photographs": "../imagenet-sample",
    }
    more, held_out = batches.build(Recipe.model_validate(content))
    assert held_out is not None
    assert (more.pictures, held_out.pictures) == (4622 + 2033 + 10, 816)
    assert len(set(more.source.ids.tolist()) | set(held_out.source.ids.tolist())) == 4622 + 2033 + 10 + 816


GUIDED = ("net={name='unblur-thumbnail'}", "batch={size=4, steps=3}", "data.patches=1", "data.crop=[12, 12]")


def test_kept_pictures_come_again_flipped(tiny: Make) -> None:
    recipe = tiny(*GUIDED, "guide={kept=8}")
    training, _ = batches.build(recipe)
    taken = take(training, 9)
    assert all(part.blurred.shape == (4, 17, 12, 12) for part in taken)
    brightness: dict[float, set[bytes]] = {}
    for part in taken:
        for picture in part.sharp:
            brightness.setdefault(round(float(picture.sum()), 3), set()).add(picture.numpy().tobytes())
    # 36 places, 8 pictures, at most 8 views of each
    assert len(brightness) == 8
    assert 16 < sum(map(len, brightness.values())) <= 36
    begun = take(batches.build(recipe)[0], 4, 1, 2)
    assert all(same(a, b) for a, b in zip(taken[5:], begun, strict=True))


def test_kept_pictures_are_cut_each_in_its_own_place(tiny: Make) -> None:
    (whole,) = take(batches.build(tiny(*GUIDED, "augment={}", "guide={kept=4}"))[0], 1)
    (cut,) = take(batches.build(tiny(*GUIDED, "augment={}", "guide={kept=4}", "batch.windows=[8]"))[0], 1)
    assert cut.blurred.shape[2:] == cut.sharp.shape[2:] == (8, 8)
    places = set()
    for of, part in zip(whole.sharp, cut.sharp, strict=True):
        places |= {
            (y, x) for y in range(5) for x in range(5) if torch.equal(of[:, y : y + 8, x : x + 8], part)
        }
    assert len(places) > 1


def test_many_kept_pictures_are_made_in_processes(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(*GUIDED, "guide={kept=6}", "run.workers=2")
    one_by_one = batches.build(recipe)[0]
    expected = take(one_by_one, 3)
    monkeypatch.setattr(batches, "_MANY", 6)
    at_once = batches.build(recipe)[0]
    assert all(same(a, b) for a, b in zip(take(at_once, 1), expected, strict=False))
    assert len(at_once._kept) == 6


def test_kept_pictures_are_shared_by_processes(tiny: Make) -> None:
    recipe = tiny(*GUIDED, "augment={}", "guide={kept=6}")
    whole = take(batches.build(recipe)[0], 3)
    halves = [take(batches.build(recipe, rank=rank, world=2)[0], 3) for rank in (0, 1)]
    for step, parts in enumerate(zip(*halves, strict=True)):
        assert keys(list(parts)) == keys([whole[step]])
        assert sum(part.share for part in parts) == 1


def test_windows_grow_with_the_epochs(tiny: Make) -> None:
    whole, _ = batches.build(tiny("stop.epochs=4", "blur.drawn=anew"))
    cut, held_out = batches.build(tiny("stop.epochs=4", "blur.drawn=anew", "batch.windows=[8, 16]"))
    for epoch, side in enumerate((8, 8, 16, 16)):
        (step,) = take(cut, 1, epoch)
        assert step.blurred.shape[2:] == step.sharp.shape[2:] == (side, side)
        # What is cut is cut after the blur: from the step that there would be otherwise, in the same place of both.
        (every,) = take(whole, 1, epoch)
        places = [
            (top, left)
            for top in range(17 - side)
            for left in range(17 - side)
            if torch.equal(every.blurred[:, :, top : top + side, left : left + side], step.blurred)
            and torch.equal(every.sharp[:, :, top : top + side, left : left + side], step.sharp)
        ]
        assert places
    assert held_out is not None
    assert next(held_out.once())[0].sharp.shape[2:] == (16, 16)
