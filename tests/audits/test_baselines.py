import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.audits.baselines import (
    baseline,
    demographics_table,
    source_classifier,
    table_of,
)
from cxr_transfer.datasets.decode import Wanted, decode_image
from cxr_transfer.errors import DataError, ImageError, UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.metrics import evaluate
from made import case, encoded, grey, write_image

TWO = LabelSet(("normal", "covid19"))


def auroc(table, targets, patients=None, labels=TWO, **options):
    """The area under the curve of the last class, out of fold."""
    files = [f"{i}.png" for i in range(len(targets))]
    patients = files if patients is None else patients
    scores = baseline(table, targets, labels, patients, files, **options)
    return evaluate(scores, resamples=1).per_class[labels.names[-1]]["auroc"].value


def stored(path, **options):
    """The features of one generated image, saved as ``options`` say."""
    path.write_bytes(encoded(grey(1), **options))
    return features_of(path)


def features_of(path):
    return decode_image(path, Wanted(file_features=True)).file_features


def test_the_features_of_a_known_image(tmp_path):
    image = np.full((200, 160), 51, dtype=np.uint8)  # 0.2
    image[:10, :8] = 0  # the corner at the top left
    image[-10:, -8:] = 255
    path = tmp_path / "image.png"
    content = encoded(image)
    path.write_bytes(content)
    found = features_of(path)
    assert found["bytes_per_pixel"] == len(content) / 32000
    assert (found["width"], found["height"], found["aspect"]) == (160, 200, 0.8)
    assert [name for name, value in found.items() if name.startswith("format") and value] == [
        "format PNG"
    ]
    assert [name for name, value in found.items() if name.startswith("mode") and value] == [
        "mode L"
    ]
    assert (found["quantisation_luma"], found["has_exif"]) == (0, 0)
    assert found["grey_1"] == found["grey_50"] == found["grey_99"] == pytest.approx(0.2)
    assert found["black"] == found["white"] == pytest.approx(80 / 32000)
    assert found["corner_top_left"] == 0
    assert found["corner_bottom_right"] == 1
    assert found["corner_top_right"] == found["corner_bottom_left"] == pytest.approx(0.2)
    assert all(type(value) is float for value in found.values())


def test_features_tell_how_an_image_was_saved(tmp_path):
    coarse = stored(tmp_path / "a.jpg", kind="JPEG", quality=30)
    finer = stored(tmp_path / "b.jpg", kind="JPEG", quality=90)
    assert coarse["quantisation_luma"] > finer["quantisation_luma"] > 0
    assert coarse["bytes_per_pixel"] < finer["bytes_per_pixel"]
    assert coarse["quantisation_chroma"] == 0  # grey: no such table
    colour = tmp_path / "c.jpg"
    colour.write_bytes(encoded(Image.fromarray(grey(1)).convert("RGB"), "JPEG"))
    found = features_of(colour)
    assert (found["mode RGB"], found["mode L"]) == (1, 0)
    assert found["quantisation_chroma"] > 0
    tiff = stored(tmp_path / "d.tif", kind="TIFF")
    assert (tiff["format TIFF"], tiff["format JPEG"], tiff["has_exif"]) == (1, 0, 0)
    assert list(coarse) == list(found) == list(tiff)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_features_tell_whether_there_is_exif(tmp_path, kind):
    exif = Image.Exif()
    exif[34665] = {33434: 0.5}  # the exposure time
    # Once through a file: Pillow writes a TIFF with such EXIF only as it was read.
    exif = Image.open(io.BytesIO(encoded(grey(1), "PNG", exif=exif))).getexif()
    assert stored(tmp_path / "with", kind=kind, exif=exif)["has_exif"] == 1
    assert stored(tmp_path / "without", kind=kind)["has_exif"] == 0


def test_an_image_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "image.png").write_bytes(b"nothing")
    with pytest.raises(ImageError):
        features_of(tmp_path / "image.png")


def test_the_table_has_a_row_an_image_in_order(tmp_path):
    found = [features_of(write_image(tmp_path / f"{i}.png", i)) for i in range(5)]
    table, names = table_of(found)
    assert table.shape == (5, len(names))
    for row, one in zip(table, found, strict=True):
        assert dict(zip(names, row, strict=True)) == one
    assert len(np.unique(table, axis=0)) == 5


def test_what_is_known_of_patients_becomes_columns():
    cases = [
        case("1.png", age=70.0, sex="F", view="AP Supine"),
        case("2.png", age=-1.0, sex="M", view="Lateral decubitus"),
        case("3.png", sex="?"),
    ]
    table, names = demographics_table(cases)
    assert np.isnan(table[1:, 0]).all()
    assert table[0, 0] == 70
    marked = [{name for name, x in zip(names, row, strict=True) if x == 1} for row in table]
    assert marked == [
        {"sex F", "view AP Supine"},
        {"sex M", "view other"},
        {"sex not stated", "view not stated"},
    ]
    assert (table[:, 1:].sum(axis=1) == 2).all()


def test_no_case_is_refused():
    with pytest.raises(DataError) as error:
        demographics_table([])
    assert error.value.code == "no_images"


def test_an_artefact_of_the_file_gives_the_class_away(tmp_path):
    """The images of either class are drawn alike; one class was saved more coarsely."""
    cases = []
    for i in range(60):
        label = TWO.names[i % 2]
        path = tmp_path / f"{i}.jpg"
        path.write_bytes(encoded(grey(i), "JPEG", quality=85 if label == "covid19" else 90))
        cases.append(case(path, label))
    table, _ = table_of([features_of(one.path) for one in cases])
    planted = [TWO.target(one.label) for one in cases]
    assert auroc(table, planted) > 0.98
    assert auroc(table, planted, kind="linear") > 0.98
    unrelated = np.random.default_rng(1).permutation(planted)
    assert 0.3 < auroc(table, unrelated) < 0.7


@pytest.mark.parametrize("kind", ["trees", "linear"])
def test_unrelated_labels_are_not_told(kind):
    rng = np.random.default_rng(0)
    table, targets = rng.normal(size=(600, 5)), rng.integers(2, size=600)
    assert auroc(table, targets, kind=kind) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("kind", ["trees", "linear"])
def test_a_table_that_knows_the_patient_alone_does_not_tell_the_class(kind):
    """Images of a patient resemble each other; split by image they would tell the class."""
    rng = np.random.default_rng(3)
    of_patient, label = rng.normal(size=(40, 6)), rng.permutation(40) % 2
    patient = np.repeat(np.arange(40), 12)
    table = of_patient[patient] + rng.normal(scale=0.01, size=(480, 6))
    names = [f"p{i}" for i in patient]
    assert auroc(table, label[patient], names, kind=kind) < 0.65
    if kind == "trees":
        assert auroc(table, label[patient]) > 0.95  # every image its own patient: the leak


@pytest.mark.parametrize("kind", ["trees", "linear"])
def test_the_unknown_is_no_obstacle_and_no_column_is_lost(kind):
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    table = np.column_stack([np.full(200, np.nan), targets + rng.normal(scale=0.3, size=200)])
    table[::9, 1] = np.nan
    assert auroc(table, targets, kind=kind) > 0.9


def test_age_tells_children_from_adults():
    cases = [case(f"{i}.png", TWO.names[i % 2], age=(6.0, 60.0)[i % 2]) for i in range(60)]
    table, _ = demographics_table(cases)
    assert auroc(table, [i % 2 for i in range(60)]) == 1.0


