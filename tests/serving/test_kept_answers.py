"""Answers that a server keeps: what stands there, what does not, and who reads it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from cxr_transfer.acceptance.answers import read_answers, read_outcomes
from cxr_transfer.errors import DataError, MachineError
from cxr_transfer.serving.kept_answers import KeptAnswers, kept_facts
from cxr_transfer.serving.metrics import Metrics
from serving.asking import as_bytes, phantom, running, send

ANSWER = {
    "file": "Doe^Jane.dcm",
    "sha256": "ab" * 32,
    "model": "small 0123456789ab",
    "status": "ok",
    "code": "",
    "message": "Doe",
    "label": "covid19",
    "probabilities": {"normal": 0.25, "covid19": 0.75},
    "warnings": ["Doe"],
    "unusual": True,
    "trained_on": False,
    "heat_map": "data:image/png;base64,AAAA",
}


def test_what_a_server_answers_is_what_the_monitor_reads(checkpoint, tmp_path):
    folder, images = tmp_path / "answers", [as_bytes(phantom(seed)) for seed in range(3)]
    with running(checkpoint, KEEP_ANSWERS=str(folder)) as server, server.client() as client:
        told = send(client, *images, name="Doe^Jane.png").json()["answers"]
        send(client, images[0])  # asked again: it counts once
        uploaded = client.post("/v1/images", files={"files": images[1]}).json()["images"][0]
        client.post(f"/v1/images/{uploaded['sha256']}/predictions")
        send(client, b"no image", as_bytes(phantom()))
        assert "cxr_answers_lost 0.0" in client.get("/metrics").text
    (table,) = folder.iterdir()
    assert "Doe" not in table.read_text()
    answers = read_answers([folder], ("covid19",))
    scores = {row.sha256: row.score for row in answers.rows if row.score is not None}
    for answer, image in zip(told, images, strict=True):
        digest = hashlib.sha256(image).hexdigest()
        assert scores[digest] == pytest.approx(answer["probabilities"]["covid19"])
    assert len(scores) == 3
    assert answers.repeated == 3
    assert [row.status for row in answers.rows if row.score is None] == ["error"]
    assert answers.days_from == {"the row": 7}
    content, out = monitored(folder, checkpoint, tmp_path)
    assert content["answers"] == 4
    assert content["repeated_rows"] == 3
    assert content["weeks"][0]["images"] == 3
    assert "of an image that stands in another row" in (out / "monitor.html").read_text()


def monitored(folder, checkpoint, tmp_path):
    """Watch a folder with `cxr accept monitor`; the model's validation part is the reference."""
    run = tmp_path / "run"
    shutil.copytree(checkpoint, run)
    labels = ("normal", "bacterial", "covid19")
    rows = [f"{n}.png,{n},x,validation,{n},{labels[n % 3]},0.2,0.3,0.5" for n in range(30)]
    scores = ",".join(f"score_{label}" for label in labels)
    header = f"file,patient,source,split,sha256,label,{scores}"
    (run / "validation.csv").write_text("\n".join([header, *rows]) + "\n")
    words = ["accept", "monitor", folder, "--reference", run, "--positive", "covid19"]
    done = subprocess.run(
        [sys.executable, "-m", "cxr_transfer.cli", *map(str, words), "--out", tmp_path / "watch"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "watch" / "monitor.json").read_text()), tmp_path / "watch"


def test_no_name_no_picture_and_no_words_are_kept(tmp_path):
    facts = kept_facts("cd" * 32, ("view",), ANSWER)
    KeptAnswers(tmp_path / "new" / "answers", Metrics()).keep([facts, facts])
    (table,) = (tmp_path / "new" / "answers").iterdir()
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    assert (
        lines[0]
        == lines[1]
        == {
            "time": lines[0]["time"],
            "file": "sha256:" + "ab" * 8,
            "weights": "cd" * 32,
            "sha256": "ab" * 32,
            "model": "small 0123456789ab",
            "status": "ok",
            "code": "",
            "label": "covid19",
            "probabilities": {"normal": 0.25, "covid19": 0.75},
            "warnings": ["view", "unusual"],
        }
    )
    assert table.name == f"answers-{lines[0]['time'][:10]}.jsonl"


def test_a_line_that_was_cut_off_is_told_and_spoils_no_other(tmp_path):
    keep(tmp_path, ANSWER)
    (table,) = tmp_path.iterdir()
    with table.open("a") as handle:
        handle.write(table.read_text()[:-20])
    keep(tmp_path, ANSWER | {"sha256": "ba" * 32})
    answers = read_answers([tmp_path], ("covid19",))
    assert [row.sha256[:2] for row in answers.rows] == ["ab", "ba"]
    assert answers.cut_off == 1


def test_other_networks_and_lost_processes_do_not_count(tmp_path):
    lost = ANSWER | {"status": "error", "code": "worker_lost", "label": None, "probabilities": {}}
    keep(tmp_path, lost)
    keep(tmp_path, ANSWER)
    keep(tmp_path, lost)
    keep(tmp_path, ANSWER | {"probabilities": {"other": 1.0}}, weights="ef" * 32)
    answers = read_answers([tmp_path], ("covid19",), ("cd" * 32,))
    assert [(row.status, row.score) for row in answers.rows] == [("ok", 0.75)]
    assert (answers.repeated, answers.of_others) == (2, 1)
    with pytest.raises(DataError) as caught:
        read_answers([tmp_path], ("covid19",), ("00" * 32,))
    assert caught.value.code == "other_model"


def test_an_outcome_names_an_image_by_its_hash(tmp_path):
    keep(tmp_path, ANSWER)
    answers = read_answers([tmp_path], ("covid19",))
    for name in ("ab" * 32, "sha256:" + "ab" * 8):
        (tmp_path / "outcomes.csv").write_text(f"file,label\n{name},covid19\n")
        known, _ = read_outcomes(
            tmp_path / "outcomes.csv", answers, ("covid19",), ("normal", "covid19")
        )
        assert known[0].answer.score == 0.75


def test_processes_that_write_at_once_write_whole_lines(tmp_path):
    code = (
        "import sys, pathlib; from cxr_transfer.files import append_line\n"
        "for n in range(200): append_line(pathlib.Path(sys.argv[1]), sys.argv[2] * 5000)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "lines")]
    writers = [subprocess.Popen([*words, letter]) for letter in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    lines = (tmp_path / "lines").read_text().splitlines()
    assert sorted(lines) == sorted(letter * 5000 for letter in "abc" for _ in range(200))


def keep(folder, answer, weights="cd" * 32):
    KeptAnswers(folder, Metrics()).keep([kept_facts(weights, (), answer)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError):
        KeptAnswers(tmp_path / "answers", Metrics())


def test_what_is_no_folder_is_refused_and_what_fails_later_is_counted(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError):
        KeptAnswers(tmp_path / "file", Metrics())
    kept = KeptAnswers(tmp_path / "answers", Metrics())
    (tmp_path / "answers").rmdir()
    kept.keep([kept_facts("cd" * 32, (), ANSWER)])
    assert kept.lost == 1


def test_a_server_starts_not_without_its_folder(checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    words = ["serve", "--model", checkpoint, "--port", "0", "--keep-answers", tmp_path / "file"]
    done = subprocess.run(
        [sys.executable, "-m", "cxr_transfer.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == MachineError.exit_code
    assert "[not_writable]" in done.stderr
    assert "Traceback" not in done.stderr
