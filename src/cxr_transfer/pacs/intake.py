"""One way in for every object, from an association or from DICOMweb: durable, or refused.

An object is looked at no further than its two UIDs; nothing is decoded here. When `Intake.take`
returns `Outcome.ACCEPTED`, the bytes and their row are on the disk.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import zlib
from collections.abc import Callable, Sequence
from typing import Literal

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_partial
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from cxr_transfer.errors import CxrError, ImageError, MachineError
from cxr_transfer.pacs.node_metrics import NodeMetrics
from cxr_transfer.pacs.queue import Queue
from cxr_transfer.pacs.queue_tables import ANSWER_BYTES, Kept, Outcome
from cxr_transfer.pacs.same_image import is_same_image
from cxr_transfer.pacs.settings import Limits
from cxr_transfer.radiograph.silence import silence
from cxr_transfer.serving.event_log import log
from cxr_transfer.serving.settings import MIB

_HEAD = 65_536
"""Bytes in which the UIDs of an object stand: they are among its first elements."""

_SOP_INSTANCE = 0x00080018
IMPLEMENTATION = "2.25.81453061893219270338230118911231513617"
"""Implementation Class UID of this program."""

_VERSION_NAME = "CXRTRANSFER"


class Intake:
    """Objects come in.

    Args:
        queue: Queue to which they are added.
        limits: Bounds on size and space.
        arrived: Function that is called for each new object, from any thread.
        metrics: Counters of the node; None counts for nobody.
    """

    def __init__(
        self,
        queue: Queue,
        limits: Limits,
        arrived: Callable[[], None],
        metrics: NodeMetrics | None = None,
    ) -> None:
        self._metrics = metrics or NodeMetrics()
        self._queue = queue
        self._limits = limits
        self._arrived = arrived

    def take(
        self, sop_class: str, sop_instance: str, syntax: str, dataset: bytes, sender: str
    ) -> Outcome:
        """Accept an object, or say why not.

        Args:
            sop_class: SOP Class UID as the sender names it.
            sop_instance: SOP Instance UID as the sender names it.
            syntax: UID of the transfer syntax.
            dataset: Data set as it came, without file meta information.
            sender: Name for the log of whoever sent it.

        Raises:
            ImageError: ``not_understood`` where its head cannot be read; ``does_not_match`` where
                its UIDs are others than the sender says; ``too_many_bytes``.
            MachineError: ``disk_full`` or ``not_writable``; nothing of it is kept then.
        """
        uid = self._queue.hash(sop_instance)
        try:
            with self._metrics.step("receive"):
                outcome = self._taken(uid, sop_class, sop_instance, syntax, dataset)
        except CxrError as error:
            self.note_refused(error.code, sender, uid)
            raise
        log(outcome.value, object=uid, bytes=len(dataset), sender=sender)
        self._metrics.received.labels(outcome.value).inc()
        if outcome is Outcome.ACCEPTED:
            self._arrived()
        return outcome

    def note_refused(self, code: str, sender: str, uid: str = "") -> None:
        """Count an object that is not taken, and tell the log why.

        Args:
            code: Code of the reason.
            sender: Name for the log of whoever sent it.
            uid: Hash of its SOP Instance UID; "" where it was not read so far.
        """
        log("refused", object=uid, code=code, sender=sender)
        self._metrics.received.labels(code).inc()

    def take_up(self, names: Sequence[str]) -> int:
        """Accept objects whose files lie in the spool without a row; return how many are new.

        A killed node had not yet answered for them, or their queue is lost: either way they are
        whole. What cannot be read, with this key, stays where it is.

        Args:
            names: Names of their files.
        """
        taken = 0
        for name in names:
            try:
                parts = dataset_of(self._queue.spool.read(name))
                taken += self.take(*parts, "the spool") is Outcome.ACCEPTED
            except CxrError as error:
                log("not_taken_up", file=name, code=error.code)
                continue
            known = self._queue.known(self._queue.hash(parts[1]))
            if known is not None and known.file != name:
                self._queue.spool.remove(name)
        return taken

    def _taken(
        self, uid: str, sop_class: str, sop_instance: str, syntax: str, dataset: bytes
    ) -> Outcome:
        if len(dataset) > MIB * self._limits.object_mb:
            raise ImageError(
                "too_many_bytes",
                f"Expected at most {self._limits.object_mb} MB, but got {len(dataset)} bytes.",
            )
        if identity_of(dataset, syntax) != (sop_class, sop_instance):
            raise ImageError(
                "does_not_match",
                "Expected the SOP class and instance that the sender names, but the object has "
                "others; send it from the archive that keeps it.",
            )
        digest = hashlib.sha256(dataset).hexdigest()
        known = self._queue.known(uid)
        if known is not None:
            is_same = known.sha256 == digest or self._is_same_image(known, dataset, syntax)
            return Outcome.ALREADY_HERE if is_same else Outcome.OTHER_BYTES
        self._check_room(len(dataset))
        file = f"objects/{uid[:2]}/{uid}-{digest[:16]}.dcm"
        self._queue.spool.write(file, file_of(sop_class, sop_instance, syntax, dataset))
        try:
            outcome = self._queue.add(uid, digest, sop_class, file, len(dataset))
        except MachineError:
            self._queue.spool.remove(file)
            raise
        if outcome is Outcome.OTHER_BYTES:  # two senders at the same moment
            self._queue.spool.remove(file)
        return outcome

    def _is_same_image(self, known: Kept, dataset: bytes, syntax: str) -> bool:
        """Tell whether a data set is the kept one in another transfer syntax."""
        try:
            kept_syntax, kept = dataset_of(self._queue.spool.read(known.file))[2:]
        except CxrError:
            return False  # its time is over
        return kept_syntax != syntax and is_same_image(kept, kept_syntax, dataset, syntax)

    def _check_room(self, size: int) -> None:
        """Refuse an object before there is no room for its answer.

        Raises:
            MachineError: ``disk_full``.
        """
        folder = self._queue.spool.folder
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            free = 0
        kept = self._queue.bytes_kept()
        if lacking := lack_of_room(self._limits, size, free=free, kept=kept):
            raise MachineError(
                "disk_full",
                f"Expected room in {folder}, but {free // MIB} MB are free and {kept // MIB} MB "
                f"kept; {'raise spool_mb' if lacking == 'spool_full' else 'free some space'}.",
            )


def lack_of_room(
    limits: Limits, size: int, *, free: int, kept: int
) -> Literal["", "full", "spool_full"]:
    """Return why an object of so many bytes is not taken: the disk, or the spool's own bound.

    Args:
        limits: Bounds on space.
        size: Bytes of the object.
        free: Free bytes of the spool's disk.
        kept: Bytes of the objects and answers that are kept.
    """
    if free - size < MIB * limits.free_mb:
        return "full"
    return "spool_full" if kept + size + ANSWER_BYTES > MIB * limits.spool_mb else ""


def identity_of(dataset: bytes, syntax: str) -> tuple[str, str]:
    """Return the SOP class and instance that a data set names in its first elements.

    Args:
        dataset: Data set, without file meta information.
        syntax: UID of its transfer syntax.

    Raises:
        ImageError: ``not_understood``.
    """
    head = dataset[:_HEAD]
    try:
        named = UID(syntax)
        if named == DeflatedExplicitVRLittleEndian:
            head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset, _HEAD)
        elements = Dataset()
        with silence():
            elements = _first_elements(head, named)
            return str(elements.SOPClassUID), str(elements.SOPInstanceUID)
    except Exception:  # pydicom raises every kind for what cannot be read
        raise ImageError(
            "not_understood",
            "Expected a DICOM data set that begins with its UIDs, but it cannot be read; send it "
            "anew.",
        ) from None


def _first_elements(head: bytes, syntax: UID) -> Dataset:
    return read_dataset(
        io.BytesIO(head),
        is_implicit_VR=syntax.is_implicit_VR,
        is_little_endian=syntax.is_little_endian,
        stop_when=lambda tag, *_: tag > _SOP_INSTANCE,
    )


def file_of(sop_class: str, sop_instance: str, syntax: str, dataset: bytes) -> bytes:
    """Return a data set as a DICOM file: with preamble and file meta information, unchanged."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance)
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = _VERSION_NAME
    content = DicomBytesIO()
    with silence():
        write_file_meta_info(content, meta)
    return b"\0" * 128 + b"DICM" + content.getvalue() + dataset


def dataset_of(file: bytes) -> tuple[str, str, str, bytes]:
    """Return SOP class, SOP instance, transfer syntax and data set of a DICOM file.

    Raises:
        ImageError: ``not_understood``.
    """
    stream = io.BytesIO(file)
    try:
        with silence():
            meta = read_partial(stream, stop_when=lambda *_: True).file_meta
            syntax = str(meta.TransferSyntaxUID)
            length = int(meta.FileMetaInformationGroupLength)
            dataset = file[132 + 12 + length :]
    except Exception:
        raise ImageError(
            "not_understood", "Expected a DICOM file, but it cannot be read; send it anew."
        ) from None
    return (*identity_of(dataset, syntax), syntax, dataset)
