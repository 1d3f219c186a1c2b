"""A model folder, an output folder and names that somebody else prepared: refused, or harmless."""

import csv
import hashlib
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from cxr_transfer.datasets.manifest import read_manifest
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.metadata import CARD, WEIGHTS
from cxr_transfer.models.reference import REFERENCE
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from made import chest, write_image

SIDE = 48
LABELS = ("normal", "bacterial", "covid19")
NAME = "=HYPERLINK(1)\x1b]0;owned\x07\x9b2J\u202e|<img src=x>.png"
CXR = Path(sys.executable).with_name("cxr")


def small_model(folder, seed):
    torch.manual_seed(seed)
    network = build("simple_cnn", 3, size=(SIDE, SIDE), epsilon=1e-3)
    card = {
        "name": "small",
        "architecture": "simple_cnn",
        "labels": LABELS,
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, network, card)
    return folder


@pytest.fixture
def model(tmp_path):
    return small_model(tmp_path / "model", 1)


@pytest.fixture
def radiograph(tmp_path):
    return write_image(tmp_path / "images" / "image.png")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    # The words of a command are collected when the tests are: they get their own cache each.
    return {"CXR_CACHE": str(tmp_path / "cache")}


def edit(folder, **changes):
    content = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(content | changes))


def test_a_graph_planted_beside_a_model_is_never_used(cxr, model, radiograph, tmp_path, cache):
    """A hash that is a path once led to whatever graph lay there, which answered with code 0."""
    other = small_model(tmp_path / "other", 2)
    cxr("predict", radiograph, "--model", other, **cache)
    (kept,) = (tmp_path / "cache" / "converted").glob("*/*.xml")
    # Where the attacker's own folder would be led to, with a description that is as it should be.
    planted = model / "planted"
    shutil.copytree(kept.parent, planted)
    for path in (planted, Path("../../model/planted")):
        edit(model, weights_sha256=str(path))
        described = planted / kept.with_suffix(".json").name
        told = json.loads(described.read_text()) | {"card": json.loads((model / CARD).read_text())}
        described.write_text(json.dumps(told))
        done = cxr("predict", radiograph, "--model", model, expect=4, **cache)
        assert "weights_sha256" in done.stderr
        assert not done.stdout


