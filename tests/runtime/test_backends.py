"""The backends, on a model that the test makes itself."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unblur.errors import FileError, ImageError
from unblur.runtime.fake import FakeBackend
from unblur.runtime.onnx import OnnxBackend


@pytest.fixture(scope="module")
def model() -> bytes:
    """y = conv3x3(x) with a fixed kernel, dynamic batch, height and width."""
    weight = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        weight[channel, channel] = np.arange(9, dtype=np.float32).reshape(3, 3) / 36
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "blur",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w_"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h", "w_"])],
        [numpy_helper.from_array(weight, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(made, {"card": '{"name": "test"}'})
    onnx.checker.check_model(made)
    return made.SerializeToString()


@pytest.mark.parametrize("threads", [None, 1])
def test_onnx_equals_a_correlation_by_hand(model, rng, threads):
    from scipy import ndimage

    backend = OnnxBackend(model, threads=threads)
    batch = rng.random((2, 3, 17, 9), dtype=np.float32)
    weight = np.arange(9, dtype=np.float32).reshape(3, 3) / 36
    expected = ndimage.correlate(batch, weight[None, None], mode="constant")
    np.testing.assert_allclose(backend.run(batch), expected, atol=1e-6)
    assert backend.metadata == {"card": '{"name": "test"}'}


def test_onnx_reads_a_file_and_any_memory_layout(model, rng, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    batch = rng.random((1, 8, 6, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(OnnxBackend(path).run(batch), OnnxBackend(model).run(batch.copy()))


def test_onnx_says_what_is_wrong(model, tmp_path):
    with pytest.raises(FileError, match="no such file"):
        OnnxBackend(tmp_path / "missing.onnx")
    with pytest.raises(FileError, match="not an ONNX model") as error:
        OnnxBackend(b"no model at all")
    assert "\n" not in str(error.value)
    with pytest.raises(ImageError, match="cannot take a batch"):
        OnnxBackend(model).run(np.zeros((1, 5, 8, 8), np.float32))


def test_openvino_equals_onnx_and_says_what_is_wrong(model, rng, tmp_path):
    from unblur.runtime.openvino import OpenVinoBackend

    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    for threads in (None, 1):
        backend = OpenVinoBackend(path, threads=threads)
        for shape in ((2, 3, 17, 9), (1, 3, 1, 1), (3, 3, 40, 8)):
            batch = rng.random(shape, dtype=np.float32)
            np.testing.assert_allclose(backend.run(batch), OnnxBackend(model).run(batch), rtol=0, atol=1e-6)
    with pytest.raises(ImageError, match=r"cannot take a batch of shape \(1, 5, 8, 8\)") as error:
        backend.run(np.zeros((1, 5, 8, 8), np.float32))
    assert "\n" not in str(error.value)
    with pytest.raises(FileError, match=r"model\.onnx: has no model card inside.*unblur export"):
        _ = backend.card
    with pytest.raises(FileError, match="no such file"):
        OpenVinoBackend(tmp_path / "missing.onnx")
    for damaged in (b"", b"no model at all", model[: len(model) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=r"model\.onnx: not an ONNX model") as error:
            OpenVinoBackend(path)
        assert "\n" not in str(error.value)


def test_bf16_is_asked_for(model, rng, tmp_path):
    from unblur.runtime.openvino import OpenVinoBackend

    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    batch = rng.random((1, 3, 32, 32), dtype=np.float32)
    full, half = (OpenVinoBackend(path, bf16=flag).run(batch) for flag in (False, True))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, rtol=0, atol=0.02)
    assert not np.array_equal(half, full)


def test_torch_runs_what_its_card_says(rng, tmp_path):
    import torch

    from unblur import models, nets
    from unblur.runtime.torch import TorchBackend

    card = models.card("unet16")
    card = card.model_copy(update={"arguments": {**card.arguments, "widths": [4, 4, 8, 8]}})
    net = nets.create(card.name, **card.arguments).eval()
    tensors = {key: value.numpy() for key, value in net.state_dict().items()}
    path = models.write_weights(tmp_path / "a.safetensors", tensors, card)
    backend = TorchBackend(path, device="cpu")
    assert backend.card == card
    batch = rng.random((2, 16, 24, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    with torch.no_grad():
        expected = net(torch.from_numpy(np.ascontiguousarray(batch))).numpy()
    np.testing.assert_allclose(backend.run(batch), expected, rtol=0, atol=1e-5)
    half = TorchBackend(path, bf16=True).run(batch)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - expected).max() < 0.02
    with pytest.raises(ImageError, match=r"cannot take a batch of shape \(1, 3, 9, 9\)"):
        backend.run(np.zeros((1, 3, 9, 9), np.float32))


def test_fake_runs_the_function_and_remembers_shapes():
    backend = FakeBackend(lambda batch: batch + 1)
    assert backend.run(np.zeros((1, 3, 4, 5), np.float32)).min() == 1
    assert backend.shapes == [(1, 3, 4, 5)]
    batch = np.ones((1, 1, 2, 2), np.float32)
    same = FakeBackend().run(batch)
    assert np.array_equal(same, batch)
    assert not np.shares_memory(same, batch)
