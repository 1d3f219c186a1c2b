"""Libraries are silent while a file is decoded, and nothing of the process is changed by it."""

import contextlib
import io
import logging
import subprocess
import sys
import threading
import warnings

import numpy as np
import pydicom
import pytest
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.silence import silence
from made import encoded, full
from made_dicom import LOSSLESS, dicom


def state():
    names = ("pydicom", "PIL.ImageFile", "PIL.PngImagePlugin", "PIL.TiffImagePlugin")
    loggers = [logging.getLogger(name) for name in names]
    return list(warnings.filters), [(one.level, list(one.filters)) for one in loggers]


def test_decoding_leaves_filters_and_loggers_as_they_were():
    before = state()
    for content in (dicom(full()), encoded(full()), encoded(full(), "TIFF"), b"nothing"):
        with contextlib.suppress(ImageError):
            decode(content)
        assert state() == before


@pytest.mark.slow
def test_importing_and_predicting_leaves_the_process_as_it_was(tmp_path):
    (tmp_path / "a.dcm").write_bytes(dicom(full()))
    script = (
        "import logging, sys, warnings\n"
        "import pydicom, PIL.Image\n"
        "logger = logging.getLogger('pydicom')\n"
        "before = list(warnings.filters), logger.level, list(logger.filters), "
        "logging.getLogger().level\n"
        "from cxr_transfer.radiograph import read_radiograph\n"
        "import pathlib\n"
        "read_radiograph(pathlib.Path(sys.argv[1]))\n"
        "after = list(warnings.filters), logger.level, list(logger.filters), "
        "logging.getLogger().level\n"
        "print(before == after)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.dcm")], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_filters_of_another_thread_are_kept():
    with silence():
        warnings.filterwarnings("ignore", message="mine")
        mine = warnings.filters[0]
    assert mine in warnings.filters
    warnings.filters.remove(mine)


def test_only_threads_that_decode_are_silent(caplog):
    caplog.set_level(logging.WARNING)
    logger = logging.getLogger("pydicom")
    with silence(), silence():
        logger.warning("of this thread")
        other = threading.Thread(target=logger.warning, args=["of another thread"])
        other.start()
        other.join()
    logger.warning("afterwards")
    assert [record.message for record in caplog.records] == ["of another thread", "afterwards"]


def test_many_threads_at_once_end_as_they_began():
    before = state()
    contents = [dicom(full(seed)) for seed in range(3)] * 8
    failures = []

    def work():
        failures.extend(at for at, each in enumerate(contents) if decode(each).height != 132)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert state() == before


@pytest.mark.slow
def test_the_terminal_hears_nothing_of_damaged_pixels(tmp_path):
    """libjpeg and libtiff would write there; a subprocess shows what C libraries say, too."""
    script = (
        "import pathlib, sys\n"
        "from cxr_transfer.errors import ImageError\n"
        "from cxr_transfer.radiograph import decode\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    content = path.read_bytes()\n"
        "    for at in range(len(content) // 3, len(content) - 3, len(content) // 40):\n"
        "        try:\n"
        "            decode(content[:at] + b'\\x12\\x99\\xff' + content[at + 3 :])\n"
        "        except ImageError:\n"
        "            pass\n"
    )
    for number, syntax in enumerate(LOSSLESS):
        (tmp_path / f"{number}.dcm").write_bytes(dicom(full(), syntax))
    for how in ("jpeg", "tiff_lzw", "tiff_deflate"):
        (tmp_path / f"{how}.tif").write_bytes(encoded(full(), "TIFF", compression=how))
    (tmp_path / "a.jpg").write_bytes(encoded(full(), "JPEG", progressive=True))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_what_pillow_logs_of_a_file_is_heard_by_nobody(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    tiff = encoded(full(), "TIFF", tiffinfo={270: "Doe"})
    Image.open(io.BytesIO(tiff)).load()
    assert "Doe" in caplog.text
    three = encoded(np.dstack([full()] * 3), "TIFF")
    many = three.replace(b"\x15\x01\x03\0\1\0\0\0\3", b"\x15\x01\x03\0\1\0\0\0\x63")
    assert many != three
    contents = tiff, encoded(full()), encoded(full(), "JPEG")
    caplog.clear()
    for content in contents:
        decode(content)
    with pytest.raises(ImageError):
        decode(many)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_what_pydicom_logs_of_a_file_is_heard_by_nobody(caplog):
    caplog.set_level(logging.DEBUG)
    content = dicom(full())
    assert b"Doe" in content
    pydicom.dcmread(io.BytesIO(content))
    decode(content)
    assert "Doe" not in caplog.text
