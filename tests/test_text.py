"""Text of others is readable and inert where it is shown; tables give back what was put in."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cxr_transfer.text import cell, cell_text, for_json, for_terminal, markdown

# What anybody may call a file, a class or a hospital; bytes that are no text among it.
TEXTS = st.text(st.characters(), max_size=40) | st.text(
    "\x1b\x9b\u202e\u2066\u200b\n\r\t[](){}<>&|*_`~!#=+-@.:'\\\"a1 "
)
NASTY = "\x1b]0;a\x07\x9b2J\u202e\u200b\udcff\r\n\x00\x7f\u2028"


@example(NASTY)
@given(TEXTS)
def test_a_line_for_a_terminal_holds_nothing_that_it_acts_on(text):
    shown = for_terminal(text)
    assert all(sign.isprintable() or sign.isspace() for sign in shown)
    assert not set(shown) & set(map(chr, (*range(32), *range(127, 160))))
    assert for_terminal(shown) == shown


def test_what_people_write_is_left_as_it_is():
    for text in (
        "image 1.png",
        "Übersicht.dcm",
        "胸部Ｘ線　正面",
        "C:\\images\\1.png",
        "naïve é",
        "π",
    ):
        assert for_terminal(text) == text


def test_lines_of_ours_stay_lines():
    assert for_terminal("a\x1b\nb\r\n", lines=True) == "a\\x1b\nb\\r\n"


@example({NASTY: [NASTY]})
@given(st.dictionaries(TEXTS, st.lists(TEXTS, max_size=2), max_size=3))
def test_json_for_a_terminal_is_the_same_json(content):
    text = for_json(json.dumps(content, indent=2, ensure_ascii=False))
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == content


@given(TEXTS)
def test_a_cell_is_no_formula_and_gives_back_its_text(text):
    written = cell(text)
    assert cell_text(written) == text
    try:
        float(written)
    except ValueError:
        assert not written.startswith(tuple("=+-@\t\r\n＝＋－＠"))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("-5", "-5"),
        ("+49 30 1", "'+49 30 1"),
        ("-1e-3", "-1e-3"),
        ("-1e", "'-1e"),
        ("@a", "'@a"),
        ("a=1", "a=1"),
        ("'a", "'a"),
        ("''=1", "'''=1"),
        (-5, -5),
        (0.5, 0.5),
        (True, True),
        (None, ""),
    ],
)
def test_only_what_a_spreadsheet_runs_is_changed(text, written):
    assert cell(text) == written


RENDER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def parts(tokens):
    for token in tokens:
        yield token
        yield from parts(token.children or ())


def seen(source):
    """What a reader of a page sees of it, and of which kinds its parts are."""
    found = list(parts(RENDER.parse(source)))
    text = "".join(one.content for one in found if one.type == "text")
    return text, {one.type for one in found}


@example("<img src=x onerror=alert(1)>")
@example("[a](javascript:alert(1)) ![b](http://c) [d][e] <http://f>")
@example("a | b\n|---|---|\n# c")
@example("`code` **bold** _em_ ~~gone~~ &lt; \\")
@example("1. list")
@example("> quoted")
@example("- list")
@given(TEXTS)
def test_markdown_shows_a_text_as_it_is(text):
    shown = for_terminal(text).strip()
    for before, after in (("Called ", " here."), ("| x | ", " | y |")):
        table = before.startswith("|")
        head = "| a | b | c |\n|---|---|---|\n" if table else ""
        got, kinds = seen(f"{head}{before}{markdown(text)}{after}")
        expected = f"abcx{shown}y" if table else f"Called {for_terminal(text)} here."
        assert " ".join(got.split()) == " ".join(expected.split())
        assert not kinds & {"html_inline", "html_block", "link_open", "image", "code_inline"}


@example("# a")
@example("- a")
@example("1) a")
@example("[a]: http://b")
@example("> a")
@given(TEXTS)
def test_markdown_at_the_start_of_a_line_is_a_paragraph(text):
    kinds = seen(markdown(text).strip() + " ends")[1]
    assert kinds <= {
        "paragraph_open",
        "inline",
        "text",
        "paragraph_close",
        "text_special",
        "em_open",
        "em_close",
    }
