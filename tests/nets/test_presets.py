"""Every preset keeps the contract of `Spec`: a new row is tested here without writing a test."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unblur.errors import OptionError
from unblur.models.card import parse
from unblur.nets import PRESETS, Spec, apply, create, names, spec
from unblur.nets.cost import count, parameters
from unblur.nets.layers import Restorer

# What is published: trainable parameters, and with running statistics as Keras counts them.
PUBLISHED = {
    "unet20": (1_941_139, 1_941_139),
    "unet16": (482_067, 482_067),
    "resunet1": (1_008_963, 1_011_523),
    "resunet3": (1_969_987, 1_975_107),
    "eddensenet": (424_927, 432_535),
    "caessc_d30_f64": (2_881_420, 2_886_040),
    "caessc_d22_f128_half": (8_217_868, 8_224_536),
    "caessc_d22_f128_half_no_sigmoid": (8_217_868, 8_224_536),
    "srn_cifar": (13_747_026, 13_759_070),
    "srn_cifar_lstm": (15_404_114, 15_416_158),
    "srn_reds": (5_019_894, 5_019_894),
    "srn_paper": (8_061_411, 8_061_411),
    "srn_paper_no_lstm": (6_881_251, 6_881_251),
    "srn_paper_grey": (8_056_609, 8_056_609),
    "unet_inputskip": (10_577_667, 10_577_667),
    "unet_inputskip_6": (10_614_595, 10_614_595),
    "large_kernel_cnn": (370_947, 370_947),
    "mscnn_ps": (2_034_537, 2_034_537),
    "mscnn_tc": (2_032_881, 2_032_881),
    "mscnn_paper": (11_721_321, 11_721_321),
    "sigma_cnn_160x240": (698_191, 698_311),
    "sigma_cnn_144x256": (669_391, 669_511),
    "unet_d3": (7_697_475, 7_697_475),
    "gan_generator": (1_734_947, 1_737_763),
    "gan_discriminator": (4_377_793, 4_379_713),
    "red30": (4_139_395, 4_139_395),
}
SIZES = {"000": [(32, 32)], "001": [(32, 32)], "002": [(256, 448)], "003": [(256, 256), (720, 1280)]}
SIZES["004"] = [(160, 240), (144, 256)]
SIZES["srn_reds"] = SIZES["003"]

RESTORERS = [row for row in PRESETS.values() if row.role == "restorer"]
ANY_SIZE = [row for row in RESTORERS if row.fixed_size is None]


def each(rows: Any) -> Any:
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


@cache
def weightless(name: str) -> nn.Module:
    """The whole network without memory for its weights: for shapes and counts."""
    with torch.device("meta"):
        return create(name).eval().to("meta")


def narrow(row: Spec, width: int) -> dict[str, Any]:
    """Overrides that make a preset cheap and leave its structure as it is."""
    if row.family in ("sigma_cnn", "gan") and row.role != "restorer":
        return {}
    if "widths" in row.arguments:
        head = {"head": width} if "head" in row.arguments else {}
        return {"widths": (width,) * len(row.arguments["widths"]), **head}
    return {"growth" if row.family == "eddensenet" else "width": width}


def small(row: Spec, batch: int = 2) -> Tensor:
    """A small picture that the network takes."""
    side = max(row.size_multiple, 8)
    size = row.fixed_size or (side, 2 * side)
    return torch.rand(batch, row.channels, *size, generator=torch.Generator().manual_seed(3))


def scattered(row: Spec, seed: int = 0) -> nn.Module:
    """A narrow twin of the network with every parameter and statistic off its start value, zeros included."""
    torch.manual_seed(seed)
    net = row.build(**narrow(row, 8)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            parameter += 0.1 * (spread or 0.1) * torch.randn_like(parameter)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return net


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_those_published(name):
    built = count(weightless(name))
    assert built == (spec(name).parameters, spec(name).total)
    assert built == PUBLISHED.get(name, built)


def test_the_published_table_is_whole():
    assert set(PUBLISHED) <= set(PRESETS)
    rest = {"unet_no_tail", "resnet8", "resnet16", "sigma_cnn_pool"}
    rest |= {"nafnet32", "nafnet16", "unblur_unet_1m", "unblur_unet_7m", "unblur-m", "unblur-s"} | {
        "unblur-thumbnail",
        "unblur-reds",
    }
    assert set(PRESETS) - set(PUBLISHED) == rest
    assert parameters("nafnet32").trainable == pytest.approx(17.1e6, rel=0.002)
    assert parameters("unblur_unet_1m").trainable == pytest.approx(1e6, rel=0.2)
    assert parameters("unblur_unet_7m").trainable == pytest.approx(7e6, rel=0.02)


@each(PRESETS.values())
def test_sizes(row):
    sizes = [row.fixed_size] if row.fixed_size else SIZES.get(row.name, SIZES.get(row.report, [(720, 1280)]))
    for size in sizes:
        x = torch.empty(2, row.channels, *size, device="meta")
        shape = (2, min(row.channels, 3), *size) if row.makes_pictures else (2,)
        assert weightless(row.name)(x).shape == shape


@each(RESTORERS)
def test_levels_end_in_the_result_and_have_the_pyramid_s_sizes(row):
    net, x = scattered(row), small(row)
    assert isinstance(net, Restorer)
    with torch.no_grad():
        levels, targets = net.levels(x), net.pyramid(x)
        assert torch.equal(levels[-1], net(x))
    assert [level.shape for level in levels] == [target.shape for target in targets]
    assert torch.equal(targets[-1], x)
    assert (net.output_kind == "levels") == (len(levels) > 1)
    for coarse, fine in pairwise(levels):
        assert 2 * coarse.shape[-1] == fine.shape[-1]


@each(PRESETS.values())
def test_same_again_in_eval_and_each_picture_for_itself(row):
    net, x = scattered(row), small(row)
    with torch.no_grad():
        first = net(x)
        assert torch.equal(first, net(x))
        alone = torch.cat([net(x[:1]), net(x[1:])])
    torch.testing.assert_close(alone, first, rtol=1e-4, atol=1e-4 * float(first.abs().max()))


@each(PRESETS.values())
def test_gradient_reaches_every_parameter(row):
    net, x = scattered(row), small(row)
    levels = net.levels(x) if isinstance(net, Restorer) else [net(x)]
    sum((level * torch.rand_like(level)).sum() for level in levels).backward()
    unreached = {key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    # Zero state: where none arrives, the recurrent kernel and the forget gate have nothing to act on.
    blind = {"srn_reds": ["scales.0", "scales.1"], "srn_cifar_lstm": ["scales.0"]}.get(row.name, [])
    assert unreached == {f"{scale}.memory.cell.recurrent.weight" for scale in blind}
    reached = dict(net.named_parameters())
    for scale in blind:
        i, f, c, o = reached[f"{scale}.memory.cell.kernel.weight"].grad.chunk(4)
        assert not f.any()
        assert i.any()
        assert c.any()
        assert o.any()


@each(PRESETS.values())
def test_state_round_trip_is_exact(row):
    net, other, x = scattered(row, 0), scattered(row, 1), small(row, 1)
    other.load_state_dict(net.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(net(x), other(x))
    saved = sum(value.numel() for key, value in net.state_dict().items() if "num_batches" not in key)
    extra = 6 if row.family == "sigma_cnn" else 0  # mean and std of the training pictures
    assert saved == count(net).total + extra


@each(PRESETS.values())
def test_channels_last_and_bfloat16(row):
    net, x = scattered(row), small(row)
    with torch.no_grad():
        plain = net(x)
        last = net.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.isfinite(net(x)).all()


@each(ANY_SIZE)
@pytest.mark.parametrize("size", [(1, 1), (5, 19)])
def test_any_size_by_padding(row, size):
    net = scattered(row)
    x = torch.rand(1, row.channels, *size)
    got = apply(net, row, x)
    assert got.shape == x.shape
    bottom, right = (-n % row.size_multiple for n in size)
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), (0, bottom), (0, right)], mode="reflect")
    with torch.no_grad():
        expected = net(torch.from_numpy(padded))[:, :, : size[0], : size[1]].clamp(0, 1)
    assert torch.equal(got, expected)


def test_fixed_sizes_are_kept_to():
    row = spec("srn_cifar_lstm")
    assert row.padded(20, 32) == (32, 32)
    with pytest.raises(OptionError, match="32x32 pixels, got 33x10"):
        apply(row.build(), row, torch.rand(1, 3, 33, 10))
    assert spec("unet20").padded(33, 48) == (48, 48)


def halo_row(row: Spec) -> Any:
    return pytest.param(row, marks=pytest.mark.slow if row.halo and row.halo > 1000 else (), id=row.name)


@pytest.mark.parametrize("row", [halo_row(row) for row in PRESETS.values() if row.halo is not None])
def test_halo(row, monkeypatch):
    """Gradients of a narrow, all-linear twin show exactly which columns and rows an output depends on."""
    monkeypatch.setattr(torch.Tensor, "detach", lambda tensor: tensor)  # a detached path is a path
    torch.manual_seed(0)
    net = linear(row.build(**narrow(row, 2))).double().eval()
    step = row.size_multiple
    length = 2 * step * (row.halo // step + 3)
    middle = length // 2 // step * step
    for axis in (2, 3) if row.halo < 200 else (3,):
        shape = [step, row.channels, step, step]
        shape[axis] = length
        x = (1e-6 * (1 + torch.rand(shape, dtype=torch.float64))).requires_grad_()
        # Picture k of the batch is asked about row or column k past the middle: every phase of the grid once.
        positions = middle + torch.arange(step)
        asked = torch.arange(length).eq(positions[:, None])  # (step, length)
        y = net(x)
        y.backward(asked.unflatten(1, (-1, 1) if axis == 2 else (1, -1))[:, None] * torch.ones_like(y))
        touched = x.grad.movedim(axis, 1).flatten(2).any(2)
        first, last = touched.int().argmax(1), length - 1 - touched.flip(1).int().argmax(1)
        assert first.min() > 0
        assert last.max() < length - 1
        assert max((positions - first).max(), (last - positions).max()) == row.halo


def linear(net: nn.Module) -> nn.Module:
    """Nothing that could block a gradient: no activations, means for maxima, positive kernels."""
    for module in list(net.modules()):
        for key, child in list(module.named_children()):
            if isinstance(child, nn.ReLU | nn.LeakyReLU | nn.Sigmoid):
                setattr(module, key, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                setattr(module, key, nn.AvgPool2d(2))
    for parameter in net.parameters():
        if parameter.dim() > 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
            parameter.data /= parameter[0].numel()
    return net


@each(PRESETS.values())
def test_card_is_a_model_card(row):
    card = parse(row.card(), row.name)
    assert (card.name, card.parameters, card.total_parameters) == (row.name, row.parameters, row.total)
    assert (card.size_multiple, card.fixed_size, card.halo) == (row.size_multiple, row.fixed_size, row.halo)
    assert card.arguments == json.loads(json.dumps({k: v for k, v in row.arguments.items() if v is not None}))


@pytest.mark.parametrize(
    "name", ["unet_inputskip", "caessc_d22_f128_half", "sigma_cnn_144x256", "unblur_unet_7m"]
)
def test_a_network_can_be_built_from_its_card(name):
    card = parse(spec(name).card(), name)
    with torch.device("meta"):
        assert count(create(card.name, **card.arguments)) == parameters(name)


def test_names_and_refusals():
    assert names(family="mscnn") == ("mscnn_ps", "mscnn_tc", "mscnn_paper")
    assert names() == tuple(PRESETS)
    with pytest.raises(OptionError, match=r"unet_d4.*did you mean.*unet_d3"):
        create("unet_d4")
    with pytest.raises(OptionError, match="no option 'final_activaton'; did you mean final_activation"):
        create("unet20", final_activaton="linear")
    with pytest.raises(OptionError, match="unknown activation"):
        create("unet20", final_activation="softmax")
    with pytest.raises(OptionError, match="share_weights"):
        create("srn_cifar_lstm", share_weights=True)
    with pytest.raises(OptionError, match="depth"):
        create("red30", depth=29)
