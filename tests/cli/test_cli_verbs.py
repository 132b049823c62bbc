"""The other verbs, each option called once."""

import csv
import json

import numpy as np
import pytest

from unblur import __version__, files
from unblur.image import from_array, to_array
from unblur.physics import degrade, kernels
from unblur.physics.convolve import convolve


def pixels(path):
    return files.Source.open(path).read()


@pytest.mark.parametrize(
    "options",
    [
        ["--kind", "gaussian", "--sigma", "1.2", "--sigma-y", "2", "--angle", "30"],
        ["--kind", "gaussian"],
        ["--kind", "disk", "--radius", "2.5"],
        ["--kind", "motion", "--length", "9", "--angle", "45"],
        ["--kind", "shake", "--size", "15", "--seed", "3"],
        ["--kind", "file", "--kernel", "KERNEL"],
    ],
)
def test_blur(unblur, photo, tmp_path, options):
    kernels.save_kernel(tmp_path / "k.npy", kernels.disk(2))
    options = [str(tmp_path / "k.npy") if option == "KERNEL" else option for option in options]
    out, kernel = tmp_path / "out.png", tmp_path / "used.npy"
    ran = unblur(
        "blur", photo, "-o", out, *options, "--border", "replicate", "--kernel-out", kernel, "--json"
    )
    assert ran.code == 0, ran.err
    facts = json.loads(ran.out)
    assert facts["blur"]["kind"] == {"file": "kernel"}.get(options[1], options[1])
    assert pixels(out).astype(float).std() < pixels(photo).astype(float).std()
    from unblur.image import from_array, to_array
    from unblur.physics.convolve import convolve

    again = convolve(from_array(pixels(photo)), kernels.load_kernel(kernel), border="replicate")
    assert np.abs(to_array(again, np.uint8).astype(int) - pixels(out)).max() <= 1


