"""A run folder is taken up by the same run alone; a run that is refused leaves it free."""

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import torch

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import Damaged
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import CxrError, DataError, MachineError, ModelError, UsageError
from cxr_transfer.labels import DATASET_1, LabelSet
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.metadata import read_card
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import load_recipe, parse_recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.settings import SETTINGS, check_settings, settings_checked
from cxr_transfer.training.start import check_run
from miniature import SIDE, make_images


def settings_of(name="model_2"):
    recipe = load_recipe(name).model_dump(mode="json")
    return {"recipe": recipe, "seed": 0, "labels": ["normal", "covid19"], "data_hash": "ab" * 32}


def before(settings):
    """The same, as it was written down when recipes had fewer keys."""
    earlier = copy.deepcopy(settings)
    del earlier["recipe"]["coverage"]
    for key in ("crop", "detail", "equalise"):
        del earlier["recipe"]["preprocessing"][key]
    for stage in earlier["recipe"]["stages"]:
        del stage["fit"], stage["penalty"], stage["background_swap"]
    return earlier


def refusal(folder, settings):
    with pytest.raises(UsageError) as error:
        check_settings(folder, settings)
    assert error.value.code == "other_run"
    return error.value.message


def test_a_folder_is_claimed_once_and_taken_up_by_the_same_run(tmp_path):
    assert not check_settings(tmp_path, settings_of())
    assert check_settings(tmp_path, settings_of())


def test_a_run_from_before_a_key_was_known_is_the_same_run(tmp_path):
    (tmp_path / SETTINGS).write_text(json.dumps(before(settings_of())))
    assert check_settings(tmp_path, settings_of())


def test_what_is_not_a_keys_default_is_another_run(tmp_path):
    (tmp_path / SETTINGS).write_text(json.dumps(before(settings_of())))
    settings = settings_of()
    settings["recipe"]["preprocessing"]["crop"] = "lungs"
    said = refusal(tmp_path, settings)
    assert 'recipe.preprocessing.crop "none" there, "lungs" now;' in said
    assert said.count(" there, ") == 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (lambda recipe: recipe | {"coverage": 0.9}, "recipe.coverage 0.9 there, null now"),
        (
            lambda recipe: recipe | {"title": recipe["title"] + "."},
            "recipe.title",
        ),
        (
            lambda recipe: (
                recipe
                | {"stages": [recipe["stages"][0], recipe["stages"][1] | {"learning_rate": 0.5}]}
            ),
            "recipe.stages.1.learning_rate 0.5 there, 0.0001 now",
        ),
        (lambda recipe: recipe | {"stages": recipe["stages"][:1]}, "recipe.stages.1 null there"),
        (lambda recipe: recipe | {"xyzzy": 1}, "recipe.xyzzy 1 there, null now"),
        (lambda recipe: None, "recipe null there"),
    ],
)
def test_the_keys_of_a_recipe_that_differ_are_named(tmp_path, changed, named):
    settings = settings_of()
    earlier = settings | {"recipe": changed(settings["recipe"])}
    (tmp_path / SETTINGS).write_text(json.dumps(earlier))
    said = refusal(tmp_path, settings)
    assert named in said
    assert said.count("; ") == 1, "nothing else differs"


def test_long_values_that_begin_alike_are_not_printed_twice(tmp_path):
    settings = settings_of()
    check_settings(tmp_path, settings | {"labels": ["a" * 50, "b"]})
    said = refusal(tmp_path, settings | {"labels": ["a" * 50, "c"]})
    assert "another one: labels; choose" in said


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '"run"'])
def test_a_folder_whose_settings_cannot_be_read_is_another_runs(tmp_path, content):
    (tmp_path / SETTINGS).write_text(content)
    assert "seed null there, 0 now" in refusal(tmp_path, settings_of())


def test_a_run_from_when_best_meant_of_the_stage_is_the_same_run(tmp_path):
    earlier = copy.deepcopy(settings_of())
    for stage in earlier["recipe"]["stages"]:
        stage["keep"] = "best"
    (tmp_path / SETTINGS).write_text(json.dumps(earlier))
    assert check_settings(tmp_path, settings_of())


