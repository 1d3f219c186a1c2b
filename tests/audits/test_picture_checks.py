"""Checks that change pictures fail for models that go by what they change, and for no other."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from cxr_transfer.audits import picture_checks as checks
from cxr_transfer.audits.counterfactual import SWAPS, counterfactual, moved_onto
from cxr_transfer.audits.drift import drift
from cxr_transfer.audits.inputs import AuditInputs
from cxr_transfer.audits.markers import marker_mask, markers, painted_out
from cxr_transfer.audits.mask_shape import box, elsewhere, mask_shape, shape_of
from cxr_transfer.audits.readings import Part
from cxr_transfer.audits.reencoding import FORMS, reencoding
from cxr_transfer.datasets.lung_masks import LungMasks
from cxr_transfer.evaluation.decoding import Decoded
from cxr_transfer.labels import LabelSet
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.training.tensors import ImageTensors
from made import case, chest

LABELS = LabelSet(("normal", "covid19"))
SIDE = 128
AGAIN = {"resamples": 50, "seed": 0}


class GivenLungs(LungMasks):
    """Masks that a test sets, not looked for."""

    def __init__(self, masks):
        super().__init__(np.zeros((len(masks), 1, *masks.shape[1:]), np.uint8))
        self._bits = dict(enumerate(np.packbits(mask) for mask in masks))


def ellipses(sizes):
    down, across = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    return np.array([(across / 0.3) ** 2 + (down / (0.35 * size)) ** 2 <= 1 for size in sizes])


def part_of(images, targets, masks):
    cases = [
        dataclasses.replace(
            case(f"{row}.png", LABELS.names[target], f"p{row}"), source="ab"[row % 2]
        )
        for row, target in enumerate(targets)
    ]
    tensors = ImageTensors(torch.from_numpy(images), torch.from_numpy(targets), GivenLungs(masks))
    return Part(LABELS, Decoded(tuple(cases), tensors, images, ()), np.arange(len(cases)))


def make_part(each=30, sizes=(1.0, 1.0), mark=False):
    """Images whose lungs, and surroundings too, are brighter where they are of the second class."""
    rng = np.random.default_rng(0)
    targets = np.arange(2 * each) % 2
    masks = ellipses([sizes[target] for target in targets])
    images = np.where(
        masks,
        (90 + 60 * targets)[:, None, None],
        (60 + 80 * targets)[:, None, None],
    ) + rng.normal(0, 4, (2 * each, SIDE, SIDE))
    images = images.clip(0, 255).astype(np.uint8)
    if mark:
        for row in np.flatnonzero(targets == 1):
            images[row] = with_letter(images[row])
    return part_of(images[:, None], targets, masks)


def with_letter(image, letter="R", at=(10, 8)):
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text(at, letter, fill=255, font=ImageFont.load_default(12))
    return np.asarray(picture)


def by(grey_of, middle):
    """A model that answers by the mean grey of some place: the second class is bright there."""

    def score(images):
        ill = 1 / (
            1 + np.exp(-np.clip((grey_of(images[:, 0].astype(float)) - middle) / 4, -30, 30))
        )
        return np.stack([1 - ill, ill], axis=1)

    return score


LUNGS = by(lambda images: images[:, 50:78, 50:78].mean(axis=(1, 2)), 120)
CORNER = by(lambda images: images[:, -12:, -12:].mean(axis=(1, 2)), 100)


def judged(judge, **evidence):
    empty = dict.fromkeys(
        ("scores", "cases", "evaluation", "occluded", "metadata",
         "grey_levels", "demographics", "association", "source_classifier", "near_copies",
         "own_images_seen", "outside")
    )  # fmt: skip
    return judge(AuditInputs(**empty, evidence=evidence))


def swapped(score):
    part = make_part()
    return counterfactual(score, part, part.scores(score(part.images)), **AGAIN)


def test_a_model_that_looks_at_the_lungs_keeps_its_answers_in_other_surroundings():
    measured = swapped(LUNGS)
    assert measured["images"] == 60
    assert all(measured["swaps"][name]["follows"]["value"] == 0 for name in SWAPS)
    assert judged(checks.counterfactual, counterfactual=measured).verdict == "pass"


def test_a_model_that_looks_at_the_surroundings_takes_the_class_of_their_donor():
    measured = swapped(CORNER)
    for name in SWAPS:
        assert measured["swaps"][name]["follows"]["value"] == 1
        assert measured["swaps"][name]["control"]["value"] == 0
    found = judged(checks.counterfactual, counterfactual=measured)
    assert found.verdict == "fail"
    assert "100.0" in found.reading


def test_too_few_images_of_a_class_are_not_exchanged():
    part = make_part(each=10)
    assert counterfactual(LUNGS, part, part.scores(LUNGS(part.images)), **AGAIN) == {}
    assert judged(checks.counterfactual, counterfactual={}).verdict == "not done"


def test_the_lungs_of_a_donor_are_moved_to_where_the_others_are():
    small, large = ellipses([0.5, 1.0])
    moved = moved_onto(np.where(small, 200, 0).astype(np.uint8), small, large)
    overlap = (moved > 100) & large
    assert overlap.sum() > 0.97 * large.sum()
    assert ((moved > 100) & ~large).sum() < 0.03 * large.sum()


def test_a_mask_whose_size_goes_with_the_class_is_noticed():
    alike, unlike = make_part(), make_part(sizes=(1.0, 0.6))
    for part, verdict in ((alike, "pass"), (unlike, "fail")):
        whole = part.scores(LUNGS(part.images))
        measured = mask_shape(LUNGS, part, whole, **AGAIN)
        found = judged(checks.mask_shape, mask_shape=measured)
        assert found.verdict == verdict
        assert measured["images"] == 60
    assert measured["shape_auroc"]["value"] > 0.95
    assert measured["auroc"]["whole"]["value"] == 1


def test_a_strip_elsewhere_is_as_large_as_the_box_and_hardly_in_the_lungs():
    mask = np.zeros((100, 100), np.bool_)
    mask[10:50, 20:80] = True
    assert box(mask).sum() == 2400
    strip = elsewhere(mask)
    assert strip.sum() == pytest.approx(2400, rel=0.05)
    assert not (strip & mask).any()
    shape = dict(zip(("area", "across", "down", "width", "height"), shape_of(mask), strict=False))
    assert shape == pytest.approx(
        {"area": 0.24, "across": 0.495, "down": 0.295, "width": 0.6, "height": 0.4}
    )


@pytest.mark.parametrize("letter", ["R", "L", "AP"])
def test_a_letter_is_found_and_painted_out(letter):
    ground = np.full((224, 224), 40, np.uint8)
    ground += np.random.default_rng(0).integers(0, 8, ground.shape, np.uint8)
    image = with_letter(ground, letter, at=(20, 15))
    drawn = np.abs(image.astype(int) - ground) > 60
    mask = marker_mask(image, np.zeros_like(ground, np.bool_))
    assert (mask & drawn).sum() > 0.9 * drawn.sum()
    assert mask.sum() < 5 * drawn.sum()
    assert np.abs(painted_out(image, mask).astype(int) - ground)[drawn].max() < 70


def test_chests_without_letters_have_none():
    lungs = np.zeros((224, 224), np.bool_)
    lungs[30:190, 30:194] = True
    for seed in range(6):
        image = Image.fromarray(chest(seed)).resize((224, 224))
        assert not marker_mask(np.asarray(image), lungs).any()


def marked(score, mark):
    part = make_part(mark=mark)
    whole = part.scores(score(part.images) if score else LUNGS(part.images))
    return markers(
        score, part.images, part.tensors.lungs, part.cases, whole,
        Preprocessing(height=SIDE, width=SIDE), most=300, **AGAIN,
    )  # fmt: skip


LETTER = by(lambda images: images[:, :30, :30].max(axis=(1, 2)), 220)


def test_letters_that_go_with_the_class_fail_and_those_that_decide_are_told_apart():
    measured = marked(LETTER, mark=True)
    assert measured["by_class"] == {
        "covid19": {"images": 30, "marked": 30}, "normal": {"images": 30, "marked": 0},
    }  # fmt: skip
    assert measured["painted"]["otherwise"]["value"] == 1
    assert measured["auroc"]["value"] == 1
    assert judged(checks.markers, markers=measured).verdict == "fail"
    unread = marked(LUNGS, mark=True)
    assert unread["painted"]["otherwise"]["value"] == 0
    assert unread["painted"]["auroc_change"]["value"] == 0


def test_images_without_letters_pass_and_a_table_of_scores_is_told_where_they_are():
    assert judged(checks.markers, markers=marked(LUNGS, mark=False)).verdict == "pass"
    found = judged(checks.markers, markers=marked(None, mark=True))
    assert found.measured["painted"] is None
    assert "a table of scores does not say" in found.reading


@pytest.fixture(scope="module")
def pictures():
    drawn = [Image.fromarray(chest(seed)).resize((SIDE, SIDE)) for seed in range(8)]
    return np.stack([np.asarray(one) for one in drawn])[:, None], [f"p{row}" for row in range(8)]


def test_every_form_without_loss_is_read_alike(pictures):
    measured = reencoding(LUNGS, Preprocessing(height=SIDE, width=SIDE), *pictures, **AGAIN)
    assert measured["images"] == 8
    for name in FORMS.keys() - {"JPEG quality 95", "PNG of 16 bits"}:
        assert measured["forms"][name]["difference"] == 0, name
    assert 0 < measured["forms"]["JPEG quality 95"]["difference"] < 40
    assert judged(checks.reencoding, reencoding=measured).verdict == "pass"


def test_a_model_that_hangs_on_single_pixels_fails(pictures):
    def parity(images):
        odd = images.sum(axis=(1, 2, 3), dtype=np.int64) % 2
        return np.stack([1 - odd, odd], axis=1).astype(np.float64)

    preprocessing = Preprocessing(height=SIDE, width=SIDE)
    measured = reencoding(parity, preprocessing, *pictures, **AGAIN)
    assert judged(checks.reencoding, reencoding=measured).verdict == "fail"
    refused = {"images": 3, "forms": {"TIFF": {
        "refused": 1, "difference": 0, "otherwise": {"value": 0.0, "low": 0.0, "high": 0.1},
    }}}  # fmt: skip
    found = judged(checks.reencoding, reencoding=refused)
    assert found.verdict == "fail"
    assert "TIFF" in found.reading


def sets(shift):
    rng = np.random.default_rng(0)
    cases = [
        [case(f"{name}{row}.png", "normal", f"{name}{row}") for row in range(80)] for name in "ab"
    ]
    files = [
        [
            {"width": float(width), "bytes_per_pixel": 1.0, "grey_50": float(grey + shift * number)}
            for width, grey in zip(
                rng.choice([500, 600], 80), rng.normal(0.5, 0.05, 80), strict=True
            )
        ]
        for number in range(2)
    ]
    ill = [np.clip(rng.beta(2, 2, 80) + shift * number, 0.01, 0.99) for number in range(2)]
    scored = tuple(np.stack([1 - each, each], axis=1) for each in ill)
    return drift(tuple(cases), tuple(files), scored, LABELS, seen=3, seed=0)


def test_data_that_drifted_are_told_from_the_reference():
    measured = sets(0.4)
    found = judged(checks.drift, drift=measured)
    assert found.verdict == "fail"
    assert measured["told_apart"]["grey values"]["value"] > 0.95
    assert measured["told_apart"]["file facts"]["value"] < 0.65
    assert measured["scores"]["covid19"]["ks"] > 0.4
    assert "3 images of the reference" in found.reading


def test_data_of_one_kind_are_not():
    assert judged(checks.drift, drift=sets(0.0)).verdict == "pass"
    assert judged(checks.drift) is None
