"""`unblur bench`: what it prints, and what it says where it cannot."""

import json

import pytest

from unblur import files


@pytest.fixture
def photos(tmp_path, astronaut):
    """Two small sharp pictures."""
    from unblur.image import to_array

    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        corner = 100 * number
        files.save(to_array(astronaut[corner : corner + 64, 150:246], "uint8"), folder / f"{number}.png")
    return folder


def test_rows_as_json_then_the_report(unblur, photos, tmp_path):
    out = tmp_path / "out"
    ran = unblur(
        "bench", "sharp", "halfnormal5-u8", "--data", photos, "--methods", "blurred,wiener@estimated",
        "-o", out, "--json",
    )  # fmt: skip
    assert ran.code == 0
    rows = json.loads(ran.out)
    assert [(row["suite"], row["method"]) for row in rows] == [
        (suite, method) for suite in ("sharp", "halfnormal5-u8") for method in ("blurred", "wiener@estimated")
    ]
    assert (out / "sharp" / "blurred.jsonl").read_text().count("\n") == 2
    ran = unblur("bench", "report", out)
    assert ran.code == 0
    assert ran.out.split() == [str(out / "report.md"), str(out / "report.html")]
    ran = unblur("bench", "report", out, "--json")
    assert json.loads(ran.out) == {"written": [str(out / "report.md"), str(out / "report.html")]}


def test_a_table_for_people(unblur, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("UNBLUR_DATA", str(photos))
    ran = unblur("bench", "sharp", "--methods", "blurred", "--limit", 1, "-o", tmp_path / "out")
    assert ran.code == 0
    heading, columns, row = ran.out.splitlines()
    assert heading == "sharp, n = 1, rgb8-v1"
    assert columns.split()[:2] == ["method", "PSNR"]
    assert row.split()[:2] == ["blurred", "60.00"]


def test_the_list(unblur):
    ran = unblur("bench", "--list")
    assert ran.code == 0
    assert "reds-k7+k11" in ran.out
    assert "wiener@true" in ran.out
    found = json.loads(unblur("bench", "--list", "--json").out)
    assert len(found) == 18
    assert "blurred" in found[0]["methods"]


def test_without_weights_the_others_are_judged(unblur, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("UNBLUR_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ran = unblur(
        "bench", "sharp", "--data", photos, "--methods", "blurred,unet20", "-o", tmp_path / "out", "--json"
    )
    assert ran.code == 1, "partly done"
    assert [row["method"] for row in json.loads(ran.out)] == ["blurred"]
    assert ran.err.count("no weights for unet20") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar-u03"], "did you mean 'cifar-u03-u8'"),
        ([], "name at least one suite"),
        (["gopro", "--data", "PHOTOS"], "GOPRO_Large/test"),
        (["sharp", "--data", "PHOTOS/none"], "no such folder"),
        (["sharp", "--data", "PHOTOS", "--methods", "winer"], "did you mean 'wiener'"),
        (["sharp", "--data", "PHOTOS", "--methods", "blurred", "-o", "PHOTOS/0.png"], "name another -o"),
        (["sharp", "--data", "PHOTOS", "--limit", "0"], "at least 1"),
        (["report"], "one folder"),
        (["report", "PHOTOS"], "no results here"),
    ],
)
def test_mistakes_are_one_line(arguments, message, unblur, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = unblur("bench", *(argument.replace("PHOTOS", str(photos)) for argument in arguments))
    assert ran.code == 2
    assert ran.out == ""
    assert message in ran.err
    assert ran.err.count("\n") == 1
