"""A reference knows its training images again, tells strangers, and is loaded as it was saved."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy
from numpy.random import default_rng

from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.models.metadata import RELEASED, read_card, released_models
from cxr_transfer.models.reference import REFERENCE, TrainingReference
from cxr_transfer.statistics.temperature import TemperatureCheck, at_temperature
from cxr_transfer.training.reference import learn_reference

WIDTH, HASH = 96, "ab" * 32
LABELS = ("normal", "bacterial", "covid19")
SOURCES = {"normal": "kermany", "bacterial": "kermany", "covid19": "cohen"}


def images(number, seed):
    """Features as a network has them: a class's own direction, few common ones, a little noise."""
    common = default_rng(0).standard_normal((10, WIDTH))
    rng = default_rng(seed)
    targets = rng.integers(3, size=number)
    features = rng.standard_normal((number, 10)) @ common + 0.1 * rng.standard_normal(
        (number, WIDTH)
    )
    features[np.arange(number), targets] += 40
    return features.astype(np.float32), [LABELS[target] for target in targets]


def fit(number=400, *, seed=1, **options):
    features, labels = images(number, seed)
    return learn_reference(
        features,
        labels=labels,
        sources=[SOURCES[label] for label in labels],
        held_out=images(200, 2)[0],
        weights_sha256=HASH,
        **options,
    )


@pytest.fixture(scope="module")
def reference():
    return fit(temperature=1.5)


def rewritten(path, **changes):
    """Write the file at ``path`` anew with other metadata or tensors."""
    content = path.read_bytes()
    tensors = safetensors.numpy.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    known = json.loads(header["__metadata__"]["reference"])
    for name, value in changes.items():
        if name in tensors:
            tensors[name] = value
        else:
            known[name] = value
    path.write_bytes(safetensors.numpy.save(tensors, {"reference": json.dumps(known)}))
    return path


def test_of_good_images_few_are_unusual_and_hardly_any_is_unfamiliar(reference):
    said = reference.ood_status(images(2000, 3)[0])
    assert 0.4 < np.median(reference.distances(images(2000, 3)[0])) < 2
    assert said.count("out_of_distribution") < 60
    assert 20 < said.count("far") + said.count("out_of_distribution") < 240


def test_the_limits_leave_the_stated_shares_of_held_out_images_beyond(reference):
    far = reference.distances(images(200, 2)[0])
    assert (far > reference.far_distance).mean() == pytest.approx(0.05, abs=0.006)
    assert (far > reference.ood_distance).mean() <= 0.01


def test_an_image_far_along_a_direction_of_the_training_images_is_unfamiliar(reference):
    far = reference.centre + 20 * reference.deviations[0] * reference.directions[0]
    assert reference.ood_status(far[None]) == ["out_of_distribution"]


def test_an_image_that_has_what_no_training_image_has_is_unfamiliar(reference):
    # In the middle along every direction in which training images differ much.
    stranger = reference.centre + 3 * default_rng(5).standard_normal(WIDTH).astype(np.float32)
    away = stranger - reference.centre
    stranger -= away @ reference.directions.T @ reference.directions
    assert reference.ood_status(stranger[None]) == ["out_of_distribution"]
    assert reference.ood_status(reference.centre[None]) == ["in_distribution"]


def test_distances_do_not_depend_on_the_unit_of_the_features(reference):
    features, labels = images(400, 1)
    scaled = learn_reference(
        1000 * features,
        labels=labels,
        sources=["made"] * len(labels),
        held_out=1000 * images(200, 2)[0],
        weights_sha256=HASH,
    )
    others = images(20, 7)[0]
    np.testing.assert_allclose(
        scaled.distances(1000 * others), reference.distances(others), rtol=1e-3
    )


def test_a_training_image_is_its_own_nearest_neighbour(reference):
    features, labels = images(400, 1)
    for at in (0, 17, 399):
        nearest, *others = reference.neighbours(features[at], 4)
        assert (nearest.label, nearest.source) == (labels[at], SOURCES[labels[at]])
        assert nearest.distance < 0.01 < others[0].distance
        assert [each.distance for each in others] == sorted(each.distance for each in others)


def test_neighbours_of_a_new_image_are_of_its_class(reference):
    features, labels = images(50, 9)
    right = [
        each.label == label
        for image, label in zip(features, labels, strict=True)
        for each in reference.neighbours(image)
    ]
    assert len(right) == 250
    assert np.mean(right) > 0.9


def test_no_more_neighbours_are_given_than_there_are():
    assert len(fit(6).neighbours(images(1, 3)[0][0], 50)) == 6


def test_a_saved_reference_is_loaded_as_it_was(reference, tmp_path):
    path = reference.save(tmp_path)
    assert path == tmp_path / REFERENCE
    strangers = 3 * images(30, 4)[0]
    for place in (path, tmp_path):
        loaded = TrainingReference.load(place, weights_sha256=HASH)
        assert loaded.temperature == 1.5
        assert (loaded.far_distance, loaded.ood_distance) == (
            reference.far_distance,
            reference.ood_distance,
        )
        np.testing.assert_array_equal(loaded.distances(strangers), reference.distances(strangers))
        assert loaded.neighbours(strangers[0]) == reference.neighbours(strangers[0])


def test_no_temperature_is_kept_as_none(reference, tmp_path):
    none = dataclasses.replace(reference, temperature=None)
    none.save(tmp_path)
    scores = np.array([[0.7, 0.2, 0.1]], np.float32)
    loaded = TrainingReference.load(tmp_path / REFERENCE, weights_sha256=HASH)
    assert loaded.temperature is None
    assert not loaded.calibrated
    assert loaded.calibrate(scores) is scores
    assert reference.calibrated
    assert reference.calibrate(scores)[0, 0] < 0.7


def test_what_is_known_of_a_temperature_is_kept_and_older_files_have_none(reference, tmp_path):
    check = TemperatureCheck(
        images=150,
        patients=120,
        temperature=1.5,
        reason="",
        log_loss_before=0.4,
        log_loss_after=0.3,
        ece_before=0.1,
        ece_after=0.04,
    )
    told = dataclasses.replace(reference, temperature_check=check)
    path = told.save(tmp_path)
    loaded = TrainingReference.load(path, weights_sha256=HASH)
    assert loaded.temperature_check == check
    assert loaded.score_scale == "calibrated (temperature 1.5)"
    assert "cross-fitted on 150 validation images of 120 patients" in loaded.calibration_words
    reference.save(tmp_path)
    older = TrainingReference.load(path, weights_sha256=HASH)
    assert older.temperature_check is None
    assert "not asked" in older.calibration_words
    dataclasses.replace(reference, temperature=None).save(tmp_path)
    bare = TrainingReference.load(path, weights_sha256=HASH)
    assert bare.score_scale == "as the network gives them"
    assert bare.calibration_words.startswith("Scores are not calibrated")


def test_the_references_that_are_shipped_can_be_read():
    for name in released_models():
        card = read_card(RELEASED / name / "checkpoint.json")
        reference = TrainingReference.load(RELEASED / name, weights_sha256=card.weights_sha256)
        assert reference.temperature is None or reference.temperature not in (0, 1)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_scores_of_zero_keep_their_place_at_any_temperature(kind):
    scores = np.array([[1.0, 0.0, 0.0], [0.0, 0.4, 0.6]], kind)
    for temperature in (1e-6, 0.05, 1, 20, 1e6):
        found = at_temperature(scores, temperature)
        assert found.dtype == kind
        assert np.isfinite(found).all()
        assert found.sum(axis=1) == pytest.approx([1, 1], abs=1e-6)
        assert found.argmax(axis=1).tolist() == [0, 2]
    # What lies below 1e-12 counts as that, as it did when the temperature was found.
    assert at_temperature(scores, 2.0)[0].tolist() == pytest.approx([1, 1e-6, 1e-6], rel=1e-5)
    assert at_temperature(scores, None) is scores


def test_the_same_images_give_the_same_bytes(tmp_path):
    first, second = (fit().save(tmp_path / name).read_bytes() for name in "ab")
    assert first == second


@pytest.mark.slow
def test_ten_thousand_images_of_a_large_network_make_a_small_file(tmp_path):
    rng = default_rng(0)
    features = rng.standard_normal((500, 2048)).astype(np.float32)
    reference = learn_reference(
        np.tile(features, (20, 1)),
        labels=["normal"] * 10_000,
        sources=["made"] * 10_000,
        held_out=features[:20],
        weights_sha256=HASH,
    )
    assert len(reference.images) <= 4000
    assert reference.save(tmp_path).stat().st_size < 1_500_000


def test_features_that_are_all_alike_in_some_columns_are_no_obstacle():
    features, labels = images(100, 1)
    features[:, 40:] = 0  # a rectifier's dead outputs
    reference = learn_reference(
        features, labels=labels, sources=labels, held_out=features, weights_sha256=HASH
    )
    assert np.isfinite(reference.distances(features)).all()
    dead = features[:1].copy()
    dead[0, 90] = 50
    assert reference.ood_status(dead) == ["out_of_distribution"]


