import importlib.resources
import itertools
import json
import re
import shutil
import tomllib

import numpy as np
import pytest

from unblur.bench import report, run, suites
from unblur.errors import FileError
from unblur.metrics import FLAVOURS, paired_t_test

TAGS = {"report", "code", "sibling", "repository", "abstract", "secondary", "recalled"}


@pytest.fixture(scope="module")
def results(tmp_path_factory, cifar, photos):
    """A folder of results of two suites, with its report."""
    folder = tmp_path_factory.mktemp("results")
    run.judge(suites.get("cifar-u03-u8"), cifar, ["blurred", "wiener@true", "blind"], folder)
    run.judge(suites.get("halfnormal5-u8"), photos, ["blurred", "wiener@true"], folder, limit=3)
    report.write_report(folder)
    return folder


@pytest.fixture(scope="module")
def published():
    text = importlib.resources.files("unblur.bench").joinpath("published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def test_every_printed_figure_says_where_it_is_from(published):
    for figure in published["figures"]:
        assert figure["suite"] in suites.SUITES or (figure["suite"] == "" and figure["data"])
        assert figure["tag"] in TAGS
        assert figure["source"]
        assert 0 < figure.get("ssim", 0.5) < 1
        assert 0 < figure.get("psnr", 30) < 60
    for one in published["training"]:
        assert one["tag"] in TAGS


@pytest.mark.parametrize(
    ("suite", "system", "figures"),
    [
        ("cifar-u03-u8", "U-Net20", {"psnr": 27.18, "ssim": 0.8745, "mse": 0.002962}),
        ("cifar-int123-f32", "SRN-CIFAR with LSTM", {"psnr": 29.38, "ssim": 0.9188, "mse": 0.00175}),
        ("reds-k3", "U-Net, input re-injected", {"psnr": 43.24, "gain": -25.34}),
        ("reds-k11", "U-Net, input re-injected", {"psnr": 32.35, "gain": 5.58}),
        ("gopro-gamma", "MSCNN, pixel shuffle", {"psnr": 27.99, "ssim": 0.8458, "ms_ssim": 0.9269}),
        ("halfnormal5-u8", "CNN + RL", {"psnr": 24.18, "ssim": 0.7669, "kernel_distance": 0.02}),
        ("reds-val-144x256", "GAN", {"psnr": 24.75, "ssim": 0.88}),
        ("gopro", "NAFNet-64 (2022)", {"psnr": 33.71, "ssim": 0.9668, "parameters": 67.9}),
        ("levin09", "SelfDeblur", {"psnr": 33.07, "error_ratio": 1.20}),
    ],
)
def test_the_figures_to_beat(suite, system, figures, published):
    found = next(one for one in published["figures"] if (one["suite"], one["system"]) == (suite, system))
    assert {key: found[key] for key in figures} == figures


def test_markdown(results):
    text = (results / "report.md").read_text()
    row = json.loads((results / "cifar-u03-u8" / "wiener@true.json").read_text())["row"]
    line = next(line for line in text.splitlines() if line.startswith("| wiener@true |"))
    assert f"| {row['psnr_mean']:.2f} |" in line
    assert f"| {row['gain_mean']:+.2f} |" in line
    ours = text.split("### Printed elsewhere")[0]
    assert "U-Net20" not in ours
    assert "| U-Net20 | 27.18 |" in text
    assert all(f" {name} " in text for name in FLAVOURS)
    assert "## halfnormal5-u8" in text


def test_pairs_are_tested(results):
    loaded = report.load(results)[0]
    by_name = {record.name: record for record in loaded.records}
    a, b = by_name["wiener@true"].psnrs(), by_name["blurred"].psnrs()
    line = next(row for row in report._tests(loaded).rows if row[0] == "wiener@true over blurred")
    assert line[1] == f"{(a - b).mean():+.3f}"
    assert line[3] == f"{paired_t_test(a, b).p_value:.2g}"
    low, high = map(float, line[2].split(".."))
    assert low <= (a - b).mean() <= high


def test_of_many_methods_the_best_is_tested_and_neighbours(results, monkeypatch):
    loaded = report.load(results)[0]
    monkeypatch.setattr(report, "_ALL_PAIRS", 2)
    ranked = sorted(loaded.records, key=lambda record: (-record.row["psnr_mean"], record.name))
    names = [record.name for record in ranked]
    assert len(names) > 2
    expected = {f"{names[0]} over {name}" for name in names[1:]}
    expected |= {f"{a} over {b}" for a, b in itertools.pairwise(names)}
    assert {row[0] for row in report._tests(loaded).rows} == expected


def test_the_page_needs_nothing_else(results):
    page = (results / "report.html").read_text()
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "@import" not in page
    assert "url(http" not in page
    images = json.loads(re.search(r'id="images">(.*?)</script>', page, re.S)[1])
    assert len(set(images)) == len(images)
    used = set(map(int, re.findall(r'data-i="(\d+)"', page)))
    assert used == set(range(len(images)))
    assert all(image.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for image in images)


def test_worst_and_best_are_what_they_are_called(results):
    page = (results / "report.html").read_text()
    lines = run.read_lines(results / "cifar-u03-u8" / "blind.jsonl")
    gains = sorted(line["gain"] for line in lines)
    shown = re.search(r"<summary>blind</summary>(.*?)</details>", page, re.S)[1]
    told = [float(number) for number in re.findall(r": ([+-][\d.]+) dB, PSNR", shown)]
    assert told == [round(gain, 2) for gain in (*gains[:2], *gains[-2:])]


def test_curves_pass_through_the_mean_gains(results):
    curve = report._curves(report.load(results)[0])
    lines = run.read_lines(results / "cifar-u03-u8" / "wiener@true.jsonl")
    sigma, gain = next((line["sigma"], line["gain"]) for line in lines)
    # Twelve pictures, twelve bins: each is a point of its own.
    assert f"wiener@true: sigma {sigma:.2f}, {gain:+.2f} dB" in curve


def test_results_of_other_pictures_are_not_compared(results, cifar, tmp_path):
    shutil.copytree(results, tmp_path / "copy")
    run.judge(suites.get("cifar-u03-u8"), cifar, ["blurred", "wiener@true"], tmp_path / "copy", limit=5)
    names = {record.name for record in report.load(tmp_path / "copy")[0].records}
    assert names == {"blurred", "wiener@true"}


def test_no_results(tmp_path):
    with pytest.raises(FileError, match="no results here"):
        report.write_report(tmp_path)


def test_damaged_results(results, tmp_path):
    shutil.copytree(results, tmp_path / "copy")
    (tmp_path / "copy" / "cifar-u03-u8" / "suite.json").write_text("{")
    with pytest.raises(FileError, match="damaged"):
        report.write_report(tmp_path / "copy")


def test_ticks_are_round_and_hold_nought():
    ticks = report._ticks(-3.2, 16.0)
    assert 0 in ticks
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def chromium():
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
        None,
    )
    if found is None:
        pytest.skip("no Chromium here")
    return found


@pytest.mark.browser
def test_the_page_in_a_browser(results):
    playwright = pytest.importorskip("playwright.sync_api")
    program, complaints, fetched = chromium(), [], []
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto((results / "report.html").as_uri())
        shown = page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert shown
        page.locator("summary").first.click()
        page.locator(".trio .seen").first.hover()
        assert page.locator(".trio").first.locator(".loupe:visible").count() == 3
        page.mouse.move(1, 1)
        assert page.locator(".loupe:visible").count() == 0
        table = page.locator("table.sorts").first
        heading = table.locator("th", has_text=re.compile("^PSNR$"))
        heading.click()
        numbers = [float(cell) for cell in table.locator("tbody td:nth-child(2)").all_inner_texts()]
        assert numbers == sorted(numbers)
        assert len(numbers) == 3
        browser.close()
    assert complaints == []
    assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []
