"""From a file to an answer: the same for one image as for many, in order, whatever they are."""

import csv
import io
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cxr_transfer.errors import ModelError
from cxr_transfer.export import openvino
from cxr_transfer.export.metadata import kept_conversion, read_export_metadata
from cxr_transfer.export.self_test import self_test_image
from cxr_transfer.inference.predictor import BATCH, Predictor
from cxr_transfer.inference.prepare import prepare
from cxr_transfer.inference.writers import as_csv, as_json, as_lines
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.metadata import read_card
from cxr_transfer.radiograph import decode, read_radiograph
from made import chest, write_image
from made_dicom import dataset
from random_checkpoint import any_network


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """More than two batches, a damaged file and an absent one among them."""
    root = tmp_path_factory.mktemp("images")
    files = [write_image(root / f"{number:02}.png", number) for number in range(2 * BATCH + 3)]
    files[5].write_bytes(b"no image at all")
    files[20].unlink()
    return files


def test_scores_are_the_checkpoints_own(checkpoint, files):
    card, network = load_checkpoint(checkpoint)
    answer = Predictor.open(checkpoint).predict(files[0])
    image = torch.from_numpy(card.preprocessing.apply(read_radiograph(files[0])))[None, None]
    expected = probabilities(network, image)[0].numpy()
    assert list(answer.probabilities) == list(card.labels)
    assert np.allclose(list(answer.probabilities.values()), expected, atol=1e-5)
    assert answer.label == card.labels[int(expected.argmax())]
    assert answer.status == "ok"
    assert card.weights_sha256[:12] in answer.model


def test_many_are_answered_in_order_as_one_is_and_a_bad_file_stops_nobody(checkpoint, files):
    predictor = Predictor.open(checkpoint)
    answers = list(predictor.predict_files(files))
    assert [answer.file for answer in answers] == [str(file) for file in files]
    bad = {answer.file: answer.code for answer in answers if answer.status == "error"}
    assert bad == {str(files[5]): "unsupported_format", str(files[20]): "missing_file"}
    for number in (0, 17, len(files) - 1):
        alone = predictor.predict(files[number])
        assert alone.label == answers[number].label
        assert alone.probabilities == pytest.approx(answers[number].probabilities, abs=2e-6)


@any_network
def test_what_an_answer_was_made_from_is_kept_where_it_is_asked_for(checkpoint, files):
    predictor = Predictor.open(checkpoint)
    expected = [replace(answer, ms=0.0) for answer in predictor.predict_files(files)]
    kept = [*predictor.predict_and_keep(files)]
    assert [replace(answer, ms=0.0) for answer, _ in kept] == expected
    for file, (answer, prepared) in zip(files, kept, strict=True):
        if answer.status == "error":
            assert (prepared.image, prepared.radiograph) == (None, None)
        else:
            assert prepared.radiograph.digest() == read_radiograph(file).digest()


@any_network
def test_many_threads_get_the_answers_that_one_gets(checkpoint, files):
    predictor = Predictor.open(checkpoint)
    images = [file for file in files if file.is_file()] * 2

    def untimed(radiograph):
        return replace(predictor.predict(radiograph), ms=0.0)

    expected = [untimed(radiograph) for radiograph in images]
    for number in (2, 12):
        with ThreadPoolExecutor(number) as pool:
            assert list(pool.map(untimed, images)) == expected


@any_network
def test_several_batches_at_once_are_those_of_one_thread(checkpoint, files):
    predictor = Predictor.open(checkpoint)

    def all_of_them(_):
        return [replace(answer, ms=0.0) for answer in predictor.predict_files(files, workers=2)]

    expected = all_of_them(0)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(all_of_them, range(4))) == [expected] * 4


@any_network
def test_an_image_has_one_answer_in_every_form(checkpoint, files):
    predictor = Predictor.open(checkpoint)
    expected = predictor.predict(files[0])
    grey = chest()
    with files[0].open("rb") as handle, Image.open(files[0]) as image:
        given = [files[0].read_bytes(), handle, grey, image, dataset(grey)]
        for radiograph in given:
            answer = predictor.predict(radiograph)
            assert replace(answer, ms=0.0) == replace(expected, file="", ms=0.0)
        handle.seek(0)
        for answer in predictor.predict_files(given):
            assert (answer.file, answer.label) == ("", expected.label)
            assert answer.probabilities == pytest.approx(expected.probabilities, abs=2e-6)
    deep = grey.astype(np.uint16) * 16
    assert predictor.predict(deep, value_range=(0, 4080)).probabilities == expected.probabilities
    (answer,) = predictor.predict_files([deep], value_range=(0, 4080))
    assert answer.probabilities == expected.probabilities


