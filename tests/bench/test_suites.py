import numpy as np
import pytest

from unblur import files
from unblur.bench import suites
from unblur.datasets import folder
from unblur.errors import FileError, OptionError
from unblur.image import from_array, to_array
from unblur.physics.convolve import convolve
from unblur.physics.varying import blur_image

PUBLISHED_IDS = {
    "cifar-u03-u8", "cifar-int123-f32", "cifar-u03-f32", "reds-k3", "reds-k7", "reds-k11", "reds-k7+k11",
    "halfnormal5-u8", "gopro", "gopro-gamma", "reds-val", "reds-scenes0-23", "reds-val-144x256", "levin09", "pairs",
    "sharp", "clip", "mixed-u8",
}  # fmt: skip


def opened(name, root):
    return suites.open_samples(suites.get(name), root)


def test_every_published_id_is_there():
    assert set(suites.SUITES) == PUBLISHED_IDS


def test_float_suites_are_scored_unrounded_and_k3_up_to_80():
    unrounded = {name for name, suite in suites.SUITES.items() if suite.protocol == "rgbf-v1"}
    assert unrounded == {"cifar-int123-f32", "cifar-u03-f32"}
    caps = {name: (suite.cap, suite.gain_cap) for name, suite in suites.SUITES.items()}
    assert caps.pop("reds-k3") == (80, 80)
    assert set(caps.values()) == {(60, 45)}


def test_an_unknown_suite_names_the_nearest():
    with pytest.raises(OptionError, match="did you mean 'cifar-u03-u8'"):
        suites.get("cifar_u3_u8")


@pytest.mark.parametrize("name", sorted(PUBLISHED_IDS))
def test_missing_data_names_the_layout_and_the_place(name, tmp_path):
    with pytest.raises(FileError) as error:
        opened(name, tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message
    assert suites.get(name).layout in message
    assert "\n" not in message
    with pytest.raises(FileError, match="no such folder"):
        opened(name, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("cifar-u03-u8", np.uint8), ("cifar-int123-f32", np.float32), ("cifar-u03-f32", np.float32)],
)
def test_cifar(name, dtype, cifar):
    samples = opened(name, cifar)
    assert len(samples) == 12
    again = opened(name, cifar / "cifar-10-batches-py")
    for index in (7, 0):
        one, two = samples[index], again[index]
        assert one.blurred.dtype == one.sharp.dtype == dtype
        assert (one.blurred == two.blurred).all()
        assert dict(one.draw) == dict(two.draw)
        assert 0 <= one.blur.parameters["sigma"] <= 3
    assert "12 of 10000" in samples.notes[0]
    assert samples.digest(5) != samples.digest(6)
    assert samples.digest(5) == again.digest(5)


def test_groups_are_sigmas_or_ranges(cifar):
    integers = opened("cifar-int123-f32", cifar)
    assert {integers[i].group for i in range(12)} == {"1", "2", "3"}
    for sample in map(opened("cifar-u03-u8", cifar).__getitem__, range(12)):
        low, high = map(float, sample.group.split("-"))
        assert low <= sample.blur.parameters["sigma"] < high
        assert high - low == 0.5


def test_the_union_has_each_picture_with_both_kernels(photos):
    samples = opened("reds-k7+k11", photos)
    assert len(samples) == 12
    assert [samples[i].group for i in range(4)] == ["k7", "k11", "k7", "k11"]
    assert (samples[0].sharp == samples[1].sharp).all()
    assert samples[0].sharp.shape == (256, 448, 3)
    alone = opened("reds-k11", photos)
    assert (alone[0].blurred == samples[1].blurred).all()


def test_upright_pictures_are_turned_not_enlarged(tmp_path, crops):
    upright = np.ascontiguousarray(np.rot90(np.hstack([crops[0], crops[1]])))
    assert upright.shape[0] > upright.shape[1]
    files.save(upright, tmp_path / "upright.png")
    seen = opened("reds-k3", tmp_path)[0].sharp
    assert (seen == folder.fit(np.ascontiguousarray(np.rot90(upright)), 256, 448)).all()


def test_frames_of_reds_come_first_and_whole(tmp_path, crops):
    for frame in (29, 30, 32):
        place = tmp_path / "val" / "val_sharp" / "004" / f"{frame:08}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        files.save(crops[frame % 12], place)
    samples = opened("reds-k7", tmp_path)
    assert samples.names == ("004/00000029", "004/00000032")
    assert samples[0].sharp.shape == (256, 448, 3)


def test_photographs_of_a_test_part_come_first(tmp_path, crops):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        files.save(crops[0], tmp_path / part / "one.png")
    assert len(opened("sharp", tmp_path)) == 1
    assert len(opened("sharp", tmp_path / "train")) == 1


