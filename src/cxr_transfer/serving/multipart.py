"""A body becomes images and fields, in memory, within bounds that hold while it comes.

A body is a multipart form, or one image as it is. Knows nothing of what an image is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cxr_transfer.radiograph import named_format
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.parameters import check_names, flag, with_query
from cxr_transfer.serving.schemas import ApiError, shown_name
from cxr_transfer.serving.settings import Settings
from cxr_transfer.text import human_size

FORM = "multipart/form-data"
HASHES = "application/json"
"""Type of a body that names images which were uploaded, by their hashes."""

RAW = ("application/dicom", "image/")
"""Beginnings of the types of a body that is one image."""

_FIELDS = 8
_FIELD_BYTES = 1024
_HASHED_AT_ONCE = 256 * 1024  # more bytes would hold everybody up: a thread hashes them


class UploadForm:
    """Form that a client sent.

    Attributes:
        uploads: Files, in order.
        fields: Fields of the body and of the query.
    """

    def __init__(self, uploads: list[Upload], fields: dict[str, str]) -> None:
        self.uploads = uploads
        self.fields = fields

    def flag(self, name: str) -> bool:
        """Return a field that is true or false; false without one.

        Raises:
            ApiError: 422 ``bad_field``.
        """
        return flag(self.fields, name)


def hold_hashes(request: Request, uploads: Iterable[Upload]) -> None:
    """Tell whoever writes down what was asked which images it was about."""
    request.scope["state"]["images"] = [upload.sha256 for upload in uploads]


class _InMemory(MultiPartParser):
    """Starlette's parser; images are never written to a disk, not even for a moment."""

    spool_max_size = 2**62


async def read_form(
    request: Request, settings: Settings, *, files: str, fields: Sequence[str], many: bool = True
) -> UploadForm:
    """Read a request's body.

    Args:
        request: Request whose body is read; its query was checked.
        settings: Settings with the largest number of files, and of bytes of one.
        files: Name of the parts that are images.
        fields: Names of the fields that may stand in the form or in the query.
        many: Whether there may be several images.

    Raises:
        ApiError: 413 ``too_many_bytes``, 415 ``not_a_form``, 422 ``bad_form``, ``too_many_files``,
            ``no_files``, ``unknown_field``, ``repeated_field``, ``not_a_file``.
        ClientDisconnect: The client left before the end.
    """
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith(RAW):
        content = await _read_raw(request, settings.upload_bytes)
        upload = Upload(shown_name("", 1), content, sha256=await _sha256(content))
        hold_hashes(request, [upload])
        return UploadForm([upload], dict(request.query_params))
    if not kind.startswith(FORM):
        raise ApiError(
            415,
            "not_a_form",
            f"Expected {FORM}, or one image as application/dicom or image/*, but got another type "
            "of body; name its type as Content-Type.",
        )
    uploads: list[Upload] = []
    names: list[str] = []
    values: dict[str, str] = {}
    for name, value in await _parts(request, settings.files):
        if isinstance(value, UploadFile):
            check_names([name], [files], "form's files")
            shown = shown_name(value.filename, len(uploads) + 1)
            content = await value.read()
            await value.close()
            named = named_format(value.filename or "")
            uploads.append(Upload(shown, content, named, await _sha256(content)))
        elif name == files:
            raise ApiError(
                422,
                "not_a_file",
                f"Expected a file in the field {files!r}, but got text; send it with a file name.",
            )
        else:
            names.append(name)
            values[name] = value
    check_names(names, fields, "form")
    values = with_query(request, values, "form")
    if not uploads:
        raise ApiError(
            422, "no_files", f"Expected a file in the field {files!r}, but got none; send one."
        )
    if len(uploads) > 1 and not many:
        raise _too_many("one file")
    hold_hashes(request, uploads)
    return UploadForm(uploads, values)


async def _parts(request: Request, most: int) -> list[tuple[str, UploadFile | str]]:
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=most,
        max_fields=_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        return (await parser.parse()).multi_items()
    except MultiPartException as error:
        if error.message.startswith("Too many"):
            raise _too_many(f"at most {most} files and {_FIELDS} fields") from None
        raise ApiError(
            422, "bad_form", "Expected a whole multipart form, but it is damaged; send it anew."
        ) from None
    except UnicodeError:
        raise ApiError(
            422,
            "bad_form",
            "Expected a multipart form in UTF-8, but got another encoding; send it anew.",
        ) from None


async def _read_raw(request: Request, most: int) -> bytes:
    """Return a body that is one image; a larger one is refused before it comes where it can be."""
    content = bytearray()
    if int(request.headers.get("content-length", "0")) <= most:
        async for part in request.stream():
            content += part
            if len(content) > most:
                break
        else:
            return bytes(content)
    raise ApiError(
        413,
        "too_many_bytes",
        f"Expected an image of at most {human_size(most)}, but got more; export a smaller copy of "
        "the image.",
    )


async def _sha256(content: bytes) -> str:
    if len(content) <= _HASHED_AT_ONCE:
        return hashlib.sha256(content).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()


def _too_many(expected: str) -> ApiError:
    return ApiError(
        422,
        "too_many_files",
        f"Expected {expected}, but got more; send them in several requests.",
    )
