"""A report of results that are kept: report.md, and report.html, one page that needs nothing else."""

from __future__ import annotations

import base64
import html
import itertools
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from unblur import files
from unblur.bench.run import BLURRED, EXTREMES, GRID, Row, evenly, read_lines, slug
from unblur.bench.suites import SUITES
from unblur.errors import FileError, OptionError
from unblur.metrics import FLAVOURS, bootstrap_interval, paired_t_test

REMARKS: Mapping[str, str] = {
    "cifar-int123-f32": "On unrounded pixels the regularised inverse with the true sigma reaches 60 (the cap) / 36.0 /"
    " 31.1 dB for sigma 1 / 2 / 3 in float32: this suite tests the estimate of sigma and exact borders more than"
    " learning.",
    "cifar-u03-u8": "About a tenth of the pictures are hardly blurred at all, and exact as they are.",
    "levin09": "Error ratio: the squared error over that of total-variation@true. The true kernels are themselves"
    " estimates, and off the centre by up to 4 pixels.",
    "reds-k3": "The blurred pictures are within a grey level or two of the sharp ones; scores are capped at 80 dB.",
}

#: Larger pictures are shown by their middle, in pixels.
_SHOWN = (512, 384)
#: Pictures up to this side are enlarged with hard edges.
_TINY = 64
#: Of more methods than these, the best is tested against each, and each against the next.
_ALL_PAIRS = 8
#: Bins of sigma in the curves, and of gain in the histograms.
_SIGMA_BINS, _GAIN_BINS = 12, 24
#: Okabe and Ito's colours, which most people can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d")
_DASHES = ("", "6 3", "2 3", "8 3 2 3")


#: What a printed figure has beside its numbers.
_WORDS = ("data", "note")


@dataclass(frozen=True)
class Record:
    """One method on one suite: its row of the table, what is known of the whole, a line a picture."""

    name: str
    row: Row
    whole: Row
    lines: list[Row]

    def psnrs(self) -> Any:
        """PSNR of every picture. Shape: (n,)."""
        return np.array([line["psnr"] for line in self.lines])


@dataclass(frozen=True)
class Results:
    """All that is kept of one suite, the blurred input first."""

    about: Row
    records: list[Record]
    folder: Path


@dataclass(frozen=True)
class Table:
    """Columns and rows of text; `best`: columns where the largest (+1) or the smallest (-1) number wins."""

    columns: list[str]
    rows: list[list[str]]
    best: Mapping[int, int]


def write_report(folder: Path) -> tuple[Path, Path]:
    """Write report.md and report.html into a folder of results.

    Raises FileError where there are none, OutputError where the folder cannot be written.
    """
    results = load(folder)
    published = tomllib.loads(
        resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    )
    markdown = files.write_file(folder / "report.md", _markdown(results, published).encode(), overwrite=True)
    page = files.write_file(folder / "report.html", _page(results, published).encode(), overwrite=True)
    return markdown, page


def load(folder: Path) -> list[Results]:
    """What is kept in a folder, in the order of the suites. Raises FileError where nothing is."""
    found = []
    for name in SUITES:
        if (folder / name / "suite.json").is_file():
            about = _json(folder / name / "suite.json")
            records = []
            for path in sorted((folder / name).glob("*.json")):
                whole = _json(path)
                # What another run has left, on other pictures or by other code, is not compared.
                if path.name != "suite.json" and whole.get("stamp") == about["stamp"]:
                    lines = read_lines(
                        path.with_suffix("").with_name(path.name.removesuffix(".json") + ".jsonl")
                    )
                    records.append(Record(whole["method"], whole["row"], whole, lines))
            records.sort(key=lambda record: (record.name != BLURRED, -record.row["psnr_mean"], record.name))
            if records:
                found.append(Results(about, records, folder / name))
    if not found:
        raise FileError(f"{folder}: no results here; `unblur bench SUITE -o {folder}` makes them")
    return found


# Tables, for both


