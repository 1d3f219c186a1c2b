"""A report says the same as JSON, Markdown and Word, and is valid where a schema is published."""

import html
import io
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import cxr_transfer
from cxr_transfer import INTENDED_USE
from cxr_transfer.cli.commands import app
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.reports.author import HUGGING_FACE, write_author
from cxr_transfer.reports.checklists import CHECKLISTS
from cxr_transfer.reports.writing import Given, write_report
from made_reports import make_run

SCHEMA = "CXR_CHAI_SCHEMA"
"""Path of the Coalition's schema 0.2 (https://mc.chai.org/v0.2/schema.xsd), which is not ours to
hand on: without it the card's structure alone is looked at."""


@pytest.fixture
def given(tmp_path):
    run = make_run(tmp_path)
    names = ("report", "audit", "validation")
    return Given(run, *(tmp_path / f"{name}.json" for name in names))


def test_markdown_and_word_say_what_json_says(given, tmp_path):
    docx = pytest.importorskip("docx")
    author = tmp_path / "author.toml"
    author.write_text('[claim-2024]\n"44" = "Nobody paid."\n')
    given = Given(given.checkpoint, given.evaluation, given.audit, given.validation, author)
    content = write_report("claim-2024", given, tmp_path / "out")
    folder = tmp_path / "out"
    assert json.loads((folder / "claim-2024.json").read_text()) == content
    page = html.unescape(re.sub(r"\\(.)", r"\1", (folder / "claim-2024.md").read_text()))
    document = docx.Document(io.BytesIO((folder / "claim-2024.docx").read_bytes()))
    word = "\n".join(paragraph.text for paragraph in document.paragraphs)
    cells = [tuple(cell.text for cell in row.cells) for row in document.tables[0].rows]
    for status, number in content["counts"].items():
        assert f"| {status} | {number} |" in page
        assert (status, str(number)) in cells
    for text in (page, word):
        assert INTENDED_USE in text[:500]
        assert "The author's words: Nobody paid." in text
        for item in content["items"]:
            assert f"{item['number']} {item['topic']}: {item['status']}" in text
            for fact in item["facts"]:
                assert fact["words"] in text
                assert f"{fact['file']}, {fact['path']}, commit 000000000000" in text


def test_the_same_files_give_the_same_bytes(given, tmp_path):
    pytest.importorskip("docx")
    for name in ("a", "b"):
        write_report("stard-ai", given, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("has_reports", [True, False])
def test_the_chai_card_is_valid_against_the_published_schema(given, tmp_path, has_reports):
    etree = pytest.importorskip("lxml.etree")
    write_report("chai", given if has_reports else Given(given.checkpoint), tmp_path / "out")
    card = etree.parse(str(tmp_path / "out" / "chai.xml"))
    if SCHEMA in os.environ:
        # The signature is optional, and its schema is not at hand.
        text = Path(os.environ[SCHEMA]).read_text()
        text = re.sub(r"<xs:(import|element ref=\"ds:)[^>]*/>", "", text)
        etree.XMLSchema(etree.fromstring(text.encode())).assertValid(card)
    assert card.findtext(".//{*}ModelName") == "small"
    assert "author must write" in card.findtext(".//{*}ModelDeveloper")


def test_hugging_face_reads_the_metadata(given, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub.repocard_data import model_index_to_eval_results

    front = write_report("hf", given, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(text.split("---")[1]) == front
    data = hub.ModelCard(text).data
    name, results = model_index_to_eval_results(front["model-index"])
    assert data.eval_results == results
    assert (data.model_name, name) == ("small", "small")
    assert {one.metric_type: one.metric_value for one in results}["roc_auc"] == 0.75
    assert data.library_name == "cxr-transfer"
    assert (data.license, data.license_name) == ("other", "not-stated")
    assert INTENDED_USE in text


def test_without_an_evaluation_a_card_has_no_figures_and_no_methods(given, tmp_path):
    front = write_report("hf", Given(given.checkpoint), tmp_path / "out")
    assert front.keys().isdisjoint({"model-index", "metrics"})
    with pytest.raises(DataError) as caught:
        write_report("methods", Given(given.checkpoint), tmp_path / "out")
    assert caught.value.code == "no_evaluation"


@pytest.mark.parametrize("kind", [*CHECKLISTS, HUGGING_FACE])
def test_the_authors_file_can_be_filled_in(given, tmp_path, kind):
    path = tmp_path / "author.toml"
    write_author(path, kind)
    untouched = write_report(kind, Given(given.checkpoint, author=path), tmp_path / "out")
    text = path.read_text()
    assert INTENDED_USE in text
    keys = re.findall(r'^# "(.+)" = ""$', text, re.M)
    filled = re.sub(r'^# "(.+)" = ""$', r'"\1" = "apache-2.0"', text, flags=re.M)
    path.write_text(filled)
    content = write_report(kind, Given(given.checkpoint, author=path), tmp_path / "out")
    if kind == HUGGING_FACE:
        assert content["license"] == "apache-2.0"
    else:
        assert untouched["counts"]["in the author's words"] == 0
        assert content["counts"]["in the author's words"] == len(keys) > 0
        assert all(not item["author_adds"] for item in content["items"])


@pytest.mark.parametrize(
    "text", ["no", "[claim-2025]", '[claim-2024]\n"45" = "a"', '[claim-2024]\n"1" = 2', "hf = 1"]
)
def test_words_that_would_be_lost_are_refused(given, tmp_path, text):
    path = tmp_path / "author.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        write_report("claim-2024", Given(given.checkpoint, author=path), tmp_path / "out")
    assert caught.value.code == "bad_author"


def test_from_the_command_line_and_from_python(given, tmp_path):
    out, run = tmp_path / "out", str(given.checkpoint)
    asked = ["report", run, "--for", "tripod-ai", "--audit", str(given.audit), "--out", str(out)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    of_python = cxr_transfer.report(run, "tripod-ai", audit=given.audit, out=tmp_path / "again")
    assert f"{of_python['counts']['filled']} filled" in done.stdout
    assert (out / "tripod-ai.md").read_text() == (tmp_path / "again/tripod-ai.md").read_text()
    new = tmp_path / "author.toml"
    asked = ["report", "--for", "claim-2024", "--new-author-file", str(new)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert new.is_file()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--for", "claim-2024"], "nothing_to_report"),
        (["--for", "claim"], "unknown_report"),
        (["--for", "methods", "--new-author-file", "author.toml"], "no_author_items"),
    ],
)
def test_what_cannot_be_reported_is_refused(arguments, code):
    caught = CliRunner().invoke(app, ["report", *arguments]).exception
    assert isinstance(caught, UsageError)
    assert caught.code == code