def test_a_reference_of_other_weights_is_refused_by_name(reference, tmp_path):
    reference.save(tmp_path)
    with pytest.raises(ModelError, match=r"cdcdcdcdcdcd.*abababababab") as refused:
        TrainingReference.load(tmp_path, weights_sha256="cd" * 32)
    assert refused.value.code == "wrong_hash"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 1}, "schema 2"),
        ({"temperature": 0.0}, "temperature: "),
        ({"temperature": 1e-300}, "temperature: "),
        ({"confidence_threshold": True}, "confidence_threshold: "),
        ({"ood_distance": float("nan")}, "NaN"),
        ({"ood_distance": -1.0}, "ood_distance: "),
        ({"far_distance": "5"}, "far_distance: "),
        ({"confidence_threshold": 1.5}, "confidence_threshold: "),
        ({"coverage": -0.1}, "coverage: "),
        ({"weights_sha256": "../" * 21 + "a"}, "weights_sha256: "),
        ({"sources": ["cohen", "a\x1b[2J"]}, r"sources: .*a\\x1b\[2J"),
        ({"labels": ["a\u202eb", "b", "c"]}, r"labels: .*a\\u202eb"),
        ({"directions": np.zeros((64, WIDTH), np.float32)}, "directions is F32, not F16"),
        ({"images": np.zeros((400, 64), bool)}, "images is BOOL, not F16"),
        ({"source_of": np.zeros(400, np.int64)}, "source_of is I64, not I32"),
        ({"centre": np.full(WIDTH, np.inf, np.float32)}, "finite"),
        ({"label_of": np.full(400, 3, np.int32)}, "label_of"),
        ({"source_of": np.zeros(3, np.int32)}, "source_of"),
        ({"labels": None}, "labels: "),
        ({"rest": "much"}, "reference"),
        ({"temperature_check": {"reason": "because I say so"}}, "reference"),
        ({"temperature_check": "kept"}, "reference"),
    ],
)
def test_a_reference_that_does_not_hold_together_is_refused(reference, tmp_path, changes, said):
    path = rewritten(reference.save(tmp_path), **changes)
    with pytest.raises(ModelError, match=said) as refused:
        TrainingReference.load(path, weights_sha256=HASH)
    assert refused.value.code == "bad_reference"
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"{}" * 50, None])
def test_what_is_no_reference_is_refused(reference, tmp_path, content):
    path = reference.save(tmp_path)
    if content is None:
        content = path.read_bytes()[:-100]
    path.write_bytes(content)
    with pytest.raises(ModelError) as refused:
        TrainingReference.load(path, weights_sha256=HASH)
    assert refused.value.code == "bad_reference"


def test_an_absent_reference_is_refused(tmp_path):
    with pytest.raises(ModelError) as refused:
        TrainingReference.load(tmp_path, weights_sha256=HASH)
    assert refused.value.code == "unreadable"


def test_a_source_that_a_terminal_would_act_on_is_kept_as_it_is_shown(tmp_path):
    features, labels = images(20, 1)
    known = learn_reference(
        features,
        labels=labels,
        sources=["ward \x1b]0;a\x07"] * 20,
        held_out=features,
        weights_sha256=HASH,
    )
    known.save(tmp_path)
    assert TrainingReference.load(tmp_path, weights_sha256=HASH).sources == (r"ward \x1b]0;a\x07",)


def test_features_of_another_network_are_refused(reference):
    for ask in (reference.distances, reference.ood_status):
        with pytest.raises(ModelError, match=f"{WIDTH}"):
            ask(np.zeros((2, WIDTH + 1), np.float32))
    with pytest.raises(ModelError, match=f"{WIDTH}"):
        reference.neighbours(np.zeros(WIDTH + 1, np.float32))


@pytest.mark.parametrize("wrong", ["labels", "width", "none_held_out", "nan"])
def test_training_images_that_do_not_fit_together_are_refused(wrong):
    features, labels = images(20, 1)
    held_out = features[:5]
    if wrong == "labels":
        labels = labels[:-1]
    elif wrong == "width":
        held_out = held_out[:, :-1]
    elif wrong == "none_held_out":
        held_out = held_out[:0]
    else:
        features[3, 3] = np.nan
    with pytest.raises(DataError) as refused:
        learn_reference(
            features,
            labels=labels,
            sources=["made"] * 20,
            held_out=held_out,
            weights_sha256=HASH,
        )
    assert refused.value.code == "features"


def test_nothing_but_labels_sources_and_numbers_is_kept(reference):
    kept = {field.name for field in dataclasses.fields(reference)}
    text = [name for name in kept if isinstance(getattr(reference, name), str | tuple)]
    assert sorted(text) == ["labels", "sources", "weights_sha256"]
    assert reference.labels == ("bacterial", "covid19", "normal")
    assert reference.sources == ("cohen", "kermany")


def test_what_lies_crosswise_in_memory_is_saved_as_it_is(reference, tmp_path):
    crosswise = dataclasses.replace(
        reference,
        directions=np.asfortranarray(reference.directions),
        images=np.asfortranarray(reference.images),
    )
    crosswise.save(tmp_path)
    loaded = TrainingReference.load(tmp_path, weights_sha256=HASH)
    np.testing.assert_array_equal(loaded.directions, reference.directions)
    np.testing.assert_array_equal(loaded.images, reference.images)
