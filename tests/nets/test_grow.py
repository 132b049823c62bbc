"""A wide network that begins as a narrow one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from unblur.errors import OptionError
from unblur.nets.grow import grown
from unblur.nets.norms import measure_norms_
from unblur.nets.rednet import CAESSC
from unblur.nets.residual_unet import ResidualUNet
from unblur.nets.unet import UNet


def _caessc(width: int) -> nn.Module:
    return CAESSC(6, width, half=True, final_activation="linear")


def _unet(width: int) -> nn.Module:
    return UNet([width, 2 * width, 4 * width], tail_convs=1, reinject=True, head=2 * width)


@pytest.mark.parametrize("build", [_caessc, _unet])
def test_the_wide_network_computes_what_the_narrow_one_did(build: Callable[[int], nn.Module]) -> None:
    torch.manual_seed(3)
    x = torch.rand(2, 3, 16, 16)
    narrow, wide = build(4), build(10)
    for net in (narrow, wide):
        measure_norms_(net, x)
        net.eval()
    before = wide(x)
    wide.load_state_dict(grown(wide, narrow.state_dict()))
    assert torch.allclose(wide(x), narrow(x), atol=1e-5)
    assert not torch.allclose(before, narrow(x), atol=1e-2)


def test_what_is_new_is_heard_after_a_step() -> None:
    torch.manual_seed(3)
    narrow, wide = _unet(4), _unet(10)
    wide.load_state_dict(grown(wide, narrow.state_dict()))
    x = torch.rand(1, 3, 16, 16)
    wide(x).square().sum().backward()
    for name, parameter in wide.named_parameters():
        assert parameter.grad is not None
        if name == "encoder.1.0.weight":
            # From new channels to old ones: zero, and on the move.
            assert not parameter[:8, 4:].any()
            assert parameter.grad[:8, 4:].any()


def test_weights_of_fewer_layers_are_taken_as_they_are() -> None:
    net = _unet(4)
    part = {name: tensor + 1 for name, tensor in net.state_dict().items() if name.startswith("tail")}
    state = grown(net, part)
    assert torch.equal(state["tail.0.weight"], part["tail.0.weight"])
    assert state.keys() == net.state_dict().keys()


def test_other_networks_do_not_fit() -> None:
    narrow = CAESSC(6, 4, half=True, final_activation="linear", kernel=3)
    with pytest.raises(OptionError, match="another network"):
        grown(_caessc(8), narrow.state_dict())
    without = {name: tensor for name, tensor in _unet(4).state_dict().items() if not name.startswith("tail")}
    with pytest.raises(OptionError, match="fewer layers and fewer channels"):
        grown(_unet(8), without)


def test_what_is_shown_besides_is_not_heard_at_first() -> None:
    torch.manual_seed(3)
    narrow = ResidualUNet([8, 16], [1, 1], guided=True)
    more = ResidualUNet([8, 16], [1, 1], guided=True, shown=11)
    with torch.no_grad():
        narrow.leave[0].weight.normal_()
    more.load_state_dict(grown(more, narrow.state_dict()))
    x = torch.rand(2, 11, 16, 16)
    assert torch.equal(more(x), narrow(x[:, :8]))
    more(x).square().sum().backward()
    assert more.enter[1].weight.grad[:, 32:].any()
