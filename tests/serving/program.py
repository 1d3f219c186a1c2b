"""A server in a process of its own, as `cxr serve` starts it: PROGRAM PORT MODEL ...

The environment's DRAIN_S is a time limit other than the server's own, KEEP_ANSWERS the folder in
which answers are kept. What else is set stands in ``CXR_SERVE_...``.
"""

import os
import sys
from pathlib import Path

from cxr_transfer.errors import CxrError
from cxr_transfer.serving.server import serve
from cxr_transfer.serving.settings import Settings

if __name__ == "__main__":
    if drain := os.environ.get("DRAIN_S"):
        Settings.model_fields["drain_s"].default = float(drain)
        Settings.model_rebuild(force=True)
    try:
        keep = os.environ.get("KEEP_ANSWERS")
        serve(sys.argv[2:], port=int(sys.argv[1]), keep_answers=Path(keep) if keep else None)
    except CxrError as error:
        print(f"cxr: {error.message} [{error.code}]", file=sys.stderr)
        sys.exit(error.exit_code)
