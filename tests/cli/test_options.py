"""An option that would have no effect is refused, before any image is decoded.

The images of the data are no images: whatever decodes one ends with another code.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_transfer.cli.commands import app
from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.errors import CxrError, UsageError
from cxr_transfer.labels import DATASET_1
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from made import write_image

FITTED = """
name = "fitted"
title = "a head at once"
network = "simple_cnn"
dataset = "dataset_1"

[[stages]]
name = "head"
fit = "logistic"
train = ["head"]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("options")
    size = PhantomSize(normal=24, bacterial=24, viral=12, covid19=12)
    write_phantom(root / "archives", seed=1, size=size)
    for path in (root / "archives").rglob("*.jp*g"):
        path.write_text("no image")
    lines = ["path,label,split"]
    for label in DATASET_1:
        (root / "images" / label).mkdir(parents=True)
        for number in range(3):
            (root / "images" / label / f"{number}.png").write_text("no image")
            part = ("train", "validation", "test")[number]
            lines.append(f"images/{label}/{number}.png,{label},{part}")
    (root / "parts.csv").write_text("\n".join(lines))
    (root / "fitted.toml").write_text(FITTED)
    (root / "weights.h5").write_text("no weights")
    card = {
        "name": "model_0",
        "architecture": "simple_cnn",
        "labels": DATASET_1.names,
        "preprocessing": Preprocessing(),
        "epsilon": 1e-3,
        "recipe": {},
    }
    (root / "start").mkdir()
    save_checkpoint(root / "start", build("simple_cnn", 3, size=(224, 224), epsilon=1e-3), card)
    return root


def refusal(root, command, *, kind=CxrError):
    words = [word.format(root=root) for word in command.split()]
    found = CliRunner().invoke(app, words)
    assert isinstance(found.exception, kind), (found.exception, found.output)
    return found.exception


