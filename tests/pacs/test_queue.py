"""The queue and its spool: durable, encrypted where asked, each object once, also after a kill."""

import io
import os
import sqlite3

import pytest
from pydicom import dcmread

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.pacs.intake import Intake, dataset_of
from cxr_transfer.pacs.queue import open_queue
from cxr_transfer.pacs.queue_database import only_node
from cxr_transfer.pacs.queue_tables import Outcome, State
from cxr_transfer.pacs.settings import Limits
from cxr_transfer.pacs.spool import Spool, read_key
from pacs.sending import image, uid

KEY = bytes(range(32))


@pytest.fixture
def queue(tmp_path):
    queue = open_queue(tmp_path / "spool", None)
    yield queue
    queue.close()


def add(queue, uid, sha="a" * 64):
    file = f"objects/{uid}"
    queue.spool.write(file, b"content of " + uid.encode())
    return queue.add(uid, sha, "1.2", file, 10)


def states(queue):
    return {name: number for name, number in queue.counts().items() if number}


def test_an_object_is_accepted_once(queue):
    assert add(queue, "one") is Outcome.ACCEPTED
    assert add(queue, "one") is Outcome.ALREADY_HERE
    assert add(queue, "one", "b" * 64) is Outcome.OTHER_BYTES
    assert [waiting.uid for waiting in queue.waiting(10)] == ["one"]


def test_it_is_sent_when_every_destination_has_every_answer(queue):
    add(queue, "one")
    queue.judged("one", "rule", ["answers/1", "answers/2"], ["a", "b"])
    assert states(queue) == {"judged": 1}
    assert not queue.waiting(10)
    for destination in ("a", "b"):
        due = queue.due(destination, 10)
        assert [delivery.file for delivery in due] == ["answers/1", "answers/2"]
        for delivery in due:
            queue.delivered(delivery)
    assert states(queue) == {"sent": 1}
    assert queue.due("a", 10) == []


def test_without_destinations_an_answer_is_kept(queue):
    add(queue, "one")
    queue.spool.write("answers/1", b"an answer")
    queue.judged("one", "rule", ["answers/1"], [])
    assert states(queue) == {"judged": 1}
    assert queue.unsent() == {"": 1}
    assert queue.expire(0) == 0
    assert queue.orphans("answers") == []
    assert queue.readdress({"rule": ()}, ()) == 0
    assert queue.readdress({"rule": ("a",), "other": ("b",)}, ("a", "b")) == 1
    (delivery,) = queue.due("a", 10)
    queue.delivered(delivery)
    assert states(queue) == {"sent": 1}


def test_answers_for_who_is_named_no_more_are_dead_letters_that_a_retry_readdresses(queue):
    add(queue, "one")
    queue.judged("one", "rule", ["answers/1", "answers/2"], ["old", "other"])
    queue.delivered(queue.due("other", 10)[0])
    assert queue.bury_astray(["new", "other"]) == 1
    queue.delivered(queue.due("other", 10)[0])
    assert states(queue) == {"dead": 1}
    assert queue.dead_letters(1)[0]["reason"] == "no_destination"
    assert queue.retry() == 1
    assert queue.readdress({"rule": ("new",)}, ("new", "other")) == 1
    assert [delivery.file for delivery in queue.due("new", 10)] == ["answers/1", "answers/2"]
    for delivery in queue.due("new", 10):
        queue.delivered(delivery)
    assert states(queue) == {"sent": 1}


def test_a_damaged_answer_is_made_again(queue):
    add(queue, "one")
    queue.judged("one", "rule", ["answers/1", "answers/2"], ["a"])
    first, second = queue.due("a", 10)
    queue.delivered(first)
    queue.undeliverable(second, "spool_damaged")
    assert queue.retry() == 1
    assert [waiting.uid for waiting in queue.waiting(10)] == ["one"]
    assert queue.due("a", 10) == []


def test_a_damaged_answer_is_made_again_also_where_another_still_waits(queue):
    add(queue, "one")
    queue.judged("one", "rule", ["answers/1", "answers/2"], ["a"])
    first, second = queue.due("a", 10)
    queue.undeliverable(second, "spool_damaged")
    assert states(queue) == {"judged": 1}
    queue.retry()
    assert states(queue) == {"received": 1}
    queue.delivered(first)  # it was on its way all the while
    assert states(queue) == {"received": 1}, "nothing counts as sent before it is made again"


