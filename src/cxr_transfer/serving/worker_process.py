"""What the processes of `process_pool` have in common: loop, errors, and how an image is explained.

Started with a connection and a bound on the memory. Message in, message out, one after the other,
until the connection ends.
"""

from __future__ import annotations

import functools
import io
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import CxrError, ImageError
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.radiograph.lung_segmentation import lung_mask
from cxr_transfer.serving.ipc import Header, Pieces, receive, send

if TYPE_CHECKING:
    from cxr_transfer.inference.explain import Explainer, Explanation

NOT_OF_THE_IMAGE = (
    "Expected to work on the image, but something else failed; tell who runs the server."
)

_INSTEAD = {
    "for_processing": "export it FOR PRESENTATION, or give it to 'cxr predict --any-modality' on a "
    "command line, which takes it all the same.",
    "wrong_modality": "where the header is wrong, correct it, or give the image to 'cxr predict "
    "--any-modality' on a command line, which takes it all the same.",
}
"""What to do about images of which a header says too much: the reader's own words name an option of
the command line and of Python, which nobody has who sends an image to a server or a node."""

Work = Callable[[Header, Pieces], tuple[Header, Pieces]]
"""Function that does a piece of work: message in, message out."""


def serve(works: Mapping[str, Work], warm: Callable[[], None]) -> None:
    """Do pieces of work that come on the connection of the first argument, until it ends.

    Args:
        works: Functions, by the names that messages give them.
        warm: Function that loads what the first piece of work needs.
    """
    connection = socket.socket(fileno=int(sys.argv[1]))
    may_write, bound = sys.argv[2] == "writes", int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold images
    # Ctrl-C and a service's stop reach the whole group; the server says when it is time to leave.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(1)  # who asks whether the server lives is not to wait for a decoder
    warm()
    if not may_write:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    send(connection, {"ready": True})
    while True:
        try:
            header, pieces = receive(connection)
        except EOFError:
            return
        send(connection, *answered(works, header, pieces))


def answered(works: Mapping[str, Work], header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Do a piece of work; what goes wrong is an answer, too."""
    try:
        return works[header.pop("work")](header, pieces)
    except ImageError as error:
        return {"error": error.code, "message": told(error.code, error.message)}, []
    except CxrError as error:
        # Its message is for who runs the server: it may name paths.
        return {"error": error.code, "message": NOT_OF_THE_IMAGE}, []
    except MemoryError:
        return {
            "error": "too_large_to_decode",
            "message": "Expected an image that fits into the memory for decoding, but it does not; "
            "export a smaller copy.",
        }, []
    except Exception as error:
        # An image that a decoder stumbles over is that image's error. The type may be logged; what
        # the exception says may be of the image.
        return {
            "error": "unreadable",
            "message": "Expected a readable image, but its decoder failed; export it anew.",
            "type": type(error).__name__,
        }, []


def told(code: str, message: str) -> str:
    """Return what is said of an image to whoever sent it: what can be done from there.

    Args:
        code: Code of the image's error.
        message: What the reader of images says: what was expected and came, and what to do.
    """
    if code not in _INSTEAD:
        return message
    return f"{message.partition(';')[0]}; {_INSTEAD[code]}"


@functools.cache
def _explainer(model: str) -> Explainer:
    from cxr_transfer.inference.explain import Explainer

    return Explainer.open(model)


def explained(header: Header, pieces: Pieces) -> tuple[Explanation, npt.NDArray[np.bool_]]:
    """Explain an image as the network saw it.

    Args:
        header: Its ``shape`` and ``box``, the ``model`` by name or path, and the ``label``.
        pieces: Its pixels, and its lung mask where that is known.

    Returns:
        The explanation, and the lung mask.
    """
    shape = tuple(header["shape"])
    image = np.frombuffer(pieces[0], np.uint8).reshape(shape).copy()  # torch wants to write to it
    if len(pieces) > 1:
        lungs = np.frombuffer(pieces[1], np.bool_).reshape(shape)
    else:
        lungs = lung_mask(image)
    prepared = Prepared("", image, box=tuple(header["box"]), lungs=lungs)
    return _explainer(header["model"]).explain(prepared, label=header["label"]), lungs


def pixels_of(png: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels of a PNG of ours."""
    with io.BytesIO(png) as content, Image.open(content) as picture:
        return np.asarray(picture)
