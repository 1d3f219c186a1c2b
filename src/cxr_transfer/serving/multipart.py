"""A multipart body becomes images and fields, in memory, within bounds that hold while it comes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cxr_transfer.radiograph import named_format
from cxr_transfer.serving.schemas import ApiError, shown_name
from cxr_transfer.serving.service import Upload
from cxr_transfer.serving.settings import Settings

_FIELDS = 8
_FIELD_BYTES = 1024
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


class UploadForm:
    """Form that a client sent.

    Attributes:
        uploads: Files, in order.
        fields: Fields of the body, and of the query where the body has none of that name.
    """

    def __init__(self, uploads: list[Upload], fields: dict[str, str]) -> None:
        self.uploads = uploads
        self.fields = fields

    def flag(self, name: str) -> bool:
        """Return a field that is true or false; false without one.

        Raises:
            ApiError: 422 ``bad_field``.
        """
        value = self.fields.get(name, "").lower()
        if value not in _TRUE + _FALSE:
            raise ApiError(
                422, "bad_field", f"Expected true or false in {name}, but got something else."
            )
        return value in _TRUE


class _InMemory(MultiPartParser):
    """Starlette's parser; images are never written to a disk, not even for a moment."""

    spool_max_size = 2**62


async def read_form(
    request: Request, settings: Settings, *, files: str, fields: Sequence[str]
) -> UploadForm:
    """Read a request's body.

    Args:
        request: Request whose body is read.
        settings: Settings with the largest number of files.
        files: Name of the parts that are images.
        fields: Names of the fields that may stand in the form or in the query.

    Raises:
        ApiError: 415 ``not_a_form``, 422 ``bad_form``, ``too_many_files``, ``no_files``.
        ClientDisconnect: The client left before the end.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise ApiError(
            415, "not_a_form", "Expected multipart/form-data, but got another type of body."
        )
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=settings.files,
        max_fields=_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        parts = (await parser.parse()).multi_items()
    except MultiPartException as error:
        if error.message.startswith("Too many"):
            raise ApiError(
                422,
                "too_many_files",
                f"Expected at most {settings.files} files and {_FIELDS} fields, but got more; "
                "send them in several requests.",
            ) from None
        raise ApiError(
            422, "bad_form", "Expected a whole multipart form, but it is damaged; send it anew."
        ) from None
    except UnicodeError:
        raise ApiError(
            422,
            "bad_form",
            "Expected a multipart form in UTF-8, but got another encoding; send it anew.",
        ) from None
    values = dict(request.query_params)
    uploads: list[Upload] = []
    for name, value in parts:
        if isinstance(value, UploadFile):
            if name == files:
                shown = shown_name(value.filename, len(uploads) + 1)
                named = named_format(value.filename or "")
                uploads.append(Upload(shown, await value.read(), named))
            await value.close()
        elif name != files:
            values[name] = value
    if not uploads:
        raise ApiError(
            422, "no_files", f"Expected a file in the field {files!r}, but got none; send one."
        )
    return UploadForm(uploads, {name: values[name] for name in fields if name in values})
