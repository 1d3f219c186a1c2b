"""A reader study, from exported readings and a truth table to figures."""

import csv
import hashlib
import json

import numpy as np
import pytest

import cxr_transfer as cxr
from cxr_transfer.errors import CxrError
from cxr_transfer.statistics.delong import delong
from cxr_transfer.statistics.scores import LabelSet, Scores
from cxr_transfer.studies.reader_study import study_readers
from cxr_transfer.studies.reader_tables import read_readings

LABELS = ("normal", "covid19")
IMAGES = 40
COLUMNS = ["reader", "file", "sha256", "reading", "label", "confidence", "target", "seconds"]
COLUMNS += ["answer_seen_before", "model", "weights_sha256", "model_label"]
COLUMNS += [f"score_{label}" for label in LABELS]


def digest(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def truth(number):
    return LABELS[number % 2]


def confidence(reader, number, condition="without"):
    rng = np.random.default_rng([reader, number])
    shift = 45 if condition == "with" else 25
    return round(float(np.clip(rng.normal(30, 22) + shift * (number % 2), 0, 100)))


def score(number):
    rng = np.random.default_rng([99, number])
    return float(np.clip(rng.normal(0.35, 0.2) + 0.3 * (number % 2), 0.01, 0.99))


def rows_of(reader, condition="without", images=IMAGES):
    rows = []
    for number in range(images):
        sure = confidence(reader, number, condition)
        scored = score(number)
        rows.append(
            {
                "reader": f"R{reader}",
                "file": f"study/{number}.png",
                "sha256": digest(number),
                "reading": condition,
                "label": LABELS[int(sure > 50)],
                "confidence": sure,
                "target": "covid19",
                "seconds": 10 + number,
                "answer_seen_before": "no",
                "model": "known",
                "weights_sha256": "0" * 64,
                "model_label": LABELS[int(scored > 0.5)],
                "score_normal": 1 - scored,
                "score_covid19": scored,
            }
        )
    return rows


def write(path, rows, columns=COLUMNS):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    return path


def write_truth(path, images=IMAGES, **more):
    rows = [
        {"path": f"{n}.png", "sha256": digest(n), "label": truth(n)}
        | {name: value(n) for name, value in more.items()}
        for n in range(images)
    ]
    return write(path, rows, ["path", "sha256", "label", *more])


@pytest.fixture
def study(tmp_path):
    """Three readers, each without and with the model, in a file of their own; and the truth."""
    paths = [
        write(tmp_path / f"R{reader}.csv", [*rows_of(reader), *rows_of(reader, "with")])
        for reader in range(3)
    ]
    return paths, write_truth(tmp_path / "truth.csv")


def session(rows, **changes):
    """What the page saves, of some rows of a table."""
    images = [
        {
            "file": row["file"],
            "sha256": row["sha256"],
            "answer_seen_before": False,
            "readings": [
                {
                    "condition": row["reading"],
                    "label": row["label"],
                    "confidence": row["confidence"],
                    "seconds": row["seconds"],
                    "notes": "",
                }
            ],
            "answer": {
                "status": "ok",
                "label": row["model_label"],
                "probabilities": {label: row[f"score_{label}"] for label in LABELS},
            },
        }
        for row in rows
    ]
    model = {"name": "known", "weights_sha256": "0" * 64, "labels": list(LABELS)}
    table = {"reader": rows[0]["reader"], "target": ["covid19"], "model": model}
    return json.dumps(table | {"images": images} | changes)


def code_of(paths, known, tmp_path):
    with pytest.raises(CxrError) as error:
        study_readers(paths, known, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    return error.value.code


def as_scores(values):
    targets = np.array([n % 2 for n in range(IMAGES)])
    files = tuple(map(str, range(IMAGES)))
    return Scores(LabelSet(LABELS), targets, np.stack([1 - values, values], 1), files, files)


def test_the_figures_of_a_reader_are_what_the_readings_say(study, tmp_path):
    content = study_readers(*study, tmp_path / "out")
    sure = np.array([confidence(0, n) for n in range(IMAGES)])
    called, ill = sure > 50, np.arange(IMAGES) % 2 == 1
    found = content["readers"]["R0"]["without"]
    assert found["sensitivity"]["value"] == pytest.approx(called[ill].mean())
    assert found["specificity"]["value"] == pytest.approx((~called[~ill]).mean())
    pairs = [(a > b) + (a == b) / 2 for a in sure[ill] for b in sure[~ill]]
    assert found["auroc"]["value"] == pytest.approx(np.mean(pairs))
    assert found["auroc"]["low"] < found["auroc"]["value"] < found["auroc"]["high"]
    assert found["seconds_median"] == 10 + (IMAGES - 1) / 2
    assert content["positive"] == IMAGES // 2


def test_a_reader_and_the_model_are_compared_by_delongs_test(study, tmp_path):
    content = study_readers(*study, tmp_path / "out")
    model = as_scores(np.array([score(n) for n in range(IMAGES)]))
    reader = as_scores(np.array([confidence(1, n) / 100 for n in range(IMAGES)]))
    expected = delong(model, reader, "covid19")
    found = content["model"]["readers_less_model"]["R1"]
    assert found["auroc"]["value"] == pytest.approx(expected.difference.value)
    assert found["p"] == pytest.approx(expected.p)
    assert content["model"]["auroc"]["value"] == pytest.approx(expected.area_a)


def test_what_is_gained_with_the_model_is_found_of_each_and_of_the_mean(study, tmp_path):
    content = study_readers(*study, tmp_path / "out")
    without = as_scores(np.array([confidence(2, n) / 100 for n in range(IMAGES)]))
    with_it = as_scores(np.array([confidence(2, n, "with") / 100 for n in range(IMAGES)]))
    expected = delong(without, with_it, "covid19")
    assert content["gains"]["R2"]["auroc"]["value"] == pytest.approx(expected.difference.value)
    gain = content["means"]["gain"]
    of_each = [content["gains"][f"R{n}"]["auroc"]["value"] for n in range(3)]
    assert gain["auroc"]["value"] == pytest.approx(np.mean(of_each))
    assert gain["auroc"]["low"] > 0
    assert gain["readers"] == 3
    areas = [content["readers"][f"R{n}"]["without"]["auroc"]["value"] for n in range(3)]
    assert content["means"]["without"]["auroc"]["value"] == pytest.approx(np.mean(areas))
    less = content["means"]["on_model"]["auroc"]["value"]
    assert less == pytest.approx(np.mean(areas) - content["model"]["auroc"]["value"])


def test_readers_who_agree_are_seen_to(tmp_path):
    rows = rows_of(0)
    other = [row | {"reader": "other"} for row in rows]
    third = [row | {"reader": "third", "label": LABELS[n % 3 > 0]} for n, row in enumerate(rows)]
    path = write(tmp_path / "all.csv", [*rows, *other, *third])
    found = study_readers([path], write_truth(tmp_path / "t.csv"), tmp_path / "out")["agreement"]
    assert found["with"] is None
    alike, *others = found["without"]["pairs"]
    assert (alike["a"], alike["b"], alike["kappa"]["value"]) == ("R0", "other", 1)
    assert all(pair["kappa"]["value"] < 0.7 for pair in others)
    assert found["without"]["all"]["kappa"]["value"] < 1


def test_who_cannot_say_has_found_nothing_and_cleared_nobody(tmp_path):
    rows = rows_of(0)
    before = study_readers(
        [write(tmp_path / "a.csv", rows)], write_truth(tmp_path / "t.csv"), tmp_path / "a"
    )["readers"]["R0"]["without"]
    for row in rows[:4]:
        row["label"] = "cannot_say"
    after = study_readers([write(tmp_path / "b.csv", rows)], tmp_path / "t.csv", tmp_path / "b")[
        "readers"
    ]["R0"]["without"]
    assert after["cannot_say"] == 4
    assert after["sensitivity"]["value"] < before["sensitivity"]["value"] or (
        after["specificity"]["value"] < before["specificity"]["value"]
    )
    assert after["auroc"] == before["auroc"], "the confidence is ranked either way"


def test_json_and_csv_of_one_session_give_the_same(study, tmp_path):
    paths, known = study
    saved = tmp_path / "R0.json"
    saved.write_text(session(rows_of(0)))
    from_csv = [each for each in read_readings(paths[0]) if each.condition == "without"]
    assert read_readings(saved) == from_csv
    assert study_readers([saved], known, tmp_path / "out")["images"] == IMAGES


def test_a_manifest_without_hashes_is_matched_by_the_bytes_of_its_files(tmp_path):
    for number in range(IMAGES):
        (tmp_path / f"{number}.png").write_bytes(str(number).encode())
    rows = [{"path": f"{n}.png", "label": truth(n)} for n in range(IMAGES)]
    known = write(tmp_path / "manifest.csv", rows, ["path", "label"])
    read = [row | {"file": "somewhere else.png"} for row in rows_of(0)]
    content = study_readers([write(tmp_path / "r.csv", read)], known, tmp_path / "out")
    assert content["matched_by"] == "sha256"
    assert content["images"] == IMAGES


def test_names_match_where_there_are_no_hashes(tmp_path):
    columns = [name for name in COLUMNS if name != "sha256"]
    path = write(tmp_path / "r.csv", rows_of(0), columns)
    rows = [{"path": f"elsewhere/{n}.png", "label": truth(n)} for n in range(IMAGES)]
    known = write(tmp_path / "t.csv", rows, ["path", "label"])
    content = study_readers([path], known, tmp_path / "out")
    assert (content["matched_by"], content["images"]) == ("file", IMAGES)


def test_a_table_that_a_spreadsheet_saved_with_semicolons_is_read(tmp_path):
    path = write(tmp_path / "r.csv", rows_of(0))
    path.write_text(path.read_text().replace(",", ";"))
    assert len(read_readings(path)) == IMAGES


def test_images_of_one_patient_widen_the_interval(tmp_path):
    path = write(tmp_path / "r.csv", rows_of(0))
    apart = study_readers([path], write_truth(tmp_path / "t.csv"), tmp_path / "a")
    few = write_truth(tmp_path / "few.csv", patient=lambda n: f"p{n // 8}")
    together = study_readers([path], few, tmp_path / "b")
    assert (apart["patients"], together["patients"]) == (IMAGES, IMAGES // 8)

    def width(content):
        found = content["readers"]["R0"]["without"]["sensitivity"]
        return found["high"] - found["low"]

    assert width(together) != width(apart)


def test_a_label_that_nobody_could_choose_is_told(tmp_path):
    known = write_truth(tmp_path / "t.csv")
    known.write_text(known.read_text().replace("normal", "tuberculosis"))
    path, told = write(tmp_path / "r.csv", rows_of(0)), []
    content = study_readers([path], known, tmp_path / "out", log=told.append)
    assert content["other_labels"] == f"tuberculosis ({IMAGES // 2})"
    assert "count as not of the target: tuberculosis (20)" in told[0]
    assert "tuberculosis" in (tmp_path / "out/readers.md").read_text()


def test_one_reader_and_few_images_give_what_they_can(tmp_path):
    path = write(tmp_path / "r.csv", rows_of(0, images=2))
    content = study_readers([path], write_truth(tmp_path / "t.csv"), tmp_path / "out")
    assert content["means"] == dict.fromkeys(("without", "with", "gain", "on_model"))
    assert content["agreement"] == {"without": None, "with": None}
    assert "too few" in (tmp_path / "out/readers.md").read_text()


def test_images_without_truth_and_answers_seen_before_are_told(tmp_path):
    rows = rows_of(0)
    rows[0]["answer_seen_before"] = "yes"
    path = write(tmp_path / "r.csv", rows)
    told = []
    known = write_truth(tmp_path / "t.csv", images=IMAGES - 5)
    content = study_readers([path], known, tmp_path / "out", log=told.append)
    assert (content["without_truth"], content["seen_before"]) == (5, 1)
    assert "5 images that were read are left out" in told[0]
    assert "not blinded" in told[1]
    page = (tmp_path / "out/readers.md").read_text()
    assert "not blinded" in page
    assert (tmp_path / "out/figures/readers.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"confidence": "sure"}, "bad_readings"),
        ({"confidence": "101"}, "bad_readings"),
        ({"reading": "blind"}, "bad_readings"),
        ({"label": ""}, "bad_readings"),
        ({"target": "normal"}, "other_targets"),
        ({"model": "another"}, "other_models"),
        ({"sha256": digest(1)}, "repeated_readings"),
    ],
)
def test_what_is_wrong_with_readings_is_said(changes, code, tmp_path):
    rows = rows_of(0)
    rows[0] |= changes
    known = write_truth(tmp_path / "t.csv")
    assert code_of([write(tmp_path / "r.csv", rows)], known, tmp_path) == code


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "bad_readings"),
        ("a,b\n1,2\n", "bad_readings"),
        ('{"reader": "R1"}', "bad_readings"),
        ("{", "bad_readings"),
        (",".join(COLUMNS), "bad_readings"),
    ],
)
def test_what_holds_no_readings_is_refused(content, code, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(content)
    assert code_of([path], write_truth(tmp_path / "t.csv"), tmp_path) == code
    assert code_of([tmp_path / "absent.csv"], tmp_path / "t.csv", tmp_path) == code


def test_what_is_no_truth_is_refused(tmp_path):
    path = write(tmp_path / "r.csv", rows_of(0))
    known = tmp_path / "t.csv"
    known.write_text("image,finding\n1,2\n")
    assert code_of([path], known, tmp_path) == "bad_truth"
    known.write_text("label\nnormal\n")
    assert code_of([path], known, tmp_path) == "bad_truth"
    known.write_text("path,label\nother.png,normal\n")
    assert code_of([path], known, tmp_path) == "no_common_images"
    twice = f"sha256,label\n{digest(0)},normal\n{digest(0)},covid19\n"
    known.write_text(twice)
    assert code_of([path], known, tmp_path) == "two_labels"


def test_the_public_function_gives_a_row_for_each_reader_and_condition(study, tmp_path):
    paths, known = study
    report = cxr.readers(*paths, truth=known, out=tmp_path / "out")
    rows = report.to_frame()
    assert list(rows["reader"]) == ["R0", "R0", "R1", "R1", "R2", "R2"]
    assert set(rows["condition"]) == {"without", "with"}
    assert (rows["auroc_low"] < rows["auroc"]).all()
    assert json.loads((tmp_path / "out/readers.json").read_text())["images"] == IMAGES
    assert "## The mean reader" in report.text
    with pytest.raises(CxrError) as error:
        cxr.readers(truth=known)
    assert error.value.code == "no_readings"
