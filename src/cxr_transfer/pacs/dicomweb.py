"""DICOMweb, both ways: answers by STOW-RS, images by QIDO-RS and WADO-RS."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import HTTPError, RequestException, Timeout

from cxr_transfer.errors import ImageError, MachineError
from cxr_transfer.pacs.intake import Intake, dataset_of
from cxr_transfer.pacs.queue import Queue
from cxr_transfer.pacs.queue_upkeep import DAMAGED
from cxr_transfer.pacs.sender import HAS_IT, Refused
from cxr_transfer.pacs.settings import Source
from cxr_transfer.radiograph.silence import silence
from cxr_transfer.serving.event_log import log

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_FAILED, _FAILURE_REASON = 0x00081198, 0x00081197
_PAGE = 200
_FOR_NOW = (408, 425, 429)


class StowTransport:
    """Way to an archive that takes STOW-RS.

    Args:
        url: URL of the DICOMweb service.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, contents: Sequence[bytes]) -> Iterator[Refused | None]:
        """Send DICOM files, each by itself; yield None or why it was not taken.

        Raises:
            Refused: The archive is away.
        """
        client = DICOMwebClient(self._url)
        client.set_http_retry_params(retry=False)
        for content in contents:
            yield self._sent(client, content)

    def _sent(self, client: DICOMwebClient, content: bytes) -> Refused | None:
        with silence():
            try:
                dataset = dcmread(io.BytesIO(content))
            except Exception:  # pydicom raises every kind for what cannot be read
                return Refused(DAMAGED, for_good=True)
            try:
                answered = client.store_instances([dataset])
            except HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                is_passing = status >= 500 or status in _FOR_NOW
                return Refused(f"http {status}", for_good=not is_passing)
            except RequestException:
                raise Refused("away") from None
            except Exception as error:  # what came back is no answer
                return Refused(f"no answer: {type(error).__name__}")
        failed = answered.get(_FAILED)
        if failed and failed.value:
            reason = failed.value[0].get(_FAILURE_REASON)
            status = int(reason.value) if reason else 0
            if status != HAS_IT:
                return Refused(f"status 0x{status:04X}", for_good=True)
        return None


class Poller:
    """An archive that is asked for new images again and again.

    Args:
        source: Archive.
        intake: Intake of what it has.
        queue: Queue, which knows what was taken before.
    """

    def __init__(self, source: Source, intake: Intake, queue: Queue) -> None:
        self.name = source.name
        self._source = source
        self._intake = intake
        self._queue = queue

    def run(self, *stopping: threading.Event) -> None:
        """Ask until one of the events is set."""
        while not any(event.is_set() for event in stopping):
            try:
                with silence():
                    self.poll()
            except RequestException:
                log("source_away", source=self.name)
            except Exception as error:  # what an archive sends may be anything
                log("failed", where="source", source=self.name, type=type(error).__name__)
            stopping[0].wait(self._source.every_s)

    def poll(self) -> int:
        """Take the images that are new; return how many.

        Raises:
            requests.exceptions.RequestException: The archive is away.
            MachineError: The spool cannot be written; the rest is asked for again.
        """
        client = DICOMwebClient(self._source.url)
        client.set_http_retry_params(retry=False)
        taken = 0
        for study, series, instance in self._listed(client):
            uid = self._queue.hash(instance)
            if self._queue.known(uid) is not None:
                continue
            try:
                taken += self._take(client, study, series, instance)
            except ImageError:
                continue  # it was logged, and will be again: nobody else can be told
            except (RequestsConnectionError, Timeout, MachineError):
                raise
            except Exception as error:  # of this image alone: the others are asked for
                log("not_fetched", object=uid, source=self.name, reason=_why(error))
        return taken

    def _take(self, client: DICOMwebClient, study: str, series: str, instance: str) -> int:
        # As the archive keeps it: an image that is decoded there may be another one.
        dataset = client.retrieve_instance(
            study, series, instance, media_types=(("application/dicom", "*"),)
        )
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        sop_class, sop_instance, syntax, content = dataset_of(file.getvalue())
        self._intake.take(sop_class, sop_instance, syntax, content, self.name)
        return 1

    def _listed(self, client: DICOMwebClient) -> Iterator[tuple[str, str, str]]:
        """Yield study, series and instance of images of the last days."""
        today = datetime.now()
        first = today - timedelta(days=self._source.days - 1)
        between = f"{first:%Y%m%d}-{today + timedelta(days=1):%Y%m%d}"
        studies = _pages(client.search_for_studies, search_filters={"StudyDate": between})
        for study in (_text(found, _STUDY) for found in studies):
            for modality in self._source.modalities:
                series_found = _pages(
                    client.search_for_series, study, search_filters={"Modality": modality}
                )
                for series in (_text(found, _SERIES) for found in series_found):
                    for found in _pages(client.search_for_instances, study, series):
                        yield study, series, _text(found, _INSTANCE)


def _pages(search: Any, *place: str, **filters: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Yield all that a search finds, page by page."""
    offset = 0
    while True:
        page = search(*place, limit=_PAGE, offset=offset, **filters)
        yield from page
        if len(page) < _PAGE:
            return
        offset += len(page)


def _why(error: Exception) -> str:
    if isinstance(error, HTTPError) and error.response is not None:
        return f"http {error.response.status_code}"
    return type(error).__name__


def _text(found: dict[str, Any], tag: str) -> str:
    return str(found[tag]["Value"][0])
