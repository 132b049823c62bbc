"""What a step of training does: losses, gradients, one update of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from unblur.lab import losses
from unblur.lab.batches import Batch
from unblur.lab.muon import Muon
from unblur.lab.recipe import Clip, Optimiser, Recipe
from unblur.nets.layers import Restorer, max_norm_


class Objective(Protocol):
    """What a step does, and to which networks.

    names: of the losses that a step returns, the one to minimise first. net: the network that is kept.
    networks, optimisers: everything that a checkpoint must hold.
    """

    names: tuple[str, ...]
    net: nn.Module
    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]

    def step(self, parts: Sequence[Batch], scale: float) -> Tensor:
        """Update the weights, rates being multiplied by `scale`; this process's part of the losses, (names,)."""
        ...


class Regression:
    """Minimise the recipe's loss between what a network makes of the blurred pictures and what it should.

    That is the sharp picture for a restorer, at one scale or all, and sigma for an estimator.
    """

    names: tuple[str, ...] = ("loss",)

    def __init__(self, fabric: Fabric, recipe: Recipe, net: nn.Module) -> None:
        self.fabric, self.recipe, self.net = fabric, recipe, net
        optimiser = make_optimiser(recipe.optimiser, net)
        self.module, wrapped = fabric.setup(Scales(net, recipe.loss.scales == "all"), optimiser)
        self.optimiser = cast(torch.optim.Optimizer, wrapped)
        self.networks: Mapping[str, nn.Module] = {"net": net}
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {"net": optimiser}

    def step(self, parts: Sequence[Batch], scale: float) -> Tensor:
        """One update from the parts of a batch."""
        set_rate(self.optimiser, self.recipe.optimiser.rate * scale)
        self.optimiser.zero_grad()
        total = torch.zeros(1, device=self.fabric.device)
        for number, part in enumerate(parts, 1):
            with self.fabric.no_backward_sync(self.module, enabled=number < len(parts)):
                outputs = self.module(laid_out(part.blurred, self.recipe))
                loss = picture_losses(self.recipe, self.net, outputs, part).mean() * part.share
                # Processes are averaged, and shares sum to 1 over all of them.
                self.fabric.backward(loss * self.fabric.world_size)
            total += loss.detach()
        clip(self.net.parameters(), self.recipe.clip)
        self.optimiser.step()
        if self.recipe.optimiser.recurrent_max_norm is not None:
            max_norm_(self.net, self.recipe.optimiser.recurrent_max_norm)
        return total


class Scales(nn.Module):
    """A network as a function to the list of its outputs: of every scale, or the finest alone."""

    def __init__(self, net: nn.Module, every: bool) -> None:
        super().__init__()
        self.net, self.every = net, every

    def forward(self, x: Tensor) -> list[Tensor]:
        """Shape: (N, C, H, W) in, a list of such out."""
        if self.every and isinstance(self.net, Restorer):
            return self.net.levels(x)
        return [self.net(x)]


class Average:
    """Exponential moving average of a network's weights, with a quicker start."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net, self.decay = net, decay
        self.tensors = {name: p.detach().clone() for name, p in net.named_parameters()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights as they are after so many steps."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        for name, p in self.net.named_parameters():
            self.tensors[name].lerp_(p.detach(), 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the network has the averaged weights."""
        live = {name: p.data for name, p in self.net.named_parameters()}
        for name, p in self.net.named_parameters():
            p.data = self.tensors[name]
        try:
            yield
        finally:
            for name, p in self.net.named_parameters():
                p.data = live[name]


def make_optimiser(of: Optimiser, net: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser over the weights of a network."""
    weights = list(net.parameters())
    match of.kind:
        case "adam":
            return torch.optim.Adam(weights, of.rate, of.betas, of.eps, of.weight_decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(weights, of.rate, of.betas, of.eps, of.weight_decay, fused=True)
        case "sgd":
            return torch.optim.SGD(weights, of.rate, of.momentum, weight_decay=of.weight_decay, fused=True)
        case "muon":
            return Muon(weights, of.rate, of.momentum, of.betas, of.eps, of.weight_decay)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Change the learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


@torch.no_grad()
def clip(weights: Iterable[nn.Parameter], of: Clip) -> None:
    """Limit the gradients of weights as the recipe says."""
    having = [p for p in weights if p.grad is not None]
    if of.value is not None:
        nn.utils.clip_grad_value_(having, of.value)
    if of.tensor_norm is not None:
        for p in having:
            assert p.grad is not None
            norm = torch.linalg.vector_norm(p.grad)
            p.grad.mul_(torch.where(norm > of.tensor_norm, of.tensor_norm / norm, 1.0))
    if of.global_norm is not None:
        nn.utils.clip_grad_norm_(having, of.global_norm)


def picture_losses(recipe: Recipe, net: nn.Module, outputs: Sequence[Tensor], part: Batch) -> Tensor:
    """The recipe's loss of each picture. Shape: (N,) out."""
    if recipe.net.spec.role == "estimator":
        assert part.sigma is not None
        return losses.combine(recipe.loss.terms, [outputs[-1][:, None]], [part.sigma[:, None]])
    every = recipe.loss.scales == "all" and isinstance(net, Restorer)
    targets = net.pyramid(part.sharp) if every else [part.sharp]  # type: ignore[operator]
    return losses.combine(recipe.loss.terms, outputs, targets)


def laid_out(pictures: Tensor, recipe: Recipe) -> Tensor:
    """In the memory layout that the recipe asks for."""
    if recipe.run.channels_last:
        return pictures.contiguous(memory_format=torch.channels_last)
    return pictures.contiguous()
