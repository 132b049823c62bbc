"""Networks that begin as the identity: exactly, and able to learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unblur import nets
from unblur.errors import OptionError
from unblur.nets.identity import identity_
from unblur.nets.norms import measure_norms_, norms, train_

EXACT = [
    "nafnet16",
    "unet20",
    "unet16",
    "unet_d3",
    "unet_inputskip",
    "unet_no_tail",
    "large_kernel_cnn",
    "resnet8",
]
CLOSE = ["mscnn_ps", "mscnn_tc", "gan_generator"]
NORMED = ["resunet1", "resunet3", "caessc_d22_f128_half", "caessc_d30_f64"]


@pytest.fixture
def pictures() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.rand(1, 3, 32, 48)


@pytest.mark.parametrize("name", [*EXACT, *CLOSE])
def test_what_goes_in_comes_out(name: str, pictures: torch.Tensor) -> None:
    net = nets.create(name).eval()
    identity_(net)
    with torch.no_grad():
        difference = (net(pictures) - pictures).abs().max()
    assert float(difference) <= (0 if name in EXACT else 1e-6)


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", NORMED)
def test_batch_normalisation_in_use_lets_it_through(
    name: str, measured: bool, pictures: torch.Tensor
) -> None:
    net = nets.create(name, final_activation="linear").eval()
    identity_(net)
    if measured:
        measure_norms_(net, pictures)
    with torch.no_grad():
        torch.testing.assert_close(net(pictures), pictures, atol=1e-5, rtol=0)


def test_a_narrow_bottleneck_lets_the_lowest_terms_of_each_block_through() -> None:
    torch.manual_seed(3)
    net = nets.create("eddensenet", final_activation="linear").eval()
    identity_(net)
    # A ramp of brightness along the diagonal of each block, and colours that rise half as fast.
    steps = torch.cos(torch.pi / 4 * torch.outer(torch.arange(3), torch.arange(4) + 0.5))
    terms = torch.einsum("iy,jx->ijyx", steps, steps)
    bright = 0.5 + 0.05 * torch.einsum("nij,ijyx->nyx", torch.rand(6, 3, 3) - 0.5, terms)
    tint = 0.05 * terms[0, 1] * torch.tensor([1.0, 0.0, -1.0])[:, None, None]
    blocks = bright[:, None] + tint
    measured = torch.rand(4, 3, 32, 32)
    measure_norms_(net, measured)
    pictures = blocks.repeat(1, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(net(pictures), pictures, atol=1e-5, rtol=0)


def test_normed_scales_return_the_mean() -> None:
    torch.manual_seed(3)
    pictures = torch.rand(2, 3, 32, 32)
    net = nets.create("srn_cifar_lstm", final_activation="linear").eval()
    identity_(net)
    measure_norms_(net, pictures)
    with torch.no_grad():
        coarse, fine = net.levels(pictures)
        small = net.pyramid(pictures)[0]
    torch.testing.assert_close(coarse, small, atol=1e-5, rtol=0)
    torch.testing.assert_close(fine, (pictures + nets.layers.double(small)) / 2, atol=1e-5, rtol=0)


def test_scales_that_see_the_sum_return_the_mean(pictures: torch.Tensor) -> None:
    net = nets.create("srn_reds")
    identity_(net)
    with torch.no_grad():
        coarse, fine = net.levels(pictures)
        small = net.pyramid(pictures)[0]
    torch.testing.assert_close(coarse, small, atol=1e-6, rtol=0)
    expected = (pictures + nets.layers.double(small)) / 2
    torch.testing.assert_close(fine, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "name",
    [
        "unet20",
        "large_kernel_cnn",
        "mscnn_ps",
        "srn_reds",
        "resunet1",
        "caessc_d22_f128_half",
        "srn_cifar",
        "eddensenet",
    ],
)
def test_every_layer_learns(name: str, pictures: torch.Tensor) -> None:
    torch.manual_seed(5)
    net = nets.create(name)
    if norms(net):
        net = nets.create(name, final_activation="linear")
    identity_(net)
    measure_norms_(net, pictures)
    train_(net, fixed_norms=True)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimiser = torch.optim.Adam(net.parameters(), 1e-4)
    losses = []
    for _ in range(8):
        loss = sum(
            ((output - target.flip(3)) ** 2).mean()
            for output, target in zip(net.levels(pictures), net.pyramid(pictures), strict=True)
        )
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0]
    # Recurrent weights that start from a zero state have no effect, whatever the start.
    moved = dict(net.named_parameters())
    still = [k for k, v in moved.items() if torch.equal(v, before[k]) and "recurrent" not in k]
    assert all(torch.equal(v, before[k]) for k, v in net.named_buffers() if "running" in k)
    assert still == []


def test_the_start_draws_the_other_weights_at_random() -> None:
    torch.manual_seed(7)
    net = nets.create("unet20")
    identity_(net)
    torch.manual_seed(7)
    plain = nets.create("unet20")
    bottom = net.encoder[-1][0].weight
    assert torch.equal(bottom, plain.encoder[-1][0].weight)
    assert float(bottom.detach().std()) > 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("eddensenet", {}),
        ("resunet1", {}),
        ("srn_cifar", {}),
        ("srn_paper", {}),
        ("caessc_d30_f64", {}),
        ("unet20", {"final_activation": "sigmoid"}),
    ],
)
def test_no_such_start(name: str, options: dict[str, str]) -> None:
    net: nn.Module = nets.create(name, **options)
    with pytest.raises(OptionError, match="identity"):
        identity_(net)


def test_measured_norms_normalise(pictures: torch.Tensor) -> None:
    torch.manual_seed(2)
    net = nets.create("resunet1")
    measure_norms_(net, pictures)
    seen: list[torch.Tensor] = []
    for norm in norms(net):
        norm.register_forward_hook(lambda module, of, out: seen.append(out))
    net.eval()(pictures)
    for out in seen:
        variance, mean = torch.var_mean(out.detach(), dim=(0, 2, 3))
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-4, rtol=0)
        assert float(variance.max()) <= 1
        assert float(variance.median()) > 0.9
