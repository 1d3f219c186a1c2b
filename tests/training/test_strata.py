"""A head that is compared within sources learns what images show, not where they are from."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.training.linear_probe import _balance, fit_head
from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.stage import Stored
from cxr_transfer.training.strata import check_sources, shared_intercept, source_codes
from cxr_transfer.training.trainer import train_stages
from miniature import make_images, make_recipe


def drawn(cells, seed=0, effects=(0.0, 0.0, 0.0)):
    """Images by source and class: feature 0 shows the class, feature 1 the source, clearly.

    ``effects`` moves feature 0 of every image of a source.
    """
    rng = np.random.default_rng(seed)
    sources = np.concatenate([np.full(n, source) for (source, _), n in cells.items()])
    targets = np.concatenate([np.full(n, target) for (_, target), n in cells.items()])
    shown = targets + rng.normal(0, 0.8, len(targets)) + np.array(effects)[sources]
    mark = 2.0 * (sources == 1) + rng.normal(0, 0.4, len(targets))
    inputs = np.column_stack([shown, mark]).astype(np.float32)
    return Stored(*(torch.from_numpy(column) for column in (inputs, targets, sources)))


def head_of(training, classes=2, **how):
    rest = nn.Sequential(OrderedDict(head=nn.Linear(2, classes)))
    fit_head(rest, training, training, stage="head", **{"penalty": 1e-4} | how)
    return rest.head


def slopes(head):
    """What the features add to the score of the last class, beside that of the first."""
    return (head.weight[-1] - head.weight[0]).tolist()


MIXED = {(0, 0): 300, (0, 1): 300, (1, 1): 300}
"""Source 0 holds both classes, source 1 the second alone."""


def test_a_source_of_one_class_is_no_shortcut_within_strata():
    plain = slopes(head_of(drawn(MIXED)))
    within = slopes(head_of(drawn(MIXED), strata_penalty=1e-6))
    alone = slopes(head_of(drawn({(0, 0): 300, (0, 1): 300})))
    assert plain[1] > 1.2
    assert abs(within[1]) < 0.3 * plain[1]
    assert within[0] == pytest.approx(alone[0], rel=0.15)


def test_it_holds_for_three_classes_that_no_source_holds_together():
    cells = {(0, 0): 300, (0, 1): 300, (1, 1): 300, (1, 2): 300, (2, 2): 200}
    head = head_of(drawn(cells), classes=3, strata_penalty=1e-6)
    new = drawn({(2, target): 200 for target in range(3)}, seed=3)
    named = head(new.inputs).argmax(dim=1)
    right = [(named[new.targets == target] == target).float().mean() for target in range(3)]
    assert min(right) > 0.35
    assert abs(slopes(head)[1]) < 0.6


def test_a_large_penalty_of_the_intercepts_is_the_fit_without_strata():
    plain, within = head_of(drawn(MIXED)), head_of(drawn(MIXED), strata_penalty=1e6)
    assert slopes(plain) == pytest.approx(slopes(within), rel=1e-3)


def test_how_frequent_classes_were_in_a_source_is_not_handed_on():
    cells = {(0, 0): 9000, (0, 1): 600, (1, 0): 600, (1, 1): 9000, (2, 1): 5000}
    training = drawn(cells, effects=(-0.5, 0.5, 3.0))
    head = head_of(training, strata_penalty=1e-6)
    new = drawn(dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 1000), 5, (-0.5, 0.5))
    named = head(new.inputs).argmax(dim=1)
    assert float(named.float().mean()) == pytest.approx(0.5, abs=0.02)


def test_the_shared_intercept_is_finite_where_classes_lie_apart_and_counts_sources_alike():
    targets, codes = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 0, 1])
    scores = np.array([-9.0, -8, 8, 9, 50])
    logits = np.column_stack([-scores / 2, scores / 2])
    level = shared_intercept(logits, targets, codes)
    assert np.isfinite(level).all()
    assert level.sum() == pytest.approx(0)
    assert level == pytest.approx([0, 0], abs=1e-3), "the source of one class says nothing"
    # A source a hundred times as large, whose scores are higher by 2, moves it as far as the other.
    rng = np.random.default_rng(0)
    parts = []
    for code, (images, higher) in enumerate([(20_000, 2.0), (200, 0.0)]):
        of_class = np.repeat([0, 1], images // 2)
        parts.append((rng.logistic(0, 1, images) * 0.1 + higher, of_class, np.full(images, code)))
    scores, targets, codes = (np.concatenate(column) for column in zip(*parts, strict=True))
    level = shared_intercept(np.column_stack([-scores / 2, scores / 2]), targets, codes)
    assert level[1] - level[0] == pytest.approx(-1.0, abs=0.05)


def test_one_answer_bit_for_bit():
    one, other = (head_of(drawn(MIXED), strata_penalty=1e-4) for _ in range(2))
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)


def test_exchanged_images_are_strata_of_their_own():
    training = drawn({(0, 0): 200, (0, 1): 200, (1, 0): 200, (1, 1): 200})
    moved = training.inputs.clone()
    moved[:, 0] += 40  # what gluing adds to all of them
    others = Stored(moved, training.targets, training.sources)
    how = {"strata_penalty": 1e-6, "swapped": others, "swapped_weight": 0.5}
    head, plain = head_of(training, **how), head_of(training, strata_penalty=1e-6)
    assert slopes(head)[0] == pytest.approx(slopes(plain)[0], rel=0.1)
    assert head.bias.tolist() == pytest.approx(plain.bias.tolist(), abs=0.1)


def test_images_are_balanced_by_class_and_by_source_within_it():
    targets = np.repeat([0, 1], [8, 2])
    sources = np.array([0] * 6 + [1] * 2 + [0, 1])
    counts = np.ones(10)
    by_class, by_source = _balance(targets, counts), _balance(targets, counts, sources)
    for factors in (by_class, by_source):
        assert factors.sum() == pytest.approx(10)
        assert factors[:8].sum() == pytest.approx(factors[8:].sum())
    assert by_class[:8].tolist() == [0.625] * 8
    cells = [by_source[rows].sum() for rows in (slice(0, 6), slice(6, 8), [8], [9])]
    assert cells == pytest.approx([2.5] * 4)


def test_a_frequent_source_does_not_rule_its_class_where_sources_are_balanced():
    cells = {(0, 0): 1000, (0, 1): 30, (1, 0): 30, (1, 1): 30}
    by_class, by_source = (
        slopes(head_of(drawn(cells), balance=balance)) for balance in ("by_class", "by_source")
    )
    assert by_class[1] > 0.5
    assert abs(by_source[1]) < 0.7 * by_class[1]


def test_sources_that_matter_have_to_be_given():
    training = drawn(MIXED)
    bare = Stored(training.inputs, training.targets)
    for how in ({"strata_penalty": 1e-4}, {"balance": "by_source"}):
        with pytest.raises(ValueError, match="source of each"):
            head_of(bare, **how)
    with pytest.raises(ValueError, match="source for each"):
        source_codes(["a"], 2)


def check(labels, sources):
    return check_sources(['strata = "source"'], list(labels), list(sources), is_stratified=True)


def test_classes_that_no_source_compares_are_refused():
    assert check("npcpn", "aabbc") == ["c"]
    with pytest.raises(DataError, match=r"at least two sources.* all are of a;") as error:
        check("nc", "aa")
    assert error.value.code == "one_source"
    with pytest.raises(DataError, match="none compares c with n and p;") as error:
        check("npccp", "aabcd")
    assert error.value.code == "strata"


def stratified(**keys):
    stage = {"name": "head", "train": ["head"], "fit": "logistic", "strata": "source"}
    return parse_recipe(
        {
            "name": "law",
            "network": "simple_cnn",
            "preprocessing": {"height": 64, "width": 64},
            "stages": [stage | keys.pop("stage", {})],
        }
        | keys,
        origin="test",
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"task": "multi_label"}, 'strata = "source" needs one class for each image'),
        ({"task": "multi_label", "stage": {"balance": "by_source"}}, "balance needs one class"),
        ({"stage": {"strata": "none", "strata_penalty": 1.0}}, "strata_penalty is for strata"),
        ({"stage": {"strata_penalty": 0.0}}, "strata_penalty"),
        ({"stage": {"fit": "gradient", "balance": "by_source"}}, "balance is for fit"),
    ],
)
def test_keys_without_effect_are_refused(keys, said):
    with pytest.raises(UsageError, match=said):
        stratified(**keys)


def test_training_compares_within_sources_and_says_who_takes_no_part(tmp_path):
    from cxr_transfer.models.simple_cnn import simple_cnn

    images = make_images(60, seed=0)
    sources = np.array(["a", "b"])[np.arange(60) % 2]
    sources[(images.targets == 2).numpy() & (np.arange(60) > 40)] = "c"
    heads, said = {}, []
    plain = make_recipe(stages=(("head", ["head"], {"fit": "logistic", "max_epochs": 500}),))
    for name, recipe in (("plain", plain), ("within", stratified()), ("again", stratified())):
        torch.manual_seed(0)
        network = simple_cnn(3, size=(64, 64))
        folder = tmp_path / name
        how = {"sources": list(sources), "folder": folder, "seed": 0, "log": said.append}
        train_stages(recipe, network, images, images, **how)
        heads[name] = network.get_submodule("head").weight
    assert torch.equal(heads["within"], heads["again"])
    assert not torch.allclose(heads["within"], heads["plain"], atol=1e-4)
    assert said.count("law: strata: c holds one class; it teaches next to nothing") == 2
