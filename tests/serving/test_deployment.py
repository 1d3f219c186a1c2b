"""The files of deploy/ for several servers: they name what exists, and go together."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_transfer.cli import app
from serving.nginx import CONFIGURATION

yaml = pytest.importorskip("yaml")

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose-replicas.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
NGINX = CONFIGURATION.read_text(encoding="utf-8")


def test_nginx_asks_the_servers_that_there_are():
    (port,) = re.findall(r"EXPOSE (\d+)", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    asked = re.findall(r"^ +server ([a-z0-9-]+):(\d+)", NGINX, re.MULTILINE)
    replicas = SERVICES.keys() - {"proxy"}
    assert {name for name, _ in asked} == replicas == SERVICES["proxy"]["depends_on"].keys()
    assert {each for _, each in asked} == {port}
    (listens,) = re.findall(r"listen (\d+);", NGINX)
    assert [one.split(":")[-1] for one in SERVICES["proxy"]["ports"]] == [listens]


def test_the_servers_are_alike_and_have_options_that_exist():
    replicas = [service for name, service in SERVICES.items() if name != "proxy"]
    assert all(one == replicas[0] for one in replicas)
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    used = {word for word in replicas[0]["command"] if word.startswith("--")}
    assert used <= set(re.findall(r"--[a-z][a-z-]+", shown.output))
    folders = [volume.partition(":")[2] for volume in replicas[0]["volumes"]]
    for path in replicas[0]["command"][1::2]:
        assert any(path.startswith(folder) for folder in folders)
    for volume in replicas[0]["volumes"] + SERVICES["proxy"]["volumes"]:
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or (DEPLOY / source).is_file()
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_docker_reads_the_containers():
    docker = shutil.which("docker")
    command = [docker, "compose", "-f", DEPLOY / "compose-replicas.yaml", "config", "--quiet"]
    if docker is None or subprocess.run([*command[:2], "version"], capture_output=True).returncode:
        pytest.skip("not run: no docker compose")
    done = subprocess.run(command, capture_output=True, text=True, env={"CXR_TOKEN": "0" * 64})
    assert done.returncode == 0, done.stderr
