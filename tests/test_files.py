"""Files are whole or absent, whatever the system refuses; a folder has one owner."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.files import (
    append_line,
    cache_folder,
    read_csv,
    remove_own,
    settings_folder,
    writable_cache,
    write_bytes,
    write_csv,
    write_json,
    write_text,
)
from cxr_transfer.own_folder import check_folder, lock_folder
from made import full_disk

OWNER = """
import pathlib, sys
from cxr_transfer.own_folder import lock_folder
with lock_folder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_and_its_folders_are_written(tmp_path):
    write_bytes(tmp_path / "a" / "b" / "image.bin", b"\0new")
    assert (tmp_path / "a" / "b" / "image.bin").read_bytes() == b"\0new"
    assert names(tmp_path / "a" / "b") == ["image.bin"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    write_bytes(tmp_path / "report", b"old")
    with full_disk(1000), pytest.raises(MachineError) as error:
        write_bytes(tmp_path / "report", b"x" * 5000)
    assert error.value.code == "disk_full"
    assert (tmp_path / "report").read_bytes() == b"old"
    assert names(tmp_path) == ["report"]


def test_a_path_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(MachineError) as error:
        write_text(tmp_path / "file" / "report.md", "x")
    assert error.value.code == "not_writable"
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "here"


def test_a_folder_in_the_place_of_the_file_is_not_replaced(tmp_path):
    (tmp_path / "report").mkdir()
    with pytest.raises(MachineError) as error:
        write_text(tmp_path / "report", "x")
    assert error.value.code == "not_writable"
    assert names(tmp_path) == ["report"]


def test_what_interrupts_a_write_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "report", b"new")
    assert names(tmp_path) == []


def test_a_reader_sees_the_old_file_or_the_new(tmp_path):
    path, wholes, seen = tmp_path / "f", (b"a" * 70_000, b"b" * 90_000), set()
    write_bytes(path, wholes[0])
    stop = threading.Event()

    def read():
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        write_bytes(path, wholes[turn % 2])
    stop.set()
    reader.join()
    assert seen <= set(wholes)
    assert seen


def test_nan_is_no_json_and_the_old_file_stays(tmp_path):
    write_json(tmp_path / "f.json", {"näme": 1.5})
    with pytest.raises(ValueError):
        write_json(tmp_path / "f.json", {"loss": float("nan")})
    assert (tmp_path / "f.json").read_text(encoding="utf-8") == '{"näme": 1.5}\n'


def test_a_missing_value_is_an_empty_cell_and_commas_are_quoted(tmp_path):
    write_csv(tmp_path / "f.csv", ["a", "b"], [{"a": "1,5"}, {"b": 2, "a": None}])
    assert (tmp_path / "f.csv").read_bytes() == b'a,b\n"1,5",\n,2\n'


