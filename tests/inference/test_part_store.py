"""A table and its parts in an object store: the bytes of one on this machine, resumed, guarded."""

import json

import pytest

from cxr_transfer import storage
from cxr_transfer.errors import DataError, MachineError, UsageError
from cxr_transfer.inference import table
from cxr_transfer.inference.part_store import partial_folder
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.table import predict_into
from made_store import BUCKET, connected, made_store

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
pytestmark = pytest.mark.parametrize("checkpoint", ["simple_cnn"], indirect=True)


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor.open(checkpoint)


@pytest.fixture(scope="module")
def made():
    with made_store() as store:
        store.files = [*store.put_images("images", 12) * 2]
        yield store


@pytest.fixture
def store(made, monkeypatch):
    monkeypatch.setattr(table, "CHUNK", 16)
    with connected(made.environment, monkeypatch):
        yield made


class StoppedError(Exception):
    pass


def stop_at(number):
    told = []

    def each():
        told.append(1)
        if len(told) == number:
            raise StoppedError

    return each


def refusal(act, code, kind=UsageError):
    with pytest.raises(kind) as raised:
        act()
    assert raised.value.code == code
    return raised.value.message


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_from_a_store_into_a_store_is_the_table_of_this_machine(predictor, store, tmp_path, suffix):
    here, there = tmp_path / f"x{suffix}", f"s3://{BUCKET}/whole/x{suffix}"
    summary = predict_into(predictor, store.files, here)
    assert summary.error == 4
    assert predict_into(predictor, store.files, there) == summary
    assert store.get(f"whole/x{suffix}") == here.read_bytes()
    assert store.keys("whole/x.csv.partial") == []
    refusal(lambda: predict_into(predictor, store.files, there), "out_exists")


def test_objects_are_judged_as_files_of_the_same_bytes_are(predictor, store, tmp_path):
    """All that a row says, but its name: the damaged, the absent and the too large one, too."""
    import csv

    large = store.put("images/large.png", bytes(64 * 1024 * 1024 + 1))
    dicom = store.put("images/wrong.dcm", store.get("images/00.png"))
    files = [*store.files[:12], large, dicom]
    paths = [tmp_path / file.rpartition("/")[2] for file in files]
    for path in paths:
        if f"images/{path.name}" in store.keys("images"):
            path.write_bytes(store.get(f"images/{path.name}"))
    tables = []
    for name, listed in (("there.csv", files), ("here.csv", paths)):
        predict_into(predictor, listed, tmp_path / name)
        with (tmp_path / name).open(newline="") as handle:
            tables.append([dict(row, file="") for row in csv.DictReader(handle)])
    there, here = tables
    assert [row["code"] for row in there] == [row["code"] for row in here]
    assert there[12]["code"] == "too_many_bytes"
    for one, other in zip(there[:12] + there[13:], here[:12] + here[13:], strict=True):
        assert one == other


def test_what_was_stopped_goes_on_from_what_lies_in_the_store(predictor, store, tmp_path):
    out = f"s3://{BUCKET}/stopped/x.csv"
    with pytest.raises(StoppedError):
        predict_into(predictor, store.files, out, on_image=stop_at(20))
    assert store.keys("stopped") == [
        "stopped/x.csv.partial/000000.jsonl",
        "stopped/x.csv.partial/run.json",
    ]
    said = refusal(lambda: predict_into(predictor, store.files[1:], out), "other_run")
    assert partial_folder(out) in said
    assert predict_into(predictor, store.files, out).resumed == 16
    predict_into(predictor, store.files, tmp_path / "x.csv")
    assert store.get("stopped/x.csv") == (tmp_path / "x.csv").read_bytes()


def test_a_run_that_was_killed_before_it_could_tidy_up_is_done(predictor, store, monkeypatch):
    out = f"s3://{BUCKET}/tidy/x.csv"
    with table.resumable(predictor, store.files, out) as parts:
        for number in parts.missing():
            found = predictor.predict_files(parts.chunk(number))
            parts.keep(number, [answer.as_dict() for answer in found])
    store.put("tidy/x.csv", b"the table, whole, and its parts are still there")
    assert predict_into(predictor, store.files, out).resumed == 24
    assert store.keys("tidy") == ["tidy/x.csv"]
    assert store.get("tidy/x.csv").startswith(b"file,")


@pytest.mark.parametrize(
    "others",
    [
        {"thesis.odt": b"three years"},
        {"000000.jsonl": b"of somebody"},
        {"run.json": b"[1]", "000000.jsonl": b"of somebody"},
        {"run.json": b"no JSON"},
    ],
)
def test_objects_of_somebody_else_are_neither_used_nor_deleted(predictor, store, others):
    name = "-".join(sorted(others)) + str(len(others["run.json"]) if "run.json" in others else "")
    for key, content in others.items():
        store.put(f"theirs/{name}.csv.partial/{key}", content)
    out = f"s3://{BUCKET}/theirs/{name}.csv"
    refusal(lambda: predict_into(predictor, store.files, out), "foreign_folder")
    for key, content in others.items():
        assert store.get(f"theirs/{name}.csv.partial/{key}") == content


def test_of_two_runs_that_begin_at_once_the_first_one_has_the_place(predictor, store):
    """What the second one finds when it writes its record is what counts."""
    from cxr_transfer.inference.part_store import part_store

    parts = part_store(f"s3://{BUCKET}/race/x.csv")
    assert parts.begun() is None
    assert parts.begin({"files": 1}) == {"files": 1}
    assert parts.begin({"files": 2}) == {"files": 1}
    assert json.loads(store.get("race/x.csv.partial/run.json")) == {"files": 1}


def test_a_damaged_part_is_named(predictor, store):
    out = f"s3://{BUCKET}/damaged/x.csv"
    with table.resumable(predictor, store.files, out) as parts:
        parts.keep(0, [{"file": "another"}])
    said = refusal(lambda: predict_into(predictor, store.files, out), "damaged_part", DataError)
    assert f"{out}.partial/000000.jsonl" in said


def test_a_store_that_goes_away_stops_the_run_and_makes_no_rows(predictor, store, monkeypatch):
    """Rows that say "unreadable" would stay for ever; the same command goes on instead."""
    out = f"s3://{BUCKET}/away/x.csv"
    with pytest.raises(StoppedError):
        predict_into(predictor, store.files, out, on_image=stop_at(20))
    monkeypatch.setattr(storage, "ATTEMPTS", 1)
    with connected({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, monkeypatch):
        refusal(
            lambda: predict_into(predictor, store.files, out), "storage_unreachable", MachineError
        )
    with connected(store.environment, monkeypatch):
        assert predict_into(predictor, store.files, out).resumed == 16


def test_a_secret_in_any_name_is_refused_before_anything_is_written(predictor, store, tmp_path):
    bad = "s3://AKIA:secret@films/a.png"
    for files, out in (([bad], tmp_path / "x.csv"), (store.files, f"{bad}.csv")):
        said = refusal(lambda f=files, o=out: predict_into(predictor, f, o), "bad_storage_address")
        assert "secret" not in said
    assert not list(tmp_path.iterdir())
