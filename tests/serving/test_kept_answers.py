"""Answers that a server keeps: what stands there, what does not, and who reads it."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from cxr_transfer.acceptance.answers import read_answers
from cxr_transfer.errors import MachineError
from cxr_transfer.serving.kept_answers import KeptAnswers
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
    known = {row.file: row.score for row in answers.rows if row.score is not None}
    for answer, image in zip(told, images, strict=True):
        digest = hashlib.sha256(image).hexdigest()
        assert known[digest] == pytest.approx(answer["probabilities"]["covid19"])
    assert len(known) == 3
    assert answers.repeated == 3
    assert [row.status for row in answers.rows if row.score is None] == ["error"]
    assert answers.days_from == {"the row": 7}


def test_no_name_no_picture_and_no_words_are_kept(tmp_path):
    KeptAnswers(tmp_path / "new" / "answers").keep([ANSWER, ANSWER])
    (table,) = (tmp_path / "new" / "answers").iterdir()
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    assert [set(line) for line in lines] == [
        {"time", "file", "sha256", "model", "status", "code", "label", "probabilities"}
    ] * 2
    assert table.name == f"answers-{lines[0]['time'][:10]}.jsonl"
    assert lines[0]["file"] == ANSWER["sha256"]


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path):
    kept = KeptAnswers(tmp_path)
    kept.keep([ANSWER])
    (table,) = tmp_path.iterdir()
    whole = table.read_text()
    table.write_text(whole + whole[:40])
    kept.keep([ANSWER])
    assert table.read_text().splitlines()[2] == whole.splitlines()[0].replace(
        whole[:40], table.read_text().splitlines()[2][:40]
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError):
        KeptAnswers(tmp_path / "answers")


def test_what_is_no_folder_is_refused_and_what_fails_later_is_counted(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError):
        KeptAnswers(tmp_path / "file")
    kept = KeptAnswers(tmp_path / "answers")
    (tmp_path / "answers").rmdir()
    kept.keep([ANSWER])
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
