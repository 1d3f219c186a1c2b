"""Images in, answers out: the one way from an image to class scores, for every entry point.

Order: file -> `prepare` (decoding threads) -> class scores and features (OpenVINO, in batches)
-> `TrainingReference` (is it like the training images? what do scores mean?) -> `Prediction`. An
image that cannot be read or judged is an answer too, and never stops the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.about import DEFAULT_MODEL
from cxr_transfer.errors import ModelError
from cxr_transfer.export.metadata import ExportMetadata, read_export_metadata
from cxr_transfer.inference.answer_words import named, notes_of, place_warnings, thresholds_of
from cxr_transfer.inference.kept_conversions import converted_network
from cxr_transfer.inference.prediction import Prediction, Predictions
from cxr_transfer.inference.prepare import Prepared, prepare
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.metadata import RELEASED, released_models
from cxr_transfer.models.reference import TrainingReference, reference_beside
from cxr_transfer.openvino_runtime import abilities, check_process
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph.in_memory import (
    ImageLike,
    ValueRange,
    check_image,
    check_images,
    is_in_memory,
)
from cxr_transfer.statistics.temperature import DECIMALS, score_scale, written_score

BATCH = 16
UNFAMILIAR = (
    "Expected a frontal chest image like those that the model was trained on, but this picture is "
    "far from all of them; look whether it is one, and do not take a class from it."
)
NOT_SURE = (
    "Expected an image that the model can tell the classes of apart, but its highest class score "
    "is {score} of 100, below the {least} that {coverage:.0f} % of the images reach by which "
    "that was chosen; take no class from it."
)


class Predictor:
    """A network that answers for images.

    Any number of threads may use one: each gets the answers that it would get alone. A process that
    was forked after a network was used cannot use one; start processes with "spawn".

    >>> predictor = Predictor.released("model_3")  # doctest: +SKIP
    >>> predictor.predict("image.dcm").label  # doctest: +SKIP
    'normal'

    Attributes:
        card: Card of the checkpoint: labels in order, preprocessing, where it comes from.
        converted: Description of the network in use: how it was made and checked.
        reference: Reference of the training images; None where there is none.
        cache_note: Warning where the converted network could not be kept for the next time; ""
            where it is. It names a folder of this machine.
    """

    def __init__(
        self,
        converted: ExportMetadata,
        engine: Engine,
        reference: TrainingReference | None = None,
        *,
        any_modality: bool = False,
        cache_note: str = "",
    ) -> None:
        self.card = converted.card
        self.converted = converted
        self.reference = reference
        self._engine = engine
        self._any_modality = any_modality
        self.cache_note = cache_note
        self.model = f"{self.card.name} {self.card.weights_sha256[:12]}"

    @classmethod
    def released(cls, name: str = DEFAULT_MODEL, *, precision: str = "float32") -> Predictor:
        """Open one of the models that come with the package.

        Raises:
            ModelError: ``no_model`` naming those that there are.
        """
        if name not in released_models():
            raise ModelError(
                "no_model",
                f"Expected a released model ({', '.join(released_models()) or 'there are none'}), "
                f"but got {name!r}; Predictor.open takes checkpoints of your own.",
            )
        return cls.open(RELEASED / name, precision=precision)

    @classmethod
    def open(
        cls,
        model: str | Path | None = None,
        *,
        precision: str = "float32",
        any_modality: bool = False,
    ) -> Predictor:
        """Open a released model, a run folder, a weights file, its card, or an exported ``.xml``.

        A checkpoint is converted when it is first opened (that needs torch and some seconds); the
        conversion is kept in the cache folder.

        Args:
            model: Path, or where there is nothing at it the name of a released model; None is the
                released `DEFAULT_MODEL`.
            precision: "float32" (the same scores on every machine), or "bfloat16".
            any_modality: Whether DICOM headers may name another modality or body part.

        Raises:
            ModelError, UsageError, MachineError: What reading, converting and compiling raise.
        """
        path = RELEASED / DEFAULT_MODEL if model is None else Path(model)
        note = ""
        if path.suffix == ".xml":
            graph, beside, converted = path, path, read_export_metadata(path)
        else:
            graph, beside, converted, note = converted_network(path)
        engine = Engine(graph, precision=precision)
        # Checked where it was made; on a processor that computes otherwise, once more.
        if precision == "float32" and converted.made_on != abilities():
            card = converted.card
            converted.self_test.check_drawn(
                engine.scores, card.preprocessing, converted.precision, card.name
            )
        reference = None
        # An int8 network's features lie elsewhere: that reference would misjudge them.
        if converted.precision == "float32":
            kept = reference_beside(beside, converted.card.weights_sha256)
            reference = kept[1] if kept else None
        return cls(converted, engine, reference, any_modality=any_modality, cache_note=note)

    @property
    def calibrated(self) -> bool:
        """Whether scores were fitted to what came true on validation images."""
        return self.reference is not None and self.reference.calibrated

    @property
    def score_scale(self) -> str:
        """Name of the scale of its scores."""
        return score_scale(self.reference.temperature if self.reference else None)

    @property
    def thresholds(self) -> dict[str, float] | None:
        """Probability from which on each finding is named; None of a network of classes."""
        return thresholds_of(self.card, self.reference)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes that hold for all answers of this predictor."""
        return notes_of(self.card, self.reference)

    def predict(
        self, radiograph: ImageLike, *, value_range: ValueRange | None = None
    ) -> Prediction:
        """Answer for one image.

        Args:
            radiograph: Path, content of a file, file opened in binary mode, numpy array, PIL image,
                pydicom data set, or an image that was read; see `read_image`.
            value_range: Values that are black and white in an array or a grey PIL image. None is
                (0, 255) of an array of uint8; uint16 and float32 need it, since nothing else says
                what their values mean.

        Raises:
            TypeError: It is none of these; one image is meant, and no list. A range is missing, or
                is given for what says itself what its values mean.
            UsageError: ``bad_value_range``.
            MachineError: ``forked`` in a child of a process that had used a network.
        """
        check_process()  # before anything is decoded, which may wait for its parent's threads
        return self.answers([self._prepare(radiograph, value_range)])[0]

    def predict_files(
        self,
        files: Iterable[ImageLike],
        *,
        value_range: ValueRange | None = None,
        workers: int | None = None,
    ) -> Iterator[Prediction]:
        """Answer for every image, in order, decoding ahead while the network computes.

        What is in memory and may change (arrays, images, data sets, files) is prepared at once when
        it is taken, in the thread that iterates; paths and bytes are read by other threads.

        Args:
            files: Images as `predict` takes them, read when they are needed; any number.
            value_range: Values that are black and white in each of them, as in `predict`.
            workers: Number of decoding threads; None is one more than there are processors.

        Raises:
            TypeError: One image where a list is meant; an item that is no image.
            UsageError, MachineError: What `predict` raises.
        """
        check_images(files, value_range)
        return self._predicted(files, value_range, workers)

    def predict_many(
        self,
        files: Iterable[ImageLike],
        *,
        value_range: ValueRange | None = None,
        workers: int | None = None,
    ) -> Predictions:
        """Answer for every image, and keep the answers: a list that can become a table.

        Args:
            files: Images, as in `predict_files`.
            value_range: Values that are black and white in each of them, as in `predict`.
            workers: Number of decoding threads, as in `predict_files`.

        Raises:
            TypeError, UsageError, MachineError: What `predict_files` raises.
        """
        answers = self.predict_files(files, value_range=value_range, workers=workers)
        return Predictions(answers, self.card.labels)

    def _predicted(
        self, files: Iterable[ImageLike], value_range: ValueRange | None, workers: int | None
    ) -> Iterator[Prediction]:
        check_process()

        def taken() -> Iterator[ImageLike | Prepared]:
            for radiograph in files:
                check_image(radiograph, value_range)
                # A program may put the next image into the same array.
                yield (
                    self._prepare(radiograph, value_range)
                    if is_in_memory(radiograph)
                    else radiograph
                )

        def prepared(radiograph: ImageLike | Prepared) -> Prepared:
            return (
                radiograph
                if isinstance(radiograph, Prepared)
                else self._prepare(radiograph, value_range)
            )

        ahead = in_order(prepared, taken(), workers=workers, ahead=4 * BATCH)
        while batch := list(islice(ahead, BATCH)):
            yield from self.answers(batch)

    def predict_and_keep(
        self, files: Iterable[ImageLike], *, workers: int | None = None
    ) -> Iterator[tuple[Prediction, Prepared]]:
        """Answer for every image as `predict_files` does, and give what the answer was made from.

        For whoever goes on with an image: what was prepared has its radiograph. Radiographs are
        large: those of one batch are in memory, and few are read ahead.

        Args:
            files: Paths and contents of files.
            workers: Number of decoding threads, as in `predict_files`.

        Raises:
            TypeError, MachineError: What `predict_files` raises.
        """
        check_images(files, None)
        check_process()

        def prepared(radiograph: ImageLike) -> Prepared:
            return self._prepare(radiograph, None, keep_radiograph=True)

        ahead = in_order(prepared, files, workers=workers, ahead=4)
        while batch := list(islice(ahead, BATCH)):
            yield from zip(self.answers(batch), batch, strict=True)

    def answers(self, batch: Sequence[Prepared]) -> list[Prediction]:
        """Return the answers for images that were prepared, in their order."""
        started = time.perf_counter()
        images = [prepared.image[None] for prepared in batch if prepared.image is not None]
        if images:
            scores, features = self._engine.answer(np.stack(images))
            if self.reference:
                scores = self.reference.calibrate(scores)
            rows = iter(zip(scores, *self._places(features), strict=True))
        milliseconds = 1000 * (time.perf_counter() - started) / max(1, len(images))
        return [
            self._refused(prepared)
            if prepared.image is None
            else self._answer(prepared, *next(rows), milliseconds)
            for prepared in batch
        ]

    def check(self, prepared: Prepared) -> None:
        """Compare what the network makes of the self-test image with what is kept of it.

        Holds for "float32" alone: another precision scores otherwise.

        Args:
            prepared: Self-test image, prepared in any way.

        Raises:
            ModelError: ``self_test``.
        """
        if prepared.image is None:
            raise ModelError(
                "self_test", f"Expected the self-test image to be read, but got: {prepared.message}"
            )
        scores = self._engine.scores(prepared.image[None, None])[0]
        self.converted.self_test.check(scores, self.card.name)

    def _prepare(
        self,
        radiograph: ImageLike,
        value_range: ValueRange | None,
        *,
        keep_radiograph: bool = False,
    ) -> Prepared:
        return prepare(
            radiograph,
            self.card.preprocessing,
            value_range=value_range,
            any_modality=self._any_modality,
            keep_radiograph=keep_radiograph,
        )

    def _places(self, features: npt.NDArray[np.float32]) -> tuple[Sequence[str], Sequence[bool]]:
        """Return where images lie, and whether they are training images, as far as it is known."""
        if self.reference is None:
            return ["in_distribution"] * len(features), [False] * len(features)
        return self.reference.ood_status(features), self.reference.trained_on(features)

    def _refused(self, prepared: Prepared) -> Prediction:
        return Prediction(
            prepared.file,
            prepared.status,
            prepared.code,
            prepared.message,
            model=self.model,
            warnings=prepared.warnings,
            ms=round(prepared.ms, 2),
        )

    def _answer(
        self,
        prepared: Prepared,
        scores: npt.NDArray[np.float32],
        ood_status: str,
        trained_on: bool,
        milliseconds: float,
    ) -> Prediction:
        ms = round(prepared.ms + milliseconds, 2)
        if ood_status == "out_of_distribution":
            return Prediction(
                prepared.file,
                "cannot_assess",
                "out_of_distribution",
                UNFAMILIAR,
                model=self.model,
                warnings=prepared.warnings,
                ms=ms,
            )
        label, findings = named(self.card, self.reference, scores)
        answer = Prediction(
            prepared.file,
            "ok",
            label=label,
            probabilities={
                label: round(float(score), DECIMALS)
                for label, score in zip(self.card.labels, scores, strict=True)
            },
            calibrated=self.calibrated,
            temperature=self.reference.temperature if self.reference else None,
            model=self.model,
            warnings=(*prepared.warnings, *place_warnings(ood_status, trained_on)),
            ms=ms,
            findings=findings,
            unusual=ood_status == "far",
            trained_on=trained_on,
        )
        if self.reference is None or self.reference.accepts(scores[None])[0]:
            return answer
        reason = not_sure(self.reference, scores)
        return replace(answer, status="cannot_assess", code="not_sure", message=reason, label=None)


def not_sure(reference: TrainingReference, scores: npt.NDArray[np.float32]) -> str:
    """Say why no class is given for an image of these scores (C,)."""
    least, coverage = reference.confidence_threshold or 0.0, 100 * (reference.coverage or 1.0)
    return NOT_SURE.format(
        score=written_score(float(scores.max())), least=written_score(least), coverage=coverage
    )
