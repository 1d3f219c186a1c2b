import dataclasses
import json

import numpy as np
import pytest
from scipy.special import logit
from sklearn import metrics as reference

from cxr_transfer.errors import DataError
from cxr_transfer.labels import DATASET_1, LabelSet
from cxr_transfer.statistics.auroc import auroc_intervals
from cxr_transfer.statistics.curves import pr_curve, roc_band, roc_curve
from cxr_transfer.statistics.intervals import patient_weights, wilson
from cxr_transfer.statistics.metrics import AVERAGES, aurocs, evaluate, statistics
from cxr_transfer.statistics.scores import Scores


def scores_of(targets, probabilities, patients=None, labels=DATASET_1):
    files = tuple(f"{i}.png" for i in range(len(targets)))
    return Scores(labels, targets, probabilities, tuple(patients or files), files)


def drawn(images=120, seed=0, decimals=None, per_patient=3):
    """Scores of a middling model; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(3, size=images)
    logits = rng.normal(size=(images, 3))
    logits[np.arange(images), targets] += 1
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if decimals is not None:
        probabilities = probabilities.round(decimals)
        probabilities[:, 2] = 1 - probabilities[:, :2].sum(axis=1)
        probabilities = np.clip(probabilities.round(decimals), 0, 1)
    return scores_of(targets, probabilities, [f"p{i // per_patient}" for i in range(images)])


def called(confusion):
    """Scores whose confusion matrix is ``confusion``."""
    cells = [cell for cell, n in np.ndenumerate(confusion) for _ in range(n)]
    targets, predicted = np.transpose(cells)
    return scores_of(targets, np.eye(3)[predicted])


def scikit_learn(scores, weights=None):
    """Every statistic as scikit-learn computes it, for one row of image weights."""
    truth, predicted, classes = scores.targets, scores.predicted, range(len(scores.labels))
    found = {"accuracy": reference.accuracy_score(truth, predicted, sample_weight=weights)}
    for average in ("macro", "weighted", None):
        values = reference.precision_recall_fscore_support(
            truth,
            predicted,
            labels=classes,
            average=average,
            sample_weight=weights,
            zero_division=0,
        )
        for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True):
            found[f"{name}_{average}" if average else name] = value
    for name, area in (
        ("auroc", reference.roc_auc_score),
        ("average_precision", reference.average_precision_score),
    ):
        found[name] = [
            area(truth == c, scores.probabilities[:, c], sample_weight=weights) for c in classes
        ]
    found["auroc_macro"] = np.mean(found["auroc"])
    return found


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
def test_values_are_those_of_scikit_learn(decimals):
    scores = drawn(decimals=decimals)
    evaluation, theirs = evaluate(scores, resamples=20), scikit_learn(scores)
    for name in AVERAGES:
        assert getattr(evaluation, name).value == pytest.approx(theirs[name], abs=1e-12)
    for target, label in enumerate(DATASET_1):
        for name in ("precision", "recall", "f1", "auroc", "average_precision"):
            ours = evaluation.per_class[label][name].value
            assert ours == pytest.approx(theirs[name][target], abs=1e-12), (label, name)
        assert evaluation.per_class[label]["images"] == (scores.targets == target).sum()
    confusion = reference.confusion_matrix(scores.targets, scores.predicted)
    assert (evaluation.confusion == confusion).all()
    assert (evaluation.images, evaluation.patients) == (120, 40)


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
def test_replicates_are_those_of_scikit_learn_with_weights(decimals):
    scores = drawn(decimals=decimals, seed=1)
    if decimals:
        assert len(np.unique(scores.probabilities[:, 0])) < 12  # ties indeed
    weights = patient_weights(scores.patients, resamples=8, seed=5)
    ours = statistics(scores, weights)
    for row, of_image in enumerate(weights):
        theirs = scikit_learn(scores, of_image)
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert values[row] == pytest.approx(theirs[name], abs=1e-12), name


def test_weights_are_copies_of_images():
    scores = drawn(images=30, decimals=1)
    weights = patient_weights(scores.patients, resamples=5, seed=0)
    found = statistics(scores, weights)
    for row, times in enumerate(weights):
        again = np.repeat(np.arange(30), times)
        copied = scores_of(scores.targets[again], scores.probabilities[again])
        alone = statistics(copied, np.ones((1, len(again)), dtype=int))
        for name, values in found.items():
            assert values[row] == pytest.approx(alone[name][0], abs=1e-12, nan_ok=True), name


def test_blocks_of_resamples_are_put_together_in_order():
    scores = drawn(images=12)
    weights = patient_weights(scores.patients, resamples=600, seed=0)
    whole = statistics(scores, weights)
    for row in (0, 255, 256, 599):
        for name, values in statistics(scores, weights[row : row + 1]).items():
            np.testing.assert_allclose(values[0], whole[name][row], atol=1e-12, err_msg=name)


def test_intervals_are_the_quantiles_of_the_replicates_and_of_areas_by_clustered_delong():
    scores = drawn()
    evaluation = evaluate(scores, resamples=300, seed=4)
    found = statistics(scores, patient_weights(scores.patients, resamples=300, seed=4))
    for name in set(AVERAGES) - {"auroc_macro"}:
        low, high = np.quantile(found[name], (0.025, 0.975))
        estimate = getattr(evaluation, name)
        assert (estimate.low, estimate.high) == pytest.approx((low, high))
        assert low < estimate.value < high
    each, mean = auroc_intervals(
        scores.targets == np.arange(3)[:, None], scores.probabilities.T, scores.patients
    )
    assert aurocs(scores) == (each, mean)
    assert evaluation.auroc_macro == mean
    assert [one["auroc"] for one in evaluation.per_class.values()] == each
    # Far from 1 the bootstrap, which knows nothing of it, finds as wide a spread.
    for auroc, values in ((mean, found["auroc_macro"]), (each[2], found["auroc"][:, 2])):
        spread = 2 * 1.96 * logit(values).std(ddof=1)
        assert logit(auroc.high) - logit(auroc.low) == pytest.approx(spread, rel=0.15)


def test_a_confusion_matrix_worked_by_hand():
    evaluation = evaluate(called([[8, 2, 0], [1, 9, 0], [0, 3, 2]]), resamples=2)
    # Precision 8/9, 9/14, 2/2; recall 8/10, 9/10, 2/5; F1 16/19, 18/24, 4/7.
    assert evaluation.accuracy.value == pytest.approx(19 / 25)
    assert evaluation.precision_macro.value == pytest.approx((8 / 9 + 9 / 14 + 1) / 3)
    assert evaluation.recall_macro.value == pytest.approx((0.8 + 0.9 + 0.4) / 3)
    assert evaluation.f1_macro.value == pytest.approx((16 / 19 + 3 / 4 + 4 / 7) / 3)
    # The mean of the classes' F1, not the harmonic mean of the macro averages.
    p, r = evaluation.precision_macro.value, evaluation.recall_macro.value
    assert abs(evaluation.f1_macro.value - 2 * p * r / (p + r)) > 0.01
    assert evaluation.f1_weighted.value == pytest.approx((160 / 19 + 7.5 + 20 / 7) / 25)
    assert evaluation.recall_weighted.value == pytest.approx(evaluation.accuracy.value)
    assert evaluation.confusion.tolist() == [[8, 2, 0], [1, 9, 0], [0, 3, 2]]


def test_a_class_that_is_never_predicted_has_precision_0():
    evaluation = evaluate(called([[5, 0, 0], [0, 5, 0], [3, 2, 0]]), resamples=2)
    found = evaluation.per_class["covid19"]
    assert (found["precision"].value, found["recall"].value, found["f1"].value) == (0, 0, 0)


def test_a_class_without_an_image_is_said_to_be_not_defined():
    scores = called([[5, 0, 1], [1, 5, 0], [0, 0, 0]])
    evaluation = evaluate(scores, resamples=50)
    written = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    absent = written["per_class"]["covid19"]
    for name in ("recall", "f1", "auroc", "average_precision"):
        assert absent[name] == {"value": None, "low": None, "high": None}, name
    assert absent["images"] == 0
    assert absent["precision"]["value"] == 0  # one call, and it was wrong
    assert written["auroc_macro"]["value"] is None
    assert written["recall_macro"]["value"] == pytest.approx((5 / 6 + 5 / 6 + 0) / 3)
    theirs = reference.f1_score(
        scores.targets, scores.predicted, labels=[0, 1, 2], average="macro", zero_division=0
    )
    assert evaluation.f1_macro.value == pytest.approx(theirs)
    assert evaluation.f1_macro.low > 0


def test_a_resample_that_lost_a_class_does_not_drag_the_macro_averages_down():
    """One covid19 patient: left out of e^-1 of the resamples, and of the interval."""
    targets = np.array([0] * 20 + [1] * 20 + [2])
    evaluation = evaluate(scores_of(targets, np.eye(3)[targets]), resamples=400)
    # Nothing is wrong in any resample: Wilson's interval, over all 41 patients and over the one.
    assert evaluation.recall_macro.low == pytest.approx(wilson(41, 41).low)
    assert evaluation.per_class["covid19"]["recall"].low == pytest.approx(wilson(1, 1).low)
    found = statistics(scores_of(targets, np.eye(3)[targets]), np.array([[1] * 40 + [0]]))
    assert np.isnan(found["f1_macro"][0])
    assert np.isnan(found["recall"][0, 2])
    assert found["accuracy"][0] == 1


def test_as_dict_has_the_keys_of_the_report_and_survives_json():
    evaluation = evaluate(drawn(), resamples=10)
    written = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    assert list(written) == [
        "accuracy",
        "precision_macro",
        "precision_weighted",
        "recall_macro",
        "recall_weighted",
        "f1_macro",
        "f1_weighted",
        "auroc_macro",
        "per_class",
        "confusion",
        "test_images",
        "test_patients",
    ]
    assert list(written["per_class"]) == ["normal", "bacterial", "covid19"]
    assert set(written["per_class"]["normal"]) == {
        "precision",
        "recall",
        "f1",
        "auroc",
        "average_precision",
        "images",
    }
    assert written["accuracy"]["value"] == evaluation.accuracy.value
    assert (written["test_images"], written["test_patients"]) == (120, 40)


def test_the_seed_alone_decides():
    one, again, other = (evaluate(drawn(), resamples=50, seed=seed) for seed in (0, 0, 1))
    assert one.as_dict() == again.as_dict()
    assert one.accuracy.value == other.accuracy.value
    assert one.f1_macro.low != other.f1_macro.low


def test_images_of_one_patient_widen_the_interval():
    """The same images and scores: all of a patient's right or wrong together, or each alone."""
    targets = np.repeat([0, 1, 2] * 20, 5)
    predicted = np.where(np.repeat(np.arange(60) % 4 == 0, 5), (targets + 1) % 3, targets)
    clustered = [f"p{i // 5}" for i in range(300)]
    by_patient = evaluate(scores_of(targets, np.eye(3)[predicted], clustered)).accuracy
    by_image = evaluate(scores_of(targets, np.eye(3)[predicted])).accuracy
    assert by_patient.value == by_image.value == 0.75
    # Five times as many images as patients: sqrt(5) = 2.2 times as wide.
    ratio = (by_patient.high - by_patient.low) / (by_image.high - by_image.low)
    assert ratio == pytest.approx(5**0.5, rel=0.1)


