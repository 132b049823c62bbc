"""Networks with saved weights through the engine: tiles, odd and tiny pictures, every backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import unblur
from unblur import methods, models, nets, tiling
from unblur.errors import FileError, MissingExtraError, OptionError
from unblur.methods import network
from unblur.nets.cost import count
from unblur.nets.export import to_onnx
from unblur.nets.plain import ResidualBlock

RESTORERS = [card for card in models.cards().values() if card.role == "restorer"]
FREE = [card for card in RESTORERS if card.fixed_size is None]
#: Without a halo, since they average over the whole picture.
GLOBAL = {"nafnet16", "nafnet32"}


def narrow(card: models.ModelCard, width: int = 4) -> dict:
    """Constructor arguments of a cheap twin with the same reach."""
    if "widths" in card.arguments:
        head = {"head": width} if "head" in card.arguments else {}
        return {"widths": [width] * len(card.arguments["widths"]), **head}
    return {"growth" if card.family == "eddensenet" else "width": width}


def build(card: models.ModelCard, options: dict) -> tuple[models.ModelCard, torch.nn.Module]:
    """A network with random weights whose output is a picture in mid-range, and its card."""
    torch.manual_seed(2)
    net = nets.create(card.name, **options).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            parameter += 0.1 * (spread or 0.1) * torch.randn_like(parameter)
        for module in net.modules():
            if isinstance(module, ResidualBlock):
                module.body[2].weight.mul_(0.3)  # without training many of them add up to large numbers
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.8, 1.2)
    settle(net, torch.rand(1, card.channels, *(card.fixed_size or (96, 96))))
    about = card.model_copy(
        update={
            "arguments": {**card.arguments, **options},
            "parameters": count(net).trainable,
            "total_parameters": count(net).total,
        }
    )
    return about, net


@torch.no_grad()
def settle(net: torch.nn.Module, x: torch.Tensor) -> None:
    """Shift and scale the layer that runs last, so that most of the result lies between black and white."""
    ran = []
    handles = [
        module.register_forward_hook(lambda module, _in, out: ran.append((module, out)))
        for module in net.modules()
        if getattr(module, "bias", None) is not None
        and isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d)
    ]
    net(x)
    for handle in handles:
        handle.remove()
    last, out = ran[-1]
    scale = 0.15 / float(out.std(dim=(2, 3)).mean())
    last.weight.mul_(scale)
    last.bias.mul_(scale).add_(0.25 - scale * out.mean(dim=(0, 2, 3)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The file of a narrow twin with random weights, by the card of a network."""
    folder = tmp_path_factory.mktemp("weights")

    def path(card: models.ModelCard) -> Path:
        file = folder / f"{card.name}.safetensors"
        if not file.exists():
            about, net = build(card, narrow(card))
            models.write_weights(file, {key: value.numpy() for key, value in net.state_dict().items()}, about)
        return file

    return path


def picture(rng: np.random.Generator, height: int, width: int, channels: int = 3) -> np.ndarray:
    return rng.random((height, width, channels), dtype=np.float32)


def by_tiles(monkeypatch, side: int, image: np.ndarray, file: Path) -> np.ndarray:
    monkeypatch.setattr(tiling, "sides_for_memory", lambda *_: side)
    return unblur.restore(image, method=str(file)).image


@pytest.mark.parametrize("card", FREE, ids=lambda card: card.name)
def test_tiles_equal_the_whole(card, weights, rng, monkeypatch):
    """With the halo of the card, along the longer side of a strip that is longer than what a tile sees."""
    if card.name in GLOBAL:
        assert card.halo is None
        pytest.skip("sees the whole picture")
    step = card.size_multiple
    side = max(card.halo // 2, 2) // step * step + step
    length = 2 * card.halo + 2 * side + 37
    image = picture(rng, length, step + 3, card.channels)
    whole = by_tiles(monkeypatch, 10 * length, image, weights(card))
    assert whole.std(axis=0).max() > 0.01
    plan = tiling.tiles(*image.shape[:2], side, card.halo, step)
    assert len(plan) > 2
    assert min(tile.outer_bottom - tile.outer_top for tile in plan) < length
    tiled = by_tiles(monkeypatch, side, image, weights(card))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["unet16", "mscnn_ps", "srn_cifar", "large_kernel_cnn"])
def test_without_the_halo_they_do_not(name, weights, rng, monkeypatch):
    card = models.card(name)
    image = picture(rng, 96, 64)
    whole = by_tiles(monkeypatch, 1000, image, weights(card))
    row = methods.get(str(weights(card)))
    blind = type(row)(**{**vars(row), "halo": lambda _blur, _options: 0})
    monkeypatch.setattr(methods, "get", lambda _name: blind)
    assert np.abs(by_tiles(monkeypatch, 32, image, weights(card)) - whole).max() > 1 / 255