def _scores(results: Results) -> Table:
    columns: list[tuple[str, Callable[[Record], Any], str, int]] = [
        ("PSNR", lambda r: r.row["psnr_mean"], ".2f", 1),
        ("95 %", lambda r: "{:.2f}..{:.2f}".format(*r.row["psnr_ci95"]), "", 0),
        ("median", lambda r: r.row["psnr_median"], ".2f", 1),
        ("PSNR of mean MSE", lambda r: r.row["psnr_of_mean_mse"], ".2f", 1),
        ("exact", lambda r: r.row["exact"], "d", 0),
        ("SSIM", lambda r: r.row["ssim_mean"], ".4f", 1),
        ("MS-SSIM", lambda r: r.row["ms_ssim_mean"], ".4f", 1),
        ("MSE", lambda r: r.row["mse_mean"], ".6f", -1),
        ("loss", lambda r: r.row["loss"], ".5f", -1),
        ("gain", lambda r: r.row["gain_mean"], "+.2f", 1),
        ("worst gain", lambda r: r.row["worst_gain"], "+.2f", 0),
        ("kernel distance", lambda r: r.row["kernel_distance"], ".4f", -1),
        ("error ratio", lambda r: r.row.get("error_ratio"), ".2f", -1),
        ("told the blur", lambda r: "" if r.row["blind"] else "yes", "", 0),
        ("parameters", lambda r: r.whole["parameters"], ",d", 0),
        ("GMACs/Mpx", lambda r: r.whole["gmacs_per_megapixel"], ".1f", 0),
        ("Mpx/s", lambda r: r.row["megapixels_per_second"], ".3g", 0),
        ("seconds", lambda r: r.row["seconds"] or None, ".1f", 0),
        ("minutes of training", lambda r: r.whole["training_minutes"], ".1f", 0),
    ]
    cells = [[_cell(get(record), how) for _, get, how, _ in columns] for record in results.records]
    used = [i for i in range(len(columns)) if any(row[i] not in ("", "-") for row in cells)]
    return Table(
        ["method", *(columns[i][0] for i in used)],
        [[record.name, *(row[i] for i in used)] for record, row in zip(results.records, cells, strict=True)],
        {place: columns[i][3] for place, i in enumerate(used, 1) if columns[i][3]},
    )


def _by_draw(results: Results) -> Table:
    groups = list(dict.fromkeys(group for record in results.records for group in record.row["psnr_by_draw"]))
    rows = [
        [record.name, *(_cell(record.row["psnr_by_draw"].get(group), ".2f") for group in groups)]
        for record in results.records
    ]
    return Table(["method", *groups], rows, dict.fromkeys(range(1, len(groups) + 1), 1))


def _printed(figures: Iterable[Row]) -> Table:
    keys = {
        "system": "printed elsewhere", "psnr": "PSNR", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "mse": "MSE",
        "loss": "loss", "gain": "gain", "kernel_distance": "kernel distance", "error_ratio": "error ratio",
        "parameters": "M parameters", "gmacs": "GMACs at 256x256", "seconds": "seconds", "data": "measured on",
        "note": "remark", "source": "source", "tag": "how we know",
    }  # fmt: skip
    figures = list(figures)
    used = [(key, title) for key, title in keys.items() if any(figure.get(key) for figure in figures)]
    return Table(
        [title for _, title in used],
        [[str(figure.get(key, "" if key in _WORDS else "-")) for key, _ in used] for figure in figures],
        {},
    )


def _tests(results: Results) -> Table:
    rows = []
    ranked = sorted(results.records, key=lambda record: (-record.row["psnr_mean"], record.name))
    few = len(ranked) <= _ALL_PAIRS
    for (i, a), (j, b) in itertools.combinations(enumerate(ranked), 2):
        if not (few or i == 0 or j == i + 1):
            continue
        difference = a.psnrs() - b.psnrs()
        low, high = bootstrap_interval(difference, rng=np.random.default_rng(0))
        try:
            p = f"{paired_t_test(a.psnrs(), b.psnrs()).p_value:.2g}"
        except OptionError:  # one picture
            p = "-"
        share = float((difference > 0).mean())
        rows.append(
            [
                f"{a.name} over {b.name}",
                f"{difference.mean():+.3f}",
                f"{low:+.3f}..{high:+.3f}",
                p,
                f"{share:.0%}",
            ]
        )
    return Table(["pair", "mean difference, dB", "95 %", "p, paired t-test", "better on"], rows, {})


def _flavours(results: Results) -> Table:
    return Table(
        ["method", *FLAVOURS],
        [
            [record.name, *(_cell(record.whole["ssim_flavours"].get(name), ".4f") for name in FLAVOURS)]
            for record in results.records
        ],
        dict.fromkeys(range(1, len(FLAVOURS) + 1), 1),
    )


def _trained(published: Mapping[str, Any]) -> Table:
    rows = [
        [one["system"], one["recipe"], one["hardware"], one["source"], one["tag"]]
        for one in published["training"]
    ]
    return Table(["printed training", "recipe", "hardware", "source", "how we know"], rows, {})


def _cell(value: Any, how: str) -> str:
    return "-" if value is None else format(value, how)


def _figures(published: Mapping[str, Any], suite: str) -> list[Row]:
    return [figure for figure in published["figures"] if figure["suite"] == suite]


