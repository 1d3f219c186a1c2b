"""The shipped recipes hold the paper's values; a recipe that is none is refused by key."""

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cxr_transfer.errors import UsageError
from cxr_transfer.models.metadata import RELEASED, read_card, released_models
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import load_recipe, parse_recipe, shipped_recipes
from cxr_transfer.training.stage_recipe import Stage

PAPER = {  # network, data, from what, (what trains, learning rate) per stage
    "model_0": ("simple_cnn", "dataset_0", "random", [(("*",), 1e-3)]),
    "model_1": ("simple_cnn", "dataset_1", "random", [(("*",), 1e-3)]),
    "model_2": ("simple_cnn", "dataset_1", "model_0", [(("head",), 1e-3), (("*",), 1e-4)]),
    "model_3": (
        "resnet50",
        "dataset_1",
        "imagenet",
        [(("head",), 1e-3), (("conv5_block3", "head"), 1e-4)],
    ),
}


def plain(**changes):
    """The shortest recipe, as TOML reads it, with changes."""
    return {
        "name": "mine",
        "title": "Mine",
        "network": "simple_cnn",
        "dataset": "dataset_1",
        "stages": [{"name": "all", "train": ["*"]}],
    } | changes


def refusal(content):
    with pytest.raises(UsageError) as error:
        parse_recipe(content, origin="mine.toml")
    assert error.value.code == "bad_recipe"
    assert error.value.exit_code == 2
    assert "mine.toml" in error.value.message
    return error.value.message


def test_the_papers_four_models_ship():
    assert PAPER.keys() <= shipped_recipes().keys()


@pytest.mark.parametrize("name", PAPER)
def test_a_shipped_recipe_holds_the_papers_values(name):
    recipe = load_recipe(name)
    network, dataset, initial, stages = PAPER[name]
    assert (recipe.name, recipe.network) == (name, network)
    assert (recipe.dataset, recipe.initial) == (dataset, initial)
    assert [(stage.train, stage.learning_rate) for stage in recipe.stages] == stages
    assert (recipe.preprocessing.height, recipe.preprocessing.width) == (224, 224)
    for stage in recipe.stages:
        assert (stage.batch_size, stage.max_epochs, stage.stop_after) == (20, 500, 10)
        assert (stage.reduce_after, stage.reduce_factor, stage.keep) == (5, 0.1, "best_of_stage")


def test_every_shipped_recipe_is_named_as_its_file():
    for name in shipped_recipes():
        assert load_recipe(name).name == name


def test_a_stage_has_the_papers_defaults():
    (stage,) = parse_recipe(plain(), origin="test").stages
    assert stage.model_dump() == {
        "name": "all",
        "fit": "gradient",
        "penalty": 0.02,
        "background_swap": 0.0,
        "balance": "by_class",
        "strata": "none",
        "strata_penalty": 2e-4,
        "train": ("*",),
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "momentum": 0.9,
        "schedule": "plateau",
        "warmup_epochs": 0,
        "layer_decay": 1.0,
        "unfreeze_every": 0,
        "label_smoothing": 0.0,
        "mixup": 0.0,
        "ema": 0.0,
        "keep_statistics": False,
        "robust": "none",
        "robust_step": 0.01,
        "domain_adversarial": 0.0,
        "monitor": "val_loss",
        "batch_size": 20,
        "max_epochs": 500,
        "stop_after": 10,
        "reduce_after": 5,
        "reduce_factor": 0.1,
        "keep": "best_overall",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"netwrok": "simple_cnn"}, "netwrok is no key of a recipe; did you mean 'network'?"),
        ({"preprocessing": {"hieght": 224}}, "preprocessing.hieght is no key"),
        ({"preprocessing": {"hieght": 224}}, "did you mean 'height'?"),
        (
            {"stages": [{"name": "a", "train": ["*"], "learning_rat": 1}]},
            "a.learning_rat is no key of a recipe; did you mean 'learning_rate'?",
        ),
        ({"xyzzy": 1}, "xyzzy is no key of a recipe."),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(changes, said):
    assert said in refusal(plain(**changes))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"network": "vgg16"}, "network"),
        ({"dataset": "dataset_2"}, "dataset"),
        ({"name": "../up"}, "name"),
        ({"name": "a b"}, "name"),
        ({"stages": []}, "stages"),
        ({"stages": [{"name": "a", "train": []}]}, "a.train"),
        ({"stages": [{"name": "a"}]}, "a.train"),
        ({"stages": [{"name": "a", "train": ["*"]}] * 2}, "two stages have the same name"),
    ],
)
def test_a_wrong_value_is_refused_by_key(changes, where):
    assert where in refusal(plain(**changes))


