"""Networks through PyTorch, from safetensors weights with their card."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from unblur.errors import FileError, MissingExtraError
from unblur.models import ModelCard, read_weights

try:
    import torch
except ImportError as error:
    raise MissingExtraError("running weights with torch", "train") from error

from unblur.nets import create


class TorchBackend:
    """Runs a network in evaluation mode, on a GPU where there is one.

    weights: a safetensors file with a card. bf16: compute in bfloat16 (weights and results stay float32).
    Raises FileError for weights that do not fit the network that their card names.
    """

    def __init__(
        self, weights: str | os.PathLike[str], *, bf16: bool = False, device: str | None = None
    ) -> None:
        about, tensors = read_weights(weights)
        net = create(about.name, **about.arguments)
        try:
            net.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) if value.dtype == np.float16 else
                                 torch.from_numpy(value) for name, value in tensors.items()})  # fmt: skip
        except RuntimeError as error:
            raise FileError(
                f"{weights}: not the weights of {about.name} ({str(error).splitlines()[0]})"
            ) from error
        self.card: ModelCard = about
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._net = net.eval().to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._bf16 = bf16

    @torch.no_grad()
    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network. Shape: (N, C, H, W) float32 in; what the network gives, float32 out."""
        given = torch.from_numpy(np.ascontiguousarray(batch)).to(
            self._device, memory_format=torch.channels_last
        )
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            out = self._net(given)
        return out.float().contiguous().cpu().numpy()
