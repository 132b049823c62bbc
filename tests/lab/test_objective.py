from collections.abc import Callable

import pytest
import torch
from torch import nn

from unblur.lab import batches
from unblur.lab.objective import Average, Regression, clip, make_optimiser
from unblur.lab.recipe import Clip, Optimiser, Recipe
from unblur.lab.train import make_fabric, make_net

Make = Callable[..., Recipe]


def gradients(*values: list[float]) -> list[nn.Parameter]:
    weights = [nn.Parameter(torch.zeros(len(value))) for value in values]
    for p, value in zip(weights, values, strict=True):
        p.grad = torch.tensor(value)
    return [*weights, nn.Parameter(torch.zeros(1))]


def test_every_tensor_is_clipped_by_itself() -> None:
    weights = gradients([3.0, 4.0], [0.3, 0.4], [0.0, 0.0])
    clip(weights, Clip(tensor_norm=2.0))
    for p, expected in zip(weights, ([1.2, 1.6], [0.3, 0.4], [0.0, 0.0]), strict=False):
        assert p.grad is not None
        assert torch.allclose(p.grad, torch.tensor(expected))


def test_entries_are_clipped_before_the_whole() -> None:
    weights = gradients([3.0, -4.0], [0.1, 0.0])
    clip(weights, Clip(value=0.5, global_norm=0.1))
    total = torch.cat([p.grad for p in weights if p.grad is not None])
    assert float(total.norm()) == pytest.approx(0.1, rel=1e-4)
    assert float(total[0] / total[2]) == pytest.approx(5.0, rel=1e-5)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "muon"])
def test_optimisers_have_the_recipe_s_numbers(kind: str) -> None:
    of = Optimiser.model_validate(
        {"kind": kind, "rate": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "momentum": 0.75, "weight_decay": 0.01}
    )
    made = make_optimiser(of, nn.Linear(2, 2))
    assert type(made).__name__.lower() == kind
    assert sum(len(group["params"]) for group in made.param_groups) == 2
    for group in made.param_groups:
        assert (group["lr"], group["weight_decay"]) == (0.1, 0.01)
        if kind in ("sgd", "muon"):
            assert group["momentum"] == 0.75
        if kind != "sgd":
            assert (group["betas"], group["eps"]) == ((0.5, 0.9), 1e-3)


def test_the_average_follows_and_is_only_lent() -> None:
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(1.0)
    average = Average(net, 0.5)
    net.weight.data.fill_(2.0)
    average.update(1)  # (1 + 1) / (10 + 1) is less than 0.5
    first = 1.0 * 2 / 11 + 2.0 * 9 / 11
    average.update(100)
    with average.applied():
        assert float(net.weight.detach()) == pytest.approx(0.5 * first + 1.0, rel=1e-6)
    assert float(net.weight.detach()) == 2.0


def stepped(recipe: Recipe, steps: int = 3) -> tuple[list[torch.Tensor], list[float]]:
    training, _ = batches.build(recipe)
    fabric = make_fabric(recipe, "cpu")
    net = make_net(fabric, recipe, training)
    objective = Regression(fabric, recipe, net)
    stream = training.stream()
    losses = [float(objective.step(next(stream), 1.0)) for _ in range(steps)]
    stream.close()
    return [p.detach().clone() for p in net.parameters()], losses


def test_accumulation_changes_nothing_but_memory(tiny: Make) -> None:
    # 6 pictures in 4 parts of 2, 2, 1 and 1.
    plain = "net.options={widths=[4, 8], final_activation='linear'}"
    whole, losses = stepped(tiny(plain, "batch.size=6", "optimiser.kind=sgd"))
    parts, of_parts = stepped(tiny(plain, "batch.size=6", "optimiser.kind=sgd", "batch.accumulate=4"))
    assert of_parts == pytest.approx(losses, rel=1e-6)
    for a, b in zip(whole, parts, strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def test_rates_are_scaled(tiny: Make) -> None:
    recipe = tiny("net.options={widths=[4, 8]}", "optimiser.kind=sgd", "optimiser.rate=0.5")
    training, _ = batches.build(recipe)
    fabric = make_fabric(recipe, "cpu")
    moved = []
    for scale in (0.0, 0.5, 1.0):
        net = make_net(fabric, recipe, training)
        before = [p.detach().clone() for p in net.parameters()]
        Regression(fabric, recipe, net).step([training.first()], scale)
        change = [float((p.detach() - old).norm()) for p, old in zip(net.parameters(), before, strict=True)]
        moved.append(torch.tensor(change))
    assert float(moved[0].max()) == 0.0
    assert torch.allclose(moved[1] * 2, moved[2], rtol=1e-3)


def test_the_recurrent_weights_keep_their_norm(tiny: Make) -> None:
    recipe = tiny(
        "net={name='srn_reds', options={width=4}}",
        "loss.scales=all",
        "optimiser.rate=10.0",
        "optimiser.kind=sgd",
        "optimiser.recurrent_max_norm=0.5",
    )
    training, _ = batches.build(recipe)
    fabric = make_fabric(recipe, "cpu")
    net = make_net(fabric, recipe, training)
    Regression(fabric, recipe, net).step([training.first()], 1.0)
    kernels = [p for name, p in net.named_parameters() if name.endswith("cell.kernel.weight")]
    assert len(kernels) == 2
    for p in kernels:
        assert float(p.detach().flatten(1).norm(dim=1).max()) <= 0.5 + 1e-5


def test_the_estimator_is_normalised_by_its_training_pictures(tiny: Make) -> None:
    recipe = tiny("net={name='sigma_cnn_pool'}", "loss={mse=0.5}", "data.crop=[16, 16]")
    training, _ = batches.build(recipe)
    net = make_net(make_fabric(recipe, "cpu"), recipe, training)
    seen = torch.cat(
        [part.blurred for _, parts in zip(range(5), training.stream(), strict=False) for part in parts]
    )
    buffers = dict(net.named_buffers())
    assert torch.allclose(buffers["mean"].flatten(), 255 * seen.mean((0, 2, 3)), rtol=0.02)
    assert torch.allclose(buffers["std"].flatten(), 255 * seen.std((0, 2, 3)), rtol=0.02)
    part = training.first()
    assert part.sigma is not None
    loss = Regression(make_fabric(recipe, "cpu"), recipe, net).step([part], 0.0)
    net.train()
    with torch.no_grad():
        expected = 0.5 * (net(part.blurred) - part.sigma).square().mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