@any_network
def test_an_array_that_is_filled_anew_is_each_image_in_its_turn(checkpoint, files):
    predictor = Predictor.open(checkpoint)
    images = [chest(seed)[:140, :140] for seed in range(6)]
    expected = [predictor.predict(radiograph).probabilities for radiograph in images]
    buffer = np.empty_like(images[0])

    def one_after_the_other():
        for radiograph in images:
            buffer[:] = radiograph
            yield buffer

    found = predictor.predict_files(one_after_the_other())
    for answer, scores in zip(found, expected, strict=True):
        assert answer.probabilities == pytest.approx(scores, abs=2e-6)


@any_network
def test_one_image_where_a_list_is_meant_is_no_answer_for_each_letter(checkpoint, files):
    predictor = Predictor.open(checkpoint)
    grey = chest()
    for one in ("a.png", files[0], b"abc", grey, Image.fromarray(grey), dataset(grey), None, 7):
        with pytest.raises(TypeError, match="Expected a list of images"):
            predictor.predict_files(one)  # before anybody asks for the first answer


@any_network
def test_what_is_no_image_is_a_type_error_and_no_row(checkpoint, files):
    predictor = Predictor.open(checkpoint)
    for wrong in (None, 7, [files[0]], grey_of_three_dimensions()):
        with pytest.raises(TypeError, match="Expected a"):
            predictor.predict(wrong)
        with pytest.raises(TypeError, match="Expected a"):
            predictor.predict_files([files[0], wrong])
        with pytest.raises(TypeError, match="Expected a"):
            list(predictor.predict_files(iter([files[0], wrong])))
    with pytest.raises(TypeError, match="value_range"):
        predictor.predict(np.zeros((150, 150), np.uint16))


def grey_of_three_dimensions():
    return np.zeros((150, 150, 3), np.uint8)


@any_network
def test_the_second_opening_needs_no_conversion(checkpoint, files, monkeypatch):
    first = Predictor.open(checkpoint).predict(files[1])
    monkeypatch.setattr("cxr_transfer.export.openvino.convert", None)
    again = Predictor.open(checkpoint).predict(files[1])
    assert again.probabilities == first.probabilities


@pytest.mark.slow
@any_network
def test_two_checkpoints_of_the_same_weights_are_not_mixed_up(
    checkpoint, files, monkeypatch, tmp_path
):
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    card = read_card(checkpoint / "checkpoint.json")
    coarse = card.preprocessing.model_copy(update={"detail": 16})
    changed = card.model_copy(update={"name": "other", "preprocessing": coarse})
    (other / "checkpoint.json").write_text(changed.model_dump_json())
    _, network = load_checkpoint(checkpoint)
    for folder, own in ((checkpoint, card), (other, changed), (checkpoint, card)):
        predictor = Predictor.open(folder)
        assert predictor.card == own
        image = torch.from_numpy(own.preprocessing.apply(read_radiograph(files[0])))[None, None]
        expected = probabilities(network, image)[0].tolist()
        answer = predictor.predict(files[0])
        assert answer.model.startswith(f"{own.name} ")
        assert list(answer.probabilities.values()) == pytest.approx(expected, abs=1e-5)


@any_network
def test_a_kept_conversion_is_read_once(checkpoint, monkeypatch):
    Predictor.open(checkpoint)
    read = []
    monkeypatch.setattr(
        "cxr_transfer.inference.kept_conversions.read_export_metadata",
        lambda path: read.append(path) or read_export_metadata(path),
    )
    Predictor.open(checkpoint)
    assert len(read) == 1


