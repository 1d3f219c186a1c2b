"""Row 50: what would unfold by structure alone is refused from it, in little time and memory."""

import subprocess
import sys

import pytest

from made import encoded
from made_bombs import BOMBS, IMAGE

SCRIPT = """
import pathlib, resource, sys
from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import read_radiograph
from cxr_transfer.radiograph import dicom
folder = pathlib.Path(sys.argv[1])
read_radiograph(folder / "good")
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 400_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
most = resource.getrlimit(resource.RLIMIT_CPU)[1]
for name in sys.argv[2:]:
    # Each may have five seconds of the processor; the system ends the process beyond.
    spent = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 6
    resource.setrlimit(resource.RLIMIT_CPU, (spent, most))
    try:
        read_radiograph(folder / name)
        print(name, "read", sep=": ", flush=True)
    except ImageError as error:
        print(name, error.code, sep=": ", flush=True)
"""


@pytest.mark.slow
def test_bombs_are_refused_by_their_structure(tmp_path):
    for name, (make, _) in BOMBS.items():
        (tmp_path / name).write_bytes(make())
    (tmp_path / "good").write_bytes(encoded(IMAGE))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *BOMBS], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{name}: {code}" for name, (_, code) in BOMBS.items()]
