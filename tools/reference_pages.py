"""Write pages from the code: API, commands, recipe keys, errors, HTTP, and the decisions' index.

    python tools/reference_pages.py [DIR]    # default: build

`make docs` needs no such folder: `tools/site_hooks.py` asks for the pages when it builds the site.
"""

from __future__ import annotations

import datetime
import html
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.models
from error_codes import EXIT_CODES, HOME, error_codes
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import cxr_transfer
from cxr_transfer.acceptance.criteria import TABLES, Criteria
from cxr_transfer.cli.commands import (
    accept_app,
    app,
    audit_app,
    data_app,
    front,
    pacs_app,
    recipe_app,
)
from cxr_transfer.cli.default_command import DEFAULT
from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.text import human_size
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import shipped_recipes
from cxr_transfer.training.recipe_text import attribute_meanings
from cxr_transfer.training.stage_recipe import Stage

WRITTEN = "<!-- Written by tools/reference_pages.py; change the code instead. -->\n\n"

ENVIRONMENT = {
    "CXR_CACHE": "Folder for what can be had again: converted networks, ImageNet weights. "
    "Default: `$XDG_CACHE_HOME/cxr-transfer`, or `~/.cache/cxr-transfer`.",
    "CXR_CONFIG": "Folder for what must not be lost: the key of the patients' hashes. "
    "Default: `$XDG_CONFIG_HOME/cxr-transfer`, or `~/.config/cxr-transfer`.",
    "CXR_TOKEN": "Token that clients of `cxr serve` must send; at least 16 characters. An address "
    "other than loopback needs it.",
    "CXR_TOKENS": "Tokens with names for clients of `cxr serve`, `NAME=TOKEN` each, with spaces "
    "between. The log and the audit trail show the names.",
    "CXR_WEBHOOK_SECRET": "Secret in base64 with which `cxr serve` signs what webhooks are told; "
    "`webhook_secret_file` names a file instead.",
    "CXR_SERVE_": "With a key in capitals behind it, such as `CXR_SERVE_QUEUE`: that key of "
    "[the server's settings](server-settings.md).",
    "CXR_RUN_FOLDER": "Run folder of `cxr train` without `--out`; the program sets it for the "
    "processes of a distributed training.",
    "XDG_CACHE_HOME": "Parent of the cache folder where `CXR_CACHE` is not set.",
    "XDG_CONFIG_HOME": "Parent of the settings folder where `CXR_CONFIG` is not set.",
    "CXR_SUBJECT_TOKEN": "Token that is sent to a server whose model is audited or validated, as "
    "`Authorization: Bearer`.",
    "CXR_TRUSTED_CODE": "Modules of your own, separated by commas, that a checkpoint may import: "
    "those of networks named `package.module:function`.",
    "OMP_NUM_THREADS": "Number of threads of the networks. Set it to share a machine.",
    "LOCAL_RANK": "Number of the process on its machine; the launcher of a training sets it.",
    "NODE_RANK": "Number of the machine; the launcher of a training sets it.",
    "GROUP_RANK": "Number of the machine, as torchrun names it, where `NODE_RANK` is not set.",
}
"""Environment variables that the program reads; a test compares them with the source."""


def pages() -> dict[str, str]:
    """Return every generated page: path below the documentation to its Markdown (or JSON)."""
    return {
        "reference/api.md": _api(),
        "reference/commands.md": _commands(),
        "reference/recipes.md": _recipes(),
        "reference/tables.md": _tables(),
        "reference/criteria.md": _criteria(),
        "reference/server-settings.md": _server_settings(),
        "reference/errors.md": _errors(),
        "reference/environment.md": _environment(),
        "reference/http.md": _http(),
        "decisions/index.md": _decisions(),
        "reference/openapi.json": json.dumps(_openapi(), indent=1) + "\n",
    }


# API


def _api() -> str:
    blocks = [
        "# Python API\n\n" + WRITTEN + "All public names, in alphabetical order. "
        "`import cxr_transfer` imports nothing heavy; each name is imported when it is used.\n"
    ]
    names = sorted(set(cxr_transfer.__all__) - {"__version__"}, key=str.lower)
    blocks += [f"## {name}\n\n::: cxr_transfer.{name}\n" for name in names]
    blocks.append("## __version__\n\nVersion of the package, `MAJOR.MINOR.PATCH`.\n")
    return "\n".join(blocks)


