"""The order of labels, and label sets that are none."""

import re
from importlib import resources

import pytest

from cxr_transfer.errors import DataError
from cxr_transfer.labels import CLASS_WORDS, DATASET_0, DATASET_1, LabelSet
from cxr_transfer.statistics.findings import finding_classes


def test_the_papers_classes_stand_in_the_papers_order():
    assert [DATASET_0.target(label) for label in ("normal", "bacterial", "viral")] == [0, 1, 2]
    assert [DATASET_1.target(label) for label in ("normal", "bacterial", "covid19")] == [0, 1, 2]


def test_order_is_kept_as_given():
    labels = LabelSet(("zebra", "ant", "mole"))
    assert list(labels) == ["zebra", "ant", "mole"]
    assert len(labels) == 3
    assert "ant" in labels
    assert "Ant" not in labels
    assert labels != LabelSet(("ant", "mole", "zebra"))


@pytest.mark.parametrize("label", ["covid19", "Normal", "normal ", ""])
def test_an_unknown_label_is_refused_with_the_known_ones(label):
    with pytest.raises(DataError) as error:
        DATASET_0.target(label)
    assert error.value.code == "unknown_label"
    assert "normal, bacterial, viral" in error.value.message
    assert repr(label) in error.value.message


@pytest.mark.parametrize("names", [(), ("one",), ("one", "two", "one")])
def test_fewer_than_two_classes_or_one_twice_is_no_label_set(names):
    with pytest.raises(DataError) as error:
        LabelSet(names)
    assert error.value.code == "label_set"


def test_the_page_says_classes_as_python_does():
    script = resources.files("cxr_transfer.serving") / "page" / "words.js"
    table = re.search(r"const CLASSES = \{(.*?)\}", script.read_text(encoding="utf-8"), re.S)
    assert dict(re.findall(r'(\w+): "([^"]+)"', table[1])) == CLASS_WORDS


def test_a_finding_leaves_room_for_the_name_of_its_absence():
    longest = "x" * 97
    assert finding_classes(longest).names == (f"no {longest}", longest)
    LabelSet((longest, "Mass"), exclusive=False)
    with pytest.raises(DataError) as error:
        LabelSet(("x" * 98, "Mass"), exclusive=False)
    assert "findings of 1 to 97 printable" in error.value.message
    assert LabelSet(("x" * 100, "Mass")).names[1] == "Mass"
