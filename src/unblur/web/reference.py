"""The page about the REST interface, made of its OpenAPI description; no script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

_EXAMPLES = """\
curl -F file=@photo.jpg http://127.0.0.1:7860/api/restore -o photo.unblur.jpg
curl -F file=@photo.jpg -F method=wiener -F answer=json http://127.0.0.1:7860/api/restore
curl -F file=@photo.jpg http://127.0.0.1:7860/api/estimate"""


def render(schema: dict[str, Any]) -> str:
    """HTML of an OpenAPI description."""
    calls = "".join(
        _call(path, verb, call, schema)
        for path, verbs in schema["paths"].items()
        for verb, call in verbs.items()
    )
    info = schema["info"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>unblur: the REST interface</title>
<link rel="icon" href="static/icon.svg" type="image/svg+xml"><link rel="stylesheet" href="static/app.css">
</head>
<body class="reference">
<header class="bar">
<a class="brand" href="./"><img src="static/icon.svg" alt="" width="28" height="28"> unblur</a>
</header>
<main>
<h1>REST interface</h1>
<p>{escape(info["description"])} Version {escape(info["version"])};
as a file for programs: <a href="openapi.json">openapi.json</a>.</p>
<h2>Try it</h2>
<pre tabindex="0" role="region" aria-label="Examples"><code>{_EXAMPLES}</code></pre>
{calls}
</main>
</body>
</html>
"""


def _call(path: str, verb: str, call: dict[str, Any], schema: dict[str, Any]) -> str:
    form = call.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {})
    fields = _resolved(form, schema)
    required = fields.get("required", [])
    rows = "".join(
        f"<tr><th scope=row><code>{escape(name)}</code></th><td>{escape(_kind(field))}</td>"
        f"<td>{'required' if name in required else escape(str(field.get('default', 'optional')))}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in fields.get("properties", {}).items()
    )
    answers = "".join(
        f"<tr><th scope=row>{escape(status)}</th><td>{escape(answer['description'])}</td></tr>"
        for status, answer in sorted(call["responses"].items())
    )
    table = (
        "<h3>Fields of the multipart form</h3><div class=scroll tabindex=0 role=region aria-label=Fields><table><thead>"
        "<tr><th scope=col>Field</th><th scope=col>Type</th><th scope=col>Default</th><th scope=col>What</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
        if rows
        else ""
    )
    return f"""<section>
<h2><code>{verb.upper()} {escape(path)}</code></h2>
<p>{escape(call["summary"])}. {escape(call.get("description", ""))}</p>
{table}
<h3>Answers</h3>
<table><tbody>{answers}</tbody></table>
</section>
"""


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = part.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = schema["components"]["schemas"][name] if name else part
    return found


def _kind(field: dict[str, Any]) -> str:
    one: dict[str, Any] = next((kind for kind in field.get("anyOf", []) if kind.get("type") != "null"), field)
    if "enum" in one:
        return ", ".join(one["enum"])
    limits = f" {one['minimum']:g} to {one['maximum']:g}" if "maximum" in one else ""
    return (
        "file"
        if "contentMediaType" in one or one.get("format") == "binary"
        else f"{one.get('type', '')}{limits}"
    )