def head(**changes):
    return {"stages": [{"name": "head", "train": ["head"]} | changes]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (head(penalty=0.1), 'penalty is for fit = "logistic"'),
        (head(background_swap=0.1), 'background_swap is for fit = "logistic"'),
        (head(fit="logistic", learning_rate=0.1), 'learning_rate is for fit = "gradient"'),
        (head(fit="logistic", batch_size=8), 'batch_size is for fit = "gradient"'),
        (head(fit="logistic", stop_after=3), 'stop_after is for fit = "gradient"'),
        (head(fit="logistic", reduce_after=3), 'reduce_after is for fit = "gradient"'),
        (head(fit="logistic", reduce_factor=0.5), 'reduce_factor is for fit = "gradient"'),
        ({"initial": "imagenet"}, "there are no ImageNet weights of simple_cnn"),
        ({"new_head": False}, "new_head is for a recipe that starts from a checkpoint"),
        (
            {"new_head": False, "initial": "imagenet", "network": "resnet50"},
            "new_head is for a recipe that starts from",
        ),
    ],
)
def test_a_key_without_effect_is_refused(changes, said):
    assert said in refusal(plain(**changes))


def test_a_cap_on_epochs_is_refused_where_no_stage_has_epochs():
    fitted = parse_recipe(plain(**head(fit="logistic")), origin="here")
    with pytest.raises(UsageError, match="--max-epochs") as error:
        fitted.limited(3)
    assert error.value.code == "unused_option"
    assert fitted.limited(None) == fitted
    stages = [*head(fit="logistic")["stages"], {"name": "all", "train": ["*"]}]
    both = parse_recipe(plain(stages=stages), origin="here")
    assert both.limited(3).stages[1].max_epochs == 3


def test_an_input_size_is_set_for_both_sides_and_refused_where_no_network_takes_it():
    recipe = parse_recipe(plain(), origin="here")
    assert recipe.sized(None) == recipe
    assert recipe.sized(112).preprocessing.size == (112, 112)
    assert recipe.sized(112).stages == recipe.stages
    with pytest.raises(UsageError, match="48 to 2048") as error:
        recipe.sized(32)
    assert error.value.code == "bad_input_size"


@pytest.mark.parametrize("name", released_models())
def test_the_recipe_of_a_released_model_is_the_one_that_ships(name):
    """Cards were written when recipes had fewer keys, and ``keep`` other words."""
    card = read_card(RELEASED / name / "checkpoint.json")
    assert parse_recipe(card.recipe, origin=name) == load_recipe(name)


def test_best_is_read_as_it_was_meant():
    """A recipe that a checkpoint carries from before keeps its meaning."""
    recipe = parse_recipe(plain(**head(keep="best")), origin="here")
    assert recipe.stages[0].keep == "best_of_stage"


def test_labels_are_kept_in_the_recipe_and_the_last_word_is_the_callers():
    recipe = parse_recipe(plain(labels={"a b": "x", "ü": "", "c": "y"}), origin="here")
    mapped = recipe.relabelling({"c": "", "d-1": "y"})
    assert mapped.labels == {"a b": "x", "ü": "", "c": "", "d-1": "y"}
    assert parse_recipe(tomllib.loads(mapped.to_toml()), origin="here") == mapped


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("max_epochs", 0),
        ("reduce_factor", 1),
        ("keep", "first"),
    ],
)
def test_a_stage_that_cannot_train_is_refused(key, value):
    stage = {"name": "a", "train": ["*"], key: value}
    assert f"a.{key}" in refusal(plain(stages=[stage]))


def test_a_name_that_does_not_ship_suggests_the_nearest():
    with pytest.raises(UsageError) as error:
        load_recipe("model3")
    assert error.value.code == "no_recipe"
    assert "did you mean 'model_3'?" in error.value.message
    assert "model_0, model_1, model_2, model_3" in error.value.message


