"""One table for any number of files; what was killed ends on the bytes of what was not."""

import builtins
import csv
import dataclasses
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cxr_transfer import INTENDED_USE
from cxr_transfer.datasets.image_files import images_in
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.errors import DataError, MachineError, UsageError
from cxr_transfer.inference import table
from cxr_transfer.inference.part_store import partial_folder
from cxr_transfer.inference.prediction import COLUMNS
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.table import Summary, predict_into
from cxr_transfer.own_folder import lock_folder
from cxr_transfer.training.reference import learn_reference
from made import chest, full_disk

pytestmark = pytest.mark.parametrize("checkpoint", ["simple_cnn"], indirect=True)

SCRIPT = """
import sys, time
from pathlib import Path
from cxr_transfer.inference import table
from cxr_transfer.inference.predictor import Predictor

checkpoint, listed, out, stop = sys.argv[1:]
table.CHUNK, table.ROW_GROUP = 16, 40
files = Path(listed).read_text().splitlines()
done = 0

def each():
    global done
    done += 1
    if done == int(stop):
        print("now", flush=True)
        time.sleep(600)

print(table.predict_into(Predictor.open(checkpoint), files, Path(out), on_image=each))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """70 rows of 20 files: images, a blank one, a damaged and an absent one."""
    root = tmp_path_factory.mktemp("images")
    paths = [root / f"{number:02}.png" for number in range(20)]
    for seed, path in enumerate(paths):
        image = draw_radiograph(("normal", "covid19")[seed % 2], rng=np.random.default_rng(seed))
        Image.fromarray(image).save(path)
    paths[3].write_bytes(b"no image at all")
    paths[4].unlink()
    Image.new("L", (200, 200), 0).save(paths[5])
    return [paths[number % 20] for number in range(70)]


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor.open(checkpoint)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(table, "CHUNK", 16)
    monkeypatch.setattr(table, "ROW_GROUP", 40)


def rows_of(path):
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def refusal(act, code, kind=UsageError):
    with pytest.raises(kind) as raised:
        act()
    assert raised.value.code == code
    return raised.value.message


def start(checkpoint, files, out, stop=0):
    listed = out.with_name("files.txt")
    listed.write_text("\n".join(map(str, files)))
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(checkpoint), str(listed), str(out), str(stop)],
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_at(checkpoint, files, out, stop):
    """Kill -9 when ``stop`` files have been answered."""
    process = start(checkpoint, files, out, stop)
    line = process.stdout.readline()
    process.kill()
    process.communicate()
    assert line == "now\n"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_for_every_file_in_order_as_the_predictor_answers(predictor, files, tmp_path, suffix):
    out = tmp_path / f"results{suffix}"
    summary = predict_into(predictor, files, out)
    rows = rows_of(out)
    assert [row["file"] for row in rows] == [str(file) for file in files]
    labels = predictor.card.labels
    scores = [f"score_{label}" for label in labels]
    assert list(rows[0]) == [*COLUMNS[:5], *scores, *(c for c in COLUMNS[5:] if c != "ms")]
    answers = list(predictor.predict_files(files))
    for row, answer in zip(rows, answers, strict=True):
        assert (row["status"], row["code"]) == (answer.status, answer.code)
        assert (row["label"] or None) == answer.label
        for label in labels:
            score = row[f"score_{label}"]
            found = None if score in ("", None) else float(score)
            assert found == pytest.approx(answer.probabilities.get(label), abs=2e-6)
    statuses = [answer.status for answer in answers]
    counts = (statuses.count(status) for status in ("ok", "cannot_assess", "error"))
    assert summary == Summary(70, *counts, resumed=0)
    assert summary.ok > 40
    assert summary.cannot_assess > 0
    assert summary.error == 8
    assert os.listdir(tmp_path) == [out.name]


def test_parquet_says_what_it_is_for(predictor, files, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    predict_into(predictor, files[:4], tmp_path / "x.parquet")
    said = parquet.read_schema(tmp_path / "x.parquet").metadata
    assert said[b"intended_use"].decode() == INTENDED_USE
    assert json.loads(said[b"labels"]) == list(predictor.card.labels)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_was_killed_goes_on_and_ends_on_the_same_bytes(
    checkpoint, predictor, files, tmp_path, suffix
):
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"killed{suffix}"
    predict_into(predictor, files, whole)
    for stop in (20, 60):  # in the second chunk of five, and in the fourth
        kill_at(checkpoint, files, out, stop)
        assert not out.exists()
    process = start(checkpoint, files, out)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0
    assert "resumed=48" in said, "the chunks that were done are not done again"
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_a_run_that_was_killed_before_it_could_tidy_up_is_done(predictor, files, tmp_path):
    out = tmp_path / "x.csv"
    with table.resumable(predictor, files[:20], out) as parts:
        for number in parts.missing():
            found = predictor.predict_files(parts.chunk(number))
            parts.keep(number, [answer.as_dict() for answer in found])
    out.write_text("the table, whole, and its parts are still there")
    assert predict_into(predictor, files[:20], out).resumed == 20
    assert len(rows_of(out)) == 20


def left(folder):
    """Names and contents of all that lies in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "others",
    [
        {"thesis.odt": b"three years"},
        {"000000.jsonl": b"of somebody"},
        {"run.json": b"[1]", "000000.jsonl": b"of somebody"},
        {"run.json": b"no JSON"},
        {".lock": b"", ".0a.part": b"a hidden file"},
    ],
)
def test_a_folder_of_somebody_elses_is_neither_used_nor_emptied(predictor, files, tmp_path, others):
    out, folder = tmp_path / "x.csv", tmp_path / "x.csv.partial"
    folder.mkdir()
    for name, content in others.items():
        (folder / name).write_bytes(content)
    said = refusal(lambda: predict_into(predictor, files[:20], out), "foreign_folder")
    assert "x.csv.partial" in said
    assert left(folder) == others
    assert not out.exists()