def test_of_imagenet_only_the_test_share_is_used(tmp_path, crops):
    folder = tmp_path / "imagenet-some"
    folder.mkdir()
    for number in range(10):
        files.save(crops[number], folder / f"{number}.png")
    samples = opened("halfnormal5-u8", tmp_path)
    assert samples.names == opened("halfnormal5-u8", folder).names
    from unblur.datasets.common import split

    assert samples.names == tuple(sorted(f"{i}.png" for i in split(10, (0.75, 0.05, 0.2), seed=0)[2]))
    assert samples[0].blurred.shape == (160, 240, 3)


def test_sharp_pictures_are_not_blurred_and_the_zoo_tells_its_kinds(photos):
    sharp = opened("sharp", photos)[2]
    assert (sharp.blurred == sharp.sharp).all()
    assert sharp.group == "none"
    zoo = opened("mixed-u8", photos)
    for sample in map(zoo.__getitem__, range(6)):
        assert sample.group in ("none", "gaussian", "anisotropic", "disk", "motion", "shake", "varying")
        assert sample.draw["kind"] == sample.blur.kind
        left = from_array(sample.blurred) - blur_image(from_array(sample.sharp), sample.blur)
        if "jpeg" in sample.draw or sample.draw["exposure"] != 1:
            assert sample.blur.noise == pytest.approx(np.sqrt(np.square(left).mean()), rel=1e-4)
        else:
            assert sample.blur.noise == pytest.approx(left.std(), rel=0.3)


def save_pair(root, blurred, sharp, crops, number):
    for place, pixels in ((blurred, crops[number]), (sharp, crops[number + 1])):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        files.save(pixels, root / place)


def test_real_pairs(tmp_path, crops):
    for kind in ("blur", "blur_gamma"):
        scene = "GOPRO_Large/test/GOPR0384_11_00"
        (tmp_path / scene / kind).mkdir(parents=True)
        files.save(crops[2 if kind == "blur" else 4], tmp_path / scene / kind / "000001.png")
    (tmp_path / scene / "sharp").mkdir()
    files.save(crops[3], tmp_path / scene / "sharp" / "000001.png")
    linear, gamma = opened("gopro", tmp_path)[0], opened("gopro-gamma", tmp_path)[0]
    assert (linear.blurred == crops[2]).all()
    assert (gamma.blurred == crops[4]).all()
    assert (linear.sharp == crops[3]).all()
    assert linear.blur is None
    assert linear.group == "GOPR0384_11_00"


def test_reds_and_its_stand_in(tmp_path, crops):
    for frame in (0, 60):
        name = f"020/{frame:08}.png"
        save_pair(tmp_path, f"train/train_blur/{name}", f"train/train_sharp/{name}", crops, frame // 10)
    assert opened("reds-scenes0-23", tmp_path).names == ("020/00000060",)
    stand_in = opened("reds-val", tmp_path)
    assert len(stand_in) == 2
    assert "stand-in" in stand_in.source
    assert "stand-in" in stand_in.notes[0]
    save_pair(tmp_path, "val/val_blur/001/00000000.png", "val/val_sharp/001/00000000.png", crops, 8)
    real = opened("reds-val", tmp_path)
    assert real.names == ("001/00000000",)
    assert "stand-in" not in real.source
    assert (real[0].blurred == crops[8]).all()
    small = opened("reds-val-144x256", tmp_path)[0]
    assert small.blurred.shape == (144, 256, 3)


def test_any_pairs(tmp_path, crops):
    save_pair(tmp_path, "blur/a.png", "sharp/a.png", crops, 0)
    sample = opened("pairs", tmp_path)[0]
    assert (sample.blurred == crops[0]).all()
    assert (sample.sharp == crops[1]).all()


def test_levins_kernels_are_turned_for_convolution(shaken):
    samples = opened("levin09", shaken)
    assert samples.names == ("im1_kernel1", "im1_kernel2", "im2_kernel1", "im2_kernel2")
    for sample in map(samples.__getitem__, range(4)):
        again = to_array(convolve(from_array(sample.sharp), sample.blur.kernel), np.uint8)
        assert (again == sample.blurred).all()
    assert samples[1].group == "kernel2"


@pytest.mark.data
def test_the_sample_of_levin_is_for_correlation_throughout(data):
    """The turned kernel explains every picture better than the kernel as it is stored."""
    from unblur.metrics.alignment import score_up_to_shift

    samples = opened("levin09", data)
    assert len(samples) == 16
    for sample in map(samples.__getitem__, range(0, 16, 5)):
        sharp, blurred = from_array(sample.sharp), from_array(sample.blurred)
        stored = np.ascontiguousarray(sample.blur.kernel[::-1, ::-1])
        turned, as_is = (
            score_up_to_shift(convolve(sharp, kernel), blurred, step=1).psnr
            for kernel in (sample.blur.kernel, stored)
        )
        assert turned > as_is
