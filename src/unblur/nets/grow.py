"""Wide networks that begin as narrow ones of the same layers, which learn the same task many times as fast."""

from __future__ import annotations

import operator
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from unblur.errors import OptionError

_PASSES = (
    nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Identity, nn.MaxPool2d, nn.Dropout, nn.Upsample, nn.ZeroPad2d,
)  # fmt: skip


@torch.no_grad()
def grown(net: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a network that begins with the weights of a part of it: of fewer layers, or of fewer channels.

    What is not there keeps the network's own start. Where channels are fewer, the first of each layer are the given
    ones and do not hear of the others, so that the result is the narrow network's; the others hear everything.
    The network takes three channels then. What a network is shown beside what the given one was shown, behind it,
    it does not hear of at first. Raises OptionError where the layers do not fit.
    """
    own = net.state_dict()
    state = {**own, **weights}
    other = [name for name, tensor in own.items() if tensor.shape != state[name].shape]
    if not other:
        return state
    if len(other) == 1 and own[other[0]].ndim == 4:
        narrow, wider = state[other[0]], torch.zeros_like(own[other[0]])
        if narrow.shape == wider[:, : narrow.shape[1]].shape:
            wider[:, : narrow.shape[1]] = narrow
            return {**state, other[0]: wider}
    if weights.keys() != state.keys():
        raise OptionError(
            f"{type(net).__name__} cannot begin as a network of fewer layers and fewer channels"
        )
    try:
        graph = fx.Tracer().trace(net)
    except fx.proxy.TraceError as error:
        raise OptionError(f"{type(net).__name__} cannot begin as a narrower network: {error}") from error
    # Which channels of a result are the narrow network's, and how many there are.
    channels: dict[fx.Node, tuple[Tensor, int]] = {}
    modules = dict(net.named_modules())
    wide = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for node in graph.nodes:
        sources = [channels[source] for source in node.all_input_nodes]
        match node.op:
            case "placeholder":
                channels[node] = torch.arange(3), 3
            case "call_module":
                channels[node] = _through(modules[node.target], node.target, *sources[0], weights, wide)
            case "call_function" if node.target is torch.cat:
                starts = torch.tensor([0, *(total for _, total in sources)]).cumsum(0).tolist()
                both = [mine + start for (mine, _), start in zip(sources, starts, strict=False)]
                channels[node] = torch.cat(both), starts[-1]
            case "call_function" if node.target in (operator.add, operator.iadd) and all(
                torch.equal(mine, sources[0][0]) for mine, _ in sources
            ):
                channels[node] = sources[0]
            case "output":
                pass
            case _:
                raise OptionError(f"{type(net).__name__} cannot begin as a narrower network: {node.target}")
    return wide


def _through(
    module: nn.Module,
    name: str,
    mine: Tensor,
    total: int,
    weights: Mapping[str, Tensor],
    wide: dict[str, Tensor],
) -> tuple[Tensor, int]:
    """What a module makes of the narrow network's channels; its tensors in `wide` are set."""
    match module:
        case nn.PixelShuffle():
            each = module.upscale_factor**2
            return mine[::each] // each, total // each
        case nn.Conv2d() | nn.ConvTranspose2d() if module.groups == 1:
            inward = 1 if isinstance(module, nn.Conv2d) else 0
            narrow, here = weights[f"{name}.weight"], wide[f"{name}.weight"].movedim(inward, 1)
            narrow = narrow.movedim(inward, 1)
            count = len(narrow)
            if narrow.shape[1] != len(mine) or narrow.shape[2:] != here.shape[2:] or count > len(here):
                raise OptionError(f"weights of another network: {name} of shape {tuple(narrow.shape)}")
            here[:count] = 0
            here[:count, mine] = narrow
            if module.bias is not None:
                wide[f"{name}.bias"][:count] = weights[f"{name}.bias"]
            return torch.arange(count), len(here)
        case nn.BatchNorm2d():
            for part in ("weight", "bias", "running_mean", "running_var"):
                wide[f"{name}.{part}"][mine] = weights[f"{name}.{part}"]
            return mine, total
        case _ if isinstance(module, _PASSES):
            return mine, total
    raise OptionError(f"no narrower network can be put into a layer of the kind {type(module).__name__}")
