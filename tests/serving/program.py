"""A server in a process of its own, as `cxr serve` starts it: PROGRAM PORT MODEL ..."""

import sys

from cxr_transfer.errors import CxrError
from cxr_transfer.serving.server import serve

if __name__ == "__main__":
    try:
        serve(sys.argv[2:], port=int(sys.argv[1]))
    except CxrError as error:
        print(f"cxr: {error.message} [{error.code}]", file=sys.stderr)
        sys.exit(error.exit_code)
