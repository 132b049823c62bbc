"""Adversarial training: a network against a discriminator that has never seen the blurred picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from unblur.lab.batches import Batch
from unblur.lab.objective import clip, laid_out, make_optimiser, picture_losses, set_rate
from unblur.lab.recipe import Optimiser, Recipe
from unblur.nets import spec


class Adversarial:
    """One update of the generator and one of the discriminator a step, both from the same forward pass.

    Discriminator: -log p(sharp) - log(1 - p(restored)). Generator: -log p(restored), which does not saturate
    (Goodfellow et al. 2014, section 3), plus `content_weight` times the recipe's loss. Without that and with
    unpaired pictures it is what report 004 ran. Gradients are averaged over processes by hand, since one graph
    serves both updates.
    """

    names: tuple[str, ...] = ("loss", "discriminator")

    def __init__(self, fabric: Fabric, recipe: Recipe, net: nn.Module) -> None:
        assert recipe.gan is not None
        self.fabric, self.recipe, self.gan, self.net = fabric, recipe, recipe.gan, net
        judge = spec(recipe.gan.discriminator).build(**recipe.gan.options)
        self.judge = judge
        self.networks: Mapping[str, nn.Module] = {
            "net": fabric.to_device(net),
            "judge": fabric.to_device(judge),
        }
        of_judge = Optimiser(
            kind="adam", rate=recipe.gan.rate, betas=recipe.gan.betas, eps=recipe.optimiser.eps
        )
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "net": make_optimiser(recipe.optimiser, net),
            "judge": make_optimiser(of_judge, judge),
        }

    def step(self, parts: Sequence[Batch], scale: float) -> Tensor:
        """One update of both from the parts of a batch."""
        set_rate(self.optimisers["net"], self.recipe.optimiser.rate * scale)
        set_rate(self.optimisers["judge"], self.gan.rate * scale)
        weights = {name: list(network.parameters()) for name, network in self.networks.items()}
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        totals = torch.zeros(2, device=self.fabric.device)
        for part in parts:
            with self.fabric.autocast():
                restored = self.net(laid_out(part.blurred, self.recipe))
                of_sharp = self.judge(laid_out(part.sharp, self.recipe)).float()
                of_restored = self.judge(restored).float()
            against = self._surprise(of_sharp) + self._surprise(-of_restored)
            fooling = self._surprise(of_restored)
            if self.gan.content_weight:
                content = picture_losses(self.recipe, self.net, [restored.float()], part)
                fooling = fooling + self.gan.content_weight * content.mean()
            for name, loss in (("net", fooling), ("judge", against)):
                gradients = torch.autograd.grad(
                    loss * part.share, weights[name], retain_graph=name == "net", allow_unused=True
                )
                for p, gradient in zip(weights[name], gradients, strict=True):
                    if gradient is not None:
                        p.grad = gradient if p.grad is None else p.grad + gradient
            totals += torch.stack([fooling, against]).detach() * part.share
        for name, optimiser in self.optimisers.items():
            if self.fabric.world_size > 1:
                for p in weights[name]:
                    if p.grad is not None:
                        p.grad = cast(Tensor, self.fabric.all_reduce(p.grad, reduce_op="sum"))
            clip(weights[name], self.recipe.clip)
            optimiser.step()
        return totals

    def _surprise(self, logits: Tensor) -> Tensor:
        """Mean of -log p, p not taken below the floor."""
        return -torch.log(torch.sigmoid(logits).clamp(min=self.gan.floor)).mean()
