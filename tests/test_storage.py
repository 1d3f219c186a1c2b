"""Addresses of object stores, asked of a real server: what is there, absent, denied, silent."""

import json
import socket
import subprocess
import sys

import pytest

from cxr_transfer import storage
from cxr_transfer.errors import ImageError, MachineError, UsageError
from cxr_transfer.storage import location, read_object, without_secrets
from made_store import BUCKET, KEYS, connected, made_store

SECRETS = (
    "s3://AKIA:se/cr/et@films/a.png",
    "s3://AKIA@films/a.png",
    "gs://me:secret@films/a.png",
    "s3://films:secret/a.png",
    "simplecache::s3://AKIA:secret@films/a.png",
    "https://films.example/a.png?X-Amz-Signature=secret",
    "s3://films/a.png?X-Amz-Signature=secret",
    "s3://films/a.png?versionId=1&x-amz-security-token=secret",
    "s3:///a.png",
)


def refusal(act, code, kind):
    with pytest.raises(kind) as raised:
        act()
    assert raised.value.code == code
    assert "\n" not in raised.value.message
    return raised.value.message


def test_an_address_stays_and_a_path_stays_a_path(tmp_path):
    assert location("s3://films/a b/c@d.png") == "s3://films/a b/c@d.png"
    assert location("S3://films/a.png") == "s3://films/a.png"
    assert location(f"file://{tmp_path}/a%20b.png") == tmp_path / "a b.png"
    for path in ("a.png", "./a.png", "s3:/a.png", "a/s3://b.png", "://a"):
        assert str(location(path)) == str(type(tmp_path)(path))


@pytest.mark.parametrize("address", SECRETS)
def test_a_secret_in_an_address_is_refused_and_not_repeated(address):
    said = refusal(lambda: location(address), "bad_storage_address", UsageError)
    for word in ("AKIA", "secret", "se/cr/et", "me:", "Signature="):
        assert word not in said


@pytest.mark.parametrize("address", SECRETS[:7])
def test_no_log_has_the_secret_of_a_command(address):
    said = without_secrets(f"cxr predict {address} --out s3://films/out.csv")
    assert "secret" not in said
    assert "se/cr/et" not in said
    assert said.endswith("--out s3://films/out.csv")


def test_a_missing_library_is_named():
    script = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("s3fs", "fsspec"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Without())
import importlib.util
from cxr_transfer import extras, storage
extras.installed = lambda package: False
try:
    storage.read_object("s3://films/a.png", 10)
except Exception as error:
    print(error.code, error.message)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith("missing_package ")
    assert "cxr-transfer[s3]" in done.stdout


@pytest.fixture(scope="module")
def store():
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with made_store() as made:
        yield made


@pytest.fixture
def at_store(store, monkeypatch):
    with connected(store.environment, monkeypatch):
        yield store


def test_objects_are_read_written_listed_and_deleted(at_store, tmp_path):
    address = at_store.put("a/1.bin", b"0123456789")
    assert read_object(address, 100) == b"0123456789"
    assert read_object(address, 3) == b"0123", "one byte more than asked tells that there is more"
    assert read_object(at_store.put("a/empty", b""), 3) == b""
    assert storage.write_object(f"s3://{BUCKET}/a/2", b"first", new=True)
    assert not storage.write_object(f"s3://{BUCKET}/a/2", b"second", new=True)
    assert at_store.get("a/2") == b"first"
    (tmp_path / "file").write_bytes(b"third")
    storage.upload(tmp_path / "file", f"s3://{BUCKET}/a/2")
    assert at_store.get("a/2") == b"third"
    listed = [f"s3://{BUCKET}/a/{name}" for name in ("1.bin", "2", "empty")]
    assert storage.objects_below(f"s3://{BUCKET}/a") == listed
    assert storage.objects_like(f"s3://{BUCKET}/a/*.bin") == listed[:1]
    storage.delete_objects([*listed, f"s3://{BUCKET}/a/absent"])
    assert storage.objects_below(f"s3://{BUCKET}/a") == []
    assert not storage.object_exists(listed[0])


def test_absent_objects_are_told_from_absent_buckets(at_store):
    refusal(lambda: read_object(f"s3://{BUCKET}/none.png", 9), "missing_file", ImageError)
    refusal(lambda: read_object(f"s3://{BUCKET}", 9), "not_a_file", ImageError)
    for act in (
        lambda: read_object("s3://nowhere/none.png", 9),
        lambda: storage.objects_below("s3://nowhere/images"),
        lambda: storage.objects_below("s3://nowhere"),
        lambda: storage.write_object("s3://nowhere/x", b""),
    ):
        assert "s3://nowhere" in refusal(act, "no_bucket", UsageError)


def test_one_denied_object_is_its_own_affair_and_a_denied_account_ends_the_run(store, monkeypatch):
    """An account that may read below open/ alone; one that may do nothing; a key of nobody."""
    requests = pytest.importorskip("requests")
    opened, closed = store.put("open/1", b"yes"), store.put("closed/1", b"no")
    iam = store.client_of("iam")
    iam.create_user(UserName="reader")
    allowed = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/open/*",
    }
    iam.put_user_policy(
        UserName="reader",
        PolicyName="open",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    account = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    requests.post(f"{store.url}/moto-api/reset-auth", data=b"0", timeout=30)
    try:
        with connected({**store.environment, **account}, monkeypatch):
            assert read_object(opened, 9) == b"yes"
            refusal(lambda: read_object(closed, 9), "access_denied", ImageError)
            for act in (
                lambda: storage.objects_below(f"s3://{BUCKET}/open"),
                lambda: storage.write_object(closed, b""),
            ):
                said = refusal(act, "storage_refused", MachineError)
                assert key["AccessKeyId"] not in said
        with connected({**store.environment, "AWS_ACCESS_KEY_ID": "nobody"}, monkeypatch):
            said = refusal(lambda: read_object(opened, 9), "storage_refused", MachineError)
            assert "InvalidAccessKeyId" in said
    finally:
        requests.post(f"{store.url}/moto-api/reset-auth", data=b"inf", timeout=30)


def test_without_credentials_that_is_said(store, monkeypatch):
    with connected(store.environment, monkeypatch):
        for name in KEYS:
            if "KEY" in name:
                monkeypatch.delenv(name)
        said = refusal(lambda: read_object(f"s3://{BUCKET}/a", 9), "storage_refused", MachineError)
        assert "credentials" in said


def test_who_does_not_answer_is_given_up(store, monkeypatch):
    monkeypatch.setattr(storage, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(storage, "ATTEMPTS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for listens in (False, True):  # refused, then taken and left without an answer
            if listens:
                silent.listen()
            there = {**store.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
            with connected(there, monkeypatch):
                for act in (
                    lambda: read_object(f"s3://{BUCKET}/a", 9),
                    lambda: storage.objects_below(f"s3://{BUCKET}/a"),
                ):
                    said = refusal(act, "storage_unreachable", MachineError)
                    assert f"s3://{BUCKET}" in said
