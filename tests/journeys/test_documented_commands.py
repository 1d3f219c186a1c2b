"""Every command that a document shows is run on generated images, or at least parsed.

A block of commands is a fence ``sh`` or ``console``. After a comment ``<!-- parsed: WHY -->`` its
commands are parsed and not run: they need what a test has not, a server that stays or a data set.
"""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from cxr_transfer.cli.commands import app
from cxr_transfer.cli.default_command import DEFAULT, DefaultCommandGroup
from cxr_transfer.cli.global_options import command_of, globals_first
from cxr_transfer.datasets.phantom import draw_radiograph

HOME = Path(__file__).parent.parent.parent
FENCE = re.compile(
    r"(?:^<!-- parsed: (?P<why>.+?) -->\n)?^```(?:sh|console)\n(?P<lines>.*?)^```$", re.M | re.S
)
PAGES = sorted(
    page
    for page in [HOME / "README.md", HOME / "CONTRIBUTING.md", *HOME.glob("docs/**/*.md")]
    if FENCE.search(page.read_text(encoding="utf-8"))
)
MAY_FAIL = ("accept", "audit", "predict")
"""Commands whose exit code 1 is an answer: a check failed, an image got no class, and so on."""
SHORT = ("--max-epochs", "1", "-o", "input_size=64")
"""A page says how to train well; here one epoch of small images is enough."""


def documented(page):
    """Yield the words of each command of a page, and why it is only parsed ("" when it is run)."""
    for block in FENCE.finditer(page.read_text(encoding="utf-8")):
        for line in block["lines"].splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words, block["why"] or ""


def parsed(words):
    """The command's own parser takes them: its name, its options, what is required."""
    group = typer.main.get_command(app)
    words = without_globals(words)
    for place, word in enumerate(words):
        command = group.commands.get(word)
        if command is None and isinstance(group, DefaultCommandGroup):
            command, place = group.commands[DEFAULT], place - 1
        if not hasattr(command, "commands"):
            with command.make_context(word, list(words[place + 1 :])):
                return
        group = command
    raise AssertionError(f"{words} names no command")


def without_globals(words):
    """The words from the command on, without the options that every command takes."""
    first = globals_first(words)
    return first[first.index(command_of(words)) :]


@pytest.fixture(scope="module")
def given(tmp_path_factory, cxr):
    """What the documents take for granted: images, a manifest, an archive, and a trained run."""
    root = tmp_path_factory.mktemp("documented")
    lines = ["path,label,patient,source,scanner"]
    for number, label in enumerate(("normal", "bacterial", "covid19")):
        for row in range(14):
            path = root / "images" / label / f"{row:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = draw_radiograph(label, rng=np.random.default_rng(100 * number + row))
            Image.fromarray(image).save(path)
            known = f"{label},{label}{row},clinic_{row % 2},s{row % 3}"
            lines.append(f"{path.relative_to(root)},{known}")
    (root / "images.csv").write_text("\n".join(lines) + "\n")
    (root / "archive").mkdir()
    for row in range(2):
        shutil.copy(root / f"images/normal/{row:02}.png", root / "archive")
    shutil.copy(root / "images/covid19/00.png", root / "image.png")
    words = ("train", "model_1", "--data", root / "images.csv", "--out", root / "runs/mine")
    cxr(*words, *SHORT, "--device", "cpu")
    return root


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOME).as_posix())
def test_every_command_is_one(page):
    targets = set(re.findall(r"^([a-z-]+):", (HOME / "Makefile").read_text(), re.M))
    for words, _ in documented(page):
        if words[0] == "make":
            assert words[1] in targets
        elif words[0] == "cxr":
            parsed(words[1:])
        else:
            raise AssertionError(f"{words}: neither cxr nor make; use another fence")


RUN = [
    page for page in PAGES if any(words[0] == "cxr" and not why for words, why in documented(page))
]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(HOME).as_posix())
def test_commands_do_what_the_page_says(page, given, cxr, tmp_path, monkeypatch, cache):
    commands = [words[1:] for words, why in documented(page) if words[0] == "cxr" and not why]
    trains_it = any(command_of(each) == "train" and "runs/mine" in each for each in commands)
    left_out = shutil.ignore_patterns("runs") if trains_it else None
    shutil.copytree(given, tmp_path, dirs_exist_ok=True, ignore=left_out)
    monkeypatch.chdir(tmp_path)
    for words in commands:
        command = command_of(words)
        short = SHORT if command == "train" else ()
        done = cxr(*words, *short, expect=None, CXR_CACHE=str(cache))
        answers = (0, 1) if command in MAY_FAIL else (0,)
        assert done.returncode in answers, (words, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")
