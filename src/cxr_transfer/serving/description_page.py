"""The description of the API as a page: every operation, with an example, and every schema.

Comes in: what `/openapi.json` says. Goes out: HTML without a script of its own, whose style and
search are files beside it. All of it is escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_EXAMPLES = {"sha256": "$SHA256", "number": "$ID", "name": "model_3"}
_EVERYWHERE = ("X-Request-ID", "X-Intended-Use")


def description_page(described: Mapping[str, Any]) -> str:
    """Return the page for a description.

    Args:
        described: Description, as OpenAPI has it.
    """
    title = f"{described['info']['title']} {described['info']['version']}: HTTP API"
    operations = [
        (tag, method, path, operation)
        for tag in described["tags"]
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    ]
    schemas = described["components"]["schemas"]
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f"<title>{escape(title)}</title>\n",
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<link rel="icon" href="icon.svg" type="image/svg+xml">\n',
            '<link rel="stylesheet" href="docs.css">\n<script type="module" src="docs.js">',
            "</script>\n</head>\n<body>\n<header>\n",
            f"<h1>{escape(title)}</h1>\n<p>{escape(described['info']['description'])}</p>\n",
            '<p><a href="/">The page for a reading room</a> · <a href="openapi.json">This ',
            "description for programs</a>, which needs the token where there is one</p>\n",
            "</header>\n",
            *_navigation(described["tags"], operations),
            "<main>\n",
            *(_operation(*operation) for operation in operations),
            "<h2>Schemas</h2>\n",
            *(_schema(name, schema) for name, schema in sorted(schemas.items())),
            "</main>\n</body>\n</html>\n",
        )
    )


Operations = list[tuple[dict[str, Any], str, str, dict[str, Any]]]


def _navigation(tags: list[dict[str, Any]], operations: Operations) -> Iterator[str]:
    yield '<nav aria-label="Operations">\n<label for="search">Search</label>\n'
    yield '<input id="search" type="search" autocomplete="off">\n'
    yield '<p id="found" role="status"></p>\n'
    for tag in tags:
        yield f"<h2>{escape(tag['name'].capitalize())}</h2>\n<ul>\n"
        for of, method, path, _ in operations:
            if of is tag:
                anchor = _anchor(method, path)
                yield f'<li data-for="{anchor}"><a href="#{anchor}">'
                yield f"<b>{method.upper()}</b> {_breakable(path)}</a></li>\n"
        yield "</ul>\n"
    yield "</nav>\n"


def _operation(tag: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    anchor = _anchor(method, path)
    parts = [
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">\n',
        f'<h2 id="{anchor}-title"><b>{method.upper()}</b> {_breakable(path)}</h2>\n',
        f"<p>{escape(operation['summary'])}. {escape(tag['name'].capitalize())}.</p>\n",
        f'<pre tabindex="0" aria-label="Example">{escape(_curl(method, path, operation))}</pre>\n',
    ]
    if parameters := operation.get("parameters"):
        rows = (
            (one["name"], one["in"], _type(one["schema"]), escape(one.get("description", "")))
            for one in parameters
        )
        parts.append(_table("Parameters", ("parameter", "in", "type", "meaning"), rows))
    if body := operation.get("requestBody"):
        parts.append(f"<p>{escape(body['description'])}</p>\n")
        parts.extend(
            _fields(f"Body as {kind}", body["content"][kind]["schema"])
            for kind in ("multipart/form-data", "application/json")
            if kind in body["content"]
        )
    answers = (
        (status, _answer(answer), escape(", ".join(_own_headers(answer))) or "–")
        for status, answer in sorted(operation["responses"].items())
    )
    parts.append(_table("Answers", ("status", "answer", "headers"), answers))
    return "".join((*parts, "</section>\n"))


def _schema(name: str, schema: dict[str, Any]) -> str:
    head = (
        f'<section id="{escape(name)}" aria-labelledby="{escape(name)}-title">\n'
        f'<h3 id="{escape(name)}-title">{escape(name)}</h3>\n'
        f"<p>{escape(schema.get('description', ''))}</p>\n"
    )
    return f"{head}{_fields(f'Fields of {name}', schema)}</section>\n"


def _fields(caption: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = (
        (
            escape(name),
            _type(known),
            "yes" if name in required else "no",
            escape(known.get("description", "")),
        )
        for name, known in schema.get("properties", {}).items()
    )
    return _table(caption, ("field", "type", "required", "meaning"), rows)


def _table(caption: str, columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Return a table that scrolls by itself where it is too wide; its cells are HTML."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>\n'
        for first, *rest in rows
    )
    caption = escape(caption)
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{caption}"><table>\n'
        f"<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _type(known: dict[str, Any]) -> str:
    """Return a type as HTML, with links to schemas."""
    if "$ref" in known:
        name = escape(known["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in known:
        return " or ".join(_type(one) for one in known["anyOf"])
    if known.get("type") == "array":
        return f"array of {_type(known.get('items', {}))}"
    if "enum" in known or "const" in known:
        values = known.get("enum", [known.get("const")])
        return escape(" or ".join(json.dumps(value) for value in values))
    return escape(str(known.get("type", "any")))


def _answer(answer: dict[str, Any]) -> str:
    text = answer["description"].replace("Successful Response", "")
    content = answer.get("content", {})
    names = sorted(set(re.findall(r"schemas/(\w+)", json.dumps(content))))
    links = ", ".join(f'<a href="#{name}">{name}</a>' for name in names)
    return " ".join(filter(None, (escape(text), links, escape(", ".join(content)))))


def _own_headers(answer: dict[str, Any]) -> list[str]:
    return [name for name in answer.get("headers", {}) if name not in _EVERYWHERE]


def _curl(method: str, path: str, operation: dict[str, Any]) -> str:
    place = re.sub(r"{(\w+)}", lambda found: _EXAMPLES[found[1]], path)
    words = ["curl"]
    if "security" in operation:
        words.append('-H "Authorization: Bearer $CXR_TOKEN"')
    content = operation.get("requestBody", {}).get("content", {})
    if form := content.get("multipart/form-data"):
        words.append(f"-F {form['schema']['required'][0]}=@image.png")
    elif method != "get":
        words.append(f"-X {method.upper()}")
    kinds = operation["responses"].get("200", {}).get("content", {})
    if any(kind in kinds for kind in ("image/png", "application/pdf")):
        words.append("-o answer.png" if "image/png" in kinds else "-o report.pdf")
    return " ".join((*words, f'"http://127.0.0.1:8000{place}"'))


def _anchor(method: str, path: str) -> str:
    return f"{method}{re.sub('[^A-Za-z0-9]+', '-', path)}".strip("-")


def _breakable(path: str) -> str:
    """Return a path as HTML that may be broken before each slash."""
    return escape(path).replace("/", "<wbr>/")
