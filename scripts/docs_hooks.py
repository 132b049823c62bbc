"""What the documentation's site makes while it is built: tables, the command line's reference, notebooks as pages.

A page says where, by a comment such as `<!-- made: commands -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import griffe
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_MARK = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _MARK.sub(lambda found: MADE[found[1]](), markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """A notebook becomes a page of the same name; the link to the notebook stays right in the repository."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            files.remove(file)
            page = Notebook(file.src_uri, file.src_dir, config.site_dir, config.use_directory_urls)
            files.append(page)
    return files


def on_page_read_source(page: Page, **_: Any) -> str | None:
    file = page.file
    return from_notebook(file.content_string) if isinstance(file, Notebook) else None


class Notebook(File):
    """A notebook that counts as a page."""

    def is_documentation_page(self) -> bool:
        return True


def from_notebook(text: str) -> str:
    """The cells of a notebook as Markdown, with the text and the pictures that they put out."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source:
            parts.append(f"```python\n{source}\n```")
            parts += [part for output in cell["outputs"] if (part := _output(output))]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f"![](data:{kind};base64,{''.join(data[kind].split())})"
    text = "".join(output.get("text") or data.get("text/plain") or "").rstrip()
    return f"```text\n{text}\n```" if text else ""


class Readable(griffe.Extension):
    """What a docstring says of its parameters becomes a list; a name is shown where it is defined, and there alone."""

    def on_module(self, *, mod: griffe.Module, **_: Any) -> None:
        if mod.parent is not None:  # the package itself is its public names
            mod.exports = None

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        _list_names(func, [parameter.name for parameter in func.parameters])

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        _list_names(cls, [name for name, member in cls.members.items() if member.is_attribute])


def _list_names(thing: griffe.Object, names: list[str]) -> None:
    """`name: what it is` begins a line of a list, `Raises ...` and `Source: ...` a paragraph."""
    if thing.docstring is None:
        return
    name = f"`?(?:{'|'.join(map(re.escape, names))})`?"
    starts = (
        re.compile(rf"(?:(?<=[.;:] )|(?<=[.;:]\n)|(?<=\n\n)|^)({name}(?:, {name})*): ") if names else None
    )
    paragraphs = re.sub(r"\n(?=(?:Raises|Source:) )", "\n\n", thing.docstring.value).split("\n\n")
    for place, text in enumerate(paragraphs):
        if starts is not None and starts.search(text) and not text.startswith(" "):
            parts = starts.split(text)
            items = [f"- `{named.replace('`', '').replace(', ', '`, `')}`: {said.strip()}"
                     for named, said in zip(parts[1::2], parts[2::2], strict=True)]  # fmt: skip
            paragraphs[place] = "\n".join([parts[0].strip(), "", *items] if parts[0].strip() else items)
    thing.docstring.value = "\n\n".join(paragraphs)


def commands() -> str:
    """Every verb: how it is used, what it says of itself, arguments, options."""
    from unblur.cli import app

    parts = []
    root = typer.main.get_command(app)
    for context in _verbs(typer.Context(root, info_name="unblur")):
        command = context.command
        records = [param.get_help_record(context) for param in command.get_params(context)]
        # "INPUT... <list[Path]>" is an argument's name and its type.
        rows = [
            ("`" + re.sub(r"^([A-Z|]+[.]*) <.*", r"\1", name) + "`", text)
            for name, text in filter(None, records)
            if not name.endswith("--help")
        ]
        usage = re.sub(r"[{](.*?)[}]", r"\1", command.get_usage(context).removeprefix("Usage: "))
        usage = re.sub(r"\s+", " ", usage).replace("......", "...").replace("...]...", "...]")
        parts += [
            f"## {context.command_path}",
            (command.help or "").strip(),
            f"```text\n{usage}\n```",
            _table(("argument, option", "what"), rows),
        ]
    return "\n\n".join(parts)


def _verbs(context: typer.Context) -> Iterator[typer.Context]:
    below = getattr(context.command, "commands", {})
    if not below:
        yield context
    for name, command in below.items():
        yield from _verbs(typer.Context(command, info_name=name, parent=context))


def methods() -> str:
    from unblur.methods import METHODS

    return _table(
        ("name", "what", "`--iterations`"),
        [(f"`{m.name}`", m.summary, "yes" if m.iterative else "") for m in METHODS.values()],
    )


def networks() -> str:
    from unblur.models import cards

    rows = []
    for card in cards().values():
        size = f"multiples of {card.size_multiple}" if card.size_multiple > 1 else "any"
        if card.fixed_size:
            size = "x".join(map(str, card.fixed_size[::-1]))
        source = re.sub(
            r"(?:(.*), )?(https://.*/(.*))",
            lambda found: f"[{found[1] or found[3]}]({found[2]})",
            card.source,
        )
        cost = f"{card.parameters:,}", f"{card.gmacs_per_megapixel:.1f}"
        rows.append((f"`{card.name}`", *cost, size, card.role, source))
    return _table(("name", "parameters", "GMACs/Mpx", "sides", "what it is", "published"), rows)


def suites() -> str:
    from unblur.bench.suites import SUITES

    return _table(
        ("name", "what", "protocol", "`--data` holds"),
        [(f"`{s.name}`", s.about, f"`{s.protocol}`", s.layout) for s in SUITES.values()],
    )


def degradations() -> str:
    from unblur.physics.degrade import DEGRADATIONS

    return _table(("name", "what"), [(f"`{d.name}`", d.description) for d in DEGRADATIONS.values()])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


MADE: dict[str, Callable[[], str]] = {
    "commands": commands,
    "methods": methods,
    "networks": networks,
    "suites": suites,
    "degradations": degradations,
}
