import gc
import shutil
import warnings

import pytest

from cxr_transfer.pacs.commitment import Commitments
from cxr_transfer.pacs.intake import Intake
from cxr_transfer.pacs.listener import Listener
from cxr_transfer.pacs.queue import open_queue
from cxr_transfer.pacs.settings import node_settings
from pacs.orthanc import IS_THERE, Orthanc
from pacs.program import Program

OFFLINE = ("answer_files", "answer_objects", "deidentify", "node_settings", "queue")
"""Modules whose tests meet no peer."""


@pytest.fixture(autouse=True)
def _closed(request):
    """Close what pynetdicom's peers, rejected or cut off, leave to the collector."""
    yield
    # A collection takes a second or more beside many modules.
    if request.path.stem.removeprefix("test_") in OFFLINE:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def listening(tmp_path):
    """Listen with settings; give back listener and queue: all of a node that needs no model."""
    opened = []

    def listen(**settings):
        limits = {"free_mb": 0, "handshake_s": 2.0, "idle_s": 5.0} | settings.pop("limits", {})
        chosen = node_settings(port=0, limits=limits, **settings)
        queue = open_queue(tmp_path / f"spool{len(opened)}", None)
        commitments = Commitments(chosen, queue)
        listener = Listener(chosen, Intake(queue, chosen.limits, lambda: None), commitments)
        listener.start()
        opened.append((listener, queue))
        listener.commitments = commitments
        return listener, queue

    yield listen
    for listener, queue in opened:
        listener.stop(0)
        queue.close()


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory):
    """An Orthanc that is there for all tests of a module's own patients."""
    if not IS_THERE:
        pytest.skip("no Orthanc with its DICOMweb plugin: make pacs-programs installs them")
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc")).start()
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def node(orthanc, tmp_path_factory):
    """A node that answers to it."""
    program = Program(tmp_path_factory.mktemp("node"), destinations=[archive(orthanc)])
    yield program.start()
    program.stop()


def archive(orthanc):
    return {"name": "archive", "ae": "ORTHANC", "address": "127.0.0.1", "port": orthanc.dicom}


@pytest.fixture(scope="session")
def dcmtk():
    """The path of a program of dcmtk."""

    def path(name):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no {name}: make validators installs it")
        return found

    return path
