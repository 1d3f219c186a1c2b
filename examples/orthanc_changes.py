"""Send every new radiograph of an Orthanc to the node, by following Orthanc's feed of changes.

    python orthanc_changes.py --orthanc http://127.0.0.1:8042 --modality cxr --state changes.txt

`cxr` is the node's name in Orthanc's "DicomModalities". The number of the last change that was
handled is kept in a file: nothing is missed while this program stands still, and a repetition does
no harm, for the node answers each object once. It needs nothing but Python. An
image that the node does not take stops the feed, and is named by its number in Orthanc: mend what
keeps it, or write a later number into the file. Research use only.
"""

import argparse
import contextlib
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODALITIES = ("CR", "DX")
GONE = 404


def ask(url: str, content: bytes | None = None) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what Orthanc answers: to GET, or to POST where there is content."""
    with urllib.request.urlopen(url, data=content, timeout=300) as answer:
        return json.loads(answer.read() or b"null")


def modality_of(orthanc: str, instance: str) -> str:
    """Return the modality of an instance; "" of one that was deleted meanwhile."""
    try:
        return str(ask(f"{orthanc}/instances/{instance}/simplified-tags").get("Modality", ""))
    except urllib.error.HTTPError as error:
        if error.code == GONE:
            return ""
        raise


def follow(orthanc: str, modality: str, last: int) -> Iterator[int]:
    """Send what is new since a change; yield the number of each change that was handled.

    Raises:
        OSError: Orthanc or the node does not take it now.
    """
    page = ask(f"{orthanc}/changes?since={last}&limit=100")
    for change in page["Changes"]:
        instance = change["ID"]
        if change["ChangeType"] == "NewInstance" and modality_of(orthanc, instance) in MODALITIES:
            try:
                ask(f"{orthanc}/modalities/{modality}/store", instance.encode())
            except urllib.error.HTTPError as error:
                raise OSError(f"change {change['Seq']}, instance {instance}: {error}") from None
        yield change["Seq"]


def main() -> None:
    """Follow the feed until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orthanc", default="http://127.0.0.1:8042", help="address of Orthanc")
    parser.add_argument("--modality", default="cxr", help="the node's name in Orthanc")
    parser.add_argument("--state", type=Path, default=Path("changes.txt"))
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two questions")
    options = parser.parse_args()
    last = int(options.state.read_text()) if options.state.exists() else 0
    while True:
        before = last
        try:
            for handled in follow(options.orthanc, options.modality, last):
                last = handled
        except OSError as error:
            sys.stderr.write(f"tried again: {error}\n")
            time.sleep(options.every)
        if last == before:
            time.sleep(options.every)
            continue
        unfinished = options.state.with_suffix(".part")
        unfinished.write_text(str(last))
        unfinished.replace(options.state)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
