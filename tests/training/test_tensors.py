"""Cases become tensors in their order, film for film what the decoder gives."""

import numpy as np
import pytest
import torch

from cxr_transfer.errors import FilmError
from cxr_transfer.labels import DATASET_1
from cxr_transfer.radiograph import Preprocessing, read_film
from cxr_transfer.training.tensors import load_films
from made import case, write_film

SMALL = Preprocessing(height=48, width=64)


@pytest.fixture
def cases(tmp_path):
    labels = ["covid19", "normal", "viral", "bacterial", "normal", "Normal"]
    return [
        case(write_film(tmp_path / f"{number}.png", number), label)
        for number, label in enumerate(labels)
    ]


def test_films_stand_in_the_order_of_their_cases(cases):
    films = load_films(cases, SMALL, DATASET_1)
    assert len(films) == len(cases)
    assert (films.images.dtype, films.images.shape) == (torch.uint8, (6, 1, 48, 64))
    for image, each in zip(films.images, cases, strict=True):
        assert np.array_equal(image[0], SMALL.apply(read_film(each.path)))


def test_a_label_that_the_network_does_not_know_is_no_target(cases):
    films = load_films(cases, SMALL, DATASET_1)
    assert films.targets.dtype == torch.int64
    assert films.targets.tolist() == [2, 0, -1, 1, 0, -1]


def test_every_film_is_told_of(cases):
    told = []
    load_films(cases, SMALL, DATASET_1, each=lambda: told.append(None))
    assert len(told) == len(cases)


def test_no_cases_are_no_films():
    films = load_films([], SMALL, DATASET_1)
    assert films.images.shape == (0, 1, 48, 64)
    assert len(films) == 0


def test_a_film_damaged_since_it_was_opened_stops_the_loading(cases):
    cases[3].path.write_bytes(cases[3].path.read_bytes()[:2000])
    with pytest.raises(FilmError) as error:
        load_films(cases, SMALL, DATASET_1)
    assert error.value.code == "truncated_image"


def test_rows_are_taken_by_number_or_by_flag(cases):
    films = load_films(cases, SMALL, DATASET_1)
    by_number = films.only(np.array([4, 0]))
    assert by_number.targets.tolist() == [0, 2]
    assert torch.equal(by_number.images, films.images[[4, 0]])
    by_flag = films.only(np.array([True, False, False, True, False, False]))
    assert by_flag.targets.tolist() == [2, 1]
    assert len(films.only(np.zeros(6, dtype=bool))) == 0
