"""Ask a node by C-ECHO until standard input ends; print the seconds of each, and how many failed.

    python benchmarks/echoes.py PORT

Each C-ECHO has an association of its own, as that of a monitor has. A process of its own, so that
what is measured is the node, and not what else the measuring program does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

# In the place of this folder, whose pacs.py would stand before the tests' pacs/.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from pacs.sending import echo

EVERY_S = 0.05


def main() -> None:
    """Ask, and print one line of JSON at the end."""
    port, seconds, failed = int(sys.argv[1]), [], 0
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(EVERY_S):
        started = time.perf_counter()
        failed += not echo(port, calling="ECHO")
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "failed": failed}))


if __name__ == "__main__":
    main()
