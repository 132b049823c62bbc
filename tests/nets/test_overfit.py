"""Every preset can learn: it fits eight real pictures by heart."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from unblur.nets import PRESETS, Spec
from unblur.nets.cost import gmacs_per_megapixel

pytestmark = [pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(1800)]

STEPS = 1500

# Above this the width is cut to 16: what is tried here is that gradients lead somewhere, not capacity.
GMACS_PER_MEGAPIXEL = 1050

# Where the last layer is normalised, its scale and shift alone make contrast and brightness: they must travel far.
NORMALISED_OUTPUT = ("caessc", "srn_cifar")

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


def fit(net: torch.nn.Module, loss, goal: float, rate: float = 1e-3) -> tuple[float, int]:
    """The lowest training loss, and the steps it took to get below `goal`."""
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS, 1e-5)
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


@pytest.mark.parametrize(
    "row", [row for row in PRESETS.values() if row.role == "restorer"], ids=lambda row: row.name
)
def test_restorers(row: Spec, sharp):
    torch.manual_seed(0)
    side = 32 if row.fixed_size or row.size_multiple > 16 else 16
    x, y = (tensor(p[:, :side, :side]) for p in (blur(sharp, 1.5), sharp))
    if row.channels == 1:
        x, y = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    options = {"width": 16} if gmacs_per_megapixel(row.name) > GMACS_PER_MEGAPIXEL else {}
    if "dropout" in row.arguments:
        options["dropout"] = 0.0  # that is for many pictures, not for eight
    net = row.build(**options).train()
    baseline = float(F.mse_loss(x, y))
    targets = net.pyramid(y)

    def loss() -> tuple[Tensor, Tensor]:
        errors = [F.mse_loss(level, target) for level, target in zip(net.levels(x), targets, strict=True)]
        return errors[-1].detach(), sum(errors)

    rate = 1e-2 if row.name.startswith(NORMALISED_OUTPUT) else 1e-3
    goal = GOAL * baseline
    lowest, steps = fit(net, loss, goal, rate)
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
