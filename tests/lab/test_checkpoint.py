from pathlib import Path

import pytest
import torch
from torch import nn

from unblur.errors import FileError
from unblur.lab import checkpoint
from unblur.lab.muon import Muon


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {
        "x": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "transposed": torch.rand(3, 4).T,
    }
    facts = {"state": {"best": float("inf"), "sums": [0.1 + 0.2]}, "name": "é"}
    checkpoint.save(path, tensors, **facts)
    found, said = checkpoint.load(path)
    assert said == facts
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"x": torch.rand(100)})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FileError, match=r"a\.safetensors: cannot be read as weights"):
        checkpoint.load(path)
    with pytest.raises(FileError, match=r"none\.safetensors"):
        checkpoint.load(tmp_path / "none.safetensors")


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(FileError, match="some file: weights of another network"):
        checkpoint.restore_weights(nn.Linear(2, 2), nn.Linear(3, 2).state_dict(), "some file")


@pytest.mark.parametrize("kind", ["adam", "sgd", "muon"])
def test_an_optimiser_goes_on_as_if_nothing_had_happened(kind: str) -> None:
    def made() -> tuple[nn.Conv2d, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        if kind == "adam":
            return net, torch.optim.Adam(net.parameters(), 0.1, fused=True)
        if kind == "muon":
            return net, Muon(net.parameters(), 0.1)
        return net, torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, fused=True)

    def step(net: nn.Conv2d, optimiser: torch.optim.Optimizer, seed: int) -> None:
        x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimiser.zero_grad()
        net(x).square().mean().backward()
        optimiser.step()

    net, optimiser = made()
    step(net, optimiser, 1)
    weights = {name: tensor.clone().contiguous() for name, tensor in net.state_dict().items()}
    memory = {name: t.clone().contiguous() for name, t in checkpoint.optimiser_tensors(optimiser).items()}
    step(net, optimiser, 2)

    other, restored = made()
    checkpoint.restore_weights(other, weights, "")
    checkpoint.restore_optimiser(restored, memory)
    step(other, restored, 2)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.stride() == b.stride()
