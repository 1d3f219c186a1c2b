"""Every command, option, recipe key, error code, public name and route has its entry."""

import re
from pathlib import Path

import pytest
import typer
from error_codes import EXIT_CODES, error_codes
from reference_pages import ENVIRONMENT, pages

import cxr_transfer
from cxr_transfer import errors
from cxr_transfer.cli.commands import app
from cxr_transfer.cli.default_command import DEFAULT
from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import shipped_recipes
from cxr_transfer.training.stage_recipe import Stage

SOURCE = Path(cxr_transfer.__file__).parent


@pytest.fixture(scope="module")
def reference():
    return {name.removeprefix("reference/"): text for name, text in pages().items()}


def section(text, heading):
    """What stands below a heading of the second order."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, f"there is no section {heading!r}"
    return found[1]


def leaves(group, prefix="cxr"):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{prefix} {name}")
        else:
            yield prefix if name == DEFAULT else f"{prefix} {name}", command


def test_every_command_has_its_options_and_examples(reference):
    commands = dict(leaves(typer.main.get_command(app)))
    assert len(commands) > 10
    for name, command in commands.items():
        text = section(reference["commands.md"], name)
        for parameter in command.params:
            typed = parameter.opts[0]
            if typed == "--help":
                continue
            word = typed if typed.startswith("-") else typed.upper()
            assert f"`{word}" in text, f"{name} {word}"
        assert f"\n{name}" in text, f"{name} has no example"
        assert "| required |" in text or not any(one.required for one in command.params)


def test_options_of_every_command_have_a_section(reference):
    text = section(reference["commands.md"], "Options of every command")
    for option in ("--quiet", "--verbose", "--log-file"):
        assert f"| `{option}`" in text


@pytest.mark.parametrize(
    ("model", "heading"),
    [(Recipe, "Recipe"), (Preprocessing, "`[preprocessing]`"), (Stage, "`[[stages]]`")],
)
def test_every_key_of_a_recipe_has_its_meaning(reference, model, heading):
    text = section(reference["recipes.md"], heading)
    for key in model.model_fields:
        row = re.search(rf"^\| `{key}` \| (.+) \| (.+) \| (.+) \|$", text, re.M)
        assert row, key
        assert len(row[3]) > 5


def test_every_row_of_a_table_is_listed(reference):
    from cxr_transfer.audits.checks import CHECKS
    from cxr_transfer.datasets.registry import COLLECTIONS
    from cxr_transfer.export.formats import EXPORTS
    from cxr_transfer.models.registry import ARCHITECTURES
    from cxr_transfer.statistics.metrics import METRICS

    for heading, table in (
        ("Architectures", ARCHITECTURES),
        ("Collections", COLLECTIONS),
        ("Checks of the audit", CHECKS),
        ("Metrics", METRICS),
        ("Exports", EXPORTS),
    ):
        text = section(reference["tables.md"], heading)
        assert re.findall(r"^\| `(.+?)` \|", text, re.M) == list(table)


def test_the_recipes_of_the_package_are_shown(reference):
    for name in shipped_recipes():
        assert f"\n### {name}\n" in reference["recipes.md"]


def test_every_error_code_says_what_to_do(reference):
    known = error_codes()
    # Found another way: whatever stands first in the call of an error's class.
    kinds = "UsageError|DataError|ImageError|ModelError|MachineError"
    written = re.compile(rf'\b(?:{kinds})\(\s*"([a-z0-9_]+)"')
    found = {
        code
        for path in SOURCE.rglob("*.py")
        for code in written.findall(path.read_text(encoding="utf-8"))
    }
    assert len(found) > 100
    assert found <= {one.code for one in known}
    for one in known:
        text = section(reference["errors.md"], one.code)
        said = text.partition("**What to do:** ")[2].strip()
        assert said.endswith("."), one.code
        assert len(said.split()) > 1, f"{one.code}: {said}; say more in tools/remedies.toml"
        assert "…" not in said, f"{one.code}: {said}; say it in tools/remedies.toml"
        assert all(f"`{module}`" in text for module in one.modules)


def test_no_remedy_is_of_a_code_that_is_gone():
    import tomllib

    from error_codes import REMEDIES

    remedies = tomllib.loads(REMEDIES.read_text(encoding="utf-8"))
    assert remedies.keys() - {one.code for one in error_codes()} == set()


def test_exit_codes_are_those_of_the_classes():
    for name, code in EXIT_CODES.items():
        if name in vars(errors):
            assert code.startswith(str(vars(errors)[name].exit_code)), name


def test_every_public_name_has_its_entry(reference):
    for name in cxr_transfer.__all__:
        text = section(reference["api.md"], name)
        assert name == "__version__" or f"::: cxr_transfer.{name}\n" in text


def test_every_variable_of_the_environment_is_listed_and_read(reference):
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    assert set(re.findall(r'"(CXR_[A-Z_]+)"', source)) <= ENVIRONMENT.keys()
    for name in ENVIRONMENT:
        assert f'"{name}"' in source, f"nothing reads {name}"
        assert f"| `{name}` |" in reference["environment.md"]


def test_every_route_has_its_fields_and_answers(reference):
    from cxr_transfer.serving.api import build
    from cxr_transfer.serving.settings import Settings

    for path, methods in build(Settings(), None, None, None).openapi()["paths"].items():
        for method, route in methods.items():
            text = section(reference["http.md"], f"{method.upper()} {path}")
            assert route["summary"] in text
            assert all(f"| {status} |" in text for status in route["responses"])