def test_blur_noise_and_jpeg(unblur, photo, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ran = unblur(
            "blur", photo, "-o", tmp_path / f"{name}.png", "--noise", "0.05", "--jpeg", "80", "--seed", seed
        )
        assert ran.code == 0, ran.err
    a, b, c = (pixels(tmp_path / f"{name}.png").astype(float) for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert unblur("blur", photo, "-o", tmp_path / "a.png").code == 2
    assert unblur("blur", photo, "-o", tmp_path / "a.png", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--kind", "disk", "--sigma", "2"], "--sigma"),
        (["--kind", "file"], "--kernel"),
        (["--kind", "square"], "square"),
        (["--noise", "7"], "noise"),
        (["--jpeg", "0"], "jpeg"),
        (["--border", "wobbly"], "wobbly"),
        (["--sigma", "-1"], "sigma"),
        (["--kind", "shake", "--size", "4"], "size"),
        (["--kind", "disk", "--radius", "nan"], "radius"),
        (["--kind", "motion", "--length", "-3"], "length"),
    ],
)
def test_blur_refuses(unblur, photo, tmp_path, options, word):
    ran = unblur("blur", photo, "-o", tmp_path / "out.png", *options)
    assert ran.code == 2
    assert word in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


def test_estimate(unblur, photo, tmp_path):
    ran = unblur(
        "estimate", photo, "--json", "--map", tmp_path / "map.png", "--kernel-out", tmp_path / "k.npy"
    )
    assert ran.code == 0, ran.err
    facts = json.loads(ran.out)
    assert facts["kind"] == "gaussian"
    assert facts["sigma"] == pytest.approx(1.5, abs=0.3)
    assert 0 < facts["confidence"] <= 1
    assert {"sharpness", "noise", "motion_angle", "motion_length"} <= set(facts)
    assert pixels(tmp_path / "map.png").shape == (*pixels(photo).shape[:2], 1)
    assert kernels.load_kernel(tmp_path / "k.npy").shape[0] > 3
    plain = unblur("estimate", photo)
    assert plain.code == 0
    assert "sigma" in plain.out
    assert unblur("estimate", photo, "--map", tmp_path / "map.png").code == 2
    assert unblur("estimate", photo, "--map", tmp_path / "map.png", "--overwrite").code == 0
    assert unblur("estimate", tmp_path / "missing.png").code == 2


@pytest.mark.parametrize("flavour", ["tf", "skimage", "matlab3d", "luma"])
def test_score(unblur, photo, tmp_path, flavour):
    assert unblur("blur", photo, "-o", tmp_path / "worse.png", "--sigma", "1").code == 0
    ran = unblur("score", photo, tmp_path / "worse.png", "--json", "--ssim", flavour)
    assert ran.code == 0, ran.err
    facts = json.loads(ran.out)
    assert {"mse", "psnr", "ssim", "ms_ssim", "protocol"} <= set(facts)
    expected = -10 * np.log10(
        np.mean(((pixels(photo) - pixels(tmp_path / "worse.png").astype(float)) / 255) ** 2)
    )
    assert facts["psnr"] == pytest.approx(expected, abs=1e-6)
    assert facts["protocol"] == "rgb8-v1"
    assert 0.3 < facts["ssim"] < 1


def test_score_of_equal_and_unequal_pictures(unblur, photo, tmp_path):
    facts = json.loads(unblur("score", photo, photo, "--json").out)
    assert facts["ssim"] == 1
    assert facts["mse"] == 0
    files.save(pixels(photo)[:50], tmp_path / "small.png")
    ran = unblur("score", photo, tmp_path / "small.png")
    assert ran.code == 2
    assert "50" in ran.err
    assert "psnr" in unblur("score", photo, photo).out
    assert unblur("score", photo, photo, "--ssim", "mine").code == 2


def test_data_make(unblur, photo, tmp_path):
    source = tmp_path / "sharp"
    (source / "b").mkdir(parents=True)
    for index, name in enumerate(("a.png", "b/c.png", "d.png")):
        files.save(pixels(photo)[index : index + 64, :80], source / name)
    (source / "broken.png").write_text("no")
    ran = unblur("data", "make", "cifar-u03-u8", source, tmp_path / "set", "--seed", "5", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == {
        "degradation": "cifar-u03-u8",
        "seed": 5,
        "pairs": 3,
        "skipped": 1,
        "target": str(tmp_path / "set"),
    }
    assert "broken.png" in ran.err
    with (tmp_path / "set" / "draws.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["file"] for row in rows] == ["a.png", "b/c.png", "d.png"]
    assert all(0 <= float(row["sigma"]) <= 3 for row in rows)
    for row in rows:
        assert np.array_equal(pixels(tmp_path / "set" / "sharp" / row["file"]), pixels(source / row["file"]))
        assert pixels(tmp_path / "set" / "blurred" / row["file"]).shape == (64, 80, 3)
    assert unblur("data", "make", "cifar-u03-u8", source, tmp_path / "again", "--seed", "5").code == 0
    same = [(tmp_path / name / "blurred" / "d.png").read_bytes() for name in ("set", "again")]
    assert same[0] == same[1]
    ran = unblur("data", "make", "cifar-u03-u8", source, tmp_path / "set")
    assert ran.code == 2
    assert "not empty" in ran.err


def test_data_make_limit_and_size(unblur, photo, tmp_path):
    source = tmp_path / "sharp"
    source.mkdir()
    for name in ("a.png", "b.png"):
        files.save(pixels(photo), source / name)
    ran = unblur("data", "make", "reds_k7", source, tmp_path / "set", "--limit", "1", "--size", "60x40")
    assert ran.code == 0, ran.err
    assert pixels(tmp_path / "set" / "sharp" / "a.png").shape == (40, 60, 3)
    assert not (tmp_path / "set" / "sharp" / "b.png").exists()


@pytest.mark.parametrize("name", degrade.DEGRADATIONS)
def test_data_make_knows_every_degradation(unblur, photo, tmp_path, name):
    source = tmp_path / "sharp"
    source.mkdir()
    files.save(pixels(photo)[:40, :50], source / "a.png")
    assert unblur("data", "make", name, source, tmp_path / "set").code == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["cifar-u03-u9", "SRC", "DST"], "cifar-u03-u8"),
        (["reds-k7", "MISSING", "DST"], "missing"),
        (["reds-k7", "SRC", "DST"], "no pictures"),
        (["reds-k7", "SRC", "DST", "--limit", "0"], "limit"),
        (["reds-k7", "SRC", "DST", "--size", "big"], "448x256"),
    ],
)
def test_data_make_refuses(unblur, tmp_path, arguments, word):
    (tmp_path / "src").mkdir()
    places = {"SRC": tmp_path / "src", "DST": tmp_path / "dst", "MISSING": tmp_path / "missing"}
    ran = unblur("data", "make", *(places.get(argument, argument) for argument in arguments))
    assert ran.code == 2
    assert word in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "dst").exists()


def test_version_and_help(unblur):
    assert unblur("--version").out.strip() == f"unblur {__version__}"
    for verb in ([], ["restore"], ["blur"], ["estimate"], ["score"], ["data"], ["data", "make"]):
        ran = unblur(*verb, "--help")
        assert ran.code == 0
        assert "--help" in ran.out


def test_shell_completion(unblur, monkeypatch):
    # Without this the shell is the one that the tests were started from, if any.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    ran = unblur("--show-completion", "bash")
    assert ran.code == 0
    assert "_UNBLUR_COMPLETE" in ran.out


def test_estimate_a_shake(unblur, tmp_path):
    from skimage import data as pictures

    kernel = kernels.shake(13, np.random.default_rng(3))
    blurred = convolve(from_array(pictures.astronaut()[60:260, 120:320]), kernel)
    files.save(to_array(blurred, "uint8"), tmp_path / "shaken.png")
    run = unblur(
        "estimate", tmp_path / "shaken.png", "--kind", "shake", "--json", "--kernel-out", tmp_path / "k.npy"
    )
    assert run.code == 0
    told = json.loads(run.out)
    assert told["kind"] == "shake"
    found = np.load(tmp_path / "k.npy")
    size = max(len(found), len(kernel))
    likeness = (kernels.embed(found, size) * kernels.embed(kernel, size)).sum()
    assert likeness > 0.6 * np.sqrt(np.square(found).sum() * np.square(kernel).sum())