TRAIN = "train model_1 --data {root}/images --out {root}/out"
OWN = "train {root}/fitted.toml --data {root}/images --out {root}/out"
ARCHIVES = "train model_1 --data {root}/archives --out {root}/out"
STUDY = "study --data {root}/archives --out {root}/out"
CURVE = f"{STUDY} --learning-curve 4,6"
VALIDATE = "validate --data {root}/parts.csv --out {root}/out"
EVALUATE = "evaluate {root}/start --data {root}/images --out {root}/out"
AUDIT = "audit {root}/start --data {root}/images --out {root}/out"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "names"),
    [
        (f"{TRAIN} --from {{root}}/start", "--from"),
        (f"{TRAIN} --weights {{root}}/weights.h5", "--weights"),
        (f"{ARCHIVES} --from {{root}}/start", "--from"),
        (f"{TRAIN} --pretraining clean", "--pretraining"),
        (f"{TRAIN} --pretraining paper", "--pretraining"),
        (f"{ARCHIVES} --pretraining clean", "--pretraining"),
        (f"{ARCHIVES} --label normal=healthy", "--label"),
        (f"{TRAIN} --label pneumothorax=normal", "pneumothorax"),
        ("train model_1 --data {root}/parts.csv --out {root}/out --split patient", "--split"),
        ("train model_1 --data {root}/parts.csv --out {root}/out --split image", "--split"),
        (f"{OWN} --max-epochs 3", "--max-epochs"),
        (f"{OWN} --devices 2 --device cpu", "--devices"),
        (f"{OWN} --num-nodes 2 --device cpu", "--num-nodes"),
        (f"{TRAIN} --seeds 3", "--folds"),
        (f"{TRAIN} --choose {{root}}/fitted.toml", "--folds"),
        (f"{TRAIN} --folds 2 --devices 2 --device cpu", "--devices"),
        (f"{TRAIN} --folds 2 --weights {{root}}/weights.h5", "--weights"),
        (f"{STUDY} --models model_1 --model-0 {{root}}/start", "--model-0"),
        (f"{STUDY} --models model_0,model_2 --model-0 {{root}}/start", "--model-0"),
        (f"{STUDY} --models model_1 --weights {{root}}/weights.h5", "--weights"),
        (f"{STUDY} --models model_1 --skip-unavailable", "--skip-unavailable"),
        (f"{STUDY} --weights {{root}}/weights.h5 --skip-unavailable", "--skip-unavailable"),
        (f"{STUDY} --models model_1 --pretraining paper", "--pretraining"),
        (f"{STUDY} --models model_1 --draws 3", "--draws"),
        (f"{CURVE} --models model_1 --folds 3", "--folds"),
        (f"{CURVE} --models model_1 --split image", "--split"),
        (f"{CURVE} --models model_2 --pretraining paper", "--pretraining"),
        (f"{CURVE} --models model_1 --from {{root}}/start", "--model-0"),
        (f"{CURVE} --models model_1 --weights {{root}}/weights.h5", "--weights"),
        (f"{CURVE} --models model_1 --skip-unavailable", "--skip-unavailable"),
        (
            f"{CURVE} --models model_3 --skip-unavailable --weights {{root}}/weights.h5",
            "--skip-unavailable",
        ),
        (f"{EVALUATE} --label pneumothorax=normal", "pneumothorax"),
        (f"{AUDIT} --label pneumothorax=normal", "pneumothorax"),
        (f"{VALIDATE} multi_source --saw {{root}}/parts.csv", "--saw"),
        (f"{VALIDATE} {{root}}/start --weights {{root}}/weights.h5", "--weights"),
        (f"{VALIDATE} {{root}}/start --max-epochs 2", "--max-epochs"),
        (f"{VALIDATE} scores.csv -o coverage=0.9", "-o"),
        (f"{VALIDATE} {{root}}/start --curve 0,25", "--curve"),
        (f"{VALIDATE} multi_source --draws 3", "--draws"),
        (f"{VALIDATE} multi_source --local a", "--local"),
        (f"{VALIDATE} scores.csv --add-source a=b", "--add-source"),
        (f"{EVALUATE} --subgroup view", "--subgroup"),
        (f"{AUDIT} --subgroup source", "--subgroup"),
        (f"{AUDIT} --weights {{root}}/weights.h5", "--weights"),
    ],
)
def test_an_option_without_effect_is_refused_by_name(root, command, names):
    error = refusal(root, command, kind=UsageError)
    assert error.code == "unused_option"
    assert names in error.message
    assert not (root / "out" / "run.json").exists()


