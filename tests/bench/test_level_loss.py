import numpy as np
import pytest
import torch

from unblur import files, models
from unblur.bench import run, suites
from unblur.bench.loss import level_loss
from unblur.nets import create
from unblur.physics.resize import imresize


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A narrow multi-scale CNN with random weights, and its file."""
    torch.manual_seed(1)
    net = create("mscnn_ps", n_blocks=1, width=8).eval()
    card = models.card("mscnn_ps").model_copy(update={"arguments": {"n_blocks": 1, "width": 8}})
    path = tmp_path_factory.mktemp("mscnn") / "small.safetensors"
    models.write_weights(path, {name: value.numpy() for name, value in net.state_dict().items()}, card)
    return net, path


def test_it_is_the_sum_over_the_levels(small, crops):
    net, path = small
    blurred, sharp = crops[0], crops[1]
    with torch.no_grad():
        outputs = net.levels(torch.from_numpy(blurred.transpose(2, 0, 1)[None] / np.float32(255)))
    expected = 0.0
    for output, size in zip(outputs, ((24, 32), (48, 64), (96, 128)), strict=True):
        target = np.floor(np.clip(imresize(sharp.astype(np.float32), size), 0, 255) + 0.5) / 255
        expected += np.square(output[0].permute(1, 2, 0).numpy() - target).mean()
    assert level_loss(path, blurred, sharp) == pytest.approx(expected, rel=1e-5)


def test_sizes_without_a_pyramid_have_none(small, crops):
    assert level_loss(small[1], crops[0][:95], crops[1][:95]) is None


def test_only_the_multi_scale_network_has_one_and_only_on_gopro(small, crops, tmp_path):
    scene = tmp_path / "GOPRO_Large" / "test" / "GOPR0384_11_00"
    for kind, number in (("blur", 0), ("sharp", 1)):
        (scene / kind).mkdir(parents=True)
        files.save(crops[number], scene / kind / "000001.png")
    judged = run.judge(suites.get("gopro"), tmp_path, ["blurred", str(small[1])], tmp_path / "out")
    blurred, network = judged.rows
    assert blurred["loss"] is None
    assert network["loss"] == pytest.approx(level_loss(small[1], crops[0], crops[1]), rel=1e-6)
