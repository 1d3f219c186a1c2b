"""The files of deploy/ for the node: every option that they use exists; run where docker runs."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_transfer.cli import app
from cxr_transfer.pacs.settings import node_settings
from cxr_transfer.serving.settings import is_loopback

yaml = pytest.importorskip("yaml")

HOME = Path(__file__).parents[2]
DEPLOY = HOME / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def options_of(*command):
    """Long options that a command's help names."""
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    return set(re.findall(r"--[a-z][a-z-]+", shown.output))


def docker_runs():
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, timeout=60).returncode == 0


def check_command(words):
    assert words[:3] == ["cxr", "pacs", "run"]
    used = {word for word in words if word.startswith("--")}
    assert used
    assert used <= options_of("pacs", "run")


def test_the_unit_starts_the_node_with_settings_that_hold():
    text = (DEPLOY / "cxr-pacs.service").read_text(encoding="utf-8")
    (started,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    words = started.split()
    assert words[0] == "/opt/cxr/bin/cxr"
    check_command(["cxr", *words[1:]])
    settings = node_settings(DEPLOY / "node.toml")
    (state,) = re.findall(r"^StateDirectory=(.*)$", text, re.MULTILINE)
    assert settings.spool.is_relative_to(f"/var/lib/{state}")
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert int(stop) > settings.limits.drain_s
    assert is_loopback(settings.host)


def test_systemd_knows_every_option_of_the_unit(tmp_path):
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("not run: no systemd-analyze")
    text = (DEPLOY / "cxr-pacs.service").read_text(encoding="utf-8")
    unit = tmp_path / "cxr-pacs.service"
    unit.write_text(text.replace("/opt/cxr/bin/cxr", "/bin/true"))
    done = subprocess.run([verify, "verify", unit], capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert not re.search(r"Unknown|Failed to parse|Invalid|ignoring", told), told


def test_the_containers_go_together():
    assert set(SERVICES) == {"orthanc", "node", "page"}
    check_command(SERVICES["node"]["entrypoint"])
    settings = node_settings(DEPLOY / "compose-node.toml")
    orthanc = json.loads((DEPLOY / "orthanc.json").read_text(encoding="utf-8"))
    (name, address, port) = orthanc["DicomModalities"]["cxr"]
    assert (name, port) == (settings.ae, settings.port)
    assert address in SERVICES
    (destination,) = settings.destinations
    assert destination.address in SERVICES
    assert (destination.ae, destination.port) == (orthanc["DicomAet"], orthanc["DicomPort"])
    (subnet,) = COMPOSE["networks"]["beside"]["ipam"]["config"]
    assert [peer.address for peer in settings.peers] == [subnet["subnet"]]
    assert [peer.ae for peer in settings.peers] == [orthanc["DicomAet"]]
    assert str(settings.metrics_port) in SERVICES["node"]["healthcheck"]["test"][-1]


def test_containers_are_named_with_versions_and_open_nothing_beyond_loopback():
    for service in SERVICES.values():
        assert re.fullmatch(r"[a-z/-]+:(\d+\.\d+\.\d+|node)", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).is_file() or source in COMPOSE["volumes"]


def test_the_containers_have_the_extras_that_they_use():
    arguments = SERVICES["node"]["build"]["args"]
    extras = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    assert set(arguments["EXTRAS"].split(",")) <= set(extras["optional-dependencies"])
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for name in arguments:
        assert f"ARG {name}" in dockerfile


def test_docker_reads_the_containers():
    docker = shutil.which("docker")
    command = [docker, "compose", "-f", DEPLOY / "compose.yaml", "config", "--quiet"]
    if docker is None or subprocess.run([*command[:2], "version"], capture_output=True).returncode:
        pytest.skip("not run: no docker compose")
    environment = {**os.environ, "CXR_TOKEN": "0" * 64}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_docker_starts_the_archive():
    if not docker_runs():
        pytest.skip("not run: no docker that answers")
    image = SERVICES["orthanc"]["image"]
    if subprocess.run(["docker", "pull", "--quiet", image], capture_output=True).returncode:
        pytest.skip(f"not run: {image} cannot be had here")
    done = subprocess.run(["docker", "run", "--rm", image, "--version"], capture_output=True)
    assert done.returncode == 0
