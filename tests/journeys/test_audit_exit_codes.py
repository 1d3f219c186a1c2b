"""The exit code of an audit is the pipeline's: hard failures, any of them, or never."""

import csv
import json

import pytest

import made_subjects as made


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Scores of images whose corners give the class away: what files alone tell fails, hard."""
    root = tmp_path_factory.mktemp("cli")
    images = made.write_images(root / "images", each=22)
    rows = list(csv.DictReader(images.read_text().splitlines()))
    with (root / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("case", *made.LABELS))
        for row in rows:
            ill = 0.9 if row["label"] == "covid19" else 0.1
            writer.writerow((row["path"], 1 - ill, ill))
    return root / "scores.csv", images


@pytest.mark.parametrize(("which", "code"), [("hard", 1), ("never", 0)])
def test_the_exit_code_is_what_was_asked_for(table, which, code, tmp_path, cxr):
    scores, images = table
    words = ("audit", scores, "--data", images, "--out", tmp_path / "audit", "--fail-on", which)
    more = ("--compare-with", images) if which == "never" else ()
    cxr(*words, *more, expect=code)
    content = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert content["verdict"] == "fail"
    found = {check["name"]: check for check in content["checks"]}
    assert ("drift" in found) == (which == "never")
    if which == "never":
        assert found["drift"]["verdict"] == "pass"
        assert found["drift"]["measured"]["shared"] == content["images"]["all"]
        assert found["drift"]["measured"]["scores"]["covid19"]["ks"] == 0
    assert (tmp_path / "audit" / "audit.html").is_file()


def test_another_word_than_these_is_refused(table, tmp_path, cxr):
    scores, images = table
    words = ("audit", scores, "--data", images, "--out", tmp_path / "audit", "--fail-on", "soft")
    refused = cxr(*words, expect=2)
    assert "hard" in refused.stderr
    assert not (tmp_path / "audit").exists()
