"""Recipes by name or path, with overrides; what is wrong is said at once; one to change by hand."""

import json
import tomllib

import pytest

from cxr_transfer.errors import UsageError
from cxr_transfer.training.augmentation import AUGMENTATIONS, checked_augmentation
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import (
    load_recipe,
    overridden,
    parse_overrides,
    parse_recipe,
    shipped_recipes,
)
from cxr_transfer.training.recipe_text import commented, recipe_name


def plain(**changes):
    stages = [
        {"name": "head", "train": ["head"]},
        {"name": "fit", "fit": "logistic", "train": ["head"]},
    ]
    return {"name": "mine", "network": "simple_cnn", "stages": stages} | changes


def refused(content):
    with pytest.raises(UsageError) as raised:
        parse_recipe(content, origin="mine.toml")
    assert raised.value.code == "bad_recipe"
    return raised.value.message


def test_a_recipe_for_ones_own_images_needs_neither_title_nor_data_set():
    recipe = parse_recipe(plain(), origin="here")
    assert (recipe.dataset, recipe.title, recipe.shown) == (None, "", "mine")


def test_all_that_is_wrong_is_said_at_once():
    stages = [{"name": "a", "train": ["*"], "momentum": 0.5, "learning_rate": -1, "lr": 3}]
    message = refused(plain(network="vgg", stages=stages, drop_out=0.5))
    for part in (
        "network: Expected one of the architectures",
        "a.learning_rate: Input should be greater than 0",
        "a.lr is no key",
        "drop_out is no key of a recipe; did you mean 'dropout'?",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"momentum": 0.5}, 'momentum is for optimizer = "sgd"'),
        ({"schedule": "constant", "reduce_after": 3}, 'reduce_after is for schedule = "plateau"'),
        ({"schedule": "cosine"}, "needs the number of epochs: give max_epochs"),
        ({"warmup_epochs": 5, "max_epochs": 5}, "warmup_epochs is less than max_epochs"),
        ({"fit": "logistic", "train": ["head"], "mixup": 0.2}, 'mixup is for fit = "gradient"'),
        ({"fit": "logistic"}, "fits the head alone"),
    ],
)
def test_keys_of_a_stage_that_contradict_each_other_are_refused(stage, said):
    assert said in refused(plain(stages=[{"name": "a", "train": ["*"]} | stage]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"class_weights": "balanced", "sampling": "by_class"}, "balance the classes twice"),
        ({"initial": "pretrained"}, "no library publishes weights of simple_cnn"),
        ({"augmentation": {"rotation": 400}}, "rotation is a strength from 0 to 45"),
        ({"augmentation": {"rotate": 4}}, "did you mean 'rotation'?"),
        ({"network": "monai:"}, "network: Expected a network such as monai:NAME"),
    ],
)
def test_keys_of_a_recipe_that_contradict_each_other_are_refused(changes, said):
    assert said in refused(plain(**changes))


def test_what_a_fitted_head_never_meets_is_refused():
    fitted = [{"name": "fit", "fit": "logistic", "train": ["head"]}]
    message = refused(
        plain(stages=fitted, augmentation={"noise": 3}, dropout=0.1, class_weights="balanced")
    )
    for key in ("augmentation", "dropout", "class_weights"):
        assert f'{key} is for fit = "gradient"' in message


def test_stages_that_watch_different_figures_are_refused():
    stages = [
        {"name": "a", "train": ["*"], "monitor": "val_auroc"},
        {"name": "b", "train": ["*"]},
    ]
    assert "all stages have one monitor" in refused(plain(stages=stages))


def test_overrides_reach_every_place_of_a_recipe():
    texts = (
        "train.learning_rate=3e-4",
        "head.max_epochs=5",
        "fit.penalty=0.5",
        "input_size=96",
        "preprocessing.equalise=true",
        "augmentation.noise=4",
        "labels.a b=normal",
        "dropout=0.25",
        "title=A title",
    )
    recipe = parse_recipe(overridden(plain(), parse_overrides(texts)), origin="here")
    head, fit = recipe.stages
    assert (head.learning_rate, head.max_epochs, fit.penalty) == (3e-4, 5, 0.5)
    assert fit.learning_rate == 1e-3, "a stage that is fitted has no learning rate to change"
    assert recipe.preprocessing.size == (96, 96)
    assert recipe.preprocessing.equalise
    assert recipe.augmentation == {"noise": 4.0}
    assert recipe.labels == {"a b": "normal"}
    assert (recipe.dropout, recipe.title) == (0.25, "A title")