@pytest.mark.slow
def test_scores_stand_in_the_order_of_the_rows_and_the_seed_alone_decides():
    rng = np.random.default_rng(0)
    table, targets = rng.normal(size=(90, 3)), np.arange(90) % 3
    labels = LabelSet(("a", "b", "absent", "c"))
    targets = np.array([0, 1, 3])[targets]
    names = [str(i) for i in range(90)]
    one, again, other = (baseline(table, targets, labels, names, names, seed=s) for s in (0, 0, 1))
    assert one.files == tuple(names)
    assert (one.targets == targets).all()
    assert (one.probabilities[:, 2] == 0).all()
    assert one.probabilities.sum(axis=1) == pytest.approx(1)
    assert (one.probabilities == again.probabilities).all()
    assert (one.probabilities != other.probabilities).any()


def test_a_class_with_few_patients_makes_fewer_folds_and_one_with_one_is_refused():
    targets = np.array([0] * 40 + [1] * 20)
    table = targets[:, None] + np.zeros((60, 2))
    two = [f"a{i}" for i in range(40)] + [f"b{i % 2}" for i in range(20)]
    assert auroc(table, targets, two) == 1.0
    for wrong, of in ((["b"] * 20, targets), (two[40:], targets * 0)):
        with pytest.raises(DataError, match="at least 2 patients") as error:
            auroc(table, of, two[:40] + wrong)
        assert error.value.code == "too_few"


def test_what_does_not_fit_together_is_refused():
    table, targets = np.zeros((10, 2)), np.arange(10) % 2
    for wrong in (table[:9], table[:, :0], table[:, 0]):
        with pytest.raises(DataError) as error:
            auroc(wrong, targets)
        assert error.value.code == "table"
    with pytest.raises(DataError) as error:
        auroc(table, targets + 1)
    assert error.value.code == "scores"
    with pytest.raises(UsageError, match="got 1"):
        auroc(table, targets, folds=1)
    with pytest.raises(UsageError, match="forest"):
        auroc(table, targets, kind="forest")


def of_sources(**numbers):
    """Cases of so many patients a source, two images each."""
    return [
        dataclasses.replace(case(f"{source}-{i}.png", patient=f"{source}-{i // 2}"), source=source)
        for source, number in numbers.items()
        for i in range(2 * number)
    ]


def test_a_source_that_features_show_is_told():
    cases = of_sources(ward=30, web=20)
    rng = np.random.default_rng(0)
    shown = np.array([[one.source == "web"] for one in cases])
    found = source_classifier(shown + rng.normal(scale=0.1, size=(100, 8)), cases, resamples=50)
    assert found["accuracy"]["value"] == 1.0
    assert 0.9 < found["accuracy"]["low"] < 1
    assert found["chance"] == 0.6
    assert (found["sources"], found["images"], found["patients"]) == (2, 100, 50)
    assert found["left_out"] == []
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    hidden = source_classifier(rng.normal(size=(100, 8)), cases, resamples=50)
    assert hidden["accuracy"]["low"] < 0.6


def test_small_sources_and_images_without_one_are_left_out_and_listed():
    cases = of_sources(ward=12, tiny=9, web=10)
    cases += [dataclasses.replace(case("x.png"), source="")]
    features = np.array([[one.source == "web", one.source == "ward"] for one in cases], dtype=float)
    found = source_classifier(features, cases, resamples=20)
    assert found["accuracy"]["value"] == 1.0
    assert found["chance"] == pytest.approx(24 / 44)
    assert (found["sources"], found["images"], found["patients"]) == (2, 44, 22)
    assert found["left_out"] == [
        {"source": "tiny", "images": 18, "patients": 9},
        {"source": "not stated", "images": 1, "patients": 1},
    ]


def test_one_source_is_told_from_nothing():
    cases = of_sources(ward=12, tiny=3)
    found = source_classifier(np.zeros((30, 2)), cases)
    assert found["accuracy"] is found["chance"] is None
    assert (found["sources"], found["left_out"][0]["source"]) == (1, "tiny")


def test_features_of_other_images_are_refused():
    with pytest.raises(DataError, match="20 images, but got 3") as error:
        source_classifier(np.zeros((3, 2)), of_sources(ward=10))
    assert error.value.code == "table"
