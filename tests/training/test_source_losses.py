"""What losses by source do to features, groups and heads, and where they are refused."""

import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cxr_transfer.errors import DataError, ModelError, UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.source_losses import GroupWeights, SourceClassifier, SourceIntercepts
from cxr_transfer.training.stage import Stored, run_stage
from cxr_transfer.training.stage_recipe import Stage
from cxr_transfer.training.start import _check_bias, check_run
from cxr_transfer.training.trainer import train_stages
from miniature import SIDE, make_images

CPU = Execution(device="cpu", precision="float32")
COUNTS = torch.tensor([[300, 300], [0, 300]])


def drawn(cells, seed=0):
    """Images by source and class: feature 0 shows the class, feature 1 the source, clearly."""
    rng = np.random.default_rng(seed)
    sources = np.concatenate([np.full(n, source) for (source, _), n in cells.items()])
    targets = np.concatenate([np.full(n, target) for (_, target), n in cells.items()])
    shown = 1.5 * targets + rng.normal(0, 0.8, len(targets))
    mark = 2.0 * (sources == 1) + rng.normal(0, 0.4, len(targets))
    inputs = np.column_stack([shown, mark]).astype(np.float32)
    return Stored(*(torch.from_numpy(column) for column in (inputs, targets, sources)))


MIXED = {(0, 0): 300, (0, 1): 300, (1, 1): 300}


def trained(training, folder, *, layers=None, **changes):
    """A network trained on features for some epochs, and its history."""
    torch.manual_seed(3)
    network = nn.Sequential(OrderedDict(layers or [("head", nn.Linear(2, 2))]))
    plain = {"learning_rate": 1e-2, "max_epochs": 15, "batch_size": 60, "keep": "last"}
    stage = Stage(name="all", train=("*",), **plain | changes)
    validation = Stored(training.inputs, training.targets)
    how = {"folder": folder, "seed": 0, "device": "cpu", "precision": "float32"}
    rows = run_stage(
        stage, network, training, validation, execution=CPU, tell=lambda rows: None, **how
    )
    return network, rows


def slopes(network):
    return (network.head.weight[1] - network.head.weight[0]).tolist()


def test_a_source_of_one_class_is_no_shortcut_within_strata(tmp_path):
    plain = slopes(trained(drawn(MIXED), tmp_path / "plain")[0])
    within = slopes(trained(drawn(MIXED), tmp_path / "within", strata="source")[0])
    assert plain[1] > 0.8
    assert abs(within[1]) < 0.4 * plain[1]
    assert within[0] > 1.2


def test_the_head_that_is_handed_on_is_the_one_that_was_validated(tmp_path):
    training = drawn({(0, 0): 400, (0, 1): 40, (1, 0): 40, (1, 1): 400})
    network, rows = trained(training, tmp_path, strata="source")
    with torch.no_grad():
        loss = functional.cross_entropy(network(training.inputs), training.targets)
    assert loss.item() == pytest.approx(rows[-1]["val_loss"], abs=1e-5)
    new = drawn(dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 500), seed=7)
    named = network(new.inputs).argmax(dim=1).float()
    assert float(named.mean()) == pytest.approx(0.5, abs=0.06)
    assert set(network.state_dict()) == {"head.weight", "head.bias"}


def test_intercepts_begin_as_how_often_a_source_has_a_class():
    intercepts = SourceIntercepts(COUNTS)
    assert intercepts.values[0].tolist() == pytest.approx([0, 0])
    one = intercepts.values[1].tolist()
    assert one[1] - one[0] == pytest.approx(math.log(300.5 / 0.5), rel=1e-5)


def test_groups_are_weighed_as_in_the_paper():
    groups = GroupWeights(COUNTS, step=0.5)
    assert groups.weights.tolist() == pytest.approx([1 / 3] * 3), "no group without images"
    losses = torch.tensor([1.0, 3.0, 0.5], requires_grad=True)
    targets, sources = torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1])
    loss = groups(losses, targets, sources)
    raised = np.exp([0.5 * 2, 0.0, 0.5 * 0.5])
    weights = raised / raised.sum()
    assert groups.weights.tolist() == pytest.approx(weights.tolist())
    assert loss.item() == pytest.approx(weights[0] * 2 + weights[2] * 0.5)
    loss.backward()
    assert losses.grad.tolist() == pytest.approx([weights[0] / 2, weights[0] / 2, weights[2]])


def worst_group(network, training):
    right = (network(training.inputs).argmax(dim=1) == training.targets).float()
    cells = training.sources * 2 + training.targets
    return min(float(right[cells == cell].mean()) for cell in cells.unique())


def test_group_dro_helps_the_group_that_fares_worst(tmp_path):
    training = drawn({(0, 0): 800, (0, 1): 40, (1, 0): 40, (1, 1): 800})
    plain, _ = trained(training, tmp_path / "plain")
    robust, _ = trained(training, tmp_path / "robust", robust="group_dro", robust_step=0.1)
    assert worst_group(robust, training) > worst_group(plain, training) + 0.15


