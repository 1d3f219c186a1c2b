"""Somebody's images lie in a bucket: what they type, and what they are told."""

import csv
import os
import subprocess
import sys

import pytest

from made_store import BUCKET, made_store

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
pytestmark = [pytest.mark.slow, pytest.mark.journey]


@pytest.fixture(scope="module")
def store():
    with made_store() as made:
        made.put_images("set", 6)
        made.put("set/labels.csv", b"a,b")
        yield made


@pytest.fixture
def cxr(store, tmp_path):
    def run(*words, given=None, expect=0, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "cxr_transfer.cli", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            input=given,
            env={**os.environ, **store.environment, **environment},
            timeout=300,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert store.environment["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
        return done

    return run


def test_a_prefix_becomes_a_table_here_and_there(cxr, store, tmp_path):
    said = cxr("predict", f"s3://{BUCKET}/set", "--out", "here.csv", expect=1).stderr
    assert "1 file that is no image (s3://films/set/labels.csv)" in said
    cxr("predict", f"s3://{BUCKET}/set/", "--out", f"s3://{BUCKET}/set/there.csv", expect=1)
    assert store.get("set/there.csv") == (tmp_path / "here.csv").read_bytes()
    assert store.keys("set/there.csv") == ["set/there.csv"], "the parts are gone"
    with (tmp_path / "here.csv").open(newline="") as handle:
        files = [row["file"] for row in csv.DictReader(handle)]
    assert files == [f"s3://{BUCKET}/set/{name:02}.png" for name in (0, 1, 2, 3, 5)]


def test_names_on_standard_input_and_lines_as_answers(cxr):
    names = f"s3://{BUCKET}/set/00.png\ns3://{BUCKET}/absent.png\n"
    said = cxr("predict", "-", "--json", given=names, expect=1).stdout
    assert f'"file": "s3://{BUCKET}/set/00.png"' in said
    assert '"code": "missing_file"' in said


@pytest.mark.parametrize(
    ("words", "environment", "expect", "code"),
    [
        (["s3://AKIA:made-secret@films/set"], {}, 2, "bad_storage_address"),
        (["s3://nowhere/set"], {}, 2, "no_bucket"),
        ([f"s3://{BUCKET}/nothing/"], {}, 2, "no_images"),
        ([f"s3://{BUCKET}/set"], {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 5, "storage_unreach"),
        ([f"s3://{BUCKET}/set/00.png", "--out", "s3://nowhere/x.csv"], {}, 2, "no_bucket"),
    ],
)
def test_what_cannot_be_is_one_line(cxr, tmp_path, words, environment, expect, code):
    done = cxr("predict", *words, "--log-file", "log.txt", expect=expect, **environment)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("cxr: ")]
    assert code in line
    assert "made-secret" not in (tmp_path / "log.txt").read_text()
    assert not list(tmp_path.glob("*.partial"))
