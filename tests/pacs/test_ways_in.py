"""The ways from an Orthanc to the node that the guide shows, as it shows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pacs.conftest import archive
from pacs.orthanc import IS_THERE, Orthanc
from pacs.program import Program
from pacs.sending import image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOME = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not IS_THERE:
        pytest.skip("no Orthanc with its DICOMweb plugin: make pacs-programs installs them")
    return tmp_path_factory.mktemp("ways")


@pytest.fixture(scope="module")
def plain(folder):
    """An Orthanc without a rule."""
    orthanc = Orthanc(folder / "plain").start()
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def ruled(folder):
    """An Orthanc with the guide's rule in Lua."""
    guide = (HOME / "docs/guides/pacs.md").read_text(encoding="utf-8")
    script = folder / "autorouting.lua"
    script.write_text(re.search(r"```lua\n(.*?)```", guide, re.DOTALL)[1])
    orthanc = Orthanc(folder / "ruled", LuaScripts=[str(script)]).start()
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module", params=["lua", "changes"])
def way(request, folder, plain, ruled):
    """An Orthanc that sends what comes in to a node, which answers to it."""
    orthanc = ruled if request.param == "lua" else plain
    node = Program(folder / f"node-{request.param}", destinations=[archive(orthanc)])
    node.write(destinations=[archive(orthanc)], port=orthanc.peer)
    follower = None
    if request.param == "changes":
        words = ("--orthanc", f"http://127.0.0.1:{orthanc.http}", "--every", "0.2")
        command = [sys.executable, HOME / "examples/orthanc_changes.py", *words]
        follower = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    yield orthanc, node.start(), follower
    if follower is not None:
        follower.terminate()
        follower.wait(60)
    node.stop()


def test_what_comes_into_orthanc_is_answered_once_and_goes_round_no_more(way):
    orthanc, node, follower = way
    for seed in (5001, 5002):
        orthanc.post("/instances", image(seed))
    orthanc.post("/instances", image(5003, Modality="CT"))
    node.wait_for("sent", 4)
    assert len(orthanc.wait_for(2, "SR")) == len(orthanc.wait_for(2, "OT")) == 2
    assert len(node.lines("accepted")) == 2
    assert not node.lines("not_for_us")
    assert follower is None or follower.poll() is None
