"""Answers to an archive by C-STORE, over one association for a batch."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from cxr_transfer.errors import UsageError
from cxr_transfer.pacs.intake import IMPLEMENTATION
from cxr_transfer.pacs.queue_upkeep import DAMAGED
from cxr_transfer.pacs.sender import HAS_IT, Refused
from cxr_transfer.pacs.settings import Destination, NodeSettings
from cxr_transfer.pacs.tls import tls_context
from cxr_transfer.radiograph.silence import silence

_TAKEN = (0x0000, 0xB000, 0xB006, 0xB007, HAS_IT)
"""Statuses of an object that the archive has: stored, also with a warning (PS3.4, B.2.3)."""

_TRY_AGAIN = (0xA700, 0x0110, 0x0124)
"""Out of resources, processing failure, not authorised: they may be mended over there."""


class StoreTransport:
    """Way to an archive that takes C-STORE.

    Args:
        settings: Settings of the node.
        destination: Archive.
    """

    def __init__(self, settings: NodeSettings, destination: Destination) -> None:
        self._settings = settings
        self._destination = destination

    def send(self, contents: Sequence[bytes]) -> Iterator[Refused | None]:
        """Send DICOM files; yield for each, in order, None or why it was not taken.

        Raises:
            Refused: The archive is away.
        """
        datasets = [_read(content) for content in contents]
        wanted = {(str(data.SOPClassUID), _syntax(data)) for data in datasets if data is not None}
        if not wanted:
            yield from (_damaged() for _ in datasets)
            return
        association = self._opened(wanted)
        try:
            for dataset in datasets:
                if dataset is None:
                    yield _damaged()
                    continue
                if not association.is_established:
                    raise Refused("away")
                yield _stored(association, dataset)
        finally:
            if association.is_established:
                association.release()

    def echo(self) -> bool:
        """Tell whether the archive answers C-ECHO."""
        try:
            association = self._opened({(str(Verification), str(ImplicitVRLittleEndian))})
        except Refused:
            return False
        try:
            status = association.send_c_echo()
            return bool(status) and status.Status == 0
        except (RuntimeError, ValueError):
            return False
        finally:
            association.release()

    def _opened(self, wanted: set[tuple[str, str]]) -> Association:
        """Return an association that proposes these SOP classes and transfer syntaxes.

        Raises:
            Refused: ``away``, or ``rejected`` by the archive.
        """
        destination, tls = self._destination, self._settings.tls
        application = AE(ae_title=self._settings.ae)
        application.implementation_class_uid = IMPLEMENTATION
        application.connection_timeout = application.acse_timeout = 10
        application.dimse_timeout = application.network_timeout = 60
        for sop_class, syntax in sorted(wanted):
            plain = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
            application.add_requested_context(sop_class, plain if syntax in plain else [syntax])
        assert destination.address is not None
        assert destination.port is not None
        try:
            encrypted = tls_context(tls, accepts=False) if destination.tls and tls else None
        except UsageError as error:  # its files are being renewed
            raise Refused(error.code) from None
        try:
            with silence():
                association = application.associate(
                    destination.address,
                    destination.port,
                    ae_title=destination.ae or "",
                    tls_args=(encrypted, destination.address) if encrypted else None,
                )
        except (OSError, RuntimeError, TypeError, ValueError):
            raise Refused("away") from None
        if association.is_established:
            return association
        raise Refused("rejected" if association.is_rejected else "away")


def _read(content: bytes) -> Dataset | None:
    """Return an answer that was kept; None of one that is damaged."""
    try:
        with silence():
            dataset = dcmread(io.BytesIO(content))
            return dataset if dataset.SOPClassUID and _syntax(dataset) else None
    except Exception:  # pydicom raises every kind for what cannot be read
        return None


def _damaged() -> Refused:
    return Refused(DAMAGED, for_good=True)


def _syntax(dataset: Dataset) -> str:
    return str(dataset.file_meta.TransferSyntaxUID)


def _stored(association: Association, dataset: Dataset) -> Refused | None:
    with silence():
        try:
            answered = association.send_c_store(dataset)
        except ValueError:  # no accepted context
            return Refused("no_context", for_good=True)
        except (OSError, RuntimeError, AttributeError):
            return Refused("away")
    if not answered:
        return Refused("no_answer")
    status = int(answered.Status)
    if status in _TAKEN:
        return None
    is_passing = status in _TRY_AGAIN or 0xA700 <= status < 0xA800
    return Refused(f"status 0x{status:04X}", for_good=not is_passing)