def test_two_classes_are_enough():
    labels = LabelSet(("other", "covid19"))
    scores = scores_of([0, 1, 1], [[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]], labels=labels)
    assert scores.predicted.tolist() == [0, 0, 1]  # the first of equals
    found = evaluate(scores, resamples=5).per_class["covid19"]
    assert found["auroc"].value == 0.75  # pairs: one tie, one right
    assert found["average_precision"].value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": (), "patients": (), "targets": [], "probabilities": []}, "0 files"),
        ({"targets": [0, 1]}, "one target"),
        ({"targets": [[0], [1], [2]]}, "one target"),
        ({"targets": [0.0, 1.0, 2.0]}, "integer targets from 0 to 2, but got float64"),
        ({"targets": [0, 1, 3]}, "from 0 to 2, but got int64 from 0 to 3"),
        ({"targets": [-1, 1, 2]}, "from -1 to 2"),
        ({"patients": ("a", "b")}, "patient"),
        ({"probabilities": np.full((3, 2), 0.5)}, "3 probabilities"),
        ({"probabilities": np.full((2, 3), 1 / 3)}, "one column per label"),
        ({"probabilities": np.full((3, 3), np.nan)}, "NaN or infinity"),
        ({"probabilities": [[np.inf, -np.inf, 1]] * 3}, "NaN or infinity"),
        ({"probabilities": [[3.0, -1.0, 0.5]] * 3}, "softmax"),
        ({"probabilities": [[1.5, -0.5, 0.0]] * 3}, "softmax"),
        ({"probabilities": [[0.5, 0.5, 0.001]] * 3}, "softmax"),
    ],
)
def test_scores_refuse_what_they_cannot_be(changes, words):
    good = Scores(DATASET_1, np.arange(3), np.eye(3), ("a", "a", "b"), ("1", "2", "3"))
    with pytest.raises(DataError, match=words) as error:
        dataclasses.replace(good, **changes)
    assert error.value.code == "scores"