@pytest.fixture
def owner(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused(owner, tmp_path):
    with pytest.raises(UsageError) as error, lock_folder(tmp_path / "run"):
        pass
    assert error.value.code == "folder_in_use"
    assert error.value.exit_code == 2


def test_kill_9_releases_the_folder(owner, tmp_path):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with lock_folder(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()


def test_what_a_killed_run_left_half_written_goes_when_the_folder_is_owned_again(tmp_path):
    with lock_folder(tmp_path):
        half = f".{'0a' * 16}.part"
    for place in (tmp_path, tmp_path / "figures"):
        place.mkdir(exist_ok=True)
        (place / half).write_bytes(b"half")
        (place / "mine.part").write_bytes(b"somebody's")
    elsewhere = tmp_path.parent / f"{tmp_path.name} elsewhere"
    elsewhere.mkdir()
    (elsewhere / half).write_bytes(b"another run's")
    with lock_folder(tmp_path):
        left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.part"))
    assert left == ["figures/mine.part", "mine.part"]
    assert (elsewhere / half).exists()


def test_a_folder_can_be_owned_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), lock_folder(tmp_path):
        raise RuntimeError
    with lock_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_not_owned(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError) as error, lock_folder(tmp_path / "file" / "run"):
        pass
    assert error.value.code == "not_writable"


@pytest.mark.parametrize(
    ("folder", "own", "system", "below"),
    [
        (cache_folder, "CXR_CACHE", "XDG_CACHE_HOME", ".cache"),
        (settings_folder, "CXR_CONFIG", "XDG_CONFIG_HOME", ".config"),
    ],
)
def test_what_is_kept_for_a_user_lies_where_the_user_says(
    folder, own, system, below, tmp_path, monkeypatch
):
    monkeypatch.delenv(own, raising=False)
    monkeypatch.delenv(system, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / below / "cxr-transfer"
    monkeypatch.setenv(system, str(tmp_path / "system"))
    assert folder() == tmp_path / "system" / "cxr-transfer"
    monkeypatch.setenv(own, str(tmp_path / "own"))
    assert folder() == tmp_path / "own"


def test_a_cache_that_can_be_written_is_used_and_left_clean(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "new" / "cache"))
    assert writable_cache() == (tmp_path / "new" / "cache", "")
    assert names(tmp_path / "new" / "cache") == []


SCRIPT = """
from cxr_transfer.files import writable_cache
folder, warning = writable_cache()
assert writable_cache()[0] == folder, "one for the whole process"
(folder / "deep").mkdir()
(folder / "deep" / "kept").write_text("x")
print(folder)
print(warning)
"""


def test_a_cache_that_cannot_be_written_is_replaced_for_this_process_and_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    settings = {"CXR_CACHE": str(tmp_path / "file" / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    folder, warning = done.stdout.splitlines()
    assert Path(folder).parent == tmp_path / "tmp"
    assert names(tmp_path / "tmp") == [], "nothing is left of it"
    assert settings["CXR_CACHE"] in warning
    assert "set CXR_CACHE" in warning


# Folders that somebody else may have prepared


def test_a_lock_that_is_a_link_empties_nothing(tmp_path):
    (tmp_path / "victim").write_text("of somebody")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to("../victim")
    with pytest.raises(MachineError) as error, lock_folder(tmp_path / "run"):
        pass
    assert error.value.code == "not_writable"
    assert "it is a link" in error.value.message
    assert (tmp_path / "victim").read_text() == "of somebody"


def test_a_lock_that_is_another_file_is_not_emptied(tmp_path):
    (tmp_path / "victim").write_text("of somebody")
    (tmp_path / "run").mkdir()
    os.link(tmp_path / "victim", tmp_path / "run" / ".lock")
    with lock_folder(tmp_path / "run"):
        pass
    assert (tmp_path / "victim").read_text() == "of somebody"


def test_a_pipe_in_the_place_of_a_lock_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(MachineError) as error, lock_folder(tmp_path):
        pass
    assert error.value.code == "not_writable"


def test_a_link_to_a_folder_elsewhere_is_refused_and_one_within_is_not(tmp_path):
    for name in ("run/inside", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "victim").write_text("of somebody")
    run = tmp_path / "run"
    (run / "figures").symlink_to("inside")
    (run / "report.md").symlink_to("../victim")  # is replaced, not written through
    (tmp_path / "latest").symlink_to(run)
    for folder in (run, tmp_path / "latest"):
        with lock_folder(folder):
            write_text(folder / "report.md", "ours")
    assert (tmp_path / "victim").read_text() == "of somebody"
    (run / "partial").symlink_to("../elsewhere")
    with pytest.raises(UsageError, match="partial") as error, lock_folder(run):
        pass
    assert error.value.code == "outside_link"


@pytest.mark.parametrize("name", ["report.md", "figures/curve.png", "prepared.json"])
def test_a_folder_with_files_of_somebody_else_is_refused_and_stays_as_it_is(tmp_path, name):
    mine = tmp_path / "mine" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("three years")
    with (
        pytest.raises(UsageError, match=name.partition("/")[0]) as error,
        lock_folder(tmp_path / "mine"),
    ):
        pass
    assert error.value.code == "foreign_folder"
    assert [path for path in (tmp_path / "mine").rglob("*") if path.is_file()] == [mine]


def test_a_folder_of_ours_an_empty_one_and_one_around_ours_are_no_foreign_ones(tmp_path):
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    (tmp_path / "runs" / ".DS_Store").touch()
    with lock_folder(tmp_path / "runs" / "first"):
        write_text(tmp_path / "runs" / "first" / "report.md", "ours")
    for folder in (tmp_path / "runs" / "first", tmp_path / "runs"):
        with lock_folder(folder):
            pass
    (tmp_path / "handed_on").mkdir()  # copied without its hidden files
    for name in ("run.json", "report.md"):
        (tmp_path / "handed_on" / name).touch()
    with lock_folder(tmp_path / "handed_on"):
        pass
    with pytest.raises(UsageError, match=r"run\.json"):  # but not of the kind of that command
        check_folder(tmp_path / "handed_on", "prepared.json")


def make_link(path):
    path.symlink_to("../victim")


def make_second_name(path):
    os.link(path.parent.parent / "victim", path)


@pytest.mark.parametrize("make", [make_link, make_second_name, os.mkfifo])
def test_a_log_that_is_not_ours_is_refused_before_anything_is_done(tmp_path, make):
    (tmp_path / "victim").write_text("of somebody")
    with lock_folder(tmp_path / "run"):
        pass
    make(tmp_path / "run" / "log.txt")
    with pytest.raises(MachineError, match=r"log\.txt") as error:
        check_folder(tmp_path / "run")
    assert error.value.code == "not_writable"


def test_lines_are_added_and_one_that_was_cut_off_ends_first(tmp_path):
    append_line(tmp_path / "log.txt", "one")
    append_line(tmp_path / "log.txt", "zwei \udcff")
    with (tmp_path / "log.txt").open("ab") as handle:
        handle.write(b"cut o")
    append_line(tmp_path / "log.txt", "three")
    assert (tmp_path / "log.txt").read_bytes() == b"one\nzwei \xff\ncut o\nthree\n"


def test_of_a_line_without_room_nothing_stays(tmp_path):
    append_line(tmp_path / "log.txt", "one")
    with full_disk(10), pytest.raises(MachineError):
        append_line(tmp_path / "log.txt", "a line that is too long")
    assert (tmp_path / "log.txt").read_bytes() == b"one\n"


def link(path, target):
    path.symlink_to(target)


@pytest.mark.parametrize("make", [link, lambda path, target: os.link(target, path)])
def test_no_line_is_added_to_a_file_of_another_name(tmp_path, make):
    (tmp_path / "victim").write_text("of somebody")
    make(tmp_path / "log.txt", tmp_path / "victim")
    with pytest.raises(MachineError) as error:
        append_line(tmp_path / "log.txt", "one")
    assert error.value.code == "not_writable"
    assert (tmp_path / "victim").read_text() == "of somebody"


def test_what_is_ours_is_removed_and_what_is_not_stays(tmp_path):
    folder, unfinished = tmp_path / "partial", f".{'0a' * 16}.part"
    folder.mkdir()
    for name in ("a.resume", unfinished, "thesis.odt", ".0a.part"):
        (folder / name).touch()
    remove_own(folder, ["a.resume", "absent"])
    assert names(folder) == [".0a.part", "thesis.odt"]
    for name in names(folder):
        (folder / name).unlink()
    remove_own(folder, [])
    assert not folder.exists()
    remove_own(folder, ["a"])


def test_nothing_is_removed_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").touch()
    (tmp_path / "partial").symlink_to("elsewhere")
    remove_own(tmp_path / "partial", ["a"])
    assert names(tmp_path / "elsewhere") == ["a"]


# Tables that a spreadsheet may open

NAMES = [
    '=HYPERLINK("http://x")', "+1+1", "-2+3|cmd", "@SUM(1)", "\tx", "\rx", "\nx", "'=1", "''=1",
    "'quoted'", "＝1", "-5", "+1.5e-3", "a,b;c\"d", "", "image\x1b[2J\u202e", "\udcff.png",
]  # fmt: skip


def test_a_table_holds_no_formula_and_is_read_back_as_it_was(tmp_path):
    write_csv(tmp_path / "t.csv", ["=name", "n"], [{"=name": name, "n": 1} for name in NAMES])
    text = (tmp_path / "t.csv").read_bytes().decode(errors="surrogateescape")
    assert [row["=name"] for row in read_csv(text)] == NAMES
    cells = [row[0] for row in csv.reader(io.StringIO(text, newline=""))]
    assert len(cells) == len(NAMES) + 1
    formulas = [cell for cell in cells if cell[:1] in set("=+-@\t\r\n＝＋－＠") - {""}]
    assert formulas == ["-5", "+1.5e-3"], "numbers are none"


def test_a_row_with_other_cells_than_the_header_is_read(tmp_path):
    assert read_csv("a,b\n1\n1,2,3\n") == [{"a": "1", "b": ""}, {"a": "1", "b": "2"}]


def test_json_moves_no_cursor_and_is_the_same(tmp_path):
    content = {"file": "a\x9b2J\u202eb\u2028\udcff\U000e0001ü日"}
    write_json(tmp_path / "f.json", content)
    text = (tmp_path / "f.json").read_text(encoding="utf-8")
    assert text.replace("\n", "").isprintable()
    assert "ü日" in text
    assert json.loads(text) == content


def test_json_has_an_entry_a_line_but_short_plain_ones_in_one(tmp_path):
    content = {"a": [1, 2.5, None], "b": {"low": 0.1, "high": 0.2}, "c": [{"d": {}}], 7: "x" * 200}
    write_json(tmp_path / "f.json", content)
    text = (tmp_path / "f.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(content))
    assert text.startswith('{\n "a": [1, 2.5, null],\n "b": {"low": 0.1, "high": 0.2},\n "c": [\n')


def test_a_column_that_stands_there_twice_is_no_table():
    with pytest.raises(ValueError, match="'a' stands there twice"):
        read_csv("a,b,a\n1,2,3\n")
    assert read_csv("a,,\n1,,\n") == [{"a": "1", "": ""}]
