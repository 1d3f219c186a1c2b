"""The commands of the node that need none: how its queue stands, and dead letters again."""

import json

import pytest

from cxr_transfer.cli.commands import app
from cxr_transfer.errors import UsageError
from cxr_transfer.pacs.queue import open_queue
from cxr_transfer.pacs.queue_tables import State


def cxr(*words):
    app(["pacs", *map(str, words)], standalone_mode=False)


@pytest.fixture
def spool(tmp_path):
    """A spool with one object that waits and one dead letter."""
    queue = open_queue(tmp_path / "spool", None)
    for name in ("waits", "dead"):
        queue.spool.write(f"objects/{name}", b"an object")
        queue.add(name, "a" * 64, "1.2", f"objects/{name}", 9)
    queue.close_object("dead", State.DEAD, "no_header")
    queue.close()
    return tmp_path / "spool"


def test_status_shows_states_and_reasons(spool, capsys):
    cxr("status", "--spool", spool)
    said = capsys.readouterr().out
    assert "received     1" in said
    assert "dead letter dead: no_header" in said
    cxr("status", "--spool", spool, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["states"]["dead"] == 1
    assert told["dead_letters"][0]["reason"] == "no_header"


def test_retry_lets_dead_letters_be_tried_again(spool, capsys):
    cxr("retry", "--spool", spool)
    assert capsys.readouterr().out == "1 dead letters are tried again.\n"
    cxr("status", "--spool", spool, "--json")
    assert json.loads(capsys.readouterr().out)["states"]["received"] == 2


@pytest.mark.parametrize("command", ["status", "retry"])
def test_no_spool_is_made_by_looking(tmp_path, command):
    with pytest.raises(UsageError) as refused:
        cxr(command, "--spool", tmp_path / "none")
    assert refused.value.code == "no_spool"
    assert not (tmp_path / "none").exists()


def test_a_wrong_destination_is_said_before_anything_is_opened(tmp_path):
    with pytest.raises(UsageError) as refused:
        cxr("run", "--answer-to", "nowhere", "--spool", tmp_path / "none")
    assert refused.value.code == "bad_destination"
    assert not (tmp_path / "none").exists()