def test_scores_take_lists_and_float32_rounding():
    thirds = np.full((2, 3), 1 / 3, dtype=np.float32) + np.float32(2e-5)
    scores = Scores(DATASET_1, [0, 1], thirds, ["a", "b"], ["1", "2"])
    assert (scores.targets.dtype, scores.probabilities.dtype) == (np.int64, np.float64)
    assert (scores.patients, scores.files) == (("a", "b"), ("1", "2"))


def test_curves_enclose_the_areas_of_the_evaluation():
    scores = drawn(decimals=1)
    per_class = evaluate(scores, resamples=2).per_class
    for label in DATASET_1:
        false_rate, true_rate, _ = roc_curve(scores, label)
        assert np.trapezoid(true_rate, false_rate) == pytest.approx(per_class[label]["auroc"].value)
        precision, recall, thresholds = pr_curve(scores, label)
        area = -(np.diff(recall) * precision[:-1]).sum()
        assert area == pytest.approx(per_class[label]["average_precision"].value)
        assert len(thresholds) == len(precision) - 1


def test_no_curve_without_images_of_the_class_or_of_others():
    scores = scores_of([0, 0], np.eye(3)[[0, 1]])
    for curve in (roc_curve, pr_curve):
        with pytest.raises(DataError, match="2 of 2"):
            curve(scores, "normal")
        with pytest.raises(DataError, match="0 of 2"):
            curve(scores, "covid19")
        with pytest.raises(DataError, match="got 'viral'"):
            curve(scores, "viral")