def test_a_queue_of_an_earlier_version_gets_its_column(tmp_path):
    first = open_queue(tmp_path / "spool", None)
    add(first, "one")
    first.close()
    with sqlite3.connect(tmp_path / "spool" / "queue.sqlite3") as database:
        database.execute("ALTER TABLE objects DROP COLUMN answer_size")
    database.close()
    again = open_queue(tmp_path / "spool", None)
    again.judged("one", "rule", ["answers/1"], ["a"])
    assert states(again) == {"judged": 1}
    assert again.bytes_kept() == 10
    again.close()


def test_a_damaged_queue_is_named(tmp_path):
    open_queue(tmp_path / "spool", None).close()
    (tmp_path / "spool" / "queue.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(MachineError) as error:
        open_queue(tmp_path / "spool", None)
    assert error.value.code == "queue_damaged"


def test_a_spool_that_others_could_look_into_is_closed(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    folder.chmod(0o755)
    assert Spool(folder).close_to_others()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_dead_letter_has_its_reason_and_can_be_tried_again(queue):
    add(queue, "one")
    queue.judged("one", "rule", ["answers/1"], ["a", "b"])
    (first,), (second,) = queue.due("a", 1), queue.due("b", 1)
    queue.undeliverable(first, "status 0xA900")
    assert states(queue) == {"judged": 1}
    queue.delivered(second)
    assert states(queue) == {"dead": 1}
    (letter,) = queue.dead_letters(10)
    assert (letter["uid_hash"], letter["reason"]) == ("one", "status 0xA900")
    assert queue.retry() == 1
    assert states(queue) == {"judged": 1}
    assert queue.due("b", 1) == []
    queue.delivered(queue.due("a", 1)[0])
    assert states(queue) == {"sent": 1}


def test_what_died_without_an_answer_is_judged_again(queue):
    add(queue, "one")
    queue.close_object("one", State.DEAD, "no_header")
    assert queue.waiting(10) == []
    assert queue.retry() == 1
    assert [waiting.uid for waiting in queue.waiting(10)] == ["one"]


def test_a_wait_ends_by_itself_or_at_the_next_start(queue):
    add(queue, "one")
    queue.judge_again("one", "worker_lost", 3600)
    assert queue.waiting(10) == []
    queue.wake()
    assert queue.waiting(10)[0].attempts == 1
    queue.judge_again("one", "worker_lost", -1)
    assert queue.waiting(10)[0].attempts == 2


def test_the_clock_of_the_machine_may_jump(queue, monkeypatch):
    add(queue, "one")
    queue.judged("one", "rule", ["answers/1"], ["a"])
    queue.delivered(queue.due("a", 10)[0])
    monkeypatch.setattr("time.time", lambda: 10**10)
    assert queue.expire(3600) == 0
    assert states(queue) == {"sent": 1}


def test_the_clock_goes_on_after_a_start(tmp_path):
    queue = open_queue(tmp_path / "spool", None)
    queue.clock._before = 1000.0
    queue.note_clock()
    queue.close()
    again = open_queue(tmp_path / "spool", None)
    assert 1000 <= again.clock.now() < 2000
    again.close()


def test_files_are_deleted_when_their_time_is_over_and_rows_stay(queue):
    for name in ("sent", "dead"):
        add(queue, name)
        queue.spool.write(f"answers/{name}", b"an answer")
        queue.judged(name, "rule", [f"answers/{name}"], ["a"])
        (delivery,) = queue.due("a", 10)
        (queue.delivered if name == "sent" else lambda d: queue.undeliverable(d, "x"))(delivery)
    assert queue.expire(0) == 1
    assert states(queue) == {"done": 1, "dead": 1}
    assert sorted(queue.spool.names(".")) == sorted(
        name for name in queue.spool.names(".") if "sent" not in name
    )
    assert add(queue, "sent") is Outcome.ALREADY_HERE


def test_what_no_row_knows_is_found(queue):
    add(queue, "one")
    queue.spool.write("objects/two", b"no row knows it")
    queue.spool.write("answers/one.sr", b"nor this")
    assert queue.orphans("objects") == ["objects/two"]
    assert queue.orphans("answers") == ["answers/one.sr"]


@pytest.mark.parametrize("key", [None, KEY])
def test_objects_whose_queue_is_lost_are_taken_up_again(tmp_path, key):
    first = open_queue(tmp_path / "spool", key)
    intake = Intake(first, Limits(free_mb=0), lambda: None)
    for seed in (1, 2):
        intake.take(*dataset_of(image(seed)), "a test")
    names = set(first.spool.names("objects"))
    first.close()
    for file in (tmp_path / "spool").glob("queue.sqlite3*"):
        file.unlink()
    again = open_queue(tmp_path / "spool", key)
    again.spool.write("objects/none", b"no DICOM file")
    intake = Intake(again, Limits(free_mb=0), lambda: None)
    assert intake.take_up(again.orphans("objects")) == 2
    assert states(again) == {"received": 2}
    assert again.orphans("objects") == ["objects/none"]
    assert not names & set(again.spool.names("objects")), "their names come from the new salt"
    kept = [dcmread(io.BytesIO(again.spool.read(each.file))) for each in again.waiting(9)]
    assert {each.SOPInstanceUID for each in kept} == {uid("image", 1), uid("image", 2)}
    again.close()


def test_it_is_the_same_after_a_start(tmp_path):
    first = open_queue(tmp_path / "spool", None)
    add(first, "one")
    name = first.hash("1.2.3")
    # As a kill leaves it: nothing is closed.
    second = open_queue(tmp_path / "spool", None)
    assert states(second) == {"received": 1}
    assert second.hash("1.2.3") == name
    first.close()
    second.close()


def test_two_nodes_do_not_share_a_spool(queue):
    with only_node(queue.spool):
        with pytest.raises(UsageError) as refused, only_node(queue.spool):
            pass
        assert refused.value.code == "spool_in_use"


def test_a_key_seals_everything_that_tells_of_a_patient(tmp_path):
    queue = open_queue(tmp_path / "spool", KEY)
    queue.spool.write("objects/one", b"Zwiebel^Xaver")
    queue.add_commitment(b"Zwiebel^Xaver")
    assert queue.spool.read("objects/one") == b"Zwiebel^Xaver"
    assert queue.due_commitments()[0][1] == b"Zwiebel^Xaver"
    queue.close()
    for path in (tmp_path / "spool").rglob("*"):
        assert not path.is_file() or b"Zwiebel" not in path.read_bytes()


@pytest.mark.parametrize(("made", "opened"), [(KEY, None), (None, KEY), (KEY, bytes(32))])
def test_another_key_is_refused(tmp_path, made, opened):
    open_queue(tmp_path / "spool", made).close()
    with pytest.raises(UsageError) as refused:
        open_queue(tmp_path / "spool", opened)
    assert refused.value.code == "wrong_key"


def test_a_sealed_file_in_another_place_is_found_out(tmp_path):
    spool = Spool(tmp_path / "spool", KEY)
    spool.write("objects/one", b"1")
    spool.write("objects/two", b"2")
    os.replace(spool.folder / "objects/one", spool.folder / "objects/two")
    for name in ("objects/one", "objects/two"):
        with pytest.raises(MachineError) as refused:
            spool.read(name)
        assert refused.value.code == "spool_damaged"


def test_a_key_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_key(path)
    path.chmod(0o600)
    assert read_key(path) == KEY
    for content in ("", "00", "z" * 64):
        path.write_text(content)
        with pytest.raises(UsageError) as refused:
            read_key(path)
        assert refused.value.code == "bad_key_file"


def test_a_full_disk_refuses_and_keeps_what_is_there(queue):
    add(queue, "one")
    queue._database.execute("PRAGMA max_page_count = 1")  # SQLite never goes below what it has

    def fill():
        for number in range(2000):
            add(queue, f"more-{number}", str(number) * 60)

    with pytest.raises(MachineError) as refused:
        fill()
    assert refused.value.code == "disk_full"
    assert "one" in [waiting.uid for waiting in queue.waiting(5000)]


def test_another_version_of_the_queue_is_refused(tmp_path):
    open_queue(tmp_path / "spool", None).close()
    database = sqlite3.connect(tmp_path / "spool" / "queue.sqlite3")
    database.execute("UPDATE facts SET value = x'3939' WHERE name = 'version'")
    database.commit()
    database.close()
    with pytest.raises(UsageError) as refused:
        open_queue(tmp_path / "spool", None)
    assert refused.value.code == "other_queue"