@pytest.mark.parametrize("card", RESTORERS, ids=lambda card: card.name)
def test_any_size_and_type(card, weights, rng):
    for height, width in ((1, 1), (3, 5), (17, 33)):
        image = (255 * picture(rng, height, width, card.channels)).astype(np.uint8)
        restored = unblur.restore(image, method=str(weights(card)))
        assert restored.method == card.name
        assert restored.image.shape == image.shape
        assert restored.image.dtype == np.uint8
        assert np.array_equal(restored.image, unblur.restore(image, method=str(weights(card))).image)


def test_a_fixed_size_is_tiled(weights, rng):
    """Each tile of 32x32 alone, the last ones padded by mirroring."""
    card = models.card("srn_cifar_lstm")
    image = picture(rng, 70, 45)
    got = unblur.restore(image, method=str(weights(card))).image
    _, net = nets.load(weights(card))
    # Cut nearly evenly at multiples of 32: rows 0..32, 32..64, 64..70; columns 0..32, 32..45.
    for top, bottom in ((0, 32), (32, 64), (64, 70)):
        for left, right in ((0, 32), (32, 45)):
            tile = image[top:bottom, left:right]
            full = np.pad(tile, [(0, 32 - tile.shape[0]), (0, 32 - tile.shape[1]), (0, 0)], mode="reflect")
            with torch.no_grad():
                expected = net(torch.from_numpy(full.transpose(2, 0, 1)[None]))[0].permute(1, 2, 0).numpy()
            expected = expected[: tile.shape[0], : tile.shape[1]].clip(0, 1)
            np.testing.assert_allclose(got[top:bottom, left:right], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["sigma_cnn_160x240", "sigma_cnn_pool", "gan_discriminator"])
def test_what_does_not_restore_is_refused(name, tmp_path, rng):
    card = models.card(name)
    net = nets.create(name)
    file = models.write_weights(
        tmp_path / f"{name}.safetensors", {k: v.numpy() for k, v in net.state_dict().items()}, card
    )
    with pytest.raises(OptionError, match=f"{name} does not restore pictures.*{card.role}"):
        unblur.restore(picture(rng, 8, 8), method=str(file))


def test_an_oblong_fixed_size_is_refused_with_its_size(weights, tmp_path, rng):
    card, tensors = models.read_weights(weights(models.card("unet16")))
    oblong = card.model_copy(update={"fixed_size": (160, 240)})
    file = models.write_weights(tmp_path / "oblong.safetensors", tensors, oblong)
    with pytest.raises(OptionError, match="only pictures of 240x160 pixels"):
        unblur.restore(picture(rng, 160, 240), method=str(file))


def test_grey_and_colour(weights, rng):
    colour, grey = (weights(models.card(name)) for name in ("unet16", "srn_paper_grey"))
    image = picture(rng, 20, 30, 1)
    got = unblur.restore(image, method=str(colour)).image
    threefold = unblur.restore(image.repeat(3, axis=2), method=str(colour)).image
    np.testing.assert_allclose(got[..., 0], threefold.mean(axis=2), rtol=0, atol=1e-6)
    # A grey network takes the three channels of a colour picture as three pictures.
    rgb = picture(rng, 20, 30)
    got = unblur.restore(rgb, method=str(grey)).image
    for channel in range(3):
        alone = unblur.restore(rgb[..., channel : channel + 1], method=str(grey)).image
        np.testing.assert_allclose(got[..., channel], alone[..., 0], rtol=0, atol=1e-5)


# The backends.

BACKENDS = ["onnx", "torch", "openvino"]


@pytest.fixture(scope="module")
def exported(weights):
    """The same weights as ONNX, beside the others."""

    def path(card: models.ModelCard) -> Path:
        file = weights(card).with_suffix(".onnx")
        if not file.exists():
            about, net = nets.load(weights(card))
            to_onnx(net, about, file)
        return file

    return path


def everywhere(monkeypatch, weights, exported, card, image) -> dict[str, np.ndarray]:
    """The picture as each backend restores it."""
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(weights(card).parent))
    exported(card)
    results = {}
    for backend in BACKENDS:
        monkeypatch.setenv(network.BACKEND_VARIABLE, backend)
        results[backend] = unblur.restore(image, method=card.name).image
    return results


