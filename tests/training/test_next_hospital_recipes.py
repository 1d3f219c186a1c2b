"""The recipes that stand beside ours on the benchmark of the next hospital would be accepted."""

from pathlib import Path

import pytest

from cxr_transfer.labels import MULTI_SOURCE
from cxr_transfer.training.recipe_files import load_recipe
from cxr_transfer.training.start import check_run

FILES = sorted((Path(__file__).parents[2] / "benchmarks" / "next_hospital").glob("*.toml"))


def test_the_five_methods_are_there():
    expected = {"finetuned", "densenet121", "linear_probe", "group_dro", "domain_adversarial"}
    assert expected <= {path.stem for path in FILES}


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_is_of_all_sources_and_would_be_accepted(path):
    recipe = load_recipe(str(path))
    assert recipe.name == path.stem
    assert recipe.dataset == "multi_source"
    if recipe.network.startswith("monai:"):
        pytest.importorskip("monai")
    if recipe.initial == "imagenet":
        # A machine without a network has no ImageNet weights; all else is as it is.
        recipe = recipe.model_copy(update={"initial": "random"})
    begun = check_run(recipe, MULTI_SOURCE)
    assert begun.network.get_submodule("head").out_features == 3
