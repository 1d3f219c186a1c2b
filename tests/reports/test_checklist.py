"""An item is filled where all that it rests on is proved, and never otherwise."""

import re

import pytest

from cxr_transfer.reports.checklist import AUTHORS, FILLED, NOT_APPLICABLE, OPEN, PARTLY, fill
from cxr_transfer.reports.checklists import CHECKLISTS
from cxr_transfer.reports.documents import Fact, gather
from cxr_transfer.reports.evidence import HOW, collect
from made_reports import make_run


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    run = make_run(folder)
    paths = {name: folder / f"{name}.json" for name in ("audit", "validation")}
    return gather(run, evaluation=folder / "report.json", **paths)


@pytest.fixture(scope="module")
def everything(documents):
    """Evidence in which no fact is absent."""
    return {name: Fact("words", "file", "$", "") for name in collect(documents)}


def items_of(content):
    return {item["number"]: item for item in content["items"]}


@pytest.mark.parametrize("checklist", CHECKLISTS.values(), ids=CHECKLISTS)
def test_a_fact_that_is_taken_away_unfills_every_item_that_rests_on_it(
    checklist, documents, everything
):
    whole = items_of(fill(checklist, documents, everything, {}))
    used = {name for item in checklist.items for name in item.facts}
    assert used
    for name in used:
        less = items_of(fill(checklist, documents, everything | {name: None}, {}))
        for item in checklist.items:
            if name in item.facts:
                assert less[item.number]["status"] in (PARTLY, OPEN)
                assert name in [fact["fact"] for fact in less[item.number]["absent"]]
            else:
                assert less[item.number] == whole[item.number]


@pytest.mark.parametrize("checklist", CHECKLISTS.values(), ids=CHECKLISTS)
def test_everything_fills_what_software_can_know_and_nothing_fills_none(
    checklist, documents, everything
):
    filled = fill(checklist, documents, everything, {})
    assert filled["software"]["filled"] == filled["software"]["items"] > 0
    nothing = fill(checklist, documents, {}, {})
    assert {item["status"] for item in nothing["items"]} <= {OPEN, NOT_APPLICABLE}
    assert nothing["counts"][FILLED] == nothing["counts"][PARTLY] == 0


@pytest.mark.parametrize("checklist", CHECKLISTS.values(), ids=CHECKLISTS)
def test_items_are_numbered_once_and_rest_on_facts_that_exist(checklist, everything):
    numbers = [item.number for item in checklist.items]
    assert len(set(numbers)) == len(numbers)
    for item in checklist.items:
        assert set(item.facts) <= everything.keys(), item.number
        assert bool(item.not_applicable) != bool(item.facts or item.author), item.number
    assert {name.partition(".")[0] for name in everything} == HOW.keys()


def test_the_checklists_have_the_items_of_their_publications():
    assert [item.number for item in CHECKLISTS["claim-2024"].items] == [
        str(number) for number in range(1, 45)
    ]
    main = [re.sub("[a-z]", "", item.number) for item in CHECKLISTS["tripod-ai"].items]
    assert list(dict.fromkeys(main)) == [str(number) for number in range(1, 28)]
    assert len(main) == 52
    stard = [re.sub("[a-z]", "", item.number) for item in CHECKLISTS["stard-ai"].items]
    assert list(dict.fromkeys(stard)) == [str(number) for number in range(1, 41)]
    assert len(stard) == 48


def test_an_authors_words_are_marked_as_theirs(documents):
    content = fill(CHECKLISTS["claim-2024"], documents, {}, {"44": "Nobody paid."})
    item = items_of(content)["44"]
    assert (item["status"], item["author_wrote"]) == (AUTHORS, "Nobody paid.")
    assert content["counts"][AUTHORS] == 1
