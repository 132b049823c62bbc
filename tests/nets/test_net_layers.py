"""The shared layers against definitions, torch's own and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unblur.nets.layers import (
    ConvLSTMCell,
    LSTMCell,
    Shrink,
    activation,
    conv,
    double,
    extend,
    glorot_,
    hard_sigmoid,
    keras_norm,
    max_norm_,
    up_conv,
)
from unblur.physics.resize import imresize


@pytest.mark.parametrize("size", [(4, 4), (8, 20), (64, 36)])
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize("antialias", [True, False])
def test_shrink_is_imresize(size, factor, method, antialias, rng):
    image = rng.random((*size, 3), dtype=np.float32)
    expected = imresize(image, 1 / factor, method, antialias)
    got = Shrink(factor, method, antialias)(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_allclose(got[0].permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-6)


def test_bilinear_half_without_antialias_is_the_mean_of_four():
    x = torch.rand(1, 2, 8, 12)
    torch.testing.assert_close(Shrink(2, "bilinear", antialias=False, channels=2)(x), F.avg_pool2d(x, 2))


def test_double_inverts_shrink_on_a_ramp():
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    back = double(Shrink(2, "bilinear", antialias=False, channels=1)(ramp))
    torch.testing.assert_close(back[..., 1:-1], ramp[..., 1:-1])


@pytest.mark.parametrize(("border", "mode"), [("reflect", "symmetric"), ("reflect101", "reflect")])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5)])
def test_extend_is_numpy_s_pad(border, mode, size):
    x = torch.rand(2, 3, *size)
    expected = np.pad(x.numpy(), [(0, 0), (0, 0), (3, 9), (11, 0)], mode=mode)
    np.testing.assert_array_equal(extend(x, 11, 0, 3, 9, border).numpy(), expected)


@pytest.mark.parametrize(("kernel", "before", "after"), [(3, 0, 1), (5, 1, 2)])
def test_tf_same_padding(kernel, before, after):
    x = torch.rand(1, 2, 8, 6)
    layer = conv(2, 4, kernel, 2, tf_same=True)
    weight, bias = layer[1].weight, layer[1].bias
    expected = F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, stride=2)
    assert layer(x).shape == (1, 4, 4, 3)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("tf_same", [True, False])
def test_up_conv_is_the_adjoint_of_conv(kernel, tf_same):
    reduce = conv(2, 3, kernel, 2, bias=False, tf_same=tf_same).double()
    enlarge = up_conv(3, 2, kernel, bias=False, tf_same=tf_same).double()
    enlarge.load_state_dict(dict(zip(enlarge.state_dict(), reduce.state_dict().values(), strict=True)))
    x, y = torch.rand(1, 2, 8, 10, dtype=torch.float64), torch.rand(1, 3, 4, 5, dtype=torch.float64)
    assert enlarge(y).shape == x.shape
    torch.testing.assert_close((reduce(x) * y).sum(), (x * enlarge(y)).sum())


@pytest.mark.parametrize("kernel", [2, 4])
def test_even_up_conv_doubles(kernel):
    assert up_conv(3, 2, kernel)(torch.rand(1, 3, 5, 4)).shape == (1, 2, 10, 8)


def test_lstm_is_torch_s_with_one_bias():
    torch.manual_seed(0)
    ours, theirs = LSTMCell(5, 4), nn.LSTMCell(5, 4)
    nn.init.normal_(ours.kernel.bias)
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.kernel.weight)
        theirs.weight_hh.copy_(ours.recurrent.weight)
        theirs.bias_ih.copy_(ours.kernel.bias)
        theirs.bias_hh.zero_()
    x, state = torch.randn(3, 5), (torch.randn(3, 4), torch.randn(3, 4))
    torch.testing.assert_close(ours(x, state), theirs(x, state))
    torch.testing.assert_close(ours(x), theirs(x))


def test_conv_lstm_at_one_pixel_is_an_lstm():
    torch.manual_seed(0)
    wide, flat = ConvLSTMCell(4, 3, hard=False), LSTMCell(4, 4)
    with torch.no_grad():
        flat.kernel.weight.copy_(wide.kernel.weight[:, :, 1, 1])
        flat.kernel.bias.copy_(wide.kernel.bias)
        flat.recurrent.weight.copy_(wide.recurrent.weight[:, :, 1, 1])
    x, h, c = torch.randn(3, 3, 4)
    picture = [t[:, :, None, None] for t in (x, h, c)]
    got = wide(picture[0], (picture[1], picture[2]))
    expected = flat(x, (h, c))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a[:, :, 0, 0], b)


def test_hard_gates():
    x = torch.tensor([-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0])
    torch.testing.assert_close(hard_sigmoid(x), torch.tensor([0.0, 0.0, 0.3, 0.5, 0.7, 1.0, 1.0]))
    torch.manual_seed(0)
    cell, x = ConvLSTMCell(2, 1, hard=True), torch.randn(1, 2, 1, 1)
    i, _, c, o = cell.kernel(x).chunk(4, 1)
    memory = hard_sigmoid(i) * torch.tanh(c)
    torch.testing.assert_close(cell(x), (hard_sigmoid(o) * torch.tanh(memory), memory))


def test_keras_initialisation():
    torch.manual_seed(0)
    net = nn.ModuleDict(
        {
            "conv": nn.Conv2d(64, 128, 3),
            "up": nn.ConvTranspose2d(64, 32, 2, 2),
            "cell": ConvLSTMCell(32, 3, hard=True),
        }
    )
    glorot_(net)
    for layer, fans in (
        (net["conv"], 9 * (64 + 128)),
        (net["up"], 4 * (64 + 32)),
        (net["cell"].kernel, 9 * (32 + 128)),
    ):
        limit = (6 / fans) ** 0.5
        assert limit * 0.99 < layer.weight.abs().max() <= limit
        assert layer.weight.detach().std() == pytest.approx(limit / 3**0.5, rel=0.02)
        assert abs(float(layer.weight.detach().mean())) < 0.02 * limit
    assert not net["conv"].bias.any()
    assert net["cell"].kernel.bias.tolist() == [0.0] * 32 + [1.0] * 32 + [0.0] * 64
    recurrent = net["cell"].recurrent.weight.flatten(1)
    torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(128), rtol=0, atol=1e-5)


def test_keras_numbers():
    norm = keras_norm(4)
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)
    assert activation("leaky")(torch.tensor(-1.0)) == pytest.approx(-0.3)


def test_max_norm():
    torch.manual_seed(0)
    net = nn.Sequential(LSTMCell(50, 2), nn.Linear(50, 2))
    weight = net[0].kernel.weight
    with torch.no_grad():
        weight.mul_(torch.linspace(0.1, 40, 8)[:, None])
        net[1].weight.mul_(100)
    before, other = weight.clone(), net[1].weight.clone()
    small = before.norm(dim=1) < 3
    assert 0 < small.sum() < 8
    max_norm_(net, 3.0)
    assert torch.equal(weight[small], before[small])
    torch.testing.assert_close(weight[~small].norm(dim=1), torch.full((int((~small).sum()),), 3.0))
    assert torch.equal(net[1].weight, other)