def _heading(about: Row) -> str:
    kind = f"PSNR capped at {about['cap']:g} dB, gain at {about['gain_cap']:g} dB"
    part = "" if about["n"] == about["of"] else f" (the first {about['n']} of {about['of']})"
    what = about["about"][0].upper() + about["about"][1:]
    return f"{what}. Judged on {about['source']}{part}; protocol {about['protocol']}, {kind}."


# Markdown


def _markdown(results: Sequence[Results], published: Mapping[str, Any]) -> str:
    parts = ["# unblur bench", ""]
    for one in results:
        name = one.about["suite"]
        parts += [f"## {name}", "", _heading(one.about), ""]
        parts += [REMARKS[name], ""] if name in REMARKS else []
        parts += [f"Note: {note}" for note in one.about["notes"][:3]] + [""]
        for title, table in _sections(one):
            parts += [f"### {title}", "", *_markdown_table(table), ""]
        if printed := _figures(published, name):
            parts += ["### Printed elsewhere, not measured here", "", *_markdown_table(_printed(printed)), ""]
    parts += ["## Printed for other data", "", *_markdown_table(_printed(_figures(published, ""))), ""]
    parts += ["## Printed costs of training", "", *_markdown_table(_trained(published)), ""]
    return "\n".join(parts)


def _sections(one: Results) -> list[tuple[str, Table]]:
    n = one.records[0].whole["ssim_flavours"]["n"]
    sections = [("Scores", _scores(one)), ("PSNR by draw", _by_draw(one))]
    if len(one.records) > 1:
        sections.append(("Between methods", _tests(one)))
    return [*sections, (f"Every SSIM, of the same {n} outputs", _flavours(one))]


def _markdown_table(table: Table) -> list[str]:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


# The page


class _Images:
    """Every picture once, as data that the page carries."""

    def __init__(self) -> None:
        self.data: dict[str, int] = {}
        self._known: dict[Path, tuple[int, bool]] = {}

    def tag(self, path: Path, alt: str, width: int | None = None) -> str:
        """An <img> of a picture, or nothing where it was not kept. width: of a tiny one, in pixels."""
        if path not in self._known:
            if not path.is_file():
                return ""
            pixels = files.Source.open(path).read()
            height, across = pixels.shape[:2]
            tiny = max(height, across) <= _TINY
            top, left = max(height - _SHOWN[1], 0) // 2, max(across - _SHOWN[0], 0) // 2
            pixels = pixels[top : top + _SHOWN[1], left : left + _SHOWN[0]]
            raw = files.encode(pixels, "png") if tiny else files.encode(pixels, "jpeg", quality=92)
            coded = f"data:image/{'png' if tiny else 'jpeg'};base64,{base64.b64encode(raw).decode()}"
            self._known[path] = self.data.setdefault(coded, len(self.data)), tiny
        number, tiny = self._known[path]
        look = f' class="tiny"{f" width={width}" if width else ""}' if tiny else ""
        return f'<img data-i="{number}" alt="{html.escape(alt)}"{look}>'


def _page(results: Sequence[Results], published: Mapping[str, Any]) -> str:
    images = _Images()
    body = []
    for one in results:
        name = one.about["suite"]
        body += [f'<h2 id="{name}">{name}</h2>', f"<p>{html.escape(_heading(one.about))}</p>"]
        body += [f"<p>{html.escape(REMARKS[name])}</p>"] if name in REMARKS else []
        body += [f'<p class="faint">{html.escape(note)}</p>' for note in one.about["notes"][:3]]
        sections = [f"<h3>{html.escape(title)}</h3>{_html_table(table)}" for title, table in _sections(one)]
        if printed := _figures(published, name):
            sections.insert(
                1, f"<h3>Printed elsewhere, not measured here</h3>{_html_table(_printed(printed))}"
            )
        body += sections[:-1]
        body += [_curves(one), _histograms(one), _trios(one, images), _grid(one, images)]
        body.append(
            sections[-1]
            + '<p class="faint">One formula under other windows, borders and channels: a number without its'
            " flavour means nothing. A dash: the pictures are too small.</p>"
        )
    body += ["<h2>Printed for other data</h2>", _html_table(_printed(_figures(published, "")))]
    body += ["<h2>Printed costs of training</h2>", _html_table(_trained(published))]
    here = resources.files(__package__)
    links = " ".join(f'<a href="#{one.about["suite"]}">{one.about["suite"]}</a>' for one in results)
    machine = results[0].records[0].whole
    made = f"{', '.join(f'{k} {v}' for k, v in machine['versions'].items())}; {machine['cores']} cores"
    carried = json.dumps(list(images.data)).replace("</", "<\\/")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>unblur bench</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{here.joinpath('page.css').read_text(encoding='utf-8')}</style></head><body>"
        f'<h1>unblur bench</h1><nav>{links}</nav><p class="faint">{html.escape(made)}</p>'
        f"{''.join(body)}"
        f'<script type="application/json" id="images">{carried}</script>'
        f"<script>{here.joinpath('page.js').read_text(encoding='utf-8')}</script></body></html>\n"
    )


