"""Exported networks give what torch gives."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import pytest
import torch

from unblur.errors import MissingExtraError, OutputError
from unblur.models import METADATA_KEY, card, parse_card
from unblur.nets import PRESETS, create, spec
from unblur.nets.export import strided, to_onnx
from unblur.nets.spec import Spec

QUICK = ("resunet1", "mscnn_ps", "srn_cifar_lstm")


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def check(row: Spec, path, net=None) -> None:
    torch.manual_seed(0)
    net = net or row.build()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    net.train()
    assert to_onnx(net, card(row.name), path) == path
    assert net.training
    net.eval()
    run = session(path)
    step = row.size_multiple
    sizes = (
        [row.fixed_size] if row.fixed_size else [(step, 3 * step), (max(step, 24) // step * step, 5 * step)]
    )
    if row.name == "sigma_cnn_pool":
        sizes = [(9, 31), (24, 7)]
    for batch, size in enumerate(sizes, 1):
        x = torch.rand(batch, row.channels, *size)
        with torch.no_grad():
            expected = net(x).numpy()
        (got,) = run.run(None, {"input": x.numpy()})
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("name", QUICK)
def test_three_kinds(name, tmp_path):
    check(spec(name), tmp_path / "net.onnx", create(name, width=4))


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_all_of_them(name, tmp_path):
    check(spec(name), tmp_path / "net.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("resunet1", {"tf_same": True}),
        ("caessc_d22_f128_half", {"tf_same": True, "width": 8}),
        ("srn_reds", {"carry_state": True, "share_weights": True, "tf_same": True}),
        ("eddensenet", {"carry": "raw"}),
    ],
)
def test_flags(name, overrides, tmp_path):
    check(spec(name), tmp_path / "net.onnx", create(name, **overrides))


def test_pixel_unshuffle_becomes_a_stride():
    net = create("unblur-m").eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    merged = strided(net)
    assert not any(isinstance(module, torch.nn.PixelUnshuffle) for module in merged.modules())
    assert any(isinstance(module, torch.nn.PixelUnshuffle) for module in net.modules())
    x = torch.rand(2, 8, 24, 32)
    with torch.no_grad():
        torch.testing.assert_close(merged(x), net(x), rtol=0, atol=1e-4)


def test_card_and_half_precision_weights(tmp_path):
    row = spec("unblur_unet_1m")
    torch.manual_seed(0)
    net = row.build().eval()
    torch.nn.init.normal_(net.leave[0].weight, std=0.01)
    full, half = tmp_path / "full.onnx", tmp_path / "half.onnx"
    mine = card(row.name).model_copy(update={"trained_on": "mine"})
    to_onnx(net, card(row.name), full)
    to_onnx(net, mine, half, fp16=True)
    with pytest.raises(OutputError, match=r"full\.onnx: exists"):
        to_onnx(net, mine, full)
    assert half.stat().st_size < 0.52 * full.stat().st_size
    runs = [session(path) for path in (full, half)]
    inside = [run.get_modelmeta().custom_metadata_map[METADATA_KEY] for run in runs]
    assert [parse_card(facts, "inside") for facts in inside] == [card(row.name), mine]
    for run in runs:
        assert run.get_inputs()[0].type == run.get_outputs()[0].type == "tensor(float)"
    x = torch.rand(1, 3, 32, 48)
    a, b = (run.run(None, {"input": x.numpy()})[0] for run in runs)
    assert 0 < np.abs(a - b).max() < 1e-2
    net.half().float()
    with torch.no_grad():
        np.testing.assert_allclose(b, net(x).numpy(), rtol=0, atol=1e-5 * max(1, np.abs(b).max()))


def test_what_half_precision_cannot_hold_stays_as_it_is(tmp_path):
    net = create("large_kernel_cnn", width=4).eval()
    torch.nn.init.constant_(net.body[0].weight, 1e5)
    paths = [
        to_onnx(net, card("large_kernel_cnn"), tmp_path / f"{half}.onnx", fp16=half) for half in (True, False)
    ]
    assert 0.4 < paths[0].stat().st_size / paths[1].stat().st_size < 0.9
    x = np.random.default_rng(3).random((1, 3, 16, 16), np.float32)
    a, b = (session(path).run(None, {"input": x})[0] for path in paths)
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3 * np.abs(b).max())


def test_without_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"unblur\[train\]"):
        to_onnx(torch.nn.Conv2d(3, 3, 1), card("unet20"), tmp_path / "net.onnx")
