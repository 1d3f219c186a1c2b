"""Lungs of one image, surroundings of another: whose lungs, from where, and what a head learns."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from cxr_transfer.datasets.lung_masks import LungMasks
from cxr_transfer.datasets.phantom import draw_radiograph_and_lungs
from cxr_transfer.errors import UsageError
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph.lung_segmentation import lung_mask
from cxr_transfer.training.background_swap import draw_partners, swap_backgrounds
from cxr_transfer.training.linear_probe import fit_head
from cxr_transfer.training.recipe_files import load_recipe, parse_recipe
from cxr_transfer.training.stage import Stored
from cxr_transfer.training.trainer import train_stages
from miniature import make_images

SIDE = 96


def test_partners_are_of_another_source_and_every_other_source_is_as_likely():
    sources = np.array(["a"] * 3000 + ["b"] * 3000 + ["c"] * 30)
    partners = draw_partners(list(sources), seed=1)
    assert (sources[partners] != sources).all()
    of_a = sources[partners[:3000]]
    assert (of_a == "c").mean() == pytest.approx(0.5, abs=0.04)
    assert len(set(partners[:3000][of_a == "b"])) > 1000
    assert set(partners[:3000][of_a == "c"]) == set(range(6000, 6030))


def test_the_draw_depends_on_the_seed_alone():
    sources = ["a", "b", "c"] * 20
    first, again, other = (draw_partners(sources, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("sources", [[], ["a"], ["a", "a", "a"]])
def test_one_source_has_no_partners(sources):
    assert len(draw_partners(sources, seed=0)) == 0


def test_lungs_stay_and_all_else_is_the_partners():
    image, _ = draw_radiograph_and_lungs("normal", rng=np.random.default_rng(5))
    image = np.asarray(Image.fromarray(image).resize((SIDE, SIDE)))
    images = torch.from_numpy(np.stack([image, np.full_like(image, 220)])[:, None])
    before = images.clone()
    mixed = swap_backgrounds(images, np.array([1, 0]), LungMasks(images.numpy()))[0, 0].numpy()
    assert mixed.shape == image.shape
    assert mixed.dtype == np.uint8
    lungs = ndimage.binary_erosion(lung_mask(image, margin=0), iterations=3)
    beyond = ndimage.distance_transform_edt(~lung_mask(image)) > SIDE / 12
    assert lungs.sum() > 300
    assert beyond.sum() > 300
    # The edge is soft: a little of the one lies in the other.
    assert np.abs(mixed[lungs].astype(int) - image[lungs]).mean() < 5
    assert (np.abs(mixed[beyond].astype(int) - 220) <= 3).all()
    assert torch.equal(images, before)


def test_an_image_that_is_its_own_partner_stays_as_it_is():
    images = torch.randint(0, 256, (2, 1, SIDE, SIDE), dtype=torch.uint8)
    assert torch.equal(
        swap_backgrounds(images, np.array([0, 1]), LungMasks(images.numpy())), images
    )


def test_a_head_unlearns_what_exchanged_images_do_not_confirm():
    """Feature 0 is of the lungs and noisy, feature 1 of the surroundings and clear."""
    generator = np.random.default_rng(0)
    targets = np.repeat([0, 1, 2], 200)
    lungs = (targets == 2) + generator.normal(0, 0.7, 600)
    places = (targets == 2) + generator.normal(0, 0.1, 600)
    images = np.column_stack([lungs, places]).astype(np.float32)
    mixed = np.column_stack([lungs, generator.permutation(places)]).astype(np.float32)
    heads = []
    for weight in (0.0, 1.0):
        rest = nn.Sequential(OrderedDict(head=nn.Linear(2, 3)))
        training, others = (
            Stored(torch.from_numpy(inputs), torch.from_numpy(targets))
            for inputs in (images, mixed)
        )
        fit_head(
            rest,
            training,
            training,
            swapped=others if weight else None,
            swapped_weight=weight,
            penalty=0.001,
            stage="head",
        )
        heads.append((rest.head.weight[2] - rest.head.weight[0]).tolist())
    (_, shortcut), (kept, unlearnt) = heads
    assert shortcut > 3
    assert unlearnt < 0.4 * shortcut
    assert kept > 1


def recipe(**stage):
    return parse_recipe(
        {
            "name": "law",
            "title": "law",
            "network": "resnet50_early",
            "dataset": "multi_source",
            "preprocessing": {"height": 64, "width": 64, "crop": "lungs"},
            "stages": [{"name": "head", "fit": "logistic", "train": ["head"]} | stage],
        },
        origin="test",
    )


@pytest.mark.slow
def test_training_exchanges_between_sources_and_says_so(tmp_path):

    images = make_images(24, seed=0)
    heads, said = {}, []
    for name, exchange, sources in (
        ("none", 0.0, ["a", "b"] * 12),
        ("one", 0.5, ["a"] * 24),
        ("two", 0.5, ["a", "b"] * 12),
        ("again", 0.5, ["a", "b"] * 12),
    ):
        torch.manual_seed(0)
        network = build("resnet50_early", 3, size=(64, 64), epsilon=1e-3)
        train_stages(
            recipe(background_swap=exchange),
            network,
            images,
            images,
            sources=sources,
            folder=tmp_path / name,
            seed=0,
            log=said.append,
        )
        heads[name] = network.get_submodule("head").weight
    assert torch.equal(heads["none"], heads["one"])
    assert torch.equal(heads["two"], heads["again"])
    assert not torch.allclose(heads["none"], heads["two"], atol=1e-4)
    assert sum("around the lungs" in line for line in said) == 2
    assert sum("of one source" in line for line in said) == 1


def test_images_without_their_sources_are_not_exchanged_in_silence(tmp_path):
    images, network = (
        make_images(6, seed=0),
        build("resnet50_early", 3, size=(64, 64), epsilon=1e-3),
    )
    with pytest.raises(ValueError, match="source for each"):
        train_stages(recipe(background_swap=0.5), network, images, images, folder=tmp_path, seed=0)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"fit": "adam"}, "logistic"), ({"background_swap": -1.0}, "background_swap")],
)
def test_a_recipe_that_cannot_exchange_is_refused(change, word):
    with pytest.raises(UsageError, match=word):
        recipe(**{"background_swap": 0.5} | change)


def test_whole_images_are_not_exchanged():
    content = load_recipe("multi_source").model_dump(mode="json")
    content["preprocessing"]["crop"] = "none"
    with pytest.raises(UsageError, match="crops of the lungs"):
        parse_recipe(content, origin="test")
