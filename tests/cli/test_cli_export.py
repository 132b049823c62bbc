"""`unblur export` and `unblur models`: from weights to a file that restores pictures."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch

import unblur as package
from unblur import models, nets
from unblur.nets.cost import count
from unblur.runtime.onnx import OnnxBackend

#: One of each kind: plain, normalised, a pyramid, a fixed size, grey.
OPTIONS = {
    "unet16": {"widths": (4, 4, 8, 8)},
    "resunet1": {"width": 4},
    "mscnn_tc": {"width": 4, "n_blocks": 2},
    "srn_cifar_lstm": {"width": 4},
    "srn_paper_grey": {"width": 4},
}


@pytest.fixture
def saved(tmp_path):
    """Random weights of a narrow network, saved as training does: (path, card, network)."""

    def save(name, **options):
        torch.manual_seed(1)
        net = nets.create(name, **options).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2)
        about = models.card(name)
        about = about.model_copy(
            update={
                "arguments": {**about.arguments, **json.loads(json.dumps(options))},
                "parameters": count(net).trainable,
                "total_parameters": count(net).total,
                "trained_on": "nothing",
            }
        )
        tensors = {key: value.numpy() for key, value in net.state_dict().items()}
        return models.write_weights(tmp_path / f"{name}.safetensors", tensors, about), about, net

    return save


@pytest.mark.parametrize("name", OPTIONS)
def test_an_exported_network_gives_what_torch_gives(unblur, saved, tmp_path, name):
    weights, about, net = saved(name, **OPTIONS[name])
    ran = unblur("export", weights, "-o", tmp_path / "net.onnx", "--json")
    assert ran.code == 0, ran.err
    facts = json.loads(ran.out)
    assert facts["name"] == name
    assert facts["parameters"] == about.parameters
    assert facts["bytes"] == (tmp_path / "net.onnx").stat().st_size
    backend = OnnxBackend(tmp_path / "net.onnx")
    assert backend.card == about
    step = about.size_multiple
    for batch, rows, columns in ((1, 3 * step, step), (3, 2 * step, 5 * step)):
        rows, columns = about.fixed_size or (rows, columns)
        x = torch.rand(batch, about.channels, rows, columns)
        with torch.no_grad():
            expected = net(x).numpy()
        np.testing.assert_allclose(backend.run(x.numpy()), expected, rtol=0, atol=1e-4)


def test_an_odd_sized_picture_through_both_files(unblur, saved, tmp_path, rng):
    weights, about, net = saved("unet16", **OPTIONS["unet16"])
    assert unblur("export", weights, "-o", tmp_path / "net.onnx").out.strip() == str(tmp_path / "net.onnx")
    picture = rng.random((37, 51, 3), dtype=np.float32)
    by_onnx = package.restore(picture, method=str(tmp_path / "net.onnx"))
    by_torch = package.restore(picture, method=str(weights))
    assert by_onnx.method == by_torch.method == "unet16"
    padded = np.pad(picture, [(0, 3), (0, 5), (0, 0)], mode="reflect").transpose(2, 0, 1)[None]
    with torch.no_grad():
        expected = net(torch.from_numpy(padded))[0].permute(1, 2, 0).numpy()[:37, :51].clip(0, 1)
    assert expected.std() > 0.01
    np.testing.assert_allclose(by_onnx.image, expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(by_torch.image, expected, rtol=0, atol=1e-4)
    ran = unblur("models", tmp_path / "net.onnx", "--json")
    assert json.loads(ran.out) == [about.to_dict()]


def test_half_precision_weights(unblur, saved, tmp_path):
    weights, about, net = saved("unet16")
    for name, flags in (("full", []), ("half", ["--fp16"])):
        assert unblur("export", weights, "-o", tmp_path / f"{name}.onnx", *flags).code == 0
    full, half = tmp_path / "full.onnx", tmp_path / "half.onnx"
    assert half.stat().st_size < 0.55 * full.stat().st_size
    kinds = {tensor.data_type for tensor in onnx.load(half).graph.initializer if tensor.dims}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    backend = OnnxBackend(half)
    assert backend.card == about
    x = torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        expected = net.half().float()(x).numpy()
    np.testing.assert_allclose(backend.run(x.numpy()), expected, rtol=0, atol=1e-4)


def test_weights_in_half_precision_to_hand_on(unblur, saved, tmp_path):
    weights, about, _ = saved("resunet1", width=4)
    small = tmp_path / "small.safetensors"
    ran = unblur("export", weights, "-o", small, "--fp16")
    assert ran.code == 0, ran.err
    assert small.stat().st_size < 0.8 * weights.stat().st_size
    assert models.read_card(small) == about
    for name, value in models.read_weights(weights)[1].items():
        np.testing.assert_allclose(models.read_weights(small)[1][name], value, rtol=1e-3, atol=1e-6)
    assert unblur("export", weights, "-o", small).code == 2


def test_a_name_stands_for_its_weights(unblur, saved, tmp_path, monkeypatch):
    saved("unet16", **OPTIONS["unet16"])
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(tmp_path))
    assert unblur("export", "unet16", "-o", tmp_path / "net.onnx").code == 0
    assert OnnxBackend(tmp_path / "net.onnx").card.name == "unet16"


def refused(ran, *words):
    assert ran.code == 2
    assert len(ran.err.strip().splitlines()) == 1
    for word in words:
        assert word in ran.err


def test_what_is_wrong_is_said_in_a_line(unblur, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("UNBLUR_WEIGHTS", "UNBLUR_WEIGHTS_URL"):
        monkeypatch.delenv(variable, raising=False)
    refused(unblur("export", "unet2O", "-o", "net.onnx"), "unet2O", "did you mean 'unet20'")
    refused(unblur("export", "unet20", "-o", "net.onnx"), "no weights", "unblur train", "UNBLUR_WEIGHTS")
    refused(unblur("export", "missing.safetensors", "-o", "net.onnx"), "missing.safetensors", "no such file")
    weights, _, _ = saved("unet16", **OPTIONS["unet16"])
    refused(unblur("export", weights, "-o", "net.pb"), "net.pb", ".onnx")
    refused(unblur("export", weights, "-o", "missing/net.onnx"), "missing/net.onnx")
    whole = weights.read_bytes()
    for damaged in (whole[:-9], b"", b"no weights", whole[:200]):
        weights.write_bytes(damaged)
        refused(unblur("export", weights, "-o", "net.onnx"), "unet16.safetensors")
    weights.write_bytes(whole)
    # The weights of another network under a name, and under a card.
    weights.rename(tmp_path / "unet20.safetensors")
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(tmp_path))
    refused(unblur("export", "unet20", "-o", "net.onnx"), "unet16", "not of unet20")
    card, tensors = models.read_weights(tmp_path / "unet20.safetensors")
    tensors.popitem()
    models.write_weights(tmp_path / "less.safetensors", tensors, card)
    refused(unblur("export", "less.safetensors", "-o", "net.onnx"), "less.safetensors", "unet16")
    assert not (tmp_path / "net.onnx").exists()


def test_nothing_is_replaced_unasked_and_nothing_is_left_half_written(unblur, saved, tmp_path, monkeypatch):
    weights, _, _ = saved("unet16", **OPTIONS["unet16"])
    output = tmp_path / "net.onnx"
    output.write_text("mine")
    refused(unblur("export", weights, "-o", output), "net.onnx", "exists already", "overwrit")
    assert output.read_text() == "mine"
    monkeypatch.setattr(onnx.checker, "check_model", lambda _: 1 / 0)
    assert unblur("export", weights, "-o", output, "--overwrite").code == 1
    assert output.read_text() == "mine"
    monkeypatch.undo()
    assert unblur("export", weights, "-o", output, "--overwrite").code == 0
    assert OnnxBackend(output).card.name == "unet16"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "unet16.safetensors"]


@pytest.mark.parametrize("absent", ["torch", "onnx"])
def test_without_what_it_needs(unblur, saved, tmp_path, monkeypatch, absent):
    weights, _, _ = saved("unet16", **OPTIONS["unet16"])
    for name in [name for name in sys.modules if name.startswith("unblur.nets")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, absent, None)
    refused(unblur("export", weights, "-o", tmp_path / "net.onnx"), "pip install 'unblur[train]'")
    assert not (tmp_path / "net.onnx").exists()


def test_models_as_json(unblur):
    listed = json.loads(unblur("models", "--json").out)
    assert [row["name"] for row in listed] == list(models.cards())
    for row in listed:
        with torch.device("meta"):
            assert row["parameters"] == count(nets.create(row["name"])).trainable
        assert row["gmacs_per_megapixel"] > 0
        assert {"family", "size_multiple", "halo", "trained_on", "results"} <= set(row)
    (one,) = json.loads(unblur("models", "unet20", "--json").out)
    assert one == models.card("unet20").to_dict()


def test_models_as_text(unblur, saved, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    table = unblur("models").out
    for card in models.cards().values():
        (line,) = [line for line in table.splitlines() if line.split()[:1] == [card.name]]
        rest = line.split()[1:]
        assert rest[:3] == [card.family, f"{card.parameters:,}", f"{card.gmacs_per_megapixel:.1f}"]
        size = (
            f"{card.fixed_size[1]}x{card.fixed_size[0]} only" if card.fixed_size else f"{card.size_multiple}"
        )
        expected = [*size.split(), "all" if card.halo is None else f"{card.halo}"]
        assert rest[3 : 3 + len(expected)] == expected
    weights, _, _ = saved("unet16", **OPTIONS["unet16"])
    text = unblur("models", weights).out
    assert "trained_on           nothing" in text
    assert "halo                 51" in text
    refused(unblur("models", "unet2O"), "did you mean 'unet20'")
    refused(unblur("models", "missing.onnx"), "missing.onnx")