def test_weights_are_refused_where_the_recipe_that_is_retrained_has_none(root):
    card = json.loads((root / "start" / "checkpoint.json").read_text())
    recipe = {
        "name": "mine", "title": "mine", "network": "simple_cnn", "dataset": "dataset_1",
        "stages": [{"name": "all", "train": ["*"]}],
    }  # fmt: skip
    (root / "start" / "checkpoint.json").write_text(json.dumps(card | {"recipe": recipe}))
    error = refusal(root, f"{AUDIT} --retrain --weights {{root}}/weights.h5")
    (root / "start" / "checkpoint.json").write_text(json.dumps(card))
    assert error.code == "unused_option"
    assert "--weights" in error.message


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("train model_2 --data {root}/images --out {root}/out", "no_start"),
        ("train model_2 --data {root}/images --out {root}/out --from {root}/none", "no_checkpoint"),
        (f"{TRAIN} --device tpu", "no_device"),
        (f"{TRAIN} --devices 3 --device cpu", "batch_not_divisible"),
        (f"{TRAIN} --precision float16", "unknown_precision"),
        (
            "train model_3 --data {root}/images --out {root}/out --weights {root}/weights.h5",
            "unsupported_format",
        ),
        (f"{STUDY} --device tpu --models model_1", "no_device"),
        (f"{STUDY} --precision float16 --models model_1", "unknown_precision"),
        (f"{STUDY} --folds 1 --models model_1", "folds"),
        (f"{TRAIN} --folds 1", "folds"),
        (f"{TRAIN} --folds 2", "too_few"),
        ("train model_1 --data {root}/parts.csv --out {root}/out --folds 2", "parts_given"),
        (f"{TRAIN} --folds 2 --choose model_1", "other_recipes"),
        (f"{TRAIN} --folds 2 --choose multi_source", "other_recipes"),
        (f"{TRAIN} --folds 2 --choose absent.toml", "no_recipe"),
        ("validate model_1 --data {root}/images --out {root}/out", "one_source"),
        ("validate absent --data {root}/images --out {root}/out", "no_recipe"),
        (f"{VALIDATE} model_1 --curve 0,25", "no_local_source"),
        (f"{VALIDATE} model_1 --curve many --local a", "bad_sizes"),
        (f"{VALIDATE} model_1 --curve 0,9 --local a", "unknown_source"),
        ("validate {root}/none.onnx --data {root}/parts.csv --out {root}/out", "no_model"),
        ("validate released:none --data {root}/parts.csv --out {root}/out", "no_checkpoint"),
        ("validate {root}/start --data {root}/images --out {root}/out", "one_source"),
        ("validate model_2 --data {root}/parts.csv --out {root}/out", "no_start"),
        ("compare {root}/start", "one_model"),
        ("compare {root}/start {root}/images", "no_predictions"),
        (f"{STUDY} --models model_2 --model-0 {{root}}/none", "no_checkpoint"),
        (f"{STUDY} --models model_3 --weights {{root}}/none.h5", "missing_file"),
        (f"{STUDY} --learning-curve ten", "bad_sizes"),
        (f"{STUDY} --learning-curve 20,10", "bad_sizes"),
        (f"{CURVE} --models model_9", "no_recipe"),
        (f"{CURVE} --models model_1,model_0", "recipes_differ"),
        (f"{CURVE} --models model_2 --model-0 {{root}}/none", "no_checkpoint"),
        (f"{CURVE} --models model_1,{{root}}/fitted.toml --max-epochs 2", "too_few"),
        ("export {root}/start --out {root}/x.onnx --precision int8", "unknown_precision"),
        ("export {root}/start --out {root}/x.unknown", "unknown_format"),
        (f"{EVALUATE} --label normal", "bad_label"),
        (f"{EVALUATE} --label normal=healthy", "bad_label"),
        (f"{AUDIT} --label normal=healthy", "bad_label"),
        ("train multi_source --data {root}/images --out {root}/out --label viral", "bad_label"),
    ],
)
def test_what_cannot_be_run_is_said_before_an_image_is_decoded(root, command, code):
    assert refusal(root, command).code == code
    assert not (root / "out" / "run.json").exists()


def test_a_label_of_unknown_class_is_said_before_an_image_is_decoded(root, tmp_path):
    for label in ("normal", "covid19", "pneumothorax"):
        (tmp_path / "images" / label).mkdir(parents=True)
        (tmp_path / "images" / label / "1.png").write_text("no image")
    command = f"train multi_source --data {tmp_path}/images --out {tmp_path}/out"
    for asked in (command, f"{command} --device cpu"):
        error = refusal(root, asked)
        assert error.code == "unknown_label"
        assert "pneumothorax (1 image)" in error.message
        assert "--label" in error.message
    added = (
        f"train multi_source --data {{root}}/archives --out {tmp_path}/out "
        f"--add-source clinic={tmp_path}/images"
    )
    assert refusal(root, added).code == "unknown_label"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [TRAIN, ARCHIVES, f"{STUDY} --models model_1", EVALUATE, AUDIT])
def test_damaged_files_stop_the_whole_and_the_way_out_is_named(root, command):
    error = refusal(root, command)
    assert error.code == "damaged_images"
    assert "--skip-damaged" in error.message
    assert not (root / "out" / "run.json").exists(), "the folder stays free"


