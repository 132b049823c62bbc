"""The documentation says what is there, in commands, links and examples; its site needs nothing from elsewhere."""

from __future__ import annotations

import http.server
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import typer

import unblur
from unblur import datasets, files
from unblur.cli import app

REPO = Path(__file__).parents[1]
DOCS = REPO / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *(REPO / name for name in ("README.md", "CONTRIBUTING.md"))]

pytestmark = pytest.mark.skipif(not (REPO / "mkdocs.yml").is_file(), reason="not a checkout")


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for _, language, text in found if language in languages]


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in blocks(page, "", "sh", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith(("unblur ", "scripts/")):
                    yield page.relative_to(REPO).as_posix(), line


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_every_command_can_be_given(page, line):
    """Verb, options, the values they may have, and the number of arguments are right."""
    verb, *arguments = shlex.split(re.sub(r"\$\(\(.*?\)\)", "1", line), comments=True)
    if verb != "unblur":
        assert (REPO / verb).is_file(), page
        return
    command = typer.main.get_command(app)
    while below := getattr(command, "commands", None):
        command = below[arguments.pop(0)]
    command.make_context("unblur", arguments).close()


def test_a_wrong_command_would_be_seen():
    misuse = typer.BadParameter.__mro__[2]  # click's, as typer ships it
    for line, error in {
        "unblur restore a.png --sigme 1": misuse,
        "unblur restore a.png --sigma one": misuse,
        "unblur blur a.png": misuse,
        "unblur restor a.png": KeyError,
        "scripts/tests": AssertionError,
    }.items():
        with pytest.raises(error):
            test_every_command_can_be_given("here", line)


@pytest.mark.parametrize("page", [*PAGES, REPO / "recipes" / "README.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    text = re.sub(r"^( *)```.*?^\1```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_menu():
    yaml = pytest.importorskip("yaml")
    menu = yaml.safe_load((REPO / "mkdocs.yml").read_text())["nav"]

    def leaves(entry) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        for below in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            yield from leaves(below)

    named = list(leaves(menu))
    there = {
        path.relative_to(DOCS).as_posix() for kind in ("md", "ipynb") for path in DOCS.rglob(f"*.{kind}")
    }
    assert set(named) == there
    assert len(named) == len(there), "a page twice"


def test_the_recipe_of_the_how_to_is_one():
    recipe = pytest.importorskip("unblur.lab.recipe")
    import tomllib

    (text,) = (block for block in blocks(DOCS / "howto/train.md", "toml") if block.startswith("about"))
    assert recipe.parse(tomllib.loads(text)).data.set == "folder"


def test_the_network_of_the_how_to_is_one():
    torch = pytest.importorskip("torch")
    page = DOCS / "howto" / "add-network.md"
    module = types.ModuleType("unblur.nets.vdsr")
    exec(blocks(page, "python")[0], vars(module))
    net = module.VDSR()
    stated = re.search(r"([\d_]+),  # trainable", page.read_text())[1]
    assert sum(p.numel() for p in net.parameters()) == int(stated)
    assert net(torch.zeros(2, 3, 5, 7)).shape == (2, 3, 5, 7)


def test_the_reader_of_the_how_to_passes_its_test(tmp_path, monkeypatch):
    reader, test = (
        text for text in blocks(DOCS / "howto/add-data-set.md", "python") if text.startswith('"""RealBlur')
    )
    module = types.ModuleType("unblur.datasets.realblur")
    exec(reader, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(datasets, "realblur", module, raising=False)
    rng = np.random.default_rng(1)

    def draw(path: Path) -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (4, 5, 3), np.uint8)
        files.save(pixels, path)
        return pixels

    scope: dict = {}
    exec(test, scope)
    scope["test_pairs_are_of_one_scene_and_number"](tmp_path, draw)


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as scripts/docs does; any warning is an error."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("docs") / "site"
    built = subprocess.run(
        [REPO / "scripts" / "docs", "build", "--quiet", "--site-dir", folder], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Loads(HTMLParser):
    """What a page loads: scripts, styles, fonts, pictures, frames; not what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag != "a":
            self.found += [value or "" for name, value in attrs if name in ("src", "srcset", "href", "data")]


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for path in pages:
        page = Loads()
        page.feed(path.read_text())
        assert page.found, path
        assert [url for url in page.found if re.match(r"(\w+:)?//", url)] == [], path
    for path in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:\w+:)?//", path.read_text()) == [], path


def test_the_site_has_what_is_made(site):
    commands = (site / "reference" / "cli.html").read_text()
    assert "unblur data make" in commands
    assert "--overwrite" in commands
    names = (site / "reference" / "names.html").read_text()
    assert all(name in names for name in ("total-variation", "nafnet32", "levin09", "reds-k11"))
    public = (site / "reference" / "unblur.html").read_text()
    assert [name for name in unblur.__all__ if f'id="unblur.{name}"' not in public] == ["__version__"]
    physics = (site / "reference" / "physics.html").read_text()
    assert 'id="unblur.physics.kernels.motion"' in physics
    assert not any("made:" in path.read_text() for path in site.rglob("*.html"))


@pytest.mark.browser
def test_the_site_in_a_browser_finds_turns_dark_and_stays_at_home(site):
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = f"http://127.0.0.1:{server.server_port}/"
    complaints: list[str] = []
    try:
        with playwright.sync_playwright() as tools:
            browser = tools.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="light")
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "request", lambda r: r.url.startswith((home, "data:", "blob:")) or complaints.append(r.url)
            )
            page.goto(home)
            # A phone must not have to scroll sideways.
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.locator("body").get_attribute("data-md-color-scheme") == "default"
            page.locator("label[title=Dark]").click()
            assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"
            page.locator("label[for=__search]").first.click()
            page.locator("input.md-search__input").press_sequentially("total-variation")
            page.locator(".md-search-result__link").first.wait_for(timeout=20_000)
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    assert complaints == []
