"""Muon: directions made orthogonal, steps of Adam's size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unblur.lab.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(16, 144), (90, 12), (24, 24), (1, 9)])
def test_singular_values_become_about_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) * torch.rand(shape[1]).add(0.05)
    u, sizes, v = torch.linalg.svd(orthogonalised(matrix), full_matrices=False)
    strong = torch.linalg.svdvals(matrix) > 0.02 * matrix.norm()
    assert sizes[strong].min() > 0.6
    assert sizes.max() < 1.3
    before = torch.linalg.svd(matrix, full_matrices=False)
    cosine = ((u @ v) * (before.U @ before.Vh)).sum() / min(shape)
    assert cosine > 0.9


def test_a_matrix_moves_by_the_size_of_an_adam_step() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(32, 16, 3, 3))
    optimiser = Muon([weight], rate=1e-2)
    weight.grad = 1e-6 * torch.randn_like(weight)
    optimiser.step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.2 * 1e-2, rel=0.25)


def test_what_is_no_matrix_takes_adamw_steps() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    optimisers = Muon([ours], 0.1, weight_decay=0.02), torch.optim.AdamW([theirs], 0.1, weight_decay=0.02)
    for _ in range(5):
        ours.grad = torch.randn(7)
        theirs.grad = ours.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(ours, theirs)


def test_it_finds_a_linear_map() -> None:
    torch.manual_seed(0)
    true, x = torch.randn(6, 10), torch.randn(200, 10)
    layer = nn.Linear(10, 6)
    optimiser = Muon(layer.parameters(), 0.1)
    losses = []
    for number in range(300):
        for group in optimiser.param_groups:
            group["lr"] = 0.1 * (1 - number / 300)
        optimiser.zero_grad()
        loss = (layer(x) - x @ true.T).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 1e-3 * losses[0]
