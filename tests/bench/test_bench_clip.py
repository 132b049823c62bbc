import numpy as np
import pytest
from skimage import data as pictures

from unblur import files
from unblur.bench import run, suites
from unblur.errors import OptionError
from unblur.physics import kernels


@pytest.fixture
def pans(tmp_path, monkeypatch):
    """One short pan whose single frames disagree about the blur."""
    monkeypatch.setattr(suites, "_PAN", 8)
    monkeypatch.setattr(suites, "_VIEW", (128, 176))
    monkeypatch.setattr(suites, "_PANS", (("motion-7", kernels.motion(7, 30), 0.03),))
    (tmp_path / "data").mkdir()
    files.save(pictures.astronaut()[:300], tmp_path / "data" / "a.png")
    return tmp_path / "data"


def test_a_pan_moves_under_one_blur_and_new_noise(pans):
    samples = suites.open_samples(suites.get("clip"), pans)
    assert len(samples) == 8
    first, last = samples[0], samples[7]
    assert first.sharp.shape == first.blurred.shape == (128, 176, 3)
    assert np.array_equal(first.sharp[:, 14:], last.sharp[:, :-14])
    assert first.draw["pan"] == last.draw["pan"]
    noise = samples[1].blurred[:, :-2].astype(float) - samples[2].blurred[:, :-2]
    assert noise.std() > 0.03 * 255
    assert np.array_equal(samples[3].blurred, suites.open_samples(suites.get("clip"), pans)[3].blurred)


def test_who_enters():
    names = run.fitting(suites.get("clip"))
    assert {"auto", "auto@steady", "wiener@true", "wiener@estimated", "wiener@steady"} <= set(names)
    assert not [name for name in run.fitting(suites.get("mixed-u8")) if name.endswith("@steady")]
    with pytest.raises(OptionError, match="not frames of a clip"):
        run.choose(["wiener@steady"], suites.get("mixed-u8"))


def test_steady_estimates_flicker_less(pans, tmp_path):
    suite = suites.get("clip")
    judged = run.judge(suite, pans, ["blurred", "wiener@estimated", "wiener@steady"], tmp_path / "out")
    blurred, estimated, steady = judged.rows
    assert blurred["flicker"] == 0
    assert 0 < steady["flicker"] < 0.7 * estimated["flicker"]
    assert steady["n"] == 8