# What is there already


@pytest.mark.parametrize(
    ("command", "there"),
    [
        ("data check {root}/parts.csv --table {there}", "parts.csv"),  # the very input
        ("data check {root}/parts.csv --table {there}", "thesis.csv"),
        ("card {root}/start --out {there}", "thesis.md"),
        ("export {root}/start --out {there}", "thesis.onnx"),
        ("export {root}/start --out {root}/network.pt", "network.pt.json"),
        ("export {root}/start --out {root}/network.xml", "network.bin"),
        ("export {root}/start --out {root}/network.xml", "network.reference.safetensors"),
        ("predict {root}/images --out {there}", "thesis.csv"),
    ],
)
def test_no_file_is_replaced_that_is_there_already(root, command, there):
    path = root / there
    if there != "parts.csv":
        path.write_text("three years")
    before = path.read_bytes()
    error = refusal(root, command.replace("{there}", str(path)), kind=UsageError)
    after = path.read_bytes()
    if there != "parts.csv":
        path.unlink()
    assert error.code == "out_exists"
    assert str(path) in error.message
    assert after == before


def test_the_option_that_named_an_existing_file_is_told(root):
    command = "data check {root}/parts.csv --table {root}/parts.csv"
    assert "another --table" in refusal(root, command, kind=UsageError).message


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (TRAIN, "log.txt"),
        (EVALUATE, "report.md"),
        (AUDIT, "audit.md"),
        (f"{STUDY} --models model_1", "report.md"),
        ("data prepare {root}/archives --out {root}/out", "dataset_1.csv"),
    ],
)
def test_no_folder_of_somebody_else_is_written_to(root, command, name):
    # The images are no images: whatever decodes one ends with another code.
    path = root / "mine" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("three years")
    error = refusal(root, command.replace("{root}/out", f"{root}/mine"), kind=UsageError)
    assert (error.code, path.read_text()) == ("foreign_folder", "three years")
    assert [one.name for one in path.parent.iterdir()] == [name]
    path.unlink()


@pytest.mark.parametrize("name", [".lock", "log.txt"])
@pytest.mark.parametrize("command", [TRAIN, EVALUATE, AUDIT])
def test_a_link_in_the_place_of_our_own_files_is_refused_before_an_image_is_decoded(
    root, tmp_path, command, name
):
    (tmp_path / "victim").write_text("of somebody")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "victim")
    error = refusal(root, command.replace("{root}/out", f"{tmp_path}/run"))
    assert error.code == "not_writable"
    assert name in error.message
    assert (tmp_path / "victim").read_text() == "of somebody"


def test_what_training_would_refuse_ends_a_check_with_1(tmp_path):
    for label in "ab":
        write_image(tmp_path / label / "1.png")
    found = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert found.exit_code == 1
    assert "refused by training: Expected at least 10 patients of each class" in found.output
    assert "[too_few]" in found.output


@pytest.mark.parametrize("end", ["\n", "\0"])
def test_names_on_standard_input_end_with_a_line_or_as_find_ends_them(tmp_path, end):
    names = [f"{tmp_path}/a.png", f"{tmp_path}/with space.png", f"{tmp_path}/absent.png"]
    for name in names[:2]:
        write_image(Path(name))
    words = ["predict", "-", "--model", "model_2", "--json"]
    found = CliRunner().invoke(app, words, input="".join(name + end for name in names))
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert [answer["file"] for answer in answers] == names
    assert answers[2]["code"] == "missing_file"


def test_an_image_on_standard_input_is_one(tmp_path):
    write_image(tmp_path / "a.png")
    words = ["predict", "-", "--model", "model_2", "--json"]
    found = CliRunner().invoke(app, words, input=(tmp_path / "a.png").read_bytes())
    (answer,) = [json.loads(line) for line in found.stdout.splitlines()]
    assert (answer["file"], answer["status"] != "error") == ("", True)
