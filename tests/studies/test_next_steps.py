"""What may be done next is said in commands that can be typed as they are."""

import shlex
from pathlib import Path

from cxr_transfer.studies.next_steps import next_of_run


def test_commands_of_a_run_name_its_files(tmp_path):
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "split.csv").write_text("path,split\n../a.png,train\n../b c.png,test\n")
    first, *commands = next_of_run(folder, Path("my data"), "cxr")
    assert first == "next:"
    words = [shlex.split(command) for command in commands]
    assert [each[:2] for each in words] == [
        ["cxr", name] for name in ("evaluate", "predict", "audit", "export")
    ]
    assert words[0][2:] == [
        str(folder),
        "--data",
        str(folder / "split.csv"),
        "--out",
        str(folder / "evaluation"),
    ]
    assert words[1][2:] == [str(tmp_path / "b c.png"), "--model", str(folder)]
    assert words[2][2:5] == [str(folder), "--data", "my data"]


def test_without_a_test_image_nothing_is_evaluated(tmp_path):
    (tmp_path / "split.csv").write_text("path,split\na.png,train\n")
    commands = "".join(next_of_run(tmp_path, Path("data"), "cxr"))
    assert "evaluate" not in commands
    assert "cxr audit" in commands