def test_the_record_of_another_kind_of_run_is_refused(predictor, files, tmp_path):
    folder = tmp_path / "x.csv.partial"
    folder.mkdir()
    (folder / "run.json").write_text('{"recipe": {}, "seed": 0}')
    (folder / "log.txt").write_text("of a training")
    refusal(lambda: predict_into(predictor, files[:20], tmp_path / "x.csv"), "other_run")
    assert sorted(left(folder)) == ["log.txt", "run.json"]


def test_a_link_in_the_place_of_the_folder_is_refused(predictor, files, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x.csv.partial").symlink_to("elsewhere")
    refusal(lambda: predict_into(predictor, files[:20], tmp_path / "x.csv"), "foreign_folder")
    assert left(tmp_path / "elsewhere") == {}
    assert (tmp_path / "x.csv.partial").is_symlink()


def test_what_comes_into_the_folder_meanwhile_stays(predictor, files, tmp_path):
    out, folder = tmp_path / "x.csv", tmp_path / "x.csv.partial"

    def on_image():
        (folder / "thesis.odt").write_bytes(b"three years")

    predict_into(predictor, files[:20], out, on_image=on_image)
    assert len(rows_of(out)) == 20
    assert left(folder) == {"thesis.odt": b"three years"}


def test_what_a_killed_write_left_is_no_obstacle_and_is_tidied_away(predictor, files, tmp_path):
    folder = tmp_path / "x.csv.partial"
    folder.mkdir()
    for end in ("part", "scratch"):
        (folder / f".{'0a' * 16}.{end}").write_bytes(b"half")
    (folder / ".lock").touch()
    predict_into(predictor, files[:20], tmp_path / "x.csv")
    assert not folder.exists()


@pytest.mark.slow
def test_another_run_in_the_same_place_is_refused(checkpoint, predictor, files, tmp_path):
    out = tmp_path / "x.csv"
    kill_at(checkpoint, files, out, 40)
    before = sorted(file.name for file in (tmp_path / "x.csv.partial").iterdir())
    for other, settings, named in (
        (files[1:], {}, "files_sha256"),
        (files[::-1], {}, "files_sha256"),
        (files, {"precision": "bfloat16"}, "settings"),
    ):
        said = refusal(
            lambda o=other, s=settings: predict_into(predictor, o, out, settings=s), "other_run"
        )
        assert named in said
        assert ("the same by other names or paths" in said) == (named == "files_sha256")
    assert sorted(file.name for file in (tmp_path / "x.csv.partial").iterdir()) == before
    with lock_folder(tmp_path / "x.csv.partial"):
        refusal(lambda: predict_into(predictor, files, out), "folder_in_use")


@pytest.mark.slow
def test_other_weights_in_the_same_place_are_refused(checkpoint, predictor, files, tmp_path):
    from cxr_transfer.export.openvino import convert

    out = tmp_path / "x.csv"
    kill_at(checkpoint, files, out, 20)
    convert(
        checkpoint,
        tmp_path / "int8.xml",
        precision="int8",
        calibration=np.random.default_rng(0).integers(0, 256, (8, 1, 48, 48), dtype=np.uint8),
    )
    small = Predictor.open(tmp_path / "int8.xml")
    assert "network" in refusal(lambda: predict_into(small, files, out), "other_run")


def test_other_limits_of_the_same_weights_are_refused(checkpoint, files, tmp_path):
    predictor, out = Predictor.open(checkpoint), tmp_path / "x.csv"
    rng = np.random.default_rng(0)
    fitted = learn_reference(
        rng.normal(size=(20, 8)).astype(np.float32),
        labels=["normal"] * 20,
        sources=["here"] * 20,
        held_out=rng.normal(size=(9, 8)).astype(np.float32),
        weights_sha256=predictor.card.weights_sha256,
        temperature=1.5,
    )
    known = dataclasses.replace(fitted, confidence_threshold=0.5, coverage=0.9)
    predictor.reference = known
    with table.resumable(predictor, files, out):
        pass
    for name in ("temperature", "far_distance", "ood_distance", "confidence_threshold", "coverage"):
        other = dataclasses.replace(known, **{name: 0.75 * getattr(known, name)})
        predictor.reference = other
        said = refusal(lambda: predict_into(predictor, files, out), "other_run")
        assert f"differs in {name};" in said
    predictor.reference = None
    assert "coverage" in refusal(lambda: predict_into(predictor, files, out), "other_run")
    predictor.reference = known
    with table.resumable(predictor, files, out) as parts:
        assert parts.missing()


def test_a_table_that_is_there_is_never_overwritten(predictor, files, tmp_path):
    out = tmp_path / "x.csv"
    out.write_text("somebody's work")
    assert "delete it" in refusal(lambda: predict_into(predictor, files, out), "out_exists")
    assert out.read_text() == "somebody's work"


def test_what_cannot_become_a_table_is_refused_before_any_image(predictor, files, tmp_path):
    refusal(lambda: predict_into(predictor, files, tmp_path / "x.xlsx"), "unknown_format")
    refusal(lambda: predict_into(predictor, [], tmp_path / "x.csv"), "empty", DataError)
    assert not list(tmp_path.iterdir())


def test_missing_pyarrow_is_named_before_any_image(predictor, files, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name == "pyarrow":
            raise ImportError(name=name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    out = tmp_path / "x.parquet"
    said = refusal(lambda: predict_into(predictor, files, out), "missing_package", MachineError)
    assert "cxr-transfer[parquet]" in said
    assert not list(tmp_path.iterdir())
    script = "import sys, cxr_transfer.inference.table; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_a_full_disk_is_named_and_the_run_goes_on_where_it_was(predictor, files, tmp_path):
    out = tmp_path / "x.csv"
    # Room for a chunk, not for the table.
    with full_disk(9_000):
        said = refusal(lambda: predict_into(predictor, files, out), "disk_full", MachineError)
    assert "free some space" in said
    assert not out.exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert predict_into(predictor, files, out).resumed == 70
    with full_disk(100):
        refusal(
            lambda: predict_into(predictor, files, tmp_path / "y.csv"), "disk_full", MachineError
        )
    assert not (tmp_path / "y.csv").exists()


def test_where_nothing_can_be_written_is_said_before_any_image(predictor, files, tmp_path):
    (tmp_path / "file").touch()
    told = []
    out = tmp_path / "file" / "x.csv"
    refusal(
        lambda: predict_into(predictor, files, out, on_image=lambda: told.append(1)),
        "not_writable",
        MachineError,
    )
    assert not told


def test_a_damaged_part_is_named(predictor, files, tmp_path):
    out = tmp_path / "x.csv"
    with table.resumable(predictor, files, out) as parts:
        parts.keep(0, [{"file": "another"}])
    (part,) = (tmp_path / "x.csv.partial").glob("*.jsonl")
    assert str(part) in refusal(
        lambda: predict_into(predictor, files, out), "damaged_part", DataError
    )
    for content in ("{", "[]", "{}", "", '{"file": "x"}'):
        part.write_text(content)
        refusal(lambda: predict_into(predictor, files, out), "damaged_part", DataError)
    part.unlink()
    assert predict_into(predictor, files, out).resumed == 54


@pytest.mark.slow
def test_every_file_is_told_once_those_of_before_too(checkpoint, predictor, files, tmp_path):
    told = []
    kill_at(checkpoint, files, tmp_path / "x.csv", 40)
    predict_into(predictor, files, tmp_path / "x.csv", on_image=lambda: told.append(1))
    assert len(told) == len(files)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_that_are_hard_to_write(predictor, tmp_path, suffix):
    names = ["=cmd()", 'a\rb\nc,"d".png', "Röntgen 胸.png", os.fsdecode(b"\xff.png"), "a\0b"]
    out = tmp_path / f"x{suffix}"
    predict_into(predictor, names, out)
    content = out.read_bytes()
    if suffix == ".csv":
        text = content.decode(errors="surrogateescape")
        found = [row[0] for row in csv.reader(text.splitlines(keepends=True))][1:]
        assert found == ["'=cmd()", *names[1:]]
    else:
        assert [row["file"] for row in rows_of(out)] == [*names[:3], "\\xff.png", names[4]]


def test_one_path_where_a_list_is_meant_and_what_is_no_path_are_type_errors(predictor, tmp_path):
    out = tmp_path / "out.csv"
    for wrong in ("a.png", b"a.png", tmp_path, None, 7):
        with pytest.raises(TypeError, match="Expected a list of paths"):
            predict_into(predictor, wrong, out)
    for wrong in (b"content", None, 7, ["a.png"], chest()):
        with pytest.raises(TypeError, match="Expected paths"):
            predict_into(predictor, ["a.png", wrong], out)
    assert not list(tmp_path.iterdir())


def test_a_table_among_the_images_is_no_image_and_goes_on_where_it_was(predictor, tmp_path):
    for seed in range(20):
        image = draw_radiograph("normal", rng=np.random.default_rng(seed))
        Image.fromarray(image).save(tmp_path / f"{seed:02}.png")
    out = tmp_path / "answers.csv"

    def listed():
        return list(images_in([tmp_path], leave_out=[out, partial_folder(out)]))

    before = listed()
    with table.resumable(predictor, before, out) as parts:
        found = predictor.predict_files(parts.chunk(0))
        parts.keep(0, [answer.as_dict() for answer in found])
    assert listed() == before
    assert predict_into(predictor, listed(), out).resumed == 16
    assert [row["file"] for row in rows_of(out)] == [str(path) for path in before]
    assert listed() == before