def test_the_gradient_of_the_source_is_reversed_for_the_features_alone():
    classifier = SourceClassifier(2, 3, most=0.2, seed=0)
    assert classifier.weight(0.0) == 0
    assert classifier.weight(0.5) == pytest.approx(0.2 * (2 / (1 + math.exp(-5)) - 1))
    assert classifier.weight(1.0) == pytest.approx(0.2, rel=1e-3)
    features = torch.randn(8, 2, requires_grad=True)
    sources = torch.arange(8) % 3
    loss = classifier(features, sources, 0.5)
    loss.backward()
    came_back = features.grad.clone()
    own = [weight.grad.clone() for weight in classifier.parameters()]
    classifier.zero_grad()
    features.grad = None
    plain = functional.cross_entropy(classifier.layers(features), sources)
    plain.backward()
    assert loss.item() == plain.item()
    assert torch.allclose(came_back, -classifier.weight(0.5) * features.grad)
    assert all(torch.equal(a, b.grad) for a, b in zip(own, classifier.parameters(), strict=True))


def test_a_source_classifier_disturbs_no_other_draw():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    SourceClassifier(4, 2, most=1.0, seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_features_tell_less_of_the_source_where_they_are_trained_against_it(tmp_path):
    training = drawn({(0, 0): 300, (0, 1): 150, (1, 0): 150, (1, 1): 300})
    shares = []
    for weight in (0.0, 1.0):
        body, head = ("body", nn.Linear(2, 1)), ("head", nn.Linear(1, 2))
        how = {"domain_adversarial": weight, "max_epochs": 30}
        network, _ = trained(training, tmp_path / str(weight), layers=[body, head], **how)
        shown, mark = network.body.weight[0].abs().tolist()
        shares.append(mark / shown)
        names = {*("body.weight", "body.bias", "head.weight", "head.bias")}
        assert set(network.state_dict()) == names, "the source classifier is not handed on"
    assert shares[0] > 0.2
    assert shares[1] < 0.5 * shares[0]


def recipe_of(*, stage=None, **keys):
    plain = {"name": "all", "train": ["*"], "max_epochs": 1}
    return parse_recipe(
        {
            "name": "law",
            "network": "simple_cnn",
            "preprocessing": {"height": SIDE, "width": SIDE},
            "stages": [plain | (stage or {})],
        }
        | keys,
        origin="test",
    )


DRO, AGAINST, WITHIN = {"robust": "group_dro"}, {"domain_adversarial": 0.1}, {"strata": "source"}


@pytest.mark.parametrize(
    ("stage", "keys", "said"),
    [
        (DRO, {"task": "multi_label"}, 'robust = "group_dro" needs one class for each image'),
        (AGAINST, {"task": "multi_label"}, "domain_adversarial needs one class for each image"),
        (WITHIN, {"task": "multi_label"}, 'strata = "source" needs one class for each image'),
        (DRO | {"mixup": 0.2}, {}, "no mixup"),
        (AGAINST | {"mixup": 0.2}, {}, "no mixup"),
        (WITHIN | {"mixup": 0.2}, {}, "no mixup"),
        (WITHIN | {"ema": 0.9}, {}, "not with ema"),
        (WITHIN | {"strata_penalty": 1.0}, {}, "strata_penalty is at most 0.1"),
        (DRO, {"class_weights": "balanced"}, "class_weights and robust"),
        ({"robust_step": 0.5}, {}, 'robust_step is for robust = "group_dro"'),
        (AGAINST | {"train": ["head"]}, {}, "train more than the head"),
        (AGAINST | {"max_epochs": 500}, {}, "give max_epochs"),
        (DRO | {"fit": "logistic", "train": ["head"]}, {}, "robust is for fit"),
        (AGAINST | {"fit": "logistic", "train": ["head"]}, {}, "domain_adversarial is for fit"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(stage, keys, said):
    with pytest.raises(UsageError) as error:
        recipe_of(stage=stage, **keys)
    assert said in error.value.message


LABELS = LabelSet(("a", "b", "c"))


@pytest.mark.parametrize("stage", [DRO, AGAINST, WITHIN])
def test_several_processes_and_one_source_are_refused(stage, tmp_path):
    recipe, images = recipe_of(stage=stage), make_images(12, seed=0)
    with pytest.raises(UsageError) as refused:
        check_run(recipe, LABELS, execution=Execution(device="cpu", devices=2))
    assert refused.value.code == "one_process"
    network = check_run(recipe, LABELS).network
    with pytest.raises(DataError, match="at least two sources") as error:
        train_stages(recipe, network, images, images, sources=["a"] * 12, folder=tmp_path, seed=0)
    assert error.value.code == "one_source"


def test_a_head_without_a_bias_is_refused_where_one_is_fitted():
    network = nn.Sequential(OrderedDict(head=nn.Linear(2, 3, bias=False)))
    for changes in (WITHIN, {"fit": "logistic"}):
        with pytest.raises(ModelError) as error:
            _check_bias(Stage(name="a", train=("head",), **changes), network)
        assert error.value.code == "no_bias"
    _check_bias(Stage(name="a", train=("head",)), network)
