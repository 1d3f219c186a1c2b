"""Changes that change no finding: each does something, to every film, and not too much."""

import numpy as np
import pytest

from cxr_transfer.audits.perturbations import CORRUPTIONS, UNCHANGED, corrupted
from cxr_transfer.datasets.phantom import draw_film
from cxr_transfer.radiograph import Preprocessing


@pytest.fixture(scope="module")
def films():
    drawn = [
        draw_film("normal", rng=np.random.default_rng(seed), pixels=160)[:, :160]
        for seed in range(3)
    ]
    return np.stack(drawn)[:, None]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_change_changes_every_film_and_keeps_what_it_shows(films, name):
    before = films.copy()
    changed = corrupted(films, name)
    assert changed.shape == films.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(films, before), "the films that came in are as they were"
    for one, other in zip(films, changed, strict=True):
        assert not np.array_equal(one, other)
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.6


def test_noise_is_the_same_for_the_same_seed_only(films):
    a, b, c = (corrupted(films, "noise", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_no_films_are_no_films(films):
    assert corrupted(films[:0], "blur").shape == (0, *films.shape[1:])


def test_changed_films_are_finished(films):
    evened = Preprocessing(height=160, width=160, detail=80, equalise=True)
    found = corrupted(films, "noise", preprocessing=evened)
    expected = [evened.finish(film[0]) for film in corrupted(films, "noise")]
    assert np.array_equal(found[:, 0], np.stack(expected))
    assert not np.array_equal(found, corrupted(films, "noise"))


def test_no_change_is_none_but_the_last_steps(films):
    assert np.array_equal(corrupted(films, UNCHANGED), films)
    evened = Preprocessing(height=160, width=160, detail=80, equalise=True)
    found = corrupted(films, UNCHANGED, preprocessing=evened)
    assert np.array_equal(found[1, 0], evened.finish(films[1, 0]))
