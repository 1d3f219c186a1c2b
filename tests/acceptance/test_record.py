"""A record tells whether it, and its files, are as they were."""

import json

import pytest

from cxr_transfer.acceptance.record import (
    KIND,
    SCHEMA,
    content_hash,
    read_record,
    results_hash,
    verify,
    write_record,
)
from cxr_transfer.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "page.html").write_text("page")
    content = {"kind": KIND, "schema": SCHEMA, "verdict": "accept", "number": 0.1 + 0.2}
    write_record(tmp_path, content, ("page.html",))
    return tmp_path


def test_a_record_is_unchanged_until_somebody_changes_it(folder):
    path = folder / "acceptance.json"
    assert verify(folder) == verify(path)
    assert verify(path)["unchanged"]
    # Spaces and the order of keys are no content.
    record = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(record.items()))))
    assert verify(path)["unchanged"]
    path.write_text(json.dumps(record | {"verdict": "not accept"}))
    assert verify(path)["changed"] == ["the record itself is changed"]


def test_a_file_that_is_changed_or_gone_is_named(folder):
    (folder / "page.html").write_text("other")
    assert verify(folder)["changed"] == ["page.html is changed"]
    (folder / "page.html").unlink()
    assert verify(folder)["changed"] == ["page.html is absent"]


def test_no_file_of_another_folder_is_opened(folder):
    path = folder / "acceptance.json"
    record = json.loads(path.read_text())
    record["files"] = {"../page.html": "0" * 64}
    record["sha256"] = content_hash(record)
    path.write_text(json.dumps(record))
    assert verify(path)["changed"] == ["../page.html is absent"]


def test_the_hash_of_the_results_is_not_that_of_the_files(folder):
    record = read_record(folder)
    assert results_hash(record) == results_hash(record | {"files": {}})
    assert content_hash(record) == record["sha256"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind": "acceptance test", "schema": 9}', '{"a": NaN}']
)
def test_what_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "acceptance.json").write_text(text)
    with pytest.raises(DataError) as error:
        verify(tmp_path)
    assert error.value.code == "bad_record"
    with pytest.raises(DataError):
        verify(tmp_path / "absent.json")
