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


def test_fake_runs_the_function_and_remembers_shapes():
    backend = FakeBackend(lambda batch: batch + 1)
    assert backend.run(np.zeros((1, 3, 4, 5), np.float32)).min() == 1
    assert backend.shapes == [(1, 3, 4, 5)]
    batch = np.ones((1, 1, 2, 2), np.float32)
    same = FakeBackend().run(batch)
    assert np.array_equal(same, batch)
    assert not np.shares_memory(same, batch)
