"""A model folder holds files: what leads out of it, has no end or no meaning is refused by name."""

import json
import os
import sys

import numpy as np
import pytest
import safetensors.numpy

from cxr_transfer.errors import ModelError
from cxr_transfer.models.folder import (
    LONGEST_HEADER,
    checked_words,
    read_bytes,
    read_json,
    safetensors_header,
    sha256,
    strict_json,
)


def refusal(path, most=1000):
    with pytest.raises(ModelError) as refused:
        read_bytes(path, most=most)
    assert "\n" not in refused.value.message
    return refused.value.code


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.json").write_text('{"a": 1}')
    (tmp_path / "secret").write_text("of somebody")
    return tmp_path / "model"


def test_a_file_is_read_also_where_its_folder_is_reached_by_a_link(folder, tmp_path):
    (tmp_path / "latest").symlink_to(folder)
    for path in (folder / "card.json", tmp_path / "latest" / "card.json"):
        assert read_bytes(path, most=8) == b'{"a": 1}'
        assert read_json(path) == {"a": 1}
        assert sha256(path) == "f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310"


def test_a_link_within_the_folder_is_followed(folder):
    (folder / "other.json").symlink_to("card.json")
    assert read_json(folder / "other.json") == {"a": 1}


@pytest.mark.parametrize("to", ["../secret", "{folder}/../secret", "../model2/card.json"])
def test_a_link_out_of_the_folder_is_refused_by_name(folder, tmp_path, to):
    (tmp_path / "model2").mkdir()  # a name that begins alike is no folder inside
    (tmp_path / "model2" / "card.json").write_text("{}")
    (folder / "link").symlink_to(to.format(folder=folder))
    assert refusal(folder / "link") == "outside_link"


def test_a_link_to_a_link_is_followed_to_its_end(folder, tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "secret")
    (folder / "b").symlink_to("../a")
    assert refusal(folder / "b") == "outside_link"
    (tmp_path / "back").symlink_to(folder / "card.json")
    (folder / "c").symlink_to("../back")
    assert read_json(folder / "c") == {"a": 1}


def test_links_in_a_circle_and_links_to_nothing_are_refused(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    (folder / "nothing").symlink_to("gone")
    assert refusal(folder / "a") == "unreadable"
    assert refusal(folder / "nothing") == "unreadable"


def test_what_is_no_file_is_neither_waited_for_nor_read(folder):
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    assert refusal(folder / "pipe") == "not_a_file"
    assert refusal(folder / "folder") == "not_a_file"
    assert refusal(type(folder)("/dev/zero")) == "not_a_file"


def test_a_file_larger_than_its_bound_is_refused_unread(folder):
    with (folder / "sparse").open("wb") as handle:
        handle.truncate(2**40)
    assert refusal(folder / "sparse") == "too_large"
    (folder / "card.json").write_bytes(b"x" * 1001)
    assert refusal(folder / "card.json") == "too_large"


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', "[Infinity]", '{"a": 1, "a": 2}', "[" * 100_000, "{", "\xff"]
)
def test_json_that_readers_understand_differently_is_none(text):
    with pytest.raises(ValueError):
        strict_json(text.encode("latin-1"))


@pytest.mark.parametrize(
    "value",
    [
        "esc\x1b[2J",
        "c1\x9b2J",
        "bidi\u202e",
        "two\nlines",
        "lone\udcff",
        "x" * 4097,
        float("nan"),
        {"a\x00": 1},
        {"a": [{"b": float("inf")}]},
        ["x"] * 10_001,
        [[[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]]],
    ],
)
def test_what_a_page_cannot_show_is_refused(value):
    with pytest.raises(ValueError):
        checked_words(value)


def test_what_a_page_can_show_is_left_as_it_is():
    value = {"título": ["Ω 日本", 1, 0.5, True, None, {"deep": [1] * 9000}]}
    assert checked_words(value) is value


def test_the_header_of_a_safetensors_file_is_read_without_its_tensors():
    content = safetensors.numpy.save({"a": np.zeros((2, 3), np.float16)}, {"who": "me"})
    assert safetensors_header(content) == ({"a": ("F16", (2, 3))}, {"who": "me"})


def packed(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        packed({})[:-1],
        (2**63).to_bytes(8, "little") + b"{}",
        packed(b"[]"),
        packed(b'{"a": {"dtype": "F32", "shape": [1]}, "a": {"dtype": "F16", "shape": [1]}}'),
        packed({"a": {"dtype": "F32"}}),
        packed({"a": {"dtype": "F32", "shape": [-1]}}),
        packed({"a": {"dtype": "F32", "shape": [True]}}),
        packed({"a": {"dtype": 3, "shape": [1]}}),
        packed({"a": 3}),
        packed({"__metadata__": {"a": 1}}),
        packed({str(number): {"dtype": "F32", "shape": []} for number in range(10_001)}),
        packed(b" " * (LONGEST_HEADER + 1)),
    ],
)
def test_a_header_of_another_structure_is_refused(content):
    with pytest.raises(ValueError):
        safetensors_header(content)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how many files are open")
def test_a_refused_file_is_closed_again(folder):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        (folder / "card.json").write_bytes(b"x" * 1001)
        refusal(folder / "card.json")
    assert len(os.listdir("/proc/self/fd")) == before
