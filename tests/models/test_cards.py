"""Cards say what the networks are, and weights carry them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file as torch_save

from unblur import models, nets
from unblur.errors import FileError, OptionError, OutputError
from unblur.nets.cost import bytes_per_pixel, gmacs_per_megapixel, parameters

#: Trainable parameters as published or derived from the published layer formulas.
PUBLISHED = {
    "unet20": 1_941_139,
    "unet16": 482_067,
    "resunet1": 1_008_963,
    "resunet3": 1_969_987,
    "eddensenet": 424_927,
    "caessc_d30_f64": 2_881_420,
    "caessc_d22_f128_half": 8_217_868,
    "caessc_d22_f128_half_no_sigmoid": 8_217_868,
    "srn_cifar": 13_747_026,
    "srn_cifar_lstm": 15_404_114,
    "srn_reds": 5_019_894,
    "unet_inputskip": 10_577_667,
    "unet_inputskip_6": 10_614_595,
    "mscnn_ps": 2_034_537,
    "mscnn_tc": 2_032_881,
    "mscnn_paper": 11_721_321,
    "sigma_cnn_160x240": 698_191,
    "sigma_cnn_144x256": 669_391,
    "unet_d3": 7_697_475,
    "gan_generator": 1_734_947,
    "gan_discriminator": 4_377_793,
    "large_kernel_cnn": 370_947,
    "srn_paper": 8_061_411,
    "srn_paper_no_lstm": 6_881_251,
    "srn_paper_grey": 8_056_609,
    "red30": 4_139_395,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    assert models.card(name).parameters == PUBLISHED[name]


def test_every_network_has_a_card_and_every_card_a_network():
    assert set(models.cards()) == set(nets.names())


@pytest.mark.parametrize("name", models.cards())
def test_a_card_says_what_the_network_is(name):
    card, spec = models.card(name), nets.spec(name)
    assert (card.parameters, card.total_parameters) == parameters(name)
    for key in (
        "family",
        "role",
        "report",
        "source",
        "channels",
        "size_multiple",
        "fixed_size",
        "halo",
        "loss",
    ):
        assert getattr(card, key) == getattr(spec, key), key
    assert json.loads(json.dumps(card.arguments)) == json.loads(
        json.dumps({key: value for key, value in spec.arguments.items() if value is not None}, default=list)
    )


@pytest.mark.parametrize("name", ["unet20", "resunet3", "srn_reds", "sigma_cnn_pool", "nafnet16"])
def test_the_cost_on_a_card_is_the_measured_one(name):
    assert models.card(name).gmacs_per_megapixel == pytest.approx(gmacs_per_megapixel(name), abs=1e-3)
    assert models.card(name).bytes_per_pixel == bytes_per_pixel(name)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(OptionError, match="unet20"):
        models.card("unet2O")


@pytest.fixture
def saved(tmp_path, rng):
    tensors = {"a.weight": rng.random((3, 4), dtype=np.float32), "b": np.arange(5, dtype=np.float16)}
    path = models.write_weights(tmp_path / "unet20.safetensors", tensors, models.card("unet20"))
    return path, tensors


def test_weights_carry_their_card(saved):
    path, tensors = saved
    card, read = models.read_weights(path)
    assert card == models.card("unet20")
    assert {name: value.dtype for name, value in read.items()} == {
        name: value.dtype for name, value in tensors.items()
    }
    for name, value in tensors.items():
        np.testing.assert_array_equal(read[name], value)
    with pytest.raises(OutputError):
        models.write_weights(path, tensors, card)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "no card", "flipped header"])
def test_damaged_weights_are_one_clear_error(saved, damage):
    path, tensors = saved
    whole = path.read_bytes()
    if damage == "no card":
        from safetensors.numpy import save

        path.write_bytes(save(tensors))
    else:
        path.write_bytes(
            {
                "cut": whole[:-7],
                "text": b"not weights",
                "empty": b"",
                "flipped header": b"\xff" * 8 + whole[8:],
            }[damage]
        )
    with pytest.raises(FileError, match="unet20.safetensors") as error:
        models.read_weights(path)
    assert "\n" not in str(error.value)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A working folder, a cache and settings without any weights."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("UNBLUR_WEIGHTS", "UNBLUR_WEIGHTS_URL"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_weights_are_found_in_order(saved, nowhere, monkeypatch):
    path, _ = saved
    with pytest.raises(FileError, match=r"no weights for unet20 \(\.onnx or \.safetensors\).*unblur train"):
        models.find_weights("unet20")
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(nowhere / "mine"))
    places = [nowhere / "cache" / "unblur" / "weights", Path("weights"), nowhere / "mine"]
    for place in places:  # each new one goes before those that are there already
        place.mkdir(parents=True)
        (place / path.name).write_bytes(path.read_bytes())
        assert models.find_weights("unet20") == place / path.name
    assert models.find_weights(path) == path
    # Within a place ONNX comes first; where only safetensors will do, it is not seen.
    (nowhere / "mine" / "unet20.onnx").write_bytes(b"")
    assert models.find_weights("unet20") == nowhere / "mine" / "unet20.onnx"
    assert models.find_weights("unet20", (".safetensors",)) == nowhere / "mine" / path.name


@pytest.mark.parametrize(
    "given", ["missing.onnx", "missing.safetensors", "some/unet20", "missing.pth", "folder.onnx"]
)
def test_a_path_is_taken_as_it_is(nowhere, given):
    Path("folder.onnx").mkdir()
    with pytest.raises(FileError, match=f"{given}: no such file of weights"):
        models.find_weights(given)


def test_what_is_not_a_file_of_weights_says_so(saved, tmp_path):
    path, _ = saved
    card, _ = models.read_weights(path)
    header = {models.METADATA_KEY: card.model_dump_json()}
    torch_save({"a": torch.ones(2, dtype=torch.bfloat16)}, path, header)
    with pytest.raises(FileError, match="unet20"):
        nets.load(path)
    torch_save({"a": torch.ones(2)}, path, {"state": "{}"})
    with pytest.raises(FileError, match=r"unet20.*best\.safetensors"):
        models.read_weights(path)
    torch_save({"a": torch.ones(2)}, path, {models.METADATA_KEY: "{}"})
    with pytest.raises(FileError, match=r"unet20.*not a model card \(name"):
        models.read_weights(path)


def test_load_refuses_weights_that_do_not_fit(tmp_path):
    card = models.card("unet16")
    net = nets.create("unet16", widths=(4, 4, 4, 4))
    tensors = {key: value.numpy() for key, value in net.state_dict().items()}
    narrow = card.model_copy(update={"arguments": {**card.arguments, "widths": [4, 4, 4, 4]}})
    path = models.write_weights(tmp_path / "a.safetensors", tensors, narrow)
    about, loaded = nets.load(path)
    assert about == narrow
    assert not loaded.training
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), net.parameters(), strict=True))
    half = {key: value.astype(np.float16) for key, value in tensors.items()}
    _, loaded = nets.load(models.write_weights(tmp_path / "half.safetensors", half, narrow))
    for a, b in zip(loaded.parameters(), net.parameters(), strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b.half().float())
    for changes in (
        {"arguments": card.arguments},
        {"name": "unet_of_others"},
        {"arguments": {**narrow.arguments, "wide": 1}},
        {"arguments": {"widths": 3}},
    ):
        models.write_weights(path, tensors, narrow.model_copy(update=changes), overwrite=True)
        with pytest.raises(FileError, match=r"a\.safetensors: not the weights of unet") as error:
            nets.load(path)
        assert "\n" not in str(error.value)
