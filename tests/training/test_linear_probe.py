"""A head is fitted: the best there is, whatever the features' scale and the classes' sizes."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from cxr_transfer.errors import DataError, ModelError, UsageError
from cxr_transfer.training import linear_probe
from cxr_transfer.training.linear_probe import fit_head
from cxr_transfer.training.recipe_files import load_recipe, parse_recipe
from cxr_transfer.training.stage import Stored

CENTRES = np.array([[0.0, 0, 0, 0], [3, 0, 0, 0], [0, 3, 0, 0]])


def drawn(numbers, seed=0, scale=1.0):
    """So many images of each class, whose features lie around its centre."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(3), numbers)
    found = (CENTRES[targets] + rng.normal(size=(len(targets), 4))) * scale + 100 * (scale - 1)
    return Stored(torch.from_numpy(found.astype(np.float32)), torch.from_numpy(targets))


def fitted(training, validation=None, penalty=0.001, log=lambda line: None):
    rest = nn.Sequential(OrderedDict(head=nn.Linear(4, 3)))
    validation = training if validation is None else validation
    rows = fit_head(rest, training, validation, penalty=penalty, stage="head", log=log)
    return rest, rows


def test_classes_that_lie_apart_are_told_apart():
    rest, (row,) = fitted(drawn((200, 200, 200)), drawn((100, 100, 100), seed=1))
    assert row["accuracy"] > 0.9
    assert row["val_accuracy"] > 0.88
    found = rest(drawn((100, 100, 100), seed=1).inputs).softmax(dim=1)
    assert row["val_loss"] == pytest.approx(
        -found[torch.arange(300), drawn((100,) * 3).targets].log().mean().item(), abs=1e-5
    )


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    rest, _ = fitted(drawn((1000, 1000, 30)))
    tested = drawn((200, 200, 200), seed=2)
    right = rest(tested.inputs).argmax(dim=1) == tested.targets
    shares = [right[tested.targets == label].float().mean().item() for label in range(3)]
    assert min(shares) > 0.8


def test_neither_scale_nor_zero_of_the_features_matters():
    plain, _ = fitted(drawn((50, 50, 50)), penalty=0.02)
    large, _ = fitted(drawn((50, 50, 50), scale=40.0), penalty=0.02)
    one, other = drawn((20, 20, 20), seed=3), drawn((20, 20, 20), seed=3, scale=40.0)
    assert torch.allclose(plain(one.inputs).softmax(1), large(other.inputs).softmax(1), atol=1e-3)


def test_a_penalty_makes_scores_less_sure():
    sure, unsure = (fitted(drawn((50, 50, 50)), penalty=one)[0] for one in (0.001, 1.0))
    tested = drawn((20, 20, 20), seed=3).inputs
    assert sure(tested).softmax(1).amax(1).mean() > unsure(tested).softmax(1).amax(1).mean() + 0.1


def test_the_answer_is_the_same_bit_for_bit_wherever_the_head_began():
    heads = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        heads.append(fitted(drawn((50, 50, 50)))[0])
    assert torch.equal(heads[0].head.weight, heads[1].head.weight)
    assert torch.equal(heads[0].head.bias, heads[1].head.bias)


def test_a_class_without_images_is_never_named():
    rest, (row,) = fitted(drawn((100, 0, 100)))
    assert row["accuracy"] > 0.9
    assert not (rest(drawn((50, 50, 50), seed=5).inputs).argmax(dim=1) == 1).any()


def test_images_of_one_class_fit_no_head():
    with pytest.raises(DataError, match="at least two classes") as error:
        fitted(drawn((0, 40, 0)), drawn((5, 5, 5)))
    assert error.value.code == "classes"


@pytest.mark.parametrize(
    ("training", "validation", "named"),
    [((20, 20, 20), (0, 0, 0), "validation"), ((0, 0, 0), (5, 5, 5), "training")],
)
def test_a_part_without_images_is_refused_before_it_becomes_a_figure(training, validation, named):
    with pytest.raises(DataError, match=f"Expected {named} images") as error:
        fitted(drawn(training), drawn(validation))
    assert error.value.code == "empty"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_feature_that_is_no_number_is_refused(value, part):
    images = {"training": drawn((20, 20, 20)), "validation": drawn((5, 5, 5), seed=1)}
    images[part].inputs[3:5, 2] = value
    with pytest.raises(ModelError, match=f"{part} images.* 2 of ") as error:
        fitted(images["training"], images["validation"])
    assert error.value.code == "loss_not_finite"


def test_a_fit_that_was_stopped_early_is_told(monkeypatch):
    told = []
    fitted(drawn((50, 50, 50)), log=told.append)
    assert told == []
    monkeypatch.setattr(linear_probe, "_ITERATIONS", 1)
    fitted(drawn((50, 50, 50)), log=told.append)
    (line,) = told
    assert line.startswith("head: the fit was stopped after 1 steps")


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_a_feature_that_hardly_varies_is_not_blown_up(level):
    images = drawn((100, 100, 100))
    plain, _ = fitted(images)
    # A mark of the classes, but no larger than rounding makes: nothing to learn from.
    images.inputs[:, 3] = level + 1e-7 * images.targets
    rest, (row,) = fitted(images)
    assert row["accuracy"] > 0.85
    assert rest.head.weight[:, 3].abs().max() < 1e-3 < plain.head.weight[:, 3].abs().max()


def test_only_a_head_can_be_fitted():
    content = load_recipe("multi_source").model_dump(mode="json")
    content["stages"][0]["train"] = ["both_sides"]
    with pytest.raises(UsageError, match="head alone"):
        parse_recipe(content, origin="test")


def findings_of(images, missing=()):
    """The classes 1 and 2 as two findings, some labels of which are missing."""
    targets = torch.stack([(images.targets == 1).long(), (images.targets == 2).long()], dim=1)
    for row, place in missing:
        targets[row, place] = -1
    return Stored(images.inputs, targets)


def fitted_findings(training, penalty=0.001):
    rest = nn.Sequential(OrderedDict(head=nn.Linear(4, 2)))
    return rest, fit_head(rest, training, training, penalty=penalty, stage="head")


def test_each_finding_has_a_regression_of_its_own_on_the_images_that_are_known():
    images = drawn((120, 120, 120))
    rest, (row,) = fitted_findings(findings_of(images))
    assert row["accuracy"] > 0.9
    missing, _ = fitted_findings(findings_of(images, [(number, 1) for number in range(0, 300, 7)]))
    assert torch.equal(missing.head.weight[0], rest.head.weight[0])
    assert not torch.equal(missing.head.weight[1], rest.head.weight[1])
    # Features under a missing label move the scale of all features, and nothing else.
    assert torch.allclose(missing.head.weight[1], rest.head.weight[1], atol=0.5)


def test_a_finding_that_all_images_have_cannot_be_fitted():
    images = findings_of(drawn((0, 30, 0)))
    with pytest.raises(DataError) as error:
        fitted_findings(images)
    assert error.value.code == "classes"
