import numpy as np
import pytest
import torch

from unblur import metrics
from unblur.lab import losses


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Three pictures of different contrast, and near ones."""
    sharp = (
        torch.from_numpy(rng.random((3, 3, 23, 31), np.float32))
        * torch.tensor([0.1, 0.5, 1.0])[:, None, None, None]
    )
    noise = torch.from_numpy(rng.standard_normal(sharp.shape, np.float32))
    return (sharp + 0.05 * noise).clamp(0, 1), sharp


def images(batch: torch.Tensor) -> list[np.ndarray]:
    return [picture.numpy().transpose(1, 2, 0) for picture in batch]


def test_scores_are_those_of_the_metrics(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    ours = {
        "mse": losses.mse(*pair),
        "mae": losses.mae(*pair),
        "psnr": losses.psnr(*pair),
        "ssim": losses.ssim(*pair),
    }
    for i, (a, b) in enumerate(zip(*map(images, pair), strict=True)):
        assert float(ours["mse"][i]) == pytest.approx(metrics.mse(a, b), rel=1e-5)
        assert float(ours["mae"][i]) == pytest.approx(metrics.mae(a, b), rel=1e-5)
        assert float(ours["psnr"][i]) == pytest.approx(metrics.psnr(a, b, data_range=1), abs=1e-4)
        assert float(ours["ssim"][i]) == pytest.approx(metrics.ssim(a, b, data_range=1), abs=2e-5)


def test_charbonnier_by_hand() -> None:
    output, target = torch.tensor([[0.5, 0.2]]), torch.tensor([[0.5, 0.6]])
    expected = (1e-3 + (0.4**2 + 1e-6) ** 0.5) / 2
    assert float(losses.charbonnier(output, target)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "least"), [("mse", 0.0), ("mae", 0.0), ("charbonnier", 1e-3), ("ssim", 0.0), ("psnr", -80.0)]
)
def test_a_perfect_picture_has_the_least_loss_and_a_finite_gradient(name: str, least: float) -> None:
    target = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    output = target.clone().requires_grad_()
    loss = losses.TERMS[name](output, target)
    assert loss.shape == (2,)
    assert torch.allclose(loss, torch.full((2,), least), atol=1e-6)
    loss.sum().backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert (losses.TERMS[name](target + 0.1, target) > loss.detach()).all()


def test_terms_and_scales_are_summed(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    output, target = pair
    small, small_target = output[:, :, ::2, ::2], target[:, :, ::2, ::2]
    total = losses.combine({"mse": 2.0, "mae": 0.5}, [small, output], [small_target, target])
    expected = (
        2 * losses.mse(output, target)
        + 2 * losses.mse(small, small_target)
        + 0.5 * losses.mae(output, target)
        + 0.5 * losses.mae(small, small_target)
    )
    assert torch.allclose(total, expected, rtol=1e-6)
    assert total.shape == (3,)
