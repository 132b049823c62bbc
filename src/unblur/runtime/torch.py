"""Networks through PyTorch, from safetensors weights with their card."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from unblur.errors import ImageError, MissingExtraError

try:
    import torch
except ImportError as error:
    raise MissingExtraError("running weights with torch", "train") from error

from unblur.nets import load


class TorchBackend:
    """Runs a network in evaluation mode, on a GPU where there is one.

    weights: a safetensors file with a card, which is then `card`. bf16: compute in bfloat16 (weights and
    results stay float32).
    Raises FileError for a damaged file, or weights that do not fit the network that their card names.
    """

    def __init__(
        self, weights: str | os.PathLike[str], *, bf16: bool = False, device: str | None = None
    ) -> None:
        self.card, net = load(weights)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._net = net.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._bf16 = bf16

    @torch.no_grad()
    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network. Shape: (N, C, H, W) float32 in; what the network gives, float32 out.

        Raises ImageError for a shape that the network cannot take.
        """
        given = torch.from_numpy(np.ascontiguousarray(batch)).to(
            self._device, memory_format=torch.channels_last
        )
        try:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                out = self._net(given)
        except RuntimeError as error:
            what = str(error).splitlines()[0]
            raise ImageError(f"the network cannot take a batch of shape {batch.shape} ({what})") from error
        return out.float().contiguous().cpu().numpy()
