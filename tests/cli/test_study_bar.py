"""One line with the time left on a terminal; elsewhere a line for each thing that begins."""

import pytest

from cxr_transfer.cli.terminal import study_bar
from cxr_transfer.studies.progress import Progress

WAY = [
    Progress("reading dataset_1", 0.0, None),
    Progress("reading dataset_1", 0.1, 90.0),
    Progress("model_1", 0.2, 80.0),
    Progress("model_1 · all", 0.5, 61.0),
    Progress("writing the report", 0.9, 4.0),
]


@pytest.fixture
def shown(monkeypatch, capsys):
    def run(**settings):
        for name in ("TTY_COMPATIBLE", "FORCE_COLOR", "NO_COLOR", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with study_bar() as (log, show):
            for progress in WAY:
                show(progress)
            log("a [bold]line[/bold] \x1b[31mas it is")
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return run


def test_without_a_terminal_a_line_tells_what_begins(shown):
    assert shown().splitlines() == [
        "0% done, reading dataset_1",
        "20% done, model_1, about 1 min 20 s left",
        "90% done, writing the report, about 4 s left",
        r"a [bold]line[/bold] \x1b[31mas it is",
    ]


def test_on_a_terminal_one_line_is_written_over_and_over(shown):
    written = shown(TTY_COMPATIBLE="1", COLUMNS="100", NO_COLOR="1", TERM="xterm")
    assert "about 4 s left" in written
    assert "90%" in written
    assert "[bold]line[/bold]" in written
    assert "\x1b[31m" not in written
