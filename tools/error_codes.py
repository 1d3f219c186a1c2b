"""Find every error code in the source: its class, what it says, what to do, and where it is raised.

The source is read, not run: a code that no test raises is listed, too. `remedies.toml` beside this
file says what to do where a message does not say so itself.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
PACKAGE = HOME / "src/cxr_transfer"
REMEDIES = Path(__file__).with_name("remedies.toml")

EXIT_CODES = {
    "UsageError": "2",
    "DataError": "3",
    "ImageError": "3; a row in a batch",
    "ModelError": "4",
    "MachineError": "5",
    "ApiError": "HTTP",
    "QualityIssue": "none: an answer",
    "command line": "2, 1 or 5",
}
"""Exit code of the command, by the class of the error; a test compares them with the classes."""

# Where the code stands among the arguments of what makes an error.
_PLACES = {**dict.fromkeys(EXIT_CODES, 0), "ApiError": 1, "_leave": 1}


@dataclass
class ErrorCode:
    """One code, with all places that raise it.

    Attributes:
        code: The stable identifier.
        classes: Names of the error's classes, sorted.
        message: The longest message of the places, with "…" for what is filled in.
        remedy: One sentence that says what to do; "" where none is known.
        modules: Modules that raise it, in order.
        statuses: HTTP statuses, where the server alone says it.
    """

    code: str
    classes: list[str] = field(default_factory=list)
    message: str = ""
    remedy: str = ""
    modules: list[str] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)


def error_codes() -> list[ErrorCode]:
    """Return every code of the package, sorted."""
    found: dict[str, ErrorCode] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = _constants(tree)
        for kind, code, rest, status in _raised(tree):
            known = found.setdefault(code, ErrorCode(code))
            module = path.relative_to(PACKAGE).as_posix()
            kind = "command line" if kind == "_leave" else kind
            for place, value in (("classes", kind), ("modules", module), ("statuses", status)):
                values: list[str] = getattr(known, place)
                if value and value not in values:
                    values.append(value)
            said = max((_template(node, texts) for node in rest), key=len, default="")
            known.message = max(known.message, said, key=len)
        for code, message in _tabled(tree):
            known = found.setdefault(code, ErrorCode(code))
            module = path.relative_to(PACKAGE).as_posix()
            known.classes += ["QualityIssue"] if "QualityIssue" not in known.classes else []
            known.modules += [module] if module not in known.modules else []
            known.message = known.message or message
    remedies = tomllib.loads(REMEDIES.read_text(encoding="utf-8"))
    for known in found.values():
        known.classes.sort()
        known.remedy = remedies.get(known.code, "") or _remedy(known.message)
    return [found[code] for code in sorted(found)]


def _raised(tree: ast.Module) -> Iterator[tuple[str, str, list[ast.expr], str]]:
    """Yield class, code, other arguments and HTTP status of all that makes an error."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        for call in _own_calls(scope):
            name = _called(call)
            if name == "Table" and call.args and isinstance(call.args[0], ast.Constant):
                # A table refuses a name that none of its rows has; its code is made of its noun.
                noun = str(call.args[0].value).replace(" ", "_")
                yield "UsageError", f"unknown_{noun}", [], ""
            place = _PLACES.get(name)
            if place is None or len(call.args) <= place:
                continue
            rest = [
                node for index, node in enumerate(call.args) if index > place or name == "_leave"
            ]
            status = ast.unparse(call.args[0]) if name == "ApiError" else ""
            for code in _codes(call.args[place], scope, tree):
                yield name, code, rest, status if status.isdigit() else ""


def _tabled(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield code and message of the quality issues that stand in a table."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            code, message = (_template(one, {}) for one in node.elts)
            if code.isidentifier() and message.startswith("Expected "):
                yield code, message


def _own_calls(scope: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a function, without those of functions inside it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting += ast.iter_child_nodes(node)


def _called(call: ast.Call) -> str:
    function = call.func
    return getattr(function, "id", "") or getattr(function, "attr", "")


def _codes(node: ast.expr, scope: ast.AST, tree: ast.Module) -> Iterator[str]:
    """Yield the codes that an argument may be: written there, chosen there, or handed in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _codes(node.body, scope, tree)
        yield from _codes(node.orelse, scope, tree)
    elif isinstance(node, ast.Name):
        for inner in ast.walk(scope):
            if isinstance(inner, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == node.id for target in inner.targets
            ):
                yield from _codes(inner.value, scope, tree)
        if isinstance(scope, ast.FunctionDef):
            names = [argument.arg for argument in scope.args.args]
            if node.id in names:
                yield from _handed_in(scope.name, names.index(node.id), node.id, tree)


def _handed_in(function: str, place: int, name: str, tree: ast.Module) -> Iterator[str]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if _called(call) == function:
            given = [word.value for word in call.keywords if word.arg == name]
            for node in given or call.args[place : place + 1]:
                yield from _codes(node, tree, tree)


def _constants(tree: ast.Module) -> dict[str, str]:
    """Return the module's named texts: a message may be one of them."""
    return {
        target.id: _template(node.value, {})
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _template(node: ast.expr, texts: dict[str, str]) -> str:
    """Return a message with "…" for what is filled in; "" of what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        parts = [
            _template(part, texts) if isinstance(part, ast.Constant) else "…"
            for part in node.values
        ]
        return "".join(parts)
    if isinstance(node, ast.BinOp):
        return (_template(node.left, texts) or "…") + (_template(node.right, texts) or "…")
    if isinstance(node, ast.Name):
        return texts.get(node.id, "")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _template(node.func.value, texts)
    return ""


def _remedy(message: str) -> str:
    """Return what a message says to do: after its semicolon, or in its next sentence."""
    first, _, second = message.partition(". ")
    said = first.rpartition("; ")[2] if "; " in first else second
    said = said.strip().rstrip(".")
    return f"{said[0].upper()}{said[1:]}." if said and said != "…" else ""


if __name__ == "__main__":
    for known in error_codes():
        print(
            f"{known.code:24} {','.join(known.classes):24} {known.remedy or '!! ' + known.message}"
        )