def test_the_band_holds_the_curve_and_narrows_with_more_images():
    wide = {}
    for images in (60, 960):
        scores = drawn(images, per_patient=1)
        rates, low, high = roc_band(scores, "covid19", resamples=200)
        false_rate, true_rate, _ = roc_curve(scores, "covid19")
        curve = np.interp(rates[1:-1], false_rate, true_rate)
        assert (np.diff(low) >= 0).all()
        assert (np.diff(high) >= 0).all()
        assert ((low[1:-1] - 0.02 <= curve) & (curve <= high[1:-1] + 0.02)).mean() > 0.97
        wide[images] = (high - low).mean()
    assert wide[960] < wide[60] / 2


def test_the_band_goes_by_patient():
    one = drawn(90, per_patient=1)
    copies = dataclasses.replace(
        one,
        targets=np.repeat(one.targets, 4),
        probabilities=np.repeat(one.probabilities, 4, axis=0),
        patients=tuple(np.repeat(one.patients, 4)),
        files=tuple(f"{i}.png" for i in range(360)),
    )
    for few, many in zip(roc_band(one, "covid19"),
                         roc_band(copies, "covid19"), strict=True):  # fmt: skip
        assert few == pytest.approx(many)


def test_scores_of_some_rows_keep_their_images_and_classes():
    scores = drawn(30)
    some = scores.only(np.array([4, 2]))
    assert some.labels == scores.labels
    assert some.files == ("4.png", "2.png")
    assert some.patients == (scores.patients[4], scores.patients[2])
    assert np.array_equal(some.probabilities, scores.probabilities[[4, 2]])
    assert scores.only(scores.targets == 1).targets.tolist() == [1] * (scores.targets == 1).sum()
