"""Every recipe of the repository trains: three steps each on real pictures, in batches that take no time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lab_helpers import REPO

from unblur.lab import batches
from unblur.lab import recipe as recipes
from unblur.lab.gan import Adversarial
from unblur.lab.objective import Regression, Scales, laid_out, picture_losses
from unblur.lab.recipe import Recipe
from unblur.lab.train import make_fabric, make_net

RECIPES = {
    path.relative_to(REPO / "recipes").with_suffix("").as_posix(): path
    for path in recipes.all_recipes(REPO / "recipes")
}

#: What nobody published: networks of ours, and published ones on data that stand in for others.
OURS = tuple(
    name
    for name in RECIPES
    if name.endswith(("/motion", "/photographs-k3-k7-k11", "/mixed-u8")) or name.startswith("unblur-")
)

#: What the quick tests try: small networks, on every kind of data.
QUICK = (
    "unet20/cifar-u03-u8",
    "unet20/cifar-u03-u8-plus",
    "resunet1/cifar-int123-f32",
    "eddensenet/cifar-int123-f32",
    "srn_reds/reds",
    "resnet8/reds-k3-k7-k11-plus",
    "mscnn_ps/gopro",
    "sigma_cnn_160x240/imagenet-halfnormal5-u8",
    "sigma_cnn_144x256/reds-halfnormal5-u8-plus",
    "gan_generator/reds",
    "unblur-s/mixed-u8",
)

#: What the published sizes are reduced to, where the network takes any size.
SMALLER = {
    "gan_generator": "net.options={width=8}",
    "unet_inputskip": "data.size=[24, 40]",
    "unet_inputskip_6": "data.size=[24, 40]",
    "unet_no_tail": "data.size=[24, 40]",
    "large_kernel_cnn": "data.size=[24, 40]",
    "resnet8": "data.size=[24, 40]",
    "resnet16": "data.size=[24, 40]",
    "unet_d3": "data.size=[24, 40]",
    "sigma_cnn_144x256": "blur={names=['halfnormal5-u8'], drawn='anew'}",
}


@pytest.fixture(scope="module")
def roots(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each set: the samples, and trees of REDS and GOPRO that are made of links to reduced frames."""
    folder = tmp_path_factory.mktemp("sets")
    frames = data / "reds-sample" / "train"
    pictures = {
        "sharp": sorted((frames / "train_sharp_bicubic/X4/027").glob("*.png")),
        "blur": sorted((frames / "train_blur_bicubic/X4/027").glob("*.png")),
    }
    numbers = (0, 39, 50, 51, 52, 79)
    for part, scenes in (("train", (24, 216)), ("val", (0,))):
        for kind, found in pictures.items():
            for scene in scenes:
                place = folder / "reds" / f"{part}_{kind}" / f"{scene:03}"
                place.mkdir(parents=True)
                for number, path in zip(numbers, found, strict=False):
                    (place / f"{number:08}.png").symlink_to(path)
    for sequence in ("GOPR0372_07_00", "GOPR0372_07_01"):
        for kind, found in (("sharp", "sharp"), ("blur_gamma", "blur"), ("blur", "blur")):
            place = folder / "GOPRO_Large" / "train" / sequence / kind
            place.mkdir(parents=True)
            for number, path in enumerate(pictures[found][:4]):
                (place / f"{number:06}.png").symlink_to(path)
    photographs = folder / "photographs"
    photographs.mkdir()
    for path in sorted((data / "imagenet-sample").iterdir())[:40]:
        (photographs / path.name).symlink_to(path)
    for kind, found in (("sharp", "sharp"), ("blurred", "blur")):
        place = folder / "pairs" / kind
        place.mkdir(parents=True)
        for path in pictures[found][:30]:
            (place / path.name).symlink_to(path)
    return {
        "pairs": folder / "pairs",
        "cifar10": data / "cifar-10-subset",
        "folder": photographs,
        "reds": folder / "reds",
        "gopro": folder,
    }


