"""Options, environment and settings file: which wins, and what is refused where it stands."""

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_transfer.cli.commands import app
from cxr_transfer.errors import UsageError
from cxr_transfer.serving.server_options import PREFIX, ServerOptions, settings
from cxr_transfer.serving.settings import MIB, Settings

FILE = """
queue = 10
workers = 3
longest_wait_s = 5
upload_mb = 8
body_mb = 16
cors_origins = ["https://viewer.example.org"]
keep_answers = "answers"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "server.toml"
    path.write_text(FILE)
    return path


def refusal(**options):
    with pytest.raises(UsageError) as caught:
        settings(**options)
    return caught.value


def test_an_option_wins_over_the_environment_and_that_over_the_file(file, monkeypatch):
    monkeypatch.setenv("CXR_SERVE_QUEUE", "20")
    monkeypatch.setenv("CXR_SERVE_WORKERS", "4")
    monkeypatch.setenv("CXR_SERVE_ALLOWED_HOSTS", "one.example, Two.example")
    chosen = settings(settings_file=file, queue=30)
    assert (chosen.queue, chosen.workers, chosen.longest_wait_s) == (30, 4, 5)
    assert {"one.example", "two.example"} <= set(chosen.allowed_hosts)
    assert (chosen.upload_bytes, chosen.body_bytes) == (8 * MIB, 16 * MIB)
    assert chosen.cors_origins == ("https://viewer.example.org",)
    assert chosen.keep_answers == file.parent / "answers"
    assert chosen.files == Settings().files


def test_without_any_the_settings_are_the_defaults():
    local = ("localhost", "127.0.0.1", "::1", "127.0.0.1")
    assert settings() == Settings(allowed_hosts=local)


def test_every_key_is_an_option_of_the_command(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = CliRunner().invoke(app, ["serve", "--help"]).output
    for key in ServerOptions.model_fields:
        assert f"--{key.replace('_', '-').removesuffix('s')}" in text, key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quue = 3", "quue: there is no such key; did you mean 'queue'?"),
        ("queue = 0", "queue: Input should be greater than or equal to 1"),
        ("longest_wait_s = nan", "longest_wait_s"),
        ("upload_mb = 65", "upload_mb"),
        ("body_mb = 300", "held_mb is 512, which is less than twice body_mb (600)"),
        ("kept_mb = 100", "kept_mb is 100, which is less than body_mb (128)"),
        ("upload_mb = 64\nbody_mb = 32", "body_mb is 32, which is less than upload_mb (64)"),
        ("queue = ", "Invalid value"),
        ("[queue]\na = 1", "queue"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_key(tmp_path, text, expected):
    (tmp_path / "server.toml").write_text(text)
    error = refusal(settings_file=tmp_path / "server.toml")
    assert error.code == "bad_settings"
    assert expected in error.message


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a" * (2**20 + 1)])
def test_what_is_no_settings_file_is_refused(tmp_path, content):
    (tmp_path / "server.toml").write_bytes(content)
    assert refusal(settings_file=tmp_path / "server.toml").code == "bad_settings"
    assert refusal(settings_file=tmp_path / "none.toml").code == "no_settings"
    assert refusal(settings_file=tmp_path).code == "no_settings"


def test_what_is_wrong_elsewhere_is_told_with_its_place(monkeypatch):
    assert "--workers: " in refusal(workers=0).message
    monkeypatch.setenv(f"{PREFIX}WORKER", "3")
    assert "CXR_SERVE_WORKER: there is no such key" in refusal().message
    monkeypatch.setenv(f"{PREFIX}WORKER", "")
    monkeypatch.setenv(f"{PREFIX}WORKERS", "many")
    assert "CXR_SERVE_WORKERS: " in refusal().message


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "viewer.example.org", "https://a.example/path", "https://A.example", "ftp://a"],
)
def test_an_origin_is_what_browsers_send(origin):
    assert refusal(cors_origins=[origin]).code == "bad_origin"


def test_a_wrong_setting_is_refused_before_a_model_is_looked_for():
    words = ["serve", "--model", "no-such-model", "--queue", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "cxr_transfer.cli", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == UsageError.exit_code
    assert "--queue" in done.stderr
    assert "[bad_settings]" in done.stderr


def test_the_example_of_a_settings_file_has_every_key_with_its_default(tmp_path, monkeypatch):
    home = Path(__file__).parents[2]
    text = (home / "deploy/server.toml").read_text(encoding="utf-8")
    assert settings(settings_file=home / "deploy/server.toml").allowed_hosts[0] == "localhost"
    shown = re.findall(r"^(?:# )?(\w+) = (.*)$", text, re.M)
    assert {key for key, _ in shown} == set(ServerOptions.model_fields)
    (tmp_path / "all.toml").write_text("\n".join(f"{key} = {value}" for key, value in shown))
    (tmp_path / "tokens.txt").write_text("ward=0123456789abcdef\n")
    (tmp_path / "webhook-secret.txt").write_text(base64.b64encode(bytes(24)).decode() + "\n")
    chosen = settings(settings_file=tmp_path / "all.toml")
    assert chosen.tokens == {"ward": "0123456789abcdef"}
    assert chosen.webhook_secret == bytes(24)
    for key in ("queue", "always", "files", "kept_s", "jobs_bytes", "jobs_kept_s", "held_bytes"):
        assert getattr(chosen, key) == getattr(Settings(), key), key


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        ("ftp://his.example", "A" * 32),
        ("https://user:word@his.example", "A" * 32),
        ("https://his.example/#part", "A" * 32),
        ("no address", "A" * 32),
        ("https://his.example", ""),
        ("https://his.example", "c2hvcnQ="),
        ("https://his.example", "not base64 at all, but long enough"),
    ],
)
def test_a_webhook_that_is_none_or_has_no_secret_is_refused(address, secret, monkeypatch):
    monkeypatch.setenv("CXR_WEBHOOK_SECRET", secret)
    error = refusal(webhook_urls=[address])
    assert error.code == "bad_webhook"
    assert secret == "" or secret not in error.message


def test_the_secret_is_read_as_libraries_of_receivers_have_it(monkeypatch):
    monkeypatch.setenv("CXR_WEBHOOK_SECRET", "whsec_" + base64.b64encode(bytes(32)).decode())
    assert settings(webhook_urls=["https://his.example/cxr"]).webhook_secret == bytes(32)
