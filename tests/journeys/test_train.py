"""Retraining on one's own images: a folder per class, a recipe of one's own, several processes."""

import csv
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

LABELS = ("clear", "cloudy")

RECIPE = """
name = "mine"
title = "a linear model on random features"
network = "resnet50"
dataset = "dataset_1"

[preprocessing]
height = 64
width = 64

[[stages]]
name = "head"
train = ["head"]
max_epochs = 3
batch_size = 10

[[stages]]
name = "again"
train = ["head"]
learning_rate = 1e-4
max_epochs = 2
batch_size = 10
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for label in LABELS:
        (root / "images" / label).mkdir(parents=True)
        for number in range(25):
            radiograph = rng.integers(0, 120 if label == "clear" else 256, (128, 140), np.uint8)
            Image.fromarray(radiograph).save(root / "images" / label / f"{number}.png")
    (root / "images" / "clear" / "Thumbs.db").write_bytes(b"junk")
    (root / "mine.toml").write_text(RECIPE)
    return root


@pytest.fixture(scope="module")
def trained(own, cxr):
    cxr("train", own / "mine.toml", "--data", own / "images", "--out", own / "one")
    return own / "one"


def test_own_classes_become_the_labels(trained):
    card = json.loads((trained / "checkpoint.json").read_text())
    assert card["labels"] == list(LABELS)
    assert card["data"]["images"] == {"train": 35, "validation": 5, "test": 10}


def test_two_processes_learn_what_one_learns(own, trained, cxr):
    words = ("train", own / "mine.toml", "--data", own / "images", "--out", own / "two")
    cxr(*words, "--devices", 2, "--device", "cpu")
    one, two = (
        safetensors.numpy.load_file(run / "checkpoint.safetensors")
        for run in (trained, own / "two")
    )
    # Each takes half of every batch; 35 images leave one out, so nearly, not exactly, the same.
    card = json.loads((own / "two" / "checkpoint.json").read_text())
    assert card["provenance"]["processes"] == 2
    assert np.array_equal(one["conv1.weight"], two["conv1.weight"])
    assert np.abs(one["head.weight"] - two["head.weight"]).max() < 5e-3
    assert not np.array_equal(one["head.bias"], np.zeros(2, np.float32))


LAUNCHED = (
    ("torchrun", ("--nnodes", "2", "--nproc-per-node", "1"), ("--devices", 1, "--num-nodes", 2)),
    ("torchrun", ("--standalone", "--nproc-per-node", "2"), ("--devices", 2)),
    ("srun", (), ("--devices", 1, "--num-nodes", 2)),
)


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "how", "options"), LAUNCHED, ids=["nodes", "one", "slurm"])
def test_machines_of_a_launcher_learn_the_bits_of_two_processes(
    own, cxr, launcher, how, options, tmp_path
):
    words = ("train", own / "mine.toml", "--data", own / "images", "--device", "cpu")
    if not (own / "two" / "checkpoint.safetensors").is_file():
        cxr(*words, "--devices", 2, "--out", own / "two")
    out = tmp_path / "out"
    asked = [str(word) for word in (*words, *options, "--out", out)]
    port = str(free_port())
    machines = []
    for rank in range(1 if "--standalone" in how else 2):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if launcher == "srun":  # what srun sets, with its launcher's address
            environment |= slurm(rank) | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            command = [sys.executable, "-m", "cxr_transfer.cli", *asked]
        else:
            place = ("--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", port)
            place = () if "--standalone" in how else place
            torchrun = [sys.executable, "-m", "torch.distributed.run", *how, *place]
            command = [*torchrun, "-m", "cxr_transfer.cli", *asked]
        machines.append(
            subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    told = [machine.communicate(timeout=600)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0] * len(machines), told
    assert (out / "checkpoint.safetensors").read_bytes() == (
        own / "two" / "checkpoint.safetensors"
    ).read_bytes()
    assert sum("checkpoint: " in one for one in told) == 1, "one of them speaks"


def slurm(rank):
    """Variables of a task of a job on two machines, as srun sets them."""
    names = ("SLURM_PROCID", "SLURM_NODEID")
    fixed = {"JOB_ID": "77", "JOB_NAME": "train", "NTASKS": "2", "NNODES": "2", "LOCALID": "0"}
    return (
        {name: str(rank) for name in names}
        | {f"SLURM_{name}": value for name, value in fixed.items()}
        | {"SLURM_NTASKS_PER_NODE": "1", "SLURM_NODELIST": "127.0.0.1"}
    )


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_a_manifest_with_parts_is_kept_to(own, cxr):
    lines = ["path,label,split"]
    for label in LABELS:
        for number in range(25):
            part = "test" if number < 5 else "validation" if number < 8 else "train"
            lines.append(f"images/{label}/{number}.png,{label},{part}")
    (own / "images.csv").write_text("\n".join(lines))
    cxr("train", own / "mine.toml", "--data", own / "images.csv", "--out", own / "parts")
    card = json.loads((own / "parts" / "checkpoint.json").read_text())
    assert card["data"]["images"] == {"train": 34, "validation": 6, "test": 10}


def test_a_recipe_that_transfers_asks_for_its_checkpoint(own, cxr):
    done = cxr("train", "model_2", "--data", own / "images", "--out", own / "no", expect=2)
    assert "--from" in done.stderr
    assert "[no_start]" in done.stderr


def test_a_command_that_could_not_run_leaves_the_folder_free(own, trained, cxr):
    words = ("train", own / "later.toml", "--data", own / "images", "--out", own / "later")
    text = RECIPE.replace("[preprocessing]", 'initial = "mine"\n\n[preprocessing]')
    (own / "later.toml").write_text(text)
    cxr(*words, expect=2)
    cxr(*words, "--from", trained)
    card = json.loads((own / "later" / "checkpoint.json").read_text())
    assert card["provenance"]["initial"].startswith("mine ")


def test_damaged_files_are_left_out_on_a_persons_word_and_listed(own, trained, cxr, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(own / "images", images)
    (images / "clear" / "half.png").write_bytes((images / "clear" / "0.png").read_bytes()[:3000])
    (images / "cloudy" / "empty.png").touch()
    words = ("train", own / "mine.toml", "--data", images, "--out", tmp_path / "run")
    done = cxr(*words, expect=3)
    assert "[damaged_images]" in done.stderr
    assert "--skip-damaged" in done.stderr
    done = cxr(*words, "--skip-damaged")
    assert "left out, since they cannot be read: 2 files, listed in" in done.stderr
    with (tmp_path / "run" / "damaged.csv").open(newline="") as handle:
        rows = {row["path"].rpartition("/")[2]: row["code"] for row in csv.DictReader(handle)}
    assert rows == {"half.png": "truncated_image", "empty.png": "empty_file"}
    # The same images are left, so the same weights come out.
    one, two = (run / "checkpoint.safetensors" for run in (trained, tmp_path / "run"))
    assert one.read_bytes() == two.read_bytes()
    evaluated = ("evaluate", tmp_path / "run", "--data", images, "--out", tmp_path / "report")
    assert "[damaged_images]" in cxr(*evaluated, "--allow-seen", expect=3).stderr
    page = cxr(*evaluated, "--allow-seen", "--skip-damaged").stdout
    assert "2 files that cannot be read were left out" in page
    assert (tmp_path / "report" / "damaged.csv").is_file()
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (report["images"], report["damaged_files"]) == (50, 2)
    assert "2 files that cannot be read" in cxr("card", tmp_path / "run").stdout


def test_labels_of_ones_own_are_mapped_in_training_and_so_in_evaluation(own, cxr, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(own / "images", images)
    (images / "odd").mkdir()
    for number in range(10):
        shutil.move(images / "clear" / f"{number}.png", images / "odd" / f"{number}.png")
    (images / "junk").mkdir()
    radiograph = np.random.default_rng(1).integers(0, 256, (128, 140), np.uint8)
    Image.fromarray(radiograph).save(images / "junk" / "0.png")
    words = ("train", own / "mine.toml", "--data", images, "--out", tmp_path / "run")
    done = cxr(*words, "--label", "odd=clear", "--label", "junk=", "--max-epochs", 1)
    assert "none of the classes: 1 image of junk" in done.stderr
    card = json.loads((tmp_path / "run" / "checkpoint.json").read_text())
    assert card["labels"] == list(LABELS)
    assert card["recipe"]["labels"] == {"odd": "clear", "junk": ""}
    assert sum(card["data"]["images"].values()) == 50
    done = cxr(
        *("evaluate", tmp_path / "run", "--data", images, "--out", tmp_path / "report"),
        *("--allow-seen", "--json"),
    )
    assert "labels: odd counts as clear (10 images)" in done.stderr
    report = json.loads(done.stdout)
    assert {group["label"]: group["images"] for group in report["groups"]} == {
        "clear": 25, "cloudy": 25,
    }  # fmt: skip
    refused = cxr(*words, "--label", "odd=clear", "--label", "junk=cloudy", expect=2)
    assert "[other_run]" in refused.stderr


def test_parts_instead_of_classes_are_refused(own, cxr, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / part).symlink_to(own / "images")
    words = ("train", "model_1", "--data", tmp_path / "images", "--out", tmp_path / "out")
    assert "[parts_not_classes]" in cxr(*words, expect=3).stderr


@pytest.mark.parametrize(
    ("words", "code", "expect"),
    [
        (["train", "model_9", "--data", "."], "no_recipe", 2),
        (["train", "model_1", "--data", "/nowhere"], "no_folder", 3),
        (["evaluate", "/nowhere", "--data", ".", "--out", "x"], "no_checkpoint", 4),
        (["evaluate", "model_3", "--data", ".", "--out", "x"], "empty", 3),
        (["study", "--models", "model_7", "--out", "x"], "unknown_model", 2),
    ],
)
def test_mistakes_end_in_one_line_with_a_code(words, code, expect, cxr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cxr(*words, expect=expect)
    assert f"[{code}]" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("cxr: Expected")


COMMANDS = (
    *("study", "train", "evaluate", "compare", "audit", "card", "predict", "explain", "export"),
    "validate",
    "serve",
    "doctor",
)


def test_every_command_has_help_with_the_intended_use_at_the_front_door(cxr):
    text = cxr("--help").stdout
    assert "Research use only" in text
    commands = [*COMMANDS, "data check", "data prepare"]
    for command in commands:
        said = cxr(*command.split(), "--help").stdout
        assert "Usage" in said
        assert "Example" in said, command


@pytest.mark.slow
def test_the_end_tells_what_came_out_and_commands_that_can_be_given(own, cxr, tmp_path):
    words = ("train", own / "mine.toml", "--data", own / "images", "--out", tmp_path / "my run")
    said = cxr(*words).stderr.splitlines()
    assert "mine · head: best epoch " in "".join(said)
    assert any(line.startswith("mine · validation: loss ") for line in said)
    names = ("evaluate", "predict", "audit", "export")
    commands = [shlex.split(line) for line in said[said.index("next:") + 1 :]]
    typed = [words[words.index(name) :] for words, name in zip(commands, names, strict=True)]
    for words in typed:
        done = cxr(*words, expect=None)
        assert done.returncode in (0, 1), (words, done.stderr)