CPU = Execution(device="cpu", precision="float32")
ABSENT = "cuda" if not torch.cuda.is_available() else "mps"


def small(**changes):
    return parse_recipe(
        {
            "name": "small",
            "title": "small",
            "network": "simple_cnn",
            "dataset": "dataset_1",
            "preprocessing": {"height": SIDE, "width": SIDE},
            "stages": [{"name": "all", "train": ["*"], "max_epochs": 1}],
        }
        | changes,
        origin="here",
    )


def no_images(number=46):
    """Cases whose files are nowhere: whoever decodes one gets an error of a file."""
    targets = make_images(number, seed=1).targets.tolist()
    parts = ["train", "train", "train", "validation", "test"]
    cases = tuple(
        Case(
            Path(f"/nowhere/{row}.png"),
            DATASET_1.names[target],
            f"p{row}",
            "made",
            split=parts[row % 5],
            sha256=f"{row:064x}",
            pixels=f"{row}",
        )
        for row, target in enumerate(targets)
    )
    return Dataset("made", DATASET_1, cases)


def start_of(folder, *, classes=3, names=DATASET_1.names, side=SIDE, network="simple_cnn"):
    made = build(network, classes, size=(side, side), epsilon=1e-3)
    card = {
        "name": "before",
        "architecture": network,
        "labels": names,
        "preprocessing": Preprocessing(height=side, width=side),
        "epsilon": 1e-3,
    }
    folder.mkdir()
    save_checkpoint(folder, made, card)
    return folder


def stage(**changes):
    return {"stages": [{"name": "all", "train": ["*"], "max_epochs": 1} | changes]}


def refused(tmp_path):
    """What cannot be run, each with the code that says why."""
    start = start_of(tmp_path / "start")
    two = start_of(tmp_path / "two", classes=2, names=("normal", "covid19"))
    large = start_of(tmp_path / "large", side=72)
    pickled = tmp_path / "weights.pt"
    pickled.write_bytes(b"PK\x03\x04 a pickle")
    fitted = stage(name="head", train=["head"], fit="logistic")
    from_small = {"initial": "small"}
    return [
        ("unknown_module", UsageError, stage(train=["conv9"]), {}),
        ("nothing_learns", UsageError, stage(train=["flatten"]), {}),
        ("unknown_initial", UsageError, {"initial": "imagnet"}, {}),
        ("unknown_initial", UsageError, {"initial": "banana"}, {"start": start}),
        ("no_start", UsageError, {"initial": "model_0"}, {}),
        ("unused_option", UsageError, {}, {"start": start}),
        ("unused_option", UsageError, {}, {"weights": pickled}),
        ("unused_option", UsageError, from_small, {"start": start, "weights": pickled}),
        ("unused_option", UsageError, fitted, {"execution": Execution(device="cpu", devices=2)}),
        ("no_checkpoint", ModelError, from_small, {"start": tmp_path / "none"}),
        ("other_network", ModelError, from_small, {"start": large}),
        ("other_labels", ModelError, from_small | {"new_head": False}, {"start": two}),
        (
            "unsupported_format",
            ModelError,
            {"initial": "imagenet", "network": "resnet50"},
            {"weights": pickled},
        ),
        (
            "missing_file",
            ModelError,
            {"initial": "imagenet", "network": "resnet50"},
            {"weights": tmp_path / "none.h5"},
        ),
        ("batch_not_divisible", UsageError, {}, {"execution": Execution(device="cpu", devices=3)}),
        ("no_device", MachineError, {}, {"execution": Execution(device=ABSENT)}),
        ("no_device", MachineError, {}, {"execution": Execution(device="tpu")}),
        ("unknown_precision", UsageError, {}, {"execution": Execution("cpu", "float16")}),
    ]


def test_what_cannot_be_run_is_refused_before_an_image_is_decoded_and_leaves_the_folder_free(
    tmp_path,
):
    """Row by row: the images are nowhere, so that decoding one would give another code."""
    for number, (code, kind, changes, given) in enumerate(refused(tmp_path)):
        recipe, folder = small(**changes), tmp_path / f"run{number}"
        asked = {"execution": CPU} | given
        with pytest.raises(kind) as error:
            check_run(recipe, DATASET_1, **asked)
        assert error.value.code == code, error.value.message
        assert error.value.message.startswith("Expected ")
        with pytest.raises(kind) as error:
            run_recipe(recipe, no_images(), None, folder, **asked)
        assert error.value.code == code
        assert not folder.exists(), code