def _html_table(table: Table) -> str:
    winners = {column: _winner(table, column, sign) for column, sign in table.best.items()}
    words = {
        column
        for column in range(len(table.columns))
        if column == 0 or any(row[column][:1].isalpha() for row in table.rows)
    }
    head = "".join(
        f'<th class="{"text" if column in words else ""}">{html.escape(title)}</th>'
        for column, title in enumerate(table.columns)
    )
    rows = []
    for row in table.rows:
        cells = []
        for column, cell in enumerate(row):
            look = "best" if winners.get(column) == cell else "text" if column in words else ""
            cells.append(f'<td class="{look}">{html.escape(cell)}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="sorts"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _winner(table: Table, column: int, sign: int) -> str:
    numbers = [row[column] for row in table.rows if row[column] != "-"]
    return max(numbers, key=lambda cell: sign * float(cell)) if len(numbers) > 1 else ""


def _curves(one: Results) -> str:
    """Mean gain against sigma, a line a method."""
    sigmas = [line["sigma"] for line in one.records[0].lines if "sigma" in line]
    if len(set(sigmas)) < 2:
        return ""
    width, height, left, bottom = 860, 360, 50, 40
    distinct = len(set(sigmas)) <= _SIGMA_BINS
    # Half of the pictures of a half-normal sigma lie below the widest bins: equal counts tell more there.
    edges = np.unique(np.quantile(sigmas, np.linspace(0, 1, _SIGMA_BINS + 1)))
    lines: dict[str, list[tuple[float, float]]] = {}
    for record in one.records:
        if record.name == BLURRED:
            continue
        bins: dict[float, list[tuple[float, float]]] = {}
        for line in (line for line in record.lines if "sigma" in line):
            at = (
                line["sigma"]
                if distinct
                else int(np.clip(np.searchsorted(edges, line["sigma"], "right"), 1, len(edges) - 1))
            )
            bins.setdefault(at, []).append((line["sigma"], line["gain"]))
        lines[record.name] = [tuple(np.mean(bins[at], axis=0)) for at in sorted(bins)]
    if not lines:
        return ""
    gains = [point[1] for points in lines.values() for point in points]
    low, high = min(-1.0, max(min(gains), -12.0)), max(1.0, *gains)
    top = max(point[0] for points in lines.values() for point in points) * 1.05

    def place(sigma: float, gain: float) -> tuple[float, float]:
        x = left + sigma / top * (width - left - 10)
        return x, 10 + (high - min(max(gain, low), high)) / (high - low) * (height - bottom - 10)

    drawn = []
    for tick in _ticks(low, high):
        _, y = place(0, tick)
        look = "zero" if tick == 0 else "axis"
        drawn.append(f'<line class="{look}" x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:+g}</text>')
    for tick in _ticks(0, top):
        x, _ = place(tick, 0)
        drawn.append(f'<text x="{x:.1f}" y="{height - bottom + 16}" text-anchor="middle">{tick:g}</text>')
    drawn.append(f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">sigma, pixels</text>')
    legend = []
    for number, (name, points) in enumerate(lines.items()):
        colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}">'
            f"<title>{html.escape(name)}</title></polyline>"
        )
        for sigma, gain in points:
            x, y = place(sigma, gain)
            drawn.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{html.escape(name)}: '
                f"sigma {sigma:.2f}, {gain:+.2f} dB</title></circle>"
            )
        legend.append(f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>')
    return (
        f'<h3>Gain against sigma</h3><figure><svg viewBox="0 0 {width} {height}" width="{width}" role="img"'
        f' aria-label="gain in dB against sigma">{"".join(drawn)}</svg>'
        f'<figcaption class="legend">{"".join(legend)}</figcaption></figure>'
    )


def _histograms(one: Results) -> str:
    """How many pictures won and lost how much, a small picture a method, on one scale."""
    records = [record for record in one.records if record.name != BLURRED]
    if not records:
        return ""
    gains = [np.array([line["gain"] for line in record.lines]) for record in records]
    low, high = min(-1.0, max(min(g.min() for g in gains), -10.0)), max(1.0, *(g.max() for g in gains))
    step = (high - low) / _GAIN_BINS
    # Nought is where a bin begins, so that what neither won nor lost is no loss.
    edges = step * np.arange(np.floor(low / step), np.ceil(high / step) + 1)
    low, high = float(edges[0]), float(edges[-1])
    width, height = 260, 110
    drawn = []
    for record, values in zip(records, gains, strict=True):
        counts, _ = np.histogram(np.clip(values, low, high), edges)
        bars = []
        for count, start, end in zip(counts, edges, edges[1:], strict=False):
            x, w = (start - low) / (high - low) * width, (end - start) / (high - low) * width - 1
            tall = count / max(counts.max(), 1) * (height - 30)
            colour = "var(--bad)" if (start + end) / 2 < 0 else "var(--bar)"
            bars.append(
                f'<rect x="{x:.1f}" y="{height - 18 - tall:.1f}" width="{w:.1f}" height="{tall:.1f}" fill="{colour}">'
                f"<title>{start:+.1f} to {end:+.1f} dB: {count}</title></rect>"
            )
        zero = -low / (high - low) * width
        bars.append(f'<line class="zero" x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height - 18}"/>')
        bars += [
            f'<text x="{x:.0f}" y="{height - 4}" text-anchor="{anchor}">{value:+.1f}</text>'
            for x, anchor, value in ((0, "start", low), (width, "end", high))
        ]
        harmed = int((values < -0.1).sum())
        drawn.append(
            f'<figure><svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="histogram of gain">'
            f"{''.join(bars)}</svg><figcaption>{html.escape(record.name)}: {harmed} of {len(values)} lose more than"
            " 0.1 dB</figcaption></figure>"
        )
    return f'<h3>Gain of every picture, dB</h3><div class="small">{"".join(drawn)}</div>'


def _trios(one: Results, images: _Images) -> str:
    parts = ["<h3>Worst and best: blurred, predicted, sharp</h3>"]
    for record in one.records:
        if record.name == BLURRED:
            continue
        ranked = sorted(range(len(record.lines)), key=lambda index: (record.lines[index]["gain"], index))
        shown = dict.fromkeys([*ranked[:EXTREMES], *ranked[-EXTREMES:]])
        parts.append(f"<details><summary>{html.escape(record.name)}</summary>")
        for index in shown:
            line = record.lines[index]
            seen = []
            for what in (BLURRED, slug(record.name), "sharp"):
                path = one.folder / "pictures" / what / f"{index:05}.png"
                seen.append(f'<div class="seen">{images.tag(path, what, 256)}<div class="loupe"></div></div>')
            told = f"{line['name']}, {_drawn(line)}: {line['gain']:+.2f} dB, PSNR {line['psnr']:.2f}"
            parts.append(
                f'<figcaption>{html.escape(told)}</figcaption><div class="trio">{"".join(seen)}</div>'
            )
        parts.append("</details>")
    return "".join(parts) if len(parts) > 1 else ""


def _grid(one: Results, images: _Images) -> str:
    """The same pictures by every method, each with its PSNR and the sigma that it found."""
    first = one.records[0]
    chosen = evenly(len(first.lines), GRID)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("sharp", *(r.name for r in one.records)))
    rows = []
    for index in chosen:
        place = one.folder / "pictures" / "sharp" / f"{index:05}.png"
        told = _drawn(first.lines[index])
        cells = [f"<td>{images.tag(place, 'sharp')}<figcaption>{html.escape(told)}</figcaption></td>"]
        for record in one.records:
            line = record.lines[index]
            found = line.get("found")
            estimate = f", found {_drawn(found)}" if found else ""
            path = one.folder / "pictures" / slug(record.name) / f"{index:05}.png"
            cells.append(
                f"<td>{images.tag(path, record.name)}<figcaption>{line['psnr']:.2f} dB{html.escape(estimate)}"
                "</figcaption></td>"
            )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<h3>The same pictures by every method</h3><div class="scroll"><table class="grid"><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _drawn(line: Row) -> str:
    """A blur in a few words."""
    numbers = ("sigma", "sigma_y", "radius", "length", "angle", "size")
    words = [f"{key} {line[key]:.2f}" for key in numbers if line.get(key) is not None]
    return ", ".join(words) or str(line.get("kernel") or line.get("scene") or line.get("kind") or "")


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, some six of them, 0 among them where it lies between."""
    rough = (high - low) / 6
    power = 10 ** np.floor(np.log10(rough))
    step = next(float(power * factor) for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [
        round(number * step, 6) for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
    ]


def _json(path: Path) -> Row:
    try:
        found: Row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: damaged results ({error}); run the bench again") from error
    return found