def same(results: dict[str, np.ndarray]) -> None:
    assert results["onnx"].std() > 0.01
    for backend in BACKENDS[1:]:
        np.testing.assert_allclose(results[backend], results["onnx"], rtol=0, atol=1e-4, err_msg=backend)


@pytest.mark.parametrize("name", ["resunet1", "mscnn_ps", "srn_reds", "srn_cifar_lstm"])
def test_backends_agree(name, weights, exported, rng, monkeypatch):
    pytest.importorskip("openvino")
    card = models.card(name)
    same(everywhere(monkeypatch, weights, exported, card, picture(rng, 37, 51)))


@pytest.mark.slow
@pytest.mark.parametrize("card", RESTORERS, ids=lambda card: card.name)
def test_all_networks_agree_on_all_backends(card, weights, exported, rng, monkeypatch):
    same(everywhere(monkeypatch, weights, exported, card, picture(rng, 37, 51, card.channels)))


def test_which_backend_runs(weights, exported, rng, monkeypatch):
    card = models.card("unet16")
    seen = []
    opened = network.open_backend
    monkeypatch.setattr(
        network,
        "open_backend",
        lambda path, chosen: seen.append((path.suffix, chosen)) or opened(path, chosen),
    )
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(weights(card).parent))
    image = picture(rng, 8, 8)
    exported(card)
    network._load.cache_clear()
    for backend in ("", "onnx", "torch", "torch-bf16", "openvino", "openvino-bf16"):
        monkeypatch.setenv(network.BACKEND_VARIABLE, backend)
        unblur.restore(image, method="unet16")
        unblur.restore(image, method="unet16")  # from the cache
    assert seen == [
        (".onnx", ""),
        (".onnx", "onnx"),
        (".safetensors", "torch"),
        (".safetensors", "torch-bf16"),
        (".onnx", "openvino"),
        (".onnx", "openvino-bf16"),
    ]
    monkeypatch.setenv(network.BACKEND_VARIABLE, "")
    unblur.restore(image, method=str(weights(card)))
    assert seen[-1] == (".safetensors", "")
    monkeypatch.setenv(network.BACKEND_VARIABLE, "tensorflow")
    with pytest.raises(OptionError, match="UNBLUR_BACKEND=tensorflow: unknown; one of onnx, openvino"):
        methods.get("unet16")
    with pytest.raises(OptionError, match="UNBLUR_BACKEND=tensorflow: unknown"):
        # `auto` loads its network when that is needed.
        unblur.restore(np.tile(image, (10, 10, 1)), sigma=1.5)
    monkeypatch.setenv(network.BACKEND_VARIABLE, "torch")
    with pytest.raises(
        OptionError, match=r"unet16\.onnx: UNBLUR_BACKEND=torch runs \.safetensors files only"
    ):
        methods.get(str(exported(card)))


def test_bfloat16_is_close(weights, exported, rng, monkeypatch):
    card = models.card("unet16")
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(weights(card).parent))
    exported(card)
    image = picture(rng, 40, 24)
    results = {}
    for backend in ("torch", "torch-bf16", "openvino-bf16"):
        monkeypatch.setenv(network.BACKEND_VARIABLE, backend)
        results[backend] = unblur.restore(image, method="unet16").image
    assert 0 < np.abs(results["torch-bf16"] - results["torch"]).max() < 0.05
    assert np.abs(results["openvino-bf16"] - results["torch"]).max() < 0.05


def test_without_the_backend_s_library(weights, monkeypatch):
    import sys

    card = models.card("unet16")
    monkeypatch.setenv(network.BACKEND_VARIABLE, "torch")
    network._load.cache_clear()
    monkeypatch.delitem(sys.modules, "unblur.runtime.torch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unblur\[train\]'"):
        methods.get(str(weights(card)))


def test_wrong_files(weights, exported, tmp_path, monkeypatch):
    card = models.card("unet16")
    (tmp_path / "unet20.safetensors").write_bytes(weights(card).read_bytes())
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(tmp_path))
    with pytest.raises(FileError, match="holds the weights of unet16, not of unet20"):
        methods.get("unet20")
    whole = exported(card).read_bytes()
    for number, damaged in enumerate((b"", b"no model", whole[: len(whole) // 2])):
        file = tmp_path / f"{number}.onnx"
        file.write_bytes(damaged)
        with pytest.raises(FileError, match=rf"{number}\.onnx: not an ONNX model") as error:
            methods.get(str(file))
        assert "\n" not in str(error.value)
    import onnx

    bare = onnx.load(exported(card))
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    with pytest.raises(FileError, match=r"bare\.onnx: has no model card inside.*unblur export"):
        methods.get(str(tmp_path / "bare.onnx"))