def test_a_title_that_told_of_another_network_goes():
    assert load_recipe("transfer", {"network": "monai:resnet18", "initial": "random"}).title == ""
    assert load_recipe("transfer", {"network": "resnet50", "title": "Mine"}).title == "Mine"


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_said_of_one_stage_wins_over_what_is_said_of_all(order):
    texts = ("head.learning_rate=0.5", "train.learning_rate=3e-4")[::order]
    recipe = parse_recipe(overridden(plain(), parse_overrides(texts)), origin="here")
    assert recipe.stages[0].learning_rate == 0.5


def test_the_content_that_is_overridden_stays_as_it_was():
    content = plain()
    overridden(content, {"head.max_epochs": 5, "input_size": 64})
    assert content == plain()


@pytest.mark.parametrize("text", ["learning_rate", "=3", ""])
def test_what_is_no_override_is_refused(text):
    with pytest.raises(UsageError, match="KEY=VALUE") as raised:
        parse_overrides([text])
    assert raised.value.code == "bad_override"


def test_an_override_of_a_stage_that_is_not_there_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'head'") as raised:
        load_recipe("model_3", {"heat.max_epochs": 1})
    assert raised.value.code == "bad_override"


def test_an_override_of_an_unknown_key_is_refused_as_in_a_file():
    with pytest.raises(UsageError, match=r"head\.epochs is no key"):
        load_recipe("model_3", {"head.epochs": 1})


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_recipe_written_for_people_is_read_as_the_same(name):
    recipe = load_recipe(name)
    text = commented(recipe)
    assert parse_recipe(tomllib.loads(text), origin="there") == recipe
    assert "# Learning rate at the start" in text or recipe.stages[0].fit == "logistic"
    for augmentation in AUGMENTATIONS:
        assert f"{augmentation} = " in text


@pytest.mark.parametrize(
    ("file", "name"), [("My Net.toml", "my_net"), ("é.toml", "mine"), ("a-1.toml", "a_1")]
)
def test_a_recipe_is_named_after_its_file(tmp_path, file, name):
    assert recipe_name(tmp_path / file) == name


def test_the_schema_knows_every_key():
    schema = json.loads(json.dumps(Recipe.model_json_schema()))
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert "optimizer" in schema["$defs"]["Stage"]["properties"]


def test_augmentations_of_no_strength_are_none():
    assert checked_augmentation({"flip": 0, "noise": 2}) == {"noise": 2.0}


def test_numbers_without_measure_are_refused_and_no_traceback():
    digits = "9" * 5000
    for content in (
        plain(stages=[{"name": "a", "train": ["*"], "batch_size": 10**30}]),
        plain(stages=[{"name": "a", "train": ["*"], "batch_size": True}]),
        plain(stages=[{"name": "a", "train": ["*"], "max_epochs": 10**9}]),
    ):
        assert "a." in refused(content)
    (values,) = parse_overrides([f"input_size={digits}"]).values()
    assert values == digits
    nested = parse_overrides(["labels=" + "[" * 5000])
    assert isinstance(nested["labels"], str)


def test_a_file_that_is_no_recipe_is_refused_at_once(tmp_path):
    (tmp_path / "deep.toml").write_text("[" + ".".join("a" * 500_000) + "]")
    (tmp_path / "digits.toml").write_text(f"seed = {'9' * 5000}")
    for name, said in (("deep.toml", "at most 65536 bytes"), ("digits.toml", "Expected TOML")):
        with pytest.raises(UsageError, match=said) as raised:
            load_recipe(str(tmp_path / name))
        assert raised.value.code == "bad_recipe"
    with pytest.raises(UsageError, match="which is a folder"):
        load_recipe(str(tmp_path))


def test_a_key_is_given_once():
    with pytest.raises(UsageError, match="given twice"):
        parse_overrides(["dropout=0.1", "dropout=0.2"])


def test_what_is_wrong_with_an_override_is_not_said_of_the_packages_file():
    with pytest.raises(UsageError, match="model_3 with dropout changed") as raised:
        load_recipe("model_3", {"dropout": 3})
    assert ".toml" not in raised.value.message


@pytest.mark.parametrize("epochs", [0, -1, True, 2.5])
def test_fewer_than_one_epoch_is_refused(epochs):
    with pytest.raises(UsageError) as raised:
        load_recipe("model_1").limited(epochs)
    assert raised.value.code == "bad_epochs"
