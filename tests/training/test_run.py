"""A run folder is taken up by the same run alone, also where it was begun by an earlier version."""

import copy
import json

import pytest

from cxr_transfer.errors import UsageError
from cxr_transfer.training.recipe import load_recipe
from cxr_transfer.training.run import SETTINGS, claim


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
        del stage["fit"], stage["penalty"], stage["exchange"]
    return earlier


def refusal(folder, settings):
    with pytest.raises(UsageError) as error:
        claim(folder, settings)
    assert error.value.code == "other_run"
    return error.value.message


def test_a_folder_is_claimed_once_and_taken_up_by_the_same_run(tmp_path):
    assert not claim(tmp_path, settings_of())
    assert claim(tmp_path, settings_of())


def test_a_run_from_before_a_key_was_known_is_the_same_run(tmp_path):
    (tmp_path / SETTINGS).write_text(json.dumps(before(settings_of())))
    assert claim(tmp_path, settings_of())


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
    claim(tmp_path, settings | {"labels": ["a" * 50, "b"]})
    said = refusal(tmp_path, settings | {"labels": ["a" * 50, "c"]})
    assert "another one: labels; choose" in said


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '"run"'])
def test_a_folder_whose_settings_cannot_be_read_is_another_runs(tmp_path, content):
    (tmp_path / SETTINGS).write_text(content)
    assert "seed null there, 0 now" in refusal(tmp_path, settings_of())