def test_a_name_next_to_a_known_start_is_proposed(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'imagenet'"):
        check_run(small(initial="imagnet"), DATASET_1, execution=CPU)


@pytest.mark.parametrize(
    ("part", "code"), [("train", "empty"), ("validation", "empty"), ("one class", "classes")]
)
def test_parts_from_which_nothing_is_learnt_leave_the_folder_free(tmp_path, part, code):
    dataset = no_images()
    if part == "one class":
        recipe = small(**stage(name="head", train=["head"], fit="logistic"))
        cases = tuple(
            dataclasses.replace(case, split="test") if case.label != "normal" else case
            for case in dataset.cases
        )
    else:
        recipe = small()
        cases = tuple(
            dataclasses.replace(case, split="test") if case.split == part else case
            for case in dataset.cases
        )
    with pytest.raises(DataError) as error:
        run_recipe(
            recipe, dataclasses.replace(dataset, cases=cases), None, tmp_path / "run", execution=CPU
        )
    assert error.value.code == code
    assert not (tmp_path / "run").exists()


def test_a_run_whose_images_cannot_be_decoded_leaves_the_folder_to_another(tmp_path):
    with pytest.raises(DataError) as error:
        run_recipe(small(), no_images(), None, tmp_path, execution=CPU)
    assert error.value.code == "missing_file"
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}
    images = make_images(46, seed=1)
    run_recipe(small(), no_images(), images, tmp_path, seed=5, execution=CPU)
    assert read_card(tmp_path / "checkpoint.json").provenance["seed"] == 5


def test_a_run_that_was_refused_after_an_epoch_keeps_its_folder(tmp_path):
    recipe = small(**stage(max_epochs=5, learning_rate=1e18))
    with pytest.raises(ModelError) as error:
        run_recipe(recipe, no_images(), make_images(46, seed=1), tmp_path, execution=CPU)
    assert error.value.code == "loss_not_finite"
    told = (tmp_path / "history.csv").is_file()
    assert (tmp_path / SETTINGS).is_file() == told


@pytest.mark.parametrize(
    ("raised", "left", "stays"),
    [
        (UsageError, (), False),
        (DataError, ("log.txt", "recipe.toml", "split.csv"), False),
        (ModelError, ("history.csv",), True),
        (ModelError, ("partial/all.resume",), True),
        (UsageError, ("somebody elses.txt",), True),
        (MachineError, (), True),
        (KeyboardInterrupt, (), True),
    ],
)
def test_a_folder_is_given_back_by_what_was_refused_before_it_left_anything(
    tmp_path, raised, left, stays
):
    error = raised("code", "Expected ...") if issubclass(raised, CxrError) else raised()
    with pytest.raises(raised), settings_checked(tmp_path, {"seed": 0}) as there:  # noqa: PT012
        assert not there
        for name in left:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        raise error
    assert (tmp_path / SETTINGS).is_file() == stays
    if not stays:
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_was_taken_before_is_not_given_back(tmp_path):
    check_settings(tmp_path, {"seed": 0})
    with pytest.raises(UsageError), settings_checked(tmp_path, {"seed": 0}) as there:  # noqa: PT012
        assert there
        raise UsageError("code", "Expected ...")
    assert (tmp_path / SETTINGS).is_file()


