"""Every preset can learn: it fits eight real pictures by heart."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from unblur.nets import PRESETS, Spec
from unblur.nets.cost import gmacs_per_megapixel
from unblur.nets.rednet import CAESSC

pytestmark = [pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(1800)]

STEPS = 1500

# Above this the width is cut to 16: what is tried here is that gradients lead somewhere, not capacity.
GMACS_PER_MEGAPIXEL = 1050

# Steps that some parameters train alone, and in which the others are then let in.
ALONE, WARM_UP = 40, 50

# Of the blurred pictures' MSE.
GOAL = 0.1


@pytest.fixture(scope="module")
def sharp(data) -> np.ndarray:
    """The most contrasty of the first 64 CIFAR-10 training pictures, (8, 32, 32, 3) in [0, 1]."""
    with open(data / "cifar-10-subset" / "cifar-10-batches-py" / "data_batch_1", "rb") as file:
        rows = pickle.load(file, encoding="bytes")[b"data"][:64]
    pictures = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(np.float32) / 255
    return pictures[np.argsort(pictures.std((1, 2, 3)))[-8:]]


def tensor(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))


def blur(pictures: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(pictures, (0, sigma, sigma, 0), mode="mirror")


def fit(
    net: torch.nn.Module, loss, goal: float, rate: float = 1e-3, first: Sequence[torch.nn.Parameter] = ()
) -> tuple[float, int]:
    """The lowest training loss, and the steps it took to get below `goal`.

    first: parameters that train alone, and fast, before the others are let in little by little.
    """
    early = {id(parameter) for parameter in first}
    others = [parameter for parameter in net.parameters() if id(parameter) not in early]
    groups = [{"params": others, "lr": rate}, {"params": list(first), "lr": 2e-2}]
    optimiser = torch.optim.Adam(groups if first else groups[:1])

    def late(step: int) -> float:
        return (min(max(step - ALONE, 0) / WARM_UP, 1) ** 2 if first else 1) * cosine(step)

    def cosine(step: int) -> float:
        return 0.005 + 0.995 * (1 + math.cos(math.pi * step / STEPS)) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, [late, cosine] if first else late)
    lowest = float("inf")
    for step in range(STEPS):
        value, total = loss()
        lowest = min(lowest, float(value))
        if lowest < goal:
            return lowest, step
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return lowest, STEPS


def open_up(net: CAESSC) -> list[torch.nn.Parameter]:
    """Start the branch beside the picture small and open; the normalisation behind the sum is to train first.

    That branch ends in a ReLU. While its features are still random, all that helps is to silence them, and what
    that ReLU or the one behind the sum has once closed gets no gradient any more. Branches that start at
    next to nothing: Goyal et al. 2017, https://arxiv.org/abs/1706.02677.
    """
    norm = net.decoder[0][1]
    torch.nn.init.constant_(norm.weight, 0.1)
    torch.nn.init.constant_(norm.bias, 1.0)
    return list(net.out[0].parameters())


@pytest.mark.parametrize(
    "row", [row for row in PRESETS.values() if row.role == "restorer"], ids=lambda row: row.name
)
def test_restorers(row: Spec, sharp):
    torch.manual_seed(0)
    side = 32 if row.fixed_size or row.size_multiple > 16 else 16
    x, y = (tensor(p[:, :side, :side]) for p in (blur(sharp, 1.5), sharp))
    if row.channels == 1:
        x, y = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    whole = row.factory is CAESSC or gmacs_per_megapixel(row.name) <= GMACS_PER_MEGAPIXEL
    options = {} if whole else {"width": 16}
    if "dropout" in row.arguments:
        options["dropout"] = 0.0  # that is for many pictures, not for eight
    net = row.build(**options).train()
    baseline = float(F.mse_loss(x, y))
    targets = net.pyramid(y)

    def loss() -> tuple[Tensor, Tensor]:
        errors = [F.mse_loss(level, target) for level, target in zip(net.levels(x), targets, strict=True)]
        return errors[-1].detach(), sum(errors)

    # Behind a normalised last layer its scale and shift alone make contrast and brightness: they must travel far.
    rate = 1e-2 if row.name.startswith("srn_cifar") else 1e-3
    goal = GOAL * baseline
    lowest, steps = fit(net, loss, goal, rate, open_up(net) if isinstance(net, CAESSC) else ())
    print(f"\n{row.name}: {lowest / baseline:.3f} of the blurred MSE {baseline:.5f} after {steps} steps")
    assert lowest < goal


@pytest.mark.parametrize(
    "row", [PRESETS["sigma_cnn_160x240"], PRESETS["sigma_cnn_pool"]], ids=lambda row: row.name
)
def test_estimators(row: Spec, sharp):
    torch.manual_seed(0)
    sigma = torch.linspace(0.5, 4, 8)
    large = np.tile(sharp, (1, 5, 8, 1))[:, :160, :240]
    x = tensor(np.stack([blur(large[i : i + 1], float(s))[0] for i, s in enumerate(sigma)]))
    if row.fixed_size is None:
        x = x[:, :, :64, :64]
    net = row.build().train()

    def loss() -> tuple[Tensor, Tensor]:
        error = F.mse_loss(net(x), sigma)
        return error.detach(), error

    lowest, _ = fit(net, loss, float(sigma.var(correction=0)) / 10)
    assert lowest < float(sigma.var(correction=0)) / 10


def test_discriminator(sharp):
    torch.manual_seed(0)
    net = PRESETS["gan_discriminator"].build(dropout=0.0).train()
    large = np.tile(sharp[:4], (1, 5, 8, 1))[:, :144, :256]
    x = torch.cat([tensor(large), tensor(blur(large, 1.5))])
    label = torch.tensor([1.0] * 4 + [0.0] * 4)

    def loss() -> tuple[Tensor, Tensor]:
        error = F.binary_cross_entropy_with_logits(net(x), label)
        return error.detach(), error

    assert fit(net, loss, 0.05)[0] < 0.05