@pytest.mark.slow
@any_network
def test_a_conversion_that_an_older_version_kept_is_made_anew(checkpoint, monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_CACHE", str(tmp_path))
    kept = kept_conversion(read_card(checkpoint / "checkpoint.json"), tmp_path)
    Predictor.open(checkpoint)
    content = json.loads(kept.with_suffix(".json").read_text())
    del content["made_on"]
    kept.with_suffix(".json").write_text(json.dumps(content | {"schema_version": 3}))
    assert Predictor.open(checkpoint).converted.made_on
    assert json.loads(kept.with_suffix(".json").read_text())["schema_version"] == 5


def test_the_self_test_image_scores_as_the_checkpoints_own_network_scored_it(checkpoint):
    card, network = load_checkpoint(checkpoint)
    predictor = Predictor.open(checkpoint)
    image = torch.from_numpy(card.preprocessing.apply(decode(self_test_image())))[None, None]
    expected = probabilities(network, image)[0].tolist()
    self_test = predictor.converted.self_test
    assert list(self_test.scores) == list(card.labels)
    assert list(self_test.scores.values()) == pytest.approx(expected, abs=1e-7)
    assert self_test.tolerance == 1e-4
    prepared = prepare(self_test_image(), card.preprocessing, quality_control=False)
    predictor.check(prepared)

    label = card.labels[1]
    for wrong in (self_test.scores[label] + 2e-4, float("nan")):
        scores = self_test.scores | {label: wrong}
        other = self_test.model_copy(update={"scores": scores})
        predictor.converted = predictor.converted.model_copy(update={"self_test": other})
        with pytest.raises(ModelError, match=label) as raised:
            predictor.check(prepared)
        assert raised.value.code == "self_test"
        assert "\n" not in raised.value.message
    with pytest.raises(ModelError, match="to be read"):
        predictor.check(prepare(b"no image", card.preprocessing))


@any_network
def test_nothing_but_bad_files_is_answered_too(checkpoint, files):
    (answer,) = Predictor.open(checkpoint).predict_files([files[5]])
    assert (answer.status, answer.label, answer.probabilities) == ("error", None, {})


@any_network
def test_answers_are_whole_as_json_csv_and_lines(checkpoint, files):
    predictor = Predictor.open(checkpoint)
    labels = predictor.card.labels
    answers = list(predictor.predict_files(files[4:6]))
    good, bad = (json.loads(line) for line in as_json(answers, labels))
    assert good["label"] in labels
    assert sum(good["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert bad["code"] == "unsupported_format"
    rows = list(csv.DictReader(as_csv(answers, labels)))
    assert float(rows[0][f"score_{labels[0]}"]) == good["probabilities"][labels[0]]
    assert rows[1]["score_normal"] == ""
    lines = list(as_lines(answers, labels))
    assert good["label"] in lines[0]
    assert "[unsupported_format]" in lines[1]


@any_network
def test_a_name_moves_no_cursor_and_is_no_formula(checkpoint):
    answers = list(Predictor.open(checkpoint).predict_files(["=cmd()\x1b[2J\n.png"]))
    labels = ("normal", "bacterial", "covid19")
    (line,) = as_lines(answers, labels)
    assert line.isprintable()
    row = list(csv.reader(io.StringIO("\n".join(as_csv(answers, labels)))))[1]
    assert row[0] == "'=cmd()\x1b[2J\n.png"


@pytest.mark.slow
@any_network
def test_threads_that_open_a_checkpoint_at_once_convert_it_once(
    checkpoint, files, monkeypatch, tmp_path
):
    monkeypatch.setenv("CXR_CACHE", str(tmp_path))
    made, start = [], threading.Barrier(4)

    def opened(_):
        start.wait()
        return Predictor.open(checkpoint).predict(files[0]).probabilities

    convert = openvino.convert
    monkeypatch.setattr(openvino, "convert", lambda *given: made.append(given) or convert(*given))
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(opened, range(4))
    assert len(made) == 1
    assert all(scores == first for scores in others)


@pytest.mark.slow
@any_network
def test_a_cache_that_cannot_be_written_stops_no_prediction(
    checkpoint, files, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    expected = Predictor.open(checkpoint).predict(files[0])
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "file" / "cache"))
    predictor = Predictor.open(checkpoint)
    assert predictor.predict(files[0]).probabilities == expected.probabilities
    assert str(tmp_path / "file" / "cache") in predictor.cache_note
    assert "CXR_CACHE" in predictor.cache_note
    assert predictor.cache_note not in predictor.notes, "a server's folders are nobody's business"
    again = Predictor.open(checkpoint)
    assert again.predict(files[0]).probabilities == expected.probabilities


@pytest.mark.slow
@any_network
def test_a_cache_that_has_the_network_need_not_be_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_CACHE", str(tmp_path))
    assert Predictor.open(checkpoint).cache_note == ""
    for folder in sorted(tmp_path.rglob("*"), reverse=True):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    tmp_path.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert Predictor.open(checkpoint).cache_note == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
