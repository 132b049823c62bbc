"""Real camera shake with the known kernel, in the protocol of Levin et al."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical import SOLVERS
from unblur.datasets.levin import levin
from unblur.image import from_array
from unblur.metrics.alignment import score_up_to_shift

#: Mean PSNR in dB over the four below; under what was measured by a quarter.
LEAST = {"richardson-lucy": 30.4, "wiener": 33.6, "total-variation": 34.6}


@pytest.mark.data
@pytest.mark.parametrize("name", SOLVERS)
def test_camera_shake_is_undone(name, data):
    pictures = levin(data / "levin09", data / "kernels")
    scores = []
    for index in (0, 5, 10, 15):
        picture = pictures[index]
        # The files hold what correlates with the scene; a kernel here is convolved.
        kernel = np.ascontiguousarray(picture.kernel[::-1, ::-1])
        restored = SOLVERS[name].function(from_array(picture.blurred), kernel, noise=0.004)
        scores.append(score_up_to_shift(from_array(picture.sharp), restored).psnr)
    assert np.mean(scores) > LEAST[name]
