"""Networks that begin as the identity: exactly, and able to learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unblur import nets
from unblur.errors import OptionError
from unblur.nets.identity import identity_

EXACT = ["unet20", "unet16", "unet_d3", "unet_inputskip", "unet_no_tail", "large_kernel_cnn", "resnet8"]
CLOSE = ["mscnn_ps", "mscnn_tc", "gan_generator"]


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


def test_scales_that_see_the_sum_return_the_mean(pictures: torch.Tensor) -> None:
    net = nets.create("srn_reds")
    identity_(net)
    with torch.no_grad():
        coarse, fine = net.levels(pictures)
        small = net.pyramid(pictures)[0]
    torch.testing.assert_close(coarse, small, atol=1e-6, rtol=0)
    expected = (pictures + nets.layers.double(small)) / 2
    torch.testing.assert_close(fine, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["unet20", "large_kernel_cnn", "mscnn_ps", "srn_reds"])
def test_every_layer_learns(name: str, pictures: torch.Tensor) -> None:
    torch.manual_seed(5)
    net = nets.create(name)
    identity_(net)
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
    still = [k for k, v in net.state_dict().items() if torch.equal(v, before[k]) and "recurrent" not in k]
    assert still == []


def test_the_start_draws_the_other_weights_at_random() -> None:
    torch.manual_seed(7)
    net = nets.create("unet20")
    identity_(net)
    torch.manual_seed(7)
    plain = nets.create("unet20")
    bottom = net.encoder[-1][0].weight
    assert torch.equal(bottom, plain.encoder[-1][0].weight)
    assert float(bottom.std()) > 0


@pytest.mark.parametrize(
    ("name", "options"), [("resunet1", {}), ("srn_cifar", {}), ("unet20", {"final_activation": "sigmoid"})]
)
def test_no_such_start(name: str, options: dict[str, str]) -> None:
    net: nn.Module = nets.create(name, **options)
    with pytest.raises(OptionError, match="identity"):
        identity_(net)
