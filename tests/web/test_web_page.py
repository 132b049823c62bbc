"""The page, driven in Chromium."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image as Pil

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "vendor" / "axe.min.js"

#: Where pictures of the page are put, if anywhere: for people to look at.
LOOKS = os.environ.get("UNBLUR_SCREENSHOTS")


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page_for(chromium, server):
    """Open the page in a window of that kind; nothing may be complained about or fetched elsewhere."""
    complaints, fetched, contexts = [], [], []

    def make(**kind):
        contexts.append(chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | kind)))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(f"{server.url}/")
        page.locator("main[data-ready]").wait_for()
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in fetched if not url.startswith((server.url, f"blob:{server.url}"))] == []


@pytest.fixture
def page(page_for):
    return page_for()


def upload(page, *pictures):
    """Choose pictures, each (name, bytes), and wait until all are done."""
    page.set_input_files(
        "#files", [{"name": name, "mimeType": "", "buffer": data} for name, data in pictures]
    )
    wait(page)


def wait(page):
    """Until all pictures are done."""
    page.locator("#progress").evaluate(
        "async bar => { while (bar.value < bar.max || !document.querySelector('.state.done, .state.failed'))"
        " await new Promise(done => setTimeout(done, 20)); }"
    )


def look(page, name, *, whole=True):
    if LOOKS:
        page.wait_for_timeout(150)
        page.screenshot(path=f"{LOOKS}/{name}.png", full_page=whole)


def faults(page):
    """Serious and critical violations that axe-core finds."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        (fault["id"], fault["impact"], [node["html"] for node in fault["nodes"]])
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def cut(page):
    return page.locator("#stage").evaluate("stage => parseFloat(stage.style.getPropertyValue('--cut'))")


def test_from_upload_to_download(page, photo):
    upload(page, ("holiday.jpg", photo))
    assert faults(page) == []
    assert page.locator("#verdict strong").inner_text().startswith("Blur found: soft, Gaussian of sigma 1.")
    facts = page.locator("#facts").inner_text()
    assert "260 × 200" in facts
    assert "Certainty" in facts
    for picture in ("#kernel img", "#map img", "#before img", "#after img"):
        assert page.locator(picture).evaluate("image => image.complete && image.naturalWidth > 0"), picture
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download", exact=True).click()
    download = waiting.value
    assert download.suggested_filename == "holiday.unblur.jpg"
    restored, given = Pil.open(download.path()), Pil.open(io.BytesIO(photo))
    restored.load()
    assert restored.size == given.size
    assert dict(restored.getexif()) == dict(given.getexif())
    assert restored.getexif()[0x010F] == "Camera & Sons"
    assert Path(download.path()).read_bytes() != photo


def test_the_line_moves(page, photo):
    upload(page, ("a.jpg", photo))
    assert cut(page) == 50
    page.locator("#cut").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert cut(page) == 55
    assert page.locator("#cut").get_attribute("aria-valuetext") == "55 % before"
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert abs(cut(page) - 20) < 0.5
    assert page.locator("#cut").input_value() == "20"


def test_zoom_and_pan(page, photo):
    upload(page, ("a.jpg", photo))
    place = "image => image.getBoundingClientRect().left"
    fitted = page.locator("#scale").inner_text()
    page.get_by_role("button", name="Zoom in").click()
    page.locator("#stage").focus()
    for _ in range(3):
        page.keyboard.press("+")
    zoomed = page.locator("#scale").inner_text()
    assert int(zoomed.split()[0]) > 4 * int(fitted.split()[0])
    before = page.locator("#after img").evaluate(place)
    page.keyboard.press("ArrowRight")
    assert abs(page.locator("#after img").evaluate(place) - (before - 60)) < 1
    assert page.locator("#before img").evaluate(place) == page.locator("#after img").evaluate(place)
    box, line = page.locator("#stage").bounding_box(), cut(page)
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 100, steps=3)
    page.mouse.up()
    assert abs(page.locator("#after img").evaluate(place) - (before - 20)) < 1
    assert cut(page) == line
    page.get_by_role("button", name="Fit").click()
    assert page.locator("#scale").inner_text() == fitted


def test_strength_is_seen_and_saved(page, photo):
    from unblur import engine, files

    upload(page, ("a.jpg", photo))
    page.locator("#strength").focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#after img").evaluate("image => image.style.opacity") == "0.5"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download", exact=True).click()
    expected = files.encode(
        engine.restore(photo, strength=0.5, memory="8GB").image, "jpeg", like=files.Source.open(photo)
    )
    assert Path(waiting.value.path()).read_bytes() == expected


def test_method_and_sigma(page, photo):
    upload(page, ("a.jpg", photo))
    with page.expect_response("**/api/restore") as waiting:
        page.locator("#method").select_option("wiener")
    assert waiting.value.json()["method"] == "wiener"
    page.locator("#verdict strong", has_text="Blur found").wait_for()
    page.locator("summary").click()
    with page.expect_response("**/api/restore") as waiting:
        page.locator("#sigma").fill("1.3")
        page.locator("#sigma").press("Tab")
    assert waiting.value.json()["blur"]["sigma"] == 1.3


def test_sharp_is_said_plainly(page, sharp):
    upload(page, ("sharp.png", sharp))
    assert page.locator("#verdict strong").inner_text() == "Left alone because it is sharp"
    assert page.locator("#cut").is_disabled()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download", exact=True).click()
    assert Path(waiting.value.path()).read_bytes() == sharp