@pytest.mark.parametrize("content", [b"name = ", b"just words", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_what_is_no_toml_is_refused(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load_recipe(str(path))
    assert error.value.code == "bad_recipe"
    assert str(path) in error.value.message


def test_a_recipe_is_loaded_by_its_path(tmp_path):
    recipe = parse_recipe(plain(title="é"), origin="test")
    (tmp_path / "any name.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert load_recipe(str(tmp_path / "any name.toml")) == recipe


@pytest.mark.parametrize("name", PAPER)
def test_a_shipped_recipe_written_out_is_the_same_recipe(name):
    recipe = load_recipe(name)
    written = tomllib.loads(recipe.to_toml())
    assert parse_recipe(written, origin="test") == recipe
    assert written["stages"][0].keys() == Stage.model_fields.keys(), "defaults are written too"
    # TOML has no word for None.
    assert Recipe.model_fields.keys() - written.keys() == {"coverage", "dropout"}


def test_coverage_and_how_images_are_prepared_are_read_back(tmp_path):
    recipe = load_recipe("multi_source")
    assert (recipe.coverage, recipe.preprocessing.crop) == (0.9, "lungs")
    (tmp_path / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert load_recipe(str(tmp_path / "recipe.toml")) == recipe
    assert "coverage = 0.9" in recipe.to_toml()


TITLES = st.text(st.characters(exclude_categories=["Cs"]).filter(str.isprintable), max_size=20)
STAGES = st.fixed_dictionaries(
    {"train": st.lists(TITLES, min_size=1, max_size=3)},
    optional={
        "learning_rate": st.floats(1e-30, 1e30),
        "batch_size": st.integers(1, 10**6),
        "reduce_factor": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "keep": st.sampled_from(["best_overall", "best_of_stage", "last"]),
    },
)


@pytest.mark.slow
@example('\U0001fa7b " \\ ', True, None, {"é": "", "": "a"}, [{"train": ["*"]}])
@given(
    TITLES,
    st.booleans(),
    st.none() | st.floats(0, 1, exclude_min=True),
    st.dictionaries(TITLES, TITLES, max_size=3),
    st.lists(STAGES, min_size=1, max_size=3),
)
def test_any_recipe_written_out_is_the_same_recipe(title, new_head, coverage, labels, stages):
    named = [stage | {"name": f"s{number}"} for number, stage in enumerate(stages)]
    content = plain(
        title=title,
        initial=title,
        new_head=new_head,
        coverage=coverage,
        labels=labels,
        stages=named,
    )
    recipe = parse_recipe(content, origin="test")
    assert parse_recipe(tomllib.loads(recipe.to_toml()), origin="test") == recipe


def test_a_recipe_nested_without_an_end_is_bad(tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text("name = " + "[" * 5000)
    with pytest.raises(UsageError, match="Expected TOML") as error:
        load_recipe(str(path))
    assert error.value.code == "bad_recipe"


@pytest.mark.parametrize("key", ["title", "initial"])
@pytest.mark.parametrize("text", ["a\x1b]0;x\x07", "a\u202eb", "two\nlines", "\x7f"])
def test_a_text_that_a_terminal_would_act_on_is_refused_before_any_training(key, text):
    with pytest.raises(UsageError, match=key) as error:
        parse_recipe(plain(**{key: text}), origin="test")
    assert error.value.message.isprintable()


def test_a_limit_shortens_stages_and_never_lengthens_them():
    stages = [{"name": n, "train": ["*"], "max_epochs": e} for n, e in (("a", 2), ("b", 50))]
    recipe = parse_recipe(plain(stages=stages), origin="test")
    assert [stage.max_epochs for stage in recipe.limited(7).stages] == [2, 7]
    assert recipe.limited(None) == recipe


def test_keys_without_meaning_for_several_findings_are_refused_at_once():
    said = refusal(plain(task="multi_label", coverage=0.9, sampling="by_class"))
    for key in ("dataset", "coverage", "sampling"):
        assert f"{key} needs one class for each image" in said
    known = parse_recipe(plain(task="multi_label", dataset=None), origin="mine.toml")
    assert known.task == "multi_label"
    assert parse_recipe(plain(), origin="mine.toml").task == "multi_class"