# Commands


def command_functions() -> dict[str, tuple[Callable[..., Any], str]]:
    """Return every command as it is typed, with its function and its examples."""
    found = {}
    for prefix, group in (
        ("cxr", app),
        ("cxr audit", audit_app),
        ("cxr accept", accept_app),
        ("cxr pacs", pacs_app),
        ("cxr data", data_app),
        ("cxr recipe", recipe_app),
    ):
        for info in group.registered_commands:
            function = info.callback
            assert function is not None
            name = info.name or function.__name__.replace("_", "-")
            named = prefix if name == DEFAULT else f"{prefix} {name}"
            found[named] = (function, info.epilog or "")
    return found


def _commands() -> str:
    blocks = [
        "# Commands\n\n" + WRITTEN + "`cxr COMMAND --help` shows the same on a terminal. "
        "An option that would have no effect is an error. No command replaces a file that is there "
        "already (`out_exists`), or writes into a folder with files that are not its own "
        "(`foreign_folder`).\n\n"
        "| exit code | meaning |\n|---|---|\n"
        "| 0 | done |\n| 1 | done, but some inputs failed; for `cxr audit`: a hard check failed "
        "(`--fail-on`); "
        "for `cxr accept`: not accepted, changed, or an alarm |\n"
        "| 2 | the command or the recipe is wrong |\n| 3 | the data are not fit |\n"
        "| 4 | a checkpoint is not what it should be |\n"
        "| 5 | the machine lacks something |\n| 130 | stopped by Ctrl-C |\n\n"
        "`CHECKPOINT` is a run folder, a weights file, or the name of a released model.\n",
        "## Options of every command\n\nThey stand before the command or behind it.\n\n"
        "| option | type | default | meaning |\n|---|---|---|---|\n"
        + "".join(f"{row}\n" for row in _rows(front)),
    ]
    for name, (function, examples) in command_functions().items():
        rows = _rows(function)
        shown = [line for line in examples.split("\n\n") if line and line != "Examples:"]
        blocks.append(
            f"## {name}\n\n{_prose(inspect.getdoc(function) or '')}\n"
            + ("\n| argument | type | default | meaning |\n|---|---|---|---|\n" if rows else "")
            + "".join(f"{row}\n" for row in rows)
            + ("\n```text\n" + "\n".join(shown) + "\n```\n" if shown else "")
        )
    return "\n".join(blocks)


