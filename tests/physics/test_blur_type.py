import json

import numpy as np
import pytest

from unblur.errors import OptionError
from unblur.physics.blur import NO_BLUR, Blur
from unblur.physics.kernels import disk


def test_says_what_it_is():
    assert str(Blur("motion", {"length": 7, "angle": 30})) == "motion (length 7.00, angle 30.00)"
    assert str(NO_BLUR) == "none"


@pytest.mark.parametrize(
    ("kind", "parameters"), [("swirl", {}), ("disk", {"sigma": 1.0}), ("none", {"size": 3})]
)
def test_refuses_unknown_kinds_and_parameters(kind, parameters):
    with pytest.raises(OptionError):
        Blur(kind, parameters)


def test_becomes_plain_json():
    part = Blur("disk", {"radius": np.float32(2)}, kernel=disk(2), where=np.ones((3, 4), np.float32))
    found = json.loads(json.dumps(Blur("varying", parts=(part,), noise=0.01).to_dict()))
    assert found["kind"] == "varying"
    assert found["noise"] == 0.01
    assert found["parts"][0]["radius"] == 2
    assert found["parts"][0]["kernel_size"] == 5


def test_parameters_cannot_be_changed():
    with pytest.raises(TypeError):
        Blur("disk", {"radius": 1.0}).parameters["radius"] = 2.0
