"""Images that were uploaded once and are asked for by their hash: in memory, and not for ever.

Bounded by bytes and by time. What was not used for longest goes first where room is needed. Nothing
is written to a disk, no name is kept, and what is over is gone when its time ends, whether anybody
asks or not. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cxr_transfer.errors import ImageError
from cxr_transfer.serving.schemas import ApiError
from cxr_transfer.text import human_size


class Upload(NamedTuple):
    """An image as it was sent: the name that it has in the answer, its bytes, and what they are.

    The format is the one that the name it was sent under promises; "" where it promises none. The
    SHA-256 is that of the bytes, in hexadecimal digits.
    """

    name: str
    content: bytes
    named: str = ""
    sha256: str = ""


def check_bytes(content: bytes, most: int) -> None:
    """Refuse a file that is too large, whoever sent it along with others.

    Raises:
        ImageError: ``too_many_bytes``.
    """
    if len(content) > most:
        raise ImageError(
            "too_many_bytes",
            f"Expected at most {human_size(most)}, but got {human_size(len(content))}; export a "
            "smaller copy of the image.",
        )


class ImageStore:
    """Images by the SHA-256 of their bytes.

    Args:
        most: Bytes of all images together.
        seconds: Time for which an image is kept after its upload; another upload of it renews this.
        on_forget: Function that is called with the hash of an image that is forgotten.

    Attributes:
        size: Bytes that are held.
        seconds: Time for which an image is kept.
    """

    def __init__(
        self, most: int, seconds: float, on_forget: Callable[[str], None] = lambda _: None
    ) -> None:
        self.size = 0
        self.seconds = seconds
        self._most = most
        self._on_forget = on_forget
        self._kept: OrderedDict[str, tuple[Upload, asyncio.TimerHandle]] = OrderedDict()

    @property
    def hashes(self) -> set[str]:
        """Hashes of the images that are kept."""
        return set(self._kept)

    def keep(self, uploads: Sequence[Upload], seconds: float | None = None) -> None:
        """Keep images; others go where there is no room for all.

        Args:
            uploads: Images.
            seconds: Time for which they are kept, where that is not `seconds`.

        Raises:
            ApiError: 413 ``too_many_bytes`` where they have no room together.
        """
        sizes = {upload.sha256: len(upload.content) for upload in uploads}
        if sum(sizes.values()) > self._most:
            raise ApiError(
                413,
                "too_many_bytes",
                f"Expected at most {human_size(self._most)} of images to be kept, but got more; "
                "send fewer images.",
            )
        loop = asyncio.get_running_loop()
        for upload in uploads:
            self._drop(upload.sha256)
            while self.size + len(upload.content) > self._most:
                self.forget(next(iter(self._kept)))
            time_left = self.seconds if seconds is None else seconds
            timer = loop.call_later(time_left, self.forget, upload.sha256)
            self._kept[upload.sha256] = upload._replace(name=upload.sha256), timer
            self.size += len(upload.content)

    def upload(self, sha256: str) -> Upload:
        """Return an image that is kept.

        Raises:
            ApiError: 404 ``unknown_image``.
        """
        if sha256 not in self._kept:
            raise ApiError(
                404,
                "unknown_image",
                f"Expected the hash of an image of the last {self.seconds / 60:g} minutes, but got "
                "that of none; upload it to /v1/images.",
            )
        self._kept.move_to_end(sha256)
        return self._kept[sha256][0]

    def forget(self, sha256: str) -> bool:
        """Forget an image, and tell whether it was kept."""
        is_kept = self._drop(sha256)
        if is_kept:
            self._on_forget(sha256)
        return is_kept

    def _drop(self, sha256: str) -> bool:
        upload, timer = self._kept.pop(sha256, (None, None))
        if upload is None or timer is None:
            return False
        timer.cancel()
        self.size -= len(upload.content)
        return True
