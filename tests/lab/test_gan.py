from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lab_helpers import same_tensors

from unblur.lab import batches, report
from unblur.lab.gan import Adversarial
from unblur.lab.recipe import Recipe
from unblur.lab.run import LAST, LOG
from unblur.lab.train import make_fabric, make_net, train

Make = Callable[..., Recipe]


@pytest.fixture
def small(photographs: Path, tiny: Make) -> Make:
    """A narrow generator and discriminator; the latter takes 144x256 only."""

    def make(*overrides: str) -> Recipe:
        return tiny(
            "net={name='gan_generator', options={width=4}}",
            "gan.options={width=4, dropout=0.0}",
            f"data={{set='folder', root='{photographs}', size=[144, 256], train=0.5, validation=0.1}}",
            "augment={}",
            "batch.size=2",
            "optimiser={kind='adam', rate=2e-4, betas=[0.5, 0.999]}",
            "schedule={kind='constant'}",
            "loss={mae=1}",
            *overrides,
        )

    return make


def made(recipe: Recipe) -> tuple[Adversarial, batches.Batch]:
    fabric = make_fabric(recipe, "cpu")
    training, _ = batches.build(recipe)
    return Adversarial(fabric, recipe, make_net(fabric, recipe, training)), training.first()


@pytest.mark.parametrize("weight", [0, 100])
def test_both_follow_their_own_gradient_from_one_pass(small: Make, weight: int) -> None:
    objective, part = made(
        small(
            f"gan.content_weight={weight}",
            "optimiser.kind=sgd",
            "optimiser.rate=1.0",
            "run.channels_last=false",
        )
    )
    net, judge = copy.deepcopy(objective.net), copy.deepcopy(objective.judge)
    fooling, against = objective.step([part], 1.0).tolist()

    restored = net(part.blurred)
    real, fake = judge(part.sharp), judge(restored)
    # -log of a sigmoid, written as it should be; 1e-5 is far away here.
    of_judge = F.softplus(-real).mean() + F.softplus(fake).mean()
    of_net = F.softplus(-fake).mean() + weight * (restored - part.sharp).abs().mean()
    assert fooling == pytest.approx(of_net.item(), rel=1e-4)
    assert against == pytest.approx(of_judge.item(), rel=1e-4)
    gradients = torch.autograd.grad(of_net, list(net.parameters()), retain_graph=True)
    for p, old, gradient in zip(objective.net.parameters(), net.parameters(), gradients, strict=True):
        assert torch.allclose(p, old - gradient, atol=1e-5, rtol=1e-3)
    # The first step of Adam moves by the rate, against the sign of the gradient.
    gradients = torch.autograd.grad(of_judge, list(judge.parameters()))
    for p, old, gradient in zip(objective.judge.parameters(), judge.parameters(), gradients, strict=True):
        clear = gradient.abs() > 1e-4
        assert torch.allclose((p - old)[clear], -2e-4 * gradient.sign()[clear], rtol=1e-2)


def test_probabilities_have_a_floor(small: Make) -> None:
    objective, _ = made(small("gan.floor=1e-5"))
    surprise = objective._surprise(torch.tensor([-100.0]))
    assert float(surprise) == pytest.approx(11.5129, abs=1e-3)


def test_a_discriminator_alone_learns(small: Make) -> None:
    objective, part = made(small("optimiser.rate=1e-12", "gan.rate=2e-3"))
    losses = [objective.step([part], 1.0).tolist()[1] for _ in range(5)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_resumes_bit_for_bit(small: Make, tmp_path: Path) -> None:
    recipe = small("stop.epochs=2", "batch.steps=2", "ema=0.9", "gan.options={width=4}")
    outcome = train(recipe, tmp_path / "whole")
    assert outcome.steps == 4
    epochs = [event for event in report.read_log(tmp_path / "whole" / LOG) if event["event"] == "epoch"]
    assert all({"loss", "discriminator", "validation"} <= event.keys() for event in epochs)
    assert {"psnr", "ssim"} <= epochs[0]["validation"].keys()
    assert train(recipe, tmp_path / "cut", budget=0.0).steps == 1
    assert train(recipe, tmp_path / "cut", resume=True).steps == 4
    assert same_tensors(tmp_path / "cut" / LAST, tmp_path / "whole" / LAST)
    assert (tmp_path / "cut" / LOG).read_bytes() == (tmp_path / "whole" / LOG).read_bytes()