def test_the_kept_graph_of_other_weights_is_not_taken_for_these(
    cxr, model, radiograph, tmp_path, cache
):
    """A card that names another model's weights got that model's answers without a look."""
    other = small_model(tmp_path / "other", 2)
    cxr("predict", radiograph, "--model", other, **cache)
    shutil.copy(other / CARD, model / CARD)
    assert "[wrong_hash]" in cxr("predict", radiograph, "--model", model, expect=4, **cache).stderr
    # The weights changed beside an honest card that was opened before.
    content = bytearray((other / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (other / WEIGHTS).write_bytes(content)
    assert "[wrong_hash]" in cxr("predict", radiograph, "--model", other, expect=4, **cache).stderr


def test_two_cards_of_the_same_weights_share_nothing_that_is_kept(
    cxr, model, radiograph, tmp_path, cache
):
    twin = tmp_path / "twin"
    shutil.copytree(model, twin)
    edit(twin, name="twin")
    for folder, name in ((model, "small"), (twin, "twin"), (model, "small")):
        line = json.loads(cxr("predict", radiograph, "--model", folder, "--json", **cache).stdout)
        assert line["model"].startswith(f"{name} ")
    assert len(list((tmp_path / "cache" / "converted").glob("*/*.xml"))) == 2


@pytest.mark.parametrize("name", [CARD, WEIGHTS, REFERENCE])
def test_a_link_out_of_the_model_folder_is_refused(cxr, model, radiograph, tmp_path, name, cache):
    secret = tmp_path / "secret"
    content = (model / name).read_bytes() if (model / name).exists() else b"of somebody"
    secret.write_bytes(content)
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(secret)
    done = cxr("predict", radiograph, "--model", model, expect=4, **cache)
    assert "[outside_link]" in done.stderr
    assert name in done.stderr
    (tmp_path / "latest").symlink_to(model)
    assert (
        "[outside_link]"
        in cxr("predict", radiograph, "--model", tmp_path / "latest", expect=4).stderr
    )


def test_an_exported_graph_is_looked_at_before_it_is_compiled(
    cxr, model, radiograph, tmp_path, cache
):
    out = tmp_path / "export" / "model.xml"
    cxr("export", model, "--out", out, **cache)
    text = out.read_text()
    described = json.loads(out.with_suffix(".json").read_text())

    def refused(content, changes=None, code="bad_model"):
        out.write_text(content)
        told = described | (changes or {})
        hashes = described["sha256"] | {"xml": hashlib.sha256(content.encode()).hexdigest()}
        out.with_suffix(".json").write_text(
            json.dumps({"sha256": hashes} | told | {"sha256": hashes})
        )
        said = cxr("predict", radiograph, "--model", out, expect=4, **cache).stderr
        assert f"[{code}]" in said
        return said

    assert "entities" in refused('<!DOCTYPE a [<!ENTITY b "c">]>' + text.partition("?>")[2])
    assert "'Loop'" in refused(text.replace('type="ReLU"', 'type="Loop"', 1))
    library = text.replace('type="ReLU" version="opset1"', 'type="Mine" version="extension"', 1)
    assert "'Mine'" in refused(library)
    assert "another input" in refused(text.replace("?,1,48,48", "?,3,48,48", 1))
    assert "3 classes" in refused(text.replace("<dim>3</dim>", "<dim>4</dim>"))
    refused("no XML")
    for changes in (
        {"temperature": 0},
        {"temperature": "hot"},
        {"confidence_threshold": 2},
        {"labels": ["normal", "covid19", "bacterial"]},
        {"intended_use": "\x1b[2J"},
        {"self_test": described["self_test"] | {"tolerance": 1e9}},
        {"self_test": described["self_test"] | {"scores": {"a": 0.5, "b": 0.5}}},
        {"card": described["card"] | {"weights_sha256": "../x"}},
    ):
        refused(text, changes, "bad_card")
    out.write_text(text)
    out.with_suffix(".json").write_text(json.dumps(described))
    cxr("predict", radiograph, "--model", out, **cache)
    (tmp_path / "weights").write_bytes(out.with_suffix(".bin").read_bytes())
    out.with_suffix(".bin").unlink()
    out.with_suffix(".bin").symlink_to(tmp_path / "weights")
    assert "[outside_link]" in cxr("predict", radiograph, "--model", out, expect=4, **cache).stderr


def test_a_table_deletes_nothing_of_somebody_elses(cxr, model, radiograph, tmp_path, cache):
    out = tmp_path / "T.csv"
    (tmp_path / "T.csv.partial").mkdir()
    (tmp_path / "T.csv.partial" / "thesis.odt").write_text("three years")
    words = ("predict", radiograph, "--model", model, "--out", out)
    assert "[foreign_folder]" in cxr(*words, expect=2, **cache).stderr
    assert (tmp_path / "T.csv.partial" / "thesis.odt").read_text() == "three years"
    shutil.rmtree(tmp_path / "T.csv.partial")
    cxr(*words, **cache)
    assert not (tmp_path / "T.csv.partial").exists()


@pytest.mark.parametrize("name", [".lock", "log.txt"])
def test_a_training_writes_through_no_link(cxr, archives, tmp_path, name):
    victim, out = tmp_path / "victim", tmp_path / "run"
    victim.write_text("of somebody")
    out.mkdir()
    (out / name).symlink_to(victim)
    words = ("--data", archives, "--out", out, "--max-epochs", "1", "--seed", "3")
    done = cxr("train", "model_1", *words, expect=5)
    assert "[not_writable]" in done.stderr
    assert name in done.stderr
    assert victim.read_text() == "of somebody"


# Names


def control(text):
    """The characters of a text that a terminal acts on, but for line ends."""
    acted_on = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e", "\u2066"}
    return set(text) & acted_on - {"\n"}


def on_a_terminal(*words):
    """What a command writes to a terminal that it believes to be one."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [CXR, *map(str, words)], stdout=theirs, stderr=subprocess.DEVNULL, close_fds=True
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:
            pass  # Linux' way of saying that nobody writes any more
        process.wait()
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def test_names_move_no_cursor_and_a_program_gets_the_very_names(cxr, model, tmp_path, cache):
    good = write_image(tmp_path / "images" / NAME)
    bad = tmp_path / "images" / f"no {NAME}"
    bad.write_text("no image")
    words = ("predict", good.parent, "--model", model)
    for how in ((), ("--csv",), ("--json",)):
        said = on_a_terminal(*words, *how)
        assert len(said.splitlines()) == 2 + (how == ("--csv",))
        assert not control(said), how
    piped = cxr(*words, "--csv", expect=1, **cache).stdout
    rows = list(csv.DictReader(io.StringIO(piped, newline="")))
    assert {row["file"] for row in rows} == {str(good), str(bad)}
    lines = cxr(*words, "--json", expect=1, **cache).stdout.splitlines()
    assert {json.loads(line)["file"] for line in lines} == {str(good), str(bad)}
    assert not control("".join(lines))
    absent = cxr("predict", good, "--model", tmp_path / NAME, expect=4, **cache)
    assert "owned" in absent.stderr
    assert not control(absent.stderr)


def test_names_that_are_formulas_and_tags_reach_no_table_and_no_page(cxr, model, tmp_path):
    """Through a whole evaluation: a file, a source and a class that nobody should call so."""
    source = "<script>alert(1)</script>|![a](http://b)"
    images = tmp_path / "images"
    images.mkdir()
    rows = [["path", "label", "patient", "source"]]
    for number in range(12):
        name = f"=cmd{number}.png"
        Image.fromarray(chest(number)).save(images / name)
        rows.append([name, ("normal", "covid19", "@SUM(1)")[number % 3], f"+p{number}", source])
    with (images / "images.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    done = cxr("evaluate", model, "--data", images / "images.csv", "--out", tmp_path / "out")
    for page in (done.stdout, (tmp_path / "out" / "report.md").read_text()):
        assert "&lt;script>" in page
        assert "<script" not in page
        assert "](http" not in page.replace("\\](http", "")
    tables = list((tmp_path / "out").rglob("*.csv"))
    assert tables
    for table in tables:
        with table.open(newline="") as handle:
            cells = [cell for row in csv.reader(handle) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))]


def test_a_manifest_of_ours_is_read_back_with_the_very_names(cxr, archives, tmp_path):
    """`split.csv` of a training holds no formula, and names the same images."""
    images, rows = tmp_path / "images", [["path", "label", "patient", "source"]]
    images.mkdir()
    for number in range(30):
        name = f"=cmd{number:02}.png"
        Image.fromarray(chest(number)).save(images / name)
        rows.append([name, LABELS[number % 3], f"@patient {number}", "-ward"])
    with (images / "images.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    out = tmp_path / "run"
    words = ("--data", images / "images.csv", "--out", out, "--max-epochs", "1", "--split", "image")
    cxr("train", "model_1", *words)
    with (out / "split.csv").open(newline="") as handle:
        written = list(csv.DictReader(handle))
    assert {row["patient"][:2] for row in written} == {"'@"}
    assert {row["source"] for row in written} == {"'-ward"}
    cases = read_manifest(out / "split.csv")
    assert sorted(case.path.name for case in cases) == sorted(row[0] for row in rows[1:])
    assert {case.patient for case in cases} == {row[2] for row in rows[1:]}
    assert {case.source for case in cases} == {"-ward"}