def test_an_enlarged_picture_is_not_called_sharp(page, sharp):
    small = Pil.open(io.BytesIO(sharp))
    large = io.BytesIO()
    small.resize((2 * small.width, 2 * small.height), Pil.Resampling.BICUBIC).save(large, "PNG")
    upload(page, ("large.png", large.getvalue()))
    assert page.locator("#verdict strong").inner_text() == "Left alone: it was enlarged"
    look(page, "enlarged")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download", exact=True).click()
    assert Path(waiting.value.path()).read_bytes() == large.getvalue()


def test_several_and_a_zip(page_for, photo, sharp, tiff):
    page = page_for(color_scheme="dark")
    upload(page, ("a.jpg", photo), ("a.jpg", photo), ("b.png", sharp), ("scan.tif", tiff))
    assert page.locator("#count").inner_text() == "4 of 4 done"
    page.locator(".strip button").last.click()
    assert (
        page.locator("#before img").evaluate(
            "async image => { await image.decode(); return image.naturalWidth }"
        )
        == 260
    )
    assert faults(page) == []
    look(page, "several-dark")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert archive.read("b.unblur.png") == sharp
        assert Pil.open(io.BytesIO(archive.read("a.unblur.jpg"))).getexif()[0x010F] == "Camera & Sons"
    assert names == ["a.unblur.jpg", "a.unblur (2).jpg", "b.unblur.png", "scan.unblur.tif"]
    page.get_by_role("button", name="Start again").click()
    assert page.locator("#drop").is_visible()


def test_what_fails_is_told(chromium, server, photo, png, tmp_path):
    """In a page of its own: Chromium itself writes refused requests to the console."""
    page = chromium.new_page()
    page.goto(f"{server.url}/")
    page.locator("main[data-ready]").wait_for()
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    huge = png(30_000, 30_000, b"")
    pictures = {"drawing.svg": svg, "a.jpg": photo, "huge.png": huge, "heavy.png": bytes(21_000_000)}
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)
    page.set_input_files("#files", [tmp_path / name for name in pictures])
    wait(page)
    assert page.locator("#count").inner_text() == "4 of 4 done, 3 failed"
    assert page.locator("#verdict strong").inner_text() == "This picture was not restored"
    told = []
    for button in page.locator(".strip button").all():
        button.click()
        told.append(page.locator("#verdict").inner_text())
    assert "is not a PNG, JPEG, TIFF, WebP, AVIF or HEIC picture" in told[0]
    assert "Blur found" in told[1]
    assert "more pixels than the limit of 50 megapixels" in told[2]
    assert "The file has 21 MB; the limit is 20 MB" in told[3]
    page.close()


def test_drop_and_paste(page, photo):
    send = """([bytes, kind]) => {
        const carried = new DataTransfer();
        carried.items.add(new File([Uint8Array.from(bytes)], `${kind}.jpg`));
        const event = kind === "paste" ? new ClipboardEvent("paste", {clipboardData: carried})
            : new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true});
        document.body.dispatchEvent(event);
        dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(send.replace("document.body.dispatchEvent(event);", ""), [list(photo), kind])
        page.locator(".strip .label", has_text=f"{kind}.jpg").wait_for(state="attached")
    assert page.locator(".strip button").count() == 2


def test_by_keyboard_alone(page):
    """From the top of the page to an example, its strength and its download, by Tab and Enter."""

    def tab_to(selector):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} is not reached")

    tab_to("#files")
    tab_to("[data-example='astronaut.jpg']")
    page.keyboard.press("Enter")
    page.locator("#verdict strong", has_text="Left alone because it is sharp").wait_for()
    for selector in ("#stage", "#in", "#download", "#strength", "#method", "#more", "#clear"):
        tab_to(selector)
    tab_to("#download")
    with page.expect_download():
        page.keyboard.press("Enter")


@pytest.mark.parametrize(("example", "words"), [("cat.jpg", "Gaussian"), ("coffee.jpg", "out of focus")])
def test_examples(page, example, words):
    page.locator(f"[data-example='{example}']").click()
    page.locator("#verdict strong", has_text=words).wait_for()
    look(page, f"desktop-{example[:-4]}")


def test_theme(page_for):
    page = page_for(color_scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(colour)
    page.reload()
    page.locator("main[data-ready]").wait_for()
    assert page.evaluate(colour) == dark != light
    assert page_for(color_scheme="dark").evaluate(colour) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_before_the_first_picture(page_for, scheme):
    page = page_for(color_scheme=scheme)
    assert faults(page) == []
    look(page, f"desktop-start-{scheme}")


def test_the_page_about_the_interface(page):
    page.get_by_role("link", name="API").click()
    page.get_by_role("heading", name="REST interface").wait_for()
    assert faults(page) == []
    look(page, "desktop-api")


def test_on_a_phone(page_for, photo):
    page = page_for(
        viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True, has_touch=True
    )
    assert page.get_by_text("Take a picture").is_visible()
    assert page.locator("#camera").get_attribute("capture") == "environment"
    assert faults(page) == []
    look(page, "phone-start", whole=False)
    page.locator("[data-example='cat.jpg']").tap()
    page.locator("#verdict strong", has_text="Gaussian").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert faults(page) == []
    look(page, "phone-cat")
    look(page, "phone-cat-first", whole=False)
    box = page.locator("#stage").bounding_box()
    touch = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 0.5), ("touchMove", 0.45), ("touchMove", 0.3), ("touchEnd", None)):
        points = [] if share is None else [{"x": box["x"] + share * box["width"], "y": box["y"] + 100}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert abs(cut(page) - 30) < 1
    sizes = page.locator("button:visible, .button:visible, select:visible").evaluate_all(
        "all => all.map(one => [one.textContent.trim(), one.getBoundingClientRect().height])"
    )
    assert [size for size in sizes if size[1] < 36] == [], json.dumps(sizes)