def loaded(name: str, roots: dict[str, Path]) -> Recipe:
    path = RECIPES[name]
    whole = recipes.load(path)
    changes = ["batch.size=2", "run.workers=0", "run.precision='32'", f"data.root='{roots[whole.data.set]}'"]
    if whole.net.spec.fixed_size is None and getattr(whole.data, "crop", None) is not None:
        changes.append("data.crop=[32, 32]")
    elif whole.net.name in SMALLER:
        changes.append(SMALLER[whole.net.name])
    if name in OURS and whole.data.set == "folder":
        changes += ["data.train=0.9", "data.validation=0.1"]
    if whole.gan is not None:
        changes.append("gan.options={width=8}")
    return recipes.load(path, changes)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in RECIPES],
)
def test_three_steps(name: str, roots: dict[str, Path]) -> None:
    recipe = loaded(name, roots)
    fabric = make_fabric(recipe, "cpu")
    training, held_out = batches.build(recipe)
    net = make_net(fabric, recipe, training)
    objective = (Regression if recipe.gan is None else Adversarial)(fabric, recipe, net)
    before = [p.detach().clone() for p in net.parameters()]
    stream = training.stream()
    for _ in range(3):
        values = objective.step(next(stream), scale=1.0)
        assert values.isfinite().all()
    changed = [not torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True)]
    # Recurrent weights that start from zero never learn; some units of a narrow ReLU layer may be dead.
    assert sum(changed) > 0.8 * len(changed)
    assert all(p.isfinite().all() for p in net.parameters())
    assert (held_out is not None) == recipe.held_out
    if held_out is not None:
        net.eval()
        part = held_out.first()
        with torch.no_grad():
            outputs = Scales(net, recipe.loss.scales == "all")(laid_out(part.blurred, recipe))
        losses = picture_losses(recipe, net, outputs, part)
        assert losses.shape == (2,)
        assert losses.isfinite().all()


@pytest.mark.parametrize(
    "name", [name for name in RECIPES if not name.endswith("-plus") and name not in OURS]
)
def test_every_published_set_up_has_a_better_one_on_the_same_data(name: str) -> None:
    published, plus = recipes.load(RECIPES[name]), recipes.load(RECIPES[f"{name}-plus"])
    assert plus.net.name == published.net.name
    assert plus.data.set == published.data.set
    assert (plus.blur is None) == (published.blur is None)
    if published.blur is not None:
        assert plus.blur is not None
        assert plus.blur.names == published.blur.names
        assert plus.blur.validation_seed == published.blur.validation_seed


@pytest.mark.parametrize("name", RECIPES)
def test_published_values_say_where_they_come_from(name: str) -> None:
    text = RECIPES[name].read_text()
    if name.endswith("-plus") or name in OURS:
        assert "is our choice" in text
        return
    # Every section but that of the network names a source.
    for section in text.split("\n[")[1:]:
        assert section.startswith("net]") or "#" in section, section


def test_the_published_numbers() -> None:
    """The set-ups as the reports and their code state them: batch, rate, epochs, patience."""
    stated = {
        "unet20/cifar-u03-u8": (32, 1e-3, 500, 10),
        "resunet1/cifar-int123-f32": (250, 1e-3, 50, 7),
        "resunet3/cifar-int123-f32": (250, 1e-3, 50, 7),
        "eddensenet/cifar-int123-f32": (65, 1e-3, 50, 5),
        "caessc_d30_f64/cifar-int123-f32": (250, 1e-4, 80, 7),
        "caessc_d22_f128_half/cifar-int123-f32": (250, 1e-4, 90, 7),
        "srn_cifar/cifar-int123-f32": (150, 1e-3, 70, 15),
        "srn_cifar_lstm/cifar-int123-f32": (150, 1e-3, 70, 15),
        "srn_reds/reds": (10, 1e-4, 150, 10),
        "unet_inputskip/reds-k3-k7-k11": (10, 1e-3, 40, None),
        "mscnn_ps/gopro": (2, 5e-5, 1000, None),
        "mscnn_tc/gopro": (2, 5e-5, 1000, None),
        "sigma_cnn_160x240/imagenet-halfnormal5-u8": (64, 1e-3, 10, None),
        "unet_d3/imagenet-halfnormal5-u8": (2, 1e-3, 2, None),
        "unet_d3/reds": (2, 1e-3, 2, None),
        "gan_generator/reds": (16, 2e-4, 4, None),
    }
    for name, (batch, rate, epochs, patience) in stated.items():
        recipe = recipes.load(RECIPES[name])
        found = recipe.batch.size, recipe.optimiser.rate, recipe.stop.epochs, recipe.stop.patience
        assert found == (batch, rate, epochs, patience), name