def _rows(function: Callable[..., Any]) -> list[str]:
    return [
        f"| {_code(words)} | {kind} | {default} | {_cell(text)} |"
        for words, kind, default, text in _parameters(function)
    ]


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is typed, its type, its default and its meaning, of every parameter."""
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        annotation, info = typing.get_args(parameter.annotation)[:2]
        required = parameter.default is inspect.Parameter.empty
        if isinstance(info, typer.models.ArgumentInfo):
            words = name.upper()
        else:
            # Typer takes the first name of an option for its default until it makes the command.
            first = (info.default,) if str(info.default).startswith("-") else ()
            dashed = f"--{name.replace('_', '-')}"
            words = ", ".join((*first, *(info.param_decls or ())) or (dashed,))
        default = "required" if required else _default(parameter.default)
        yield words, _kind(annotation), default, info.help or ""


def _kind(annotation: object) -> str:
    """Return the type of a parameter as a person calls it."""
    parts = [one for one in typing.get_args(annotation) if one is not types.NoneType]
    if typing.get_origin(annotation) is list:
        return f"{_kind(parts[0])}, repeated"
    if parts and isinstance(annotation, types.UnionType):
        return _kind(parts[0])
    names = {str: "text", int: "number", float: "number", bool: "flag", Path: "path"}
    names[datetime.datetime] = "date"
    return names.get(annotation, str(annotation))


def _default(value: object) -> str:
    if value is None:
        return "–"
    return "off" if value is False else "on" if value is True else _code(str(value))


# Recipes


def _recipes() -> str:
    blocks = [
        "# Recipe keys\n\n" + WRITTEN + "A recipe is a TOML file that says what to train. "
        "`cxr train FILE.toml` runs it; an unknown key is refused with the nearest known one.\n"
    ]
    for title, model in (
        ("Recipe", Recipe),
        ("preprocessing", Preprocessing),
        ("stages", Stage),
    ):
        heading = {"preprocessing": "`[preprocessing]`", "stages": "`[[stages]]`"}.get(title, title)
        blocks.append(f"## {heading}\n\n{_keys(model)}")
    blocks.append("## Recipes of the package\n")
    for name, path in shipped_recipes().items():
        text = path.read_text(encoding="utf-8").strip()
        blocks.append(f"### {name}\n\n```toml\n{text}\n```\n")
    return "\n".join(blocks)


def _criteria() -> str:
    blocks = [
        "# Criteria keys\n\n" + WRITTEN + "Criteria are a TOML file that says what a model has to "
        "reach at one place. `cxr accept plan --write-criteria FILE` writes a commented one.\n",
        f"## Criteria\n\n{_keys(Criteria)}",
    ]
    blocks += [f"## `[{name}]`\n\n{_keys(model)}" for name, model in TABLES.items()]
    return "\n".join(blocks)


def _server_settings() -> str:
    from cxr_transfer.serving.server_options import PREFIX, ServerOptions

    return (
        "# Server settings\n\n" + WRITTEN + "`cxr serve --settings FILE` reads a TOML file of "
        f"these keys. Each is also an environment variable, `{PREFIX}` and the key in capitals "
        f"(`{PREFIX}QUEUE=128`; lists with commas), and an option of "
        "[`cxr serve`](commands.md). An option wins over the environment, the environment over "
        "the file, the file over the default. What is wrong is refused before a model is loaded. "
        "Tokens stand in `CXR_TOKEN`, `CXR_TOKENS` or in the file of `tokens_file`, never here."
        "\n\n" + _keys(ServerOptions)
    )


def _keys(model: type[BaseModel]) -> str:
    meanings = attribute_meanings(model)
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, known in model.model_fields.items():
        default = _recipe_default(known.get_default(call_default_factory=True))
        kind = _recipe_type(known.annotation, [str(bound) for bound in known.metadata])
        lines.append(f"| `{name}` | {_code(kind)} | {default} | {_cell(meanings[name])} |")
    return "\n".join(lines) + "\n"


def _recipe_default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "see below"
    return _code("none" if value is None else json.dumps(value))


_RECIPE_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "Path": "path",
    "False": "false",
    "dict[str, str]": "table of text",
    "tuple[str, ...]": "array of text",
    "tuple[Stage, ...]": "array of tables",
    "Preprocessing": "table",
}


def _recipe_type(annotation: object, bounds: list[str]) -> str:
    text = re.sub(
        r"\b(typing|pathlib|cxr_transfer[\w.]*)\.", "", inspect.formatannotation(annotation)
    )
    text, optional, _ = text.partition(" | None")
    text = re.sub(r"Literal\[(.+?)\]", lambda found: found[1].replace(", ", " or "), text)
    text = _RECIPE_TYPES.get(text, text)
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    for sign, value in re.findall(
        r"^(gt|ge|lt|le|Gt|Ge|Lt|Le)\(\w+=(.+)\)$", "\n".join(bounds), re.M
    ):
        text += f" {signs[sign.lower()]} {value}"
    return f"{text} or none" if optional else text


# Tables


def _tables() -> str:
    from cxr_transfer.audits.checks import CHECKS
    from cxr_transfer.datasets.registry import COLLECTIONS
    from cxr_transfer.export.formats import EXPORTS
    from cxr_transfer.models.backbones import LIBRARIES
    from cxr_transfer.models.registry import ARCHITECTURES
    from cxr_transfer.statistics.metrics import METRICS
    from cxr_transfer.training.augmentation import AUGMENTATIONS

    blocks = [
        f"# Tables\n\n{WRITTEN}What a recipe, a command or a report can name. Other packages add "
        "architectures, collections and checks by entry points. A name that no row has is an "
        "error.\n",
        _table(
            "Architectures",
            ("name", "what it is", "ImageNet weights"),
            [
                (f"`{name}`", row.title, "yes" if row.load_imagenet else "no")
                for name, row in ARCHITECTURES.items()
            ],
        ),
        _table(
            "Networks of other libraries",
            ("name", "library", "extra", "licence"),
            [
                (f"`{prefix}:NAME`", row.title, f"`[{prefix}]`", row.licence)
                for prefix, row in LIBRARIES.items()
            ],
        ),
        _table(
            "Augmentations",
            ("name", "what it does", "strength", "largest", "to know"),
            [
                (f"`{name}`", row.title, row.unit, f"{row.most:g}", row.note)
                for name, row in AUGMENTATIONS.items()
            ],
        ),
        _table(
            "Collections",
            ("name", "title", "classes", "licence", "to cite", "where"),
            [
                (
                    f"`{name}`",
                    row.title,
                    ", ".join(row.classes),
                    row.licence,
                    row.citation,
                    row.where,
                )
                for name, row in COLLECTIONS.items()
            ],
        ),
        _table(
            "Checks of the audit",
            ("name", "title", "bounds", "hard"),
            [
                (f"`{name}`", row.title, row.bounds, "yes" if row.hard else "no")
                for name, row in CHECKS.items()
            ],
        ),
        _table(
            "Metrics",
            ("name", "title", "averages"),
            [
                (f"`{name}`", row.title, ", ".join(one.strip("_") for one in row.averages if one))
                for name, row in METRICS.items()
            ],
        ),
        _table(
            "Exports",
            ("format", "endings", "precisions"),
            [
                (f"`{name}`", ", ".join(row.suffixes), ", ".join(row.precisions))
                for name, row in EXPORTS.items()
            ],
        ),
    ]
    return "\n".join(blocks)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(value) or '–' for value in row)} |" for row in rows]
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


# Errors


def _errors() -> str:
    lines = [
        "# Error codes\n\n" + WRITTEN + "Every error has a stable code for programs and one line "
        "for people: what was expected, what came, and what to do. The class fixes the exit code. "
        "`ApiError` is an answer of the server. A `QualityIssue` is the reason for an answer "
        "without a class.\n",
        "| class | what is wrong | exit code |\n|---|---|---|",
        "| `UsageError` | the command or the recipe | 2 |",
        "| `DataError` | images, labels, manifests, parts | 3 |",
        "| `ImageError` | one file that is no readable radiograph; in a batch, its row | 3 |",
        "| `ModelError` | a checkpoint or a weights file | 4 |",
        "| `MachineError` | disk, memory, a device, a package, a download | 5 |\n",
    ]
    for known in error_codes():
        exits = "; ".join(
            f"`{name}`"
            + (f" (HTTP {', '.join(known.statuses)})" if known.statuses else "")
            * (name == "ApiError")
            + (f" (exit code {EXIT_CODES[name]})" if EXIT_CODES[name][0].isdigit() else "")
            for name in known.classes
        )
        modules = ", ".join(f"`{module}`" for module in known.modules)
        lines += [f"## {known.code}\n", f"{exits}. Raised in {modules}.\n"]
        lines += [f"> {_prose(known.message)}\n"] if known.message.startswith("Expected") else []
        lines += [f"**What to do:** {_prose(known.remedy)}\n"]
    return "\n".join(lines)


# Environment and HTTP


def _environment() -> str:
    rows = "".join(f"| `{name}` | {text} |\n" for name, text in ENVIRONMENT.items())
    return f"# Environment variables\n\n{WRITTEN}| variable | meaning |\n|---|---|\n{rows}"


def _openapi() -> dict[str, Any]:
    from cxr_transfer.serving.api import build
    from cxr_transfer.serving.settings import Settings

    # The description needs no model and no worker: no route is called.
    described: dict[str, Any] = build(Settings(), None, None, None).openapi()  # type: ignore[arg-type]
    return described


def _http() -> str:
    described = _openapi()
    blocks = [
        "# HTTP API\n\n" + WRITTEN + "`cxr serve` answers at these routes; "
        "[openapi.json](openapi.json) describes them for programs, and so does `/openapi.json` of "
        "the server itself. [Asking a server](../guides/http-client.md) has examples.\n",
        "## Tokens, errors and limits\n\nWhere a token is set, send `Authorization: Bearer TOKEN` "
        "with whatever is marked so below. A parameter that is not listed is refused. An error is "
        "`application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) with "
        "`code` and `message` beside; [Error codes](errors.md) lists them all. A client that sends "
        "`Expect: 100-continue` is refused before it sends its body.\n\n"
        + "| limit | value |\n|---|---|\n"
        + "".join(f"| {row}\n" for row in _limits(described["x-limits"])),
    ]
    for tag in described["tags"]:
        blocks.append(f"**{tag['name'].capitalize()}.** {tag['description']}\n")
        for path, methods in described["paths"].items():
            for method, route in methods.items():
                if tag["name"] in route["tags"]:
                    blocks.append(_route(f"{method.upper()} {path}", route))
    blocks.append("## Schemas\n")
    for name, schema in described["components"]["schemas"].items():
        if "properties" in schema:
            blocks.append(
                f"### {name}\n\n{_prose(schema.get('description', ''))}\n\n{_fields(schema)}"
            )
    return "\n".join(blocks)


def _limits(limits: dict[str, Any]) -> Iterator[str]:
    meanings = {
        "file_bytes": "one file",
        "request_bytes": "one request",
        "request_files": "files of one request",
        "kept_bytes": "images that are kept by their SHA-256, together",
        "kept_s": "time for which such an image is kept",
        "queue_images": "images that wait for their answers",
        "jobs_bytes": "images of jobs that wait, where jobs are kept",
        "samples": "samples in one answer",
        "body_s": "time for the body of a request",
    }
    for name, value in limits.items():
        shown = human_size(value) if name.endswith("_bytes") else f"{value:g}"
        yield f"{meanings[name]} | {shown}{' s' if name.endswith('_s') else ''} |"


def _route(heading: str, route: dict[str, Any]) -> str:
    text = f"## {heading}\n\n{route['summary']}.{' Needs the token.' * ('security' in route)}\n"
    if parameters := route.get("parameters"):
        text += "\n| parameter | in | type | meaning |\n|---|---|---|---|\n"
        text += "".join(
            f"| `{one['name']}` | {one['in']} | {_json_type(one['schema'])} "
            f"| {_cell(one.get('description', ''))} |\n"
            for one in parameters
        )
    if body := route.get("requestBody"):
        kinds = ", ".join(f"`{kind}`" for kind in body["content"])
        text += f"\n{body['description']} Types: {kinds}. Fields of the form:\n\n"
        text += _fields(body["content"]["multipart/form-data"]["schema"])
    text += "\n| status | answer | headers |\n|---|---|---|\n"
    for status, answer in route["responses"].items():
        headers = ", ".join(f"`{name}`" for name in answer["headers"] if name not in _EVERYWHERE)
        text += f"| {status} | {_answer(answer)} | {headers or '–'} |\n"
    return text


_EVERYWHERE = ("X-Request-ID", "X-Intended-Use")


def _answer(answer: dict[str, Any]) -> str:
    content = answer.get("content", {})
    media = ", ".join(f"`{kind}`" for kind in content)
    schemas = sorted(
        {
            found
            for kind in content.values()
            for found in re.findall(r"schemas/(\w+)", json.dumps(kind))
        }
    )
    links = ", ".join(f"[{name}](#{name.lower()})" for name in schemas)
    said = "" if answer["description"] == "Successful Response" else f"{answer['description']} "
    return f"{_cell(said)}{links or media}"


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"| `{name}` | {_cell(_json_type(known))} | {'yes' if name in required else 'no'} "
        f"| {_cell(known.get('description', ''))} |\n"
        for name, known in schema["properties"].items()
    )
    return f"| field | type | required | meaning |\n|---|---|---|---|\n{rows}"


def _json_type(known: dict[str, Any]) -> str:
    if "$ref" in known:
        return str(known["$ref"].rpartition("/")[2])
    if "anyOf" in known:
        return " or ".join(_json_type(one) for one in known["anyOf"])
    if known.get("type") == "array":
        return f"array of {_json_type(known.get('items', {}))}"
    if "enum" in known:
        return " or ".join(json.dumps(one) for one in known["enum"])
    return "file" if known.get("format") == "binary" else str(known.get("type", "any"))


# Decisions


def _decisions() -> str:
    rows = []
    for path in sorted((HOME / "docs/decisions").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        rows.append(f"* [{int(path.name[:4])}. {title}]({path.name})\n")
    said = "Each page says what was decided, why, and what was measured.\n\n"
    return f"# Decisions\n\n{WRITTEN}{said}{''.join(rows)}"


# Text


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|").replace("\n", " ")


def _prose(text: str) -> str:
    """Return a docstring's sentences as Markdown: its markup of code, nothing of HTML."""
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    # What stands in code is shown as it is; elsewhere < and * would be markup.
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part
        if part.startswith("`")
        else re.sub(r"([*_\[\]])", r"\\\1", html.escape(part, quote=False))
        for part in parts
    )


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build")
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"{folder}: {len(pages())} pages")


if __name__ == "__main__":
    main()
