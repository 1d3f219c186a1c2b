"""An image without what identifies its patient: PS3.15's Basic Profile, and options by name.

Comes in: a data set with its pixels. Goes out: another one, with a record of what was done. Pixels
are not looked at: an image that says that text is burnt into it is refused, and one that does not
say that none is gets a warning.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian

from cxr_transfer.errors import ImageError, UsageError
from cxr_transfer.pacs.answered_image import text_of
from cxr_transfer.pacs.confidentiality_profile import (
    BASIC,
    OPTION_CODES,
    OPTIONS,
    action,
    is_kept,
    is_shifted,
    keyword,
    row_of,
)
from cxr_transfer.pacs.dicom_header import coded
from cxr_transfer.pacs.replacements import LEAST_KEY, Replacements, blunted, dummy, shifted
from cxr_transfer.radiograph.silence import silence

NOT_LOOKED_AT = (
    "nobody says whether text is burnt into this image: look at its pixels before you hand it on"
)
_TIMES = ("DA", "DT", "TM")


@dataclass(frozen=True, eq=False)
class Deidentified:
    """An image without identifiers.

    Attributes:
        uid: Its SOP Instance UID.
        content: The file.
        warnings: Lines that whoever hands it on should know.
    """

    uid: str
    content: bytes
    warnings: tuple[str, ...]


class Deidentifier:
    """De-identification by one key and one choice of options.

    Args:
        retain: Options of PS3.15 that keep more than the Basic Profile does, of `OPTIONS`.
        key: Secret key of UIDs, patients and dates; None draws one for this object alone.
        allow_burnt_in: Whether an image that says that text is burnt into it is taken, as it is.

    Raises:
        UsageError: ``bad_option``, ``short_key``.
    """

    def __init__(
        self,
        retain: Iterable[str] = (),
        *,
        key: bytes | None = None,
        allow_burnt_in: bool = False,
    ) -> None:
        wanted = frozenset(retain)
        if unknown := wanted - set(OPTIONS):
            raise UsageError(
                "bad_option",
                f"Expected options out of {', '.join(OPTIONS)}, but got {sorted(unknown)[0]!r}.",
            )
        if {"dates", "shifted-dates"} <= wanted:
            raise UsageError(
                "bad_option", "Expected dates or shifted-dates, but got both; choose one."
            )
        if key is not None and len(key) < LEAST_KEY:
            raise UsageError(
                "short_key",
                f"Expected a key of at least {LEAST_KEY} bytes, but got {len(key)}; "
                "'openssl rand -hex 32' makes one.",
            )
        self._options = frozenset(option for option in OPTIONS if option in wanted)
        self._replace = Replacements(key)
        self._allow_burnt_in = allow_burnt_in

    def file(self, content: bytes) -> Deidentified:
        """De-identify a DICOM file.

        Args:
            content: The file.

        Raises:
            ImageError: ``unreadable``, and what `dataset` raises.
        """
        try:
            with silence():
                read = dcmread(io.BytesIO(content))
                read.decode()
        except Exception as error:  # pydicom raises every kind, and may quote the file
            raise ImageError(
                "unreadable",
                f"Expected a DICOM file, but reading it ended with {type(error).__name__}; "
                "export it anew.",
            ) from None
        return self.dataset(read)

    def dataset(self, source: Dataset) -> Deidentified:
        """De-identify a data set; it is left as it is.

        Raises:
            ImageError: ``not_an_image`` for a report or a document, whose text would have to be
                read; ``burnt_in``; ``unreadable`` for values that cannot be read or
                written.
        """
        if "PixelData" not in source:
            raise ImageError(
                "not_an_image",
                "Expected an image, but got an object without pixels: what reports and documents "
                "say of a patient is not cleaned; export the images alone.",
            )
        burnt_in = text_of(source, "BurnedInAnnotation")
        if burnt_in == "YES" and not self._allow_burnt_in:
            raise ImageError(
                "burnt_in",
                "Expected an image without text in its pixels, but it says that some is burnt in; "
                "leave it out, or allow it after you have looked at it.",
            )
        try:
            with silence():
                made = self._cleaned(source, source, ())
                self._record(made, source)
                content = io.BytesIO()
                made.save_as(content, enforce_file_format=True)
        except Exception as error:  # as in `file`
            raise ImageError(
                "unreadable",
                "Expected elements that can be read and written, but one of them ended with "
                f"{type(error).__name__}; export the image anew.",
            ) from None
        warnings = () if burnt_in == "NO" else (NOT_LOOKED_AT,)
        return Deidentified(str(made.SOPInstanceUID), content.getvalue(), warnings)

    def _cleaned(self, source: Dataset, whole: Dataset, path: tuple[str, ...]) -> Dataset:
        made = Dataset()
        for element in source:
            kept = self._element(element, whole, (*path, keyword(element.tag)))
            if kept is not None:
                made[element.tag] = kept
        return made

    def _element(
        self, element: DataElement, whole: Dataset, path: tuple[str, ...]
    ) -> DataElement | None:
        """Return what stands in the place of an element; None where nothing does."""
        if element.tag.is_private or not path[-1] or element.tag.element == 0:
            return None
        row = row_of(element.tag)
        if row is None or is_kept(row, self._options):
            return self._unlisted(element, whole, path, retained=row is not None)
        if is_shifted(row, self._options):
            return self._moved(element, whole)
        what = action(row, text_of(whole, "SOPClassUID"), path)
        if path == ("PatientID",):
            what = "D"  # which the profile allows: a patient's images stay together
        if what == "U":
            return self._with_other_uids(element, whole, path)
        if what == "X":
            return None
        return _of(element, None if what == "Z" else self._dummy(element))

    def _unlisted(
        self, element: DataElement, whole: Dataset, path: tuple[str, ...], *, retained: bool
    ) -> DataElement | None:
        """Return an element that the profile leaves alone; what is in its items is looked at."""
        if element.VR == "SQ":
            items = [self._cleaned(item, whole, path) for item in element.value or ()]
            return _of(element, items)
        # The table knows every name and time of the standard; a later edition may have more.
        if not retained and element.VR in ("PN", *_TIMES):
            return _of(element, None)
        if path[-1] == "PatientAge":
            return _of(element, blunted(str(element.value or "")))
        return copy.deepcopy(element)

    def _with_other_uids(
        self, element: DataElement, whole: Dataset, path: tuple[str, ...]
    ) -> DataElement | None:
        if element.VR == "SQ":
            return self._unlisted(element, whole, path, retained=True)
        if not element.value:
            return _of(element, None)
        uids = element.value if isinstance(element.value, MultiValue | list) else [element.value]
        others = [self._replace.uid(str(uid)) for uid in uids]
        return _of(element, others if len(others) > 1 else others[0])

    def _moved(self, element: DataElement, whole: Dataset) -> DataElement:
        """Return an element with its dates moved; the time of a day stays."""
        if element.VR not in ("DA", "DT"):
            return copy.deepcopy(element)
        days = self._replace.days(text_of(whole, "PatientID"))
        values = str(element.value or "").split("\\")
        if isinstance(element.value, MultiValue | list):
            values = [str(value) for value in element.value]
        return _of(element, "\\".join(shifted(value, days) for value in values))

    def _dummy(self, element: DataElement) -> Any:  # noqa: ANN401 - of the VR's type
        if keyword(element.tag) == "PatientID":
            return self._replace.patient(str(element.value or ""))
        return dummy(element.VR)

    def _record(self, made: Dataset, source: Dataset) -> None:
        """Write into a file what was done to it."""
        made.PatientIdentityRemoved = "YES"
        used = [OPTION_CODES[option] for option in OPTIONS if option in self._options]
        made.DeidentificationMethod = ["PS3.15 table E.1-1, 2024e", "pixels not looked at"]
        made.DeidentificationMethodCodeSequence = [coded(code) for code in (BASIC, *used)]
        dates = {"dates": "UNMODIFIED", "shifted-dates": "MODIFIED"}
        made.LongitudinalTemporalInformationModified = next(
            (word for option, word in dates.items() if option in self._options), "REMOVED"
        )
        made.file_meta = FileMetaDataset()
        syntax = getattr(source, "file_meta", Dataset()).get("TransferSyntaxUID")
        made.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        implicit, little = source.original_encoding
        made.set_original_encoding(implicit, little, source.original_character_set)


def _of(element: DataElement, value: Any) -> DataElement:  # noqa: ANN401 - of the VR's type
    return DataElement(element.tag, element.VR, value, validation_mode=IGNORE)
