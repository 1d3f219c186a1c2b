"""A model as it is, in sources that it never met: the same table, and nothing is trained."""

import csv
from collections import Counter

import pytest
from sklearn.metrics import roc_auc_score

from cxr_transfer.datasets.manifest import read_manifest
from cxr_transfer.errors import CxrError
from cxr_transfer.export.formats import export
from cxr_transfer.models.metadata import checkpoint_files, read_card
from cxr_transfer.models.reference import reference_beside
from cxr_transfer.studies.external_model import ModelValidation, validate_model
from cxr_transfer.studies.one_recipe import train_recipe
from made_sources import plan_of, write_sources

SOURCES = {"north": (40, 40), "south": (30, 30), "west": (24, 24), "east": (0, 12)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Images of four sources, and a run that was trained on two of them."""
    root = tmp_path_factory.mktemp("model")
    lines = write_sources(root, SOURCES).read_text().splitlines()
    known = [line for line in lines if line.endswith((",source", ",north", ",east"))]
    (root / "known.csv").write_text("\n".join(known) + "\n")
    list(train_recipe(plan_of(), root / "known.csv", root / "run", log=lambda line: None))
    return root


def judged(root, out, model, **settings):
    lines = []
    words = {"mapping": {}, "device": "cpu", "resamples": 30} | settings
    asked = ModelValidation(str(model), root / "images.csv", **words)
    return validate_model(asked, out, log=lines.append), lines


@pytest.fixture(scope="module")
def of_run(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("of_run")
    return out, *judged(root, out, root / "run")


def rows_of(out):
    with (out / "predictions.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def scores_table(root, rows, path, naming="case", prefix=""):
    """Write scores as another program would."""
    lines = [f"{naming},{prefix}cloudy,{prefix}clear"]
    lines += [f"{row['file']},{row['score_cloudy']},{row['score_clear']}" for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_it_met_is_left_out_by_its_hashes_and_that_is_said(root, of_run):
    out, content, lines = of_run
    parts = read_manifest(root / "run" / "split.csv")
    learnt = sum(part.split != "test" for part in parts)
    patients = len({part.patient for part in parts if part.split != "test"})
    declared = f"small declares {learnt} images of {patients} patients that its training saw"
    assert content["declared"].startswith(declared)
    assert any(declared in line for line in lines)
    assert f"it met {learnt}, which are left out" in content["declared"]
    assert "north" in content["skipped"], "its test part alone has too few images"
    assert content["summary"]["order"] == [one["source"] for one in content["sources"]]
    assert {one["source"] for one in content["sources"]} == {"south", "west"}
    assert declared in (out / "report.md").read_text()


def test_figures_are_of_the_source_and_thresholds_of_all_others(root, of_run):
    out, content, _ = of_run
    rows = rows_of(out)
    for one in content["sources"]:
        inside = [row for row in rows if row["source"] == one["source"]]
        score = [float(row["score_cloudy"]) for row in inside]
        ill = [row["label"] == "cloudy" for row in inside]
        assert one["auroc"]["cloudy"]["value"] == pytest.approx(roc_auc_score(ill, score), abs=1e-3)
        # Of the others: the sources that are judged, and what was not met of those that are not.
        elsewhere = Counter(row["label"] for row in rows if row["source"] != one["source"])
        assert one["threshold_images"]["clear"] >= elsewhere["clear"]
        assert sum(one["threshold_images"].values()) > sum(elsewhere.values())
        assert not one["was_trained_on"]
        assert one["without_lungs"]["auroc_macro"]["value"] is not None
        assert one["source_probe"]["sources"] >= 2
    assert content["thresholds_from"].startswith("the images of the other sources")


def test_an_exported_network_says_the_same(root, of_run, tmp_path):
    card, weights = checkpoint_files(root / "run")
    reference = reference_beside(weights, read_card(card).weights_sha256)[1]
    for name in ("net.xml", "net.onnx"):
        pytest.importorskip("onnx")
        export(
            root / "run",
            tmp_path / name,
            temperature=reference.temperature,
            confidence_threshold=reference.confidence_threshold,
            coverage=reference.coverage,
        )
        content, _ = judged(root, tmp_path / f"of_{name}", tmp_path / name)
        for one, other in zip(content["sources"], of_run[1]["sources"], strict=True):
            assert one["source"] == other["source"]
            assert one["auroc_macro"]["value"] == pytest.approx(
                other["auroc_macro"]["value"], abs=0.01
            )
            assert one["met_in_training"] == other["met_in_training"]
        assert content["sources"][0]["abstention"]["confidence_threshold"] is not None
    with (tmp_path / "net.onnx").open("ab") as handle:
        handle.write(b"more")
    with pytest.raises(CxrError) as error:
        judged(root, tmp_path / "spoilt", tmp_path / "net.onnx")
    assert error.value.code == "wrong_hash"


@pytest.mark.parametrize(("naming", "prefix"), [("case", ""), ("file", "score_")])
def test_a_table_of_scores_gives_the_same_areas(root, of_run, tmp_path, naming, prefix):
    out, content, _ = of_run
    table = scores_table(root, rows_of(out), tmp_path / "theirs.csv", naming, prefix)
    of_table, lines = judged(root, tmp_path / "out", table)
    areas = {one["source"]: one["auroc_macro"]["value"] for one in content["sources"]}
    found = {one["source"]: one["auroc_macro"]["value"] for one in of_table["sources"]}
    assert found == pytest.approx(areas, abs=0.01)
    assert of_table["kind"] == "scores"
    assert "declares nothing" in of_table["declared"]
    assert any("images have scores" in line for line in lines)
    first = of_table["sources"][0]
    assert (first["without_lungs"], first["source_probe"]) == (None, None)
    assert first["abstention"]["without_class"]["value"] == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "shortcut ratio" not in text
    assert "Nothing was trained" in text


def test_what_is_declared_for_a_table_is_left_out(root, of_run, tmp_path):
    rows = rows_of(of_run[0])
    table = scores_table(root, rows, tmp_path / "theirs.csv")
    south = [row for row in rows if row["source"] == "south"]
    met = tmp_path / "saw.csv"
    met.write_text("sha256\n" + "\n".join(row["sha256"] for row in south[:4]) + "\n")
    content, _ = judged(root, tmp_path / "out", table, saw=met)
    by_source = {one["source"]: one for one in content["sources"]}
    assert by_source["south"]["met_in_training"] == 4
    assert by_source["south"]["images"] == len(south) - 4
    assert "saw.csv declares 4 images" in content["declared"]
    with pytest.raises(CxrError) as error:
        judged(root, tmp_path / "all", table, saw=root / "images.csv")
    assert error.value.code == "seen_images"


def test_tables_that_cannot_be_read_are_refused(root, tmp_path):
    for name, text, code in (
        ("a.csv", "case,clear\nx.png,1\n", "bad_predictions"),
        ("b.csv", "clear,cloudy\n0.5,0.5\n", "bad_predictions"),
        ("c.csv", "case,clear,cloudy\nx.png,0.5,0.9\n", "bad_predictions"),
        ("d.csv", "case,clear,cloudy\nx.png,0.5,0.5\nx.png,0.4,0.6\n", "repeated_images"),
        ("e.csv", "case,clear,cloudy\nnone.png,0.5,0.5\n", "no_common_images"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(CxrError) as error:
            judged(root, tmp_path / "out", tmp_path / name)
        assert error.value.code == code, name