def test_the_card_tells_how_each_stage_ended_and_what_was_left_out(tmp_path):
    stages = [
        {"name": "all", "train": ["*"], "max_epochs": 2},
        {"name": "spoilt", "train": ["*"], "max_epochs": 1, "learning_rate": 0.5},
    ]
    unread = Damaged("half.png", "truncated_image", "Expected a whole file.")
    dataset = dataclasses.replace(no_images(), left_out={"atypical": 3}, damaged=(unread,))
    run = run_recipe(
        small(stages=stages), dataset, make_images(46, seed=1), tmp_path / "run", execution=CPU
    )
    card = read_card(run / "checkpoint.json")
    first, last = card.provenance["stages"]
    assert (first["name"], first["improved"], first["epochs"]) == ("all", True, 2)
    assert last == {
        "name": "spoilt",
        "epochs": 1,
        "kept_epoch": None,
        "val_loss": first["val_loss"],
        "monitor": "val_loss",
        "figure": None,
        "improved": False,
    }
    assert card.data["left_out"] == {"atypical": 3}
    assert card.data["damaged"] == 1
    assert "truncated_image" in (run / "damaged.csv").read_text()
    log = (run / "log.txt").read_text()
    assert "the weights before it are kept" in log
    assert "small · all: best epoch" in log
    assert "small · spoilt: no epoch of 1 was better" in log
    assert "small · validation: loss " in log


def test_labels_that_a_start_has_are_compared_with_those_of_the_data(tmp_path):
    start = start_of(tmp_path / "start")
    recipe = small(initial="before", new_head=False)
    assert check_run(recipe, DATASET_1, execution=CPU, start=start).origin.startswith("before ")
    with pytest.raises(ModelError) as error:
        check_run(recipe, LabelSet(("a", "b", "c")), execution=CPU, start=start)
    assert error.value.code == "other_labels"


FINDINGS = LabelSet(("A", "B"), exclusive=False)


def test_a_recipe_is_refused_for_data_that_were_read_for_another_task():
    recipe = parse_recipe(
        {
            "name": "several",
            "task": "multi_label",
            "network": "simple_cnn",
            "stages": [{"name": "all", "train": ["*"]}],
        },
        origin="test",
    )
    assert check_run(recipe, FINDINGS).network.head.out_features == 2
    other = recipe.model_copy(update={"task": "multi_class"})
    for each, labels in ((recipe, DATASET_1), (other, FINDINGS)):
        with pytest.raises(UsageError) as error:
            check_run(each, labels)
        assert error.value.code == "other_task"


def test_a_part_without_a_finding_both_ways_is_refused_before_an_image_is_read(tmp_path):
    recipe = parse_recipe(
        {
            "name": "several",
            "task": "multi_label",
            "network": "simple_cnn",
            "stages": [{"name": "all", "train": ["*"]}],
        },
        origin="test",
    )
    cases = tuple(
        Case(Path(f"{part}{row}.png"), label, f"{part}{row}", "made", split=part)
        for part, labels in (("train", ("A", "B", "A|B")), ("validation", ("A", "A|B", "A")))
        for row, label in enumerate(labels)
    )
    with pytest.raises(DataError) as error:
        run_recipe(recipe, Dataset("made", FINDINGS, cases), None, tmp_path / "run")
    assert error.value.code == "classes"
    assert "no A" in error.value.message


def test_strata_that_compare_nothing_are_refused_before_an_image_is_read(tmp_path):
    stage = {"name": "head", "train": ["head"], "fit": "logistic", "strata": "source"}
    with pytest.raises(DataError) as error:
        run_recipe(small(stages=[stage]), no_images(), None, tmp_path / "run", execution=CPU)
    assert error.value.code == "one_source"
    assert not (tmp_path / "run" / "checkpoint.json").exists()


STRATA = {"name": "head", "train": ["head"], "fit": "logistic", "strata": "source"}


@pytest.mark.parametrize(
    "keys", [{"stages": [STRATA]}, {"sampling": "by_source"}], ids=["strata", "sampling"]
)
def test_a_run_that_asks_for_sources_is_another_one_where_images_are_from_elsewhere(keys, tmp_path):
    recipe, images = small(**keys), make_images(46, seed=1)
    of, to = (
        dataclasses.replace(
            no_images(),
            cases=tuple(
                dataclasses.replace(case, source="ab"[row // by % 2])
                for row, case in enumerate(no_images().cases)
            ),
        )
        for by in (1, 2)
    )
    run_recipe(recipe, of, images, tmp_path / "run", execution=CPU)
    with pytest.raises(UsageError) as error:
        run_recipe(recipe, to, images, tmp_path / "run", execution=CPU)
    assert error.value.code == "other_run"
