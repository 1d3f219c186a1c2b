"""Why a network gave an image its class: where on the image, and which training images are like it.

A checkpoint and an image in; an `Explanation` out, and its files: a sheet for people, JSON for
programs, an overlay for a page. What quality control or the reference refuses is not explained:
there is no class to give reasons for, unless the network is only not sure and a class is named.

A heat map says what raised a score. It is no outline of a finding, and whether a network's maps
mean anything is what its audit asks (`models.saliency_maps`).
"""

from __future__ import annotations

import io
import json
import math
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.about import DEFAULT_MODEL, INTENDED_USE
from cxr_transfer.errors import ImageError
from cxr_transfer.figures.colours import coloured
from cxr_transfer.figures.explanation import explanation_sheet
from cxr_transfer.files import write_json
from cxr_transfer.inference.answer_words import place_warnings
from cxr_transfer.inference.kept_conversions import converted_network
from cxr_transfer.inference.predictor import UNFAMILIAR, not_sure
from cxr_transfer.inference.prepare import Prepared, prepare
from cxr_transfer.models.heat_maps import HeatMapEngine, lung_share
from cxr_transfer.models.metadata import RELEASED, Checkpoint, fingerprint
from cxr_transfer.models.occlusion import OcclusionEngine, heat_map_engine
from cxr_transfer.models.reference import Neighbour, TrainingReference, reference_beside
from cxr_transfer.openvino_runtime import check_process
from cxr_transfer.radiograph import Radiograph
from cxr_transfer.radiograph.in_memory import ImageLike, ValueRange
from cxr_transfer.radiograph.lung_segmentation import lung_mask
from cxr_transfer.radiograph.preprocessing import WHOLE, Box
from cxr_transfer.statistics.temperature import score_scale

NEIGHBOURS = 5

NO_NEIGHBOURS = "nothing is kept of the images that this model was trained on: none can be named"
NO_MAP = "nothing on the image raised the score of its class: the heat map is empty"

LARGEST_SIDE = 1024
"""Of an overlay in pixels: it has the image's proportions, and no detail that would need more."""

_STEM_BYTES = 100
_RESERVED = {"CON", "PRN", "AUX", "NUL"} | {f"{p}{n}" for p in ("COM", "LPT") for n in range(10)}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Explanation of an image's class scores.

    Attributes:
        model: Name and first digits of the hash of the network's weights.
        label: The class that is explained: the one with the highest score, if no other was named.
        probabilities: Class scores in the network's order.
        calibrated: Whether the scores were fitted to what came true on validation images.
        temperature: Temperature at which they are given; None where they are the network's own.
        heat_map: (H, W) float32 in [0, 1], of ``label``, at the size of the model input; all 0
            where nothing raised its score.
        lungs: (H, W) bool, where the lungs are taken to be.
        lung_share: Share of the map that lies there; None of an empty map.
        lung_area: Share of the image that this is: what an even map would have.
        neighbours: The training images that are most like this one to the network, nearest first.
        warnings: Lines that a reader should know of the image and of this explanation.
        method: Method of the map: "HiResCAM", or "occlusion" where the network's layers are not
            known.
    """

    model: str
    label: str
    probabilities: dict[str, float]
    calibrated: bool
    heat_map: npt.NDArray[np.float32]
    lungs: npt.NDArray[np.bool_]
    lung_share: float | None
    lung_area: float
    neighbours: tuple[Neighbour, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    temperature: float | None = None
    method: str = HeatMapEngine.method

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in JSON: all but the pixels."""
        return {
            "intended_use": INTENDED_USE,
            "model": self.model,
            "label": self.label,
            "probabilities": {name: round(p, 6) for name, p in self.probabilities.items()},
            "calibrated": self.calibrated,
            "temperature": self.temperature,
            "method": self.method,
            "lung_share": None if self.lung_share is None else round(self.lung_share, 4),
            "lung_area": round(self.lung_area, 4),
            "neighbours": [
                {
                    "label": neighbour.label,
                    "source": neighbour.source,
                    "distance": round(float(neighbour.distance), 4),
                }
                for neighbour in self.neighbours
            ],
            "warnings": list(self.warnings),
        }

    def facts(self) -> dict[str, Any]:
        """Return what stands in an answer of it, beside the scores."""
        fields = self.as_dict()
        return {name: fields[name] for name in ("lung_share", "lung_area", "neighbours")}


class Explainer:
    """A checkpoint, loaded once, that explains images.

    >>> explainer = Explainer.open("model_3")  # doctest: +SKIP
    >>> explainer.explain("image.dcm").lung_share  # doctest: +SKIP
    0.48

    Attributes:
        card: Card of the checkpoint.
        reference: Reference of the training images; None where there is none.
    """

    def __init__(
        self,
        card: Checkpoint,
        engine: HeatMapEngine | OcclusionEngine,
        reference: TrainingReference | None = None,
        *,
        any_modality: bool = False,
    ) -> None:
        self.card = card
        self.reference = reference
        self._engine = engine
        self._any_modality = any_modality

    @classmethod
    def open(
        cls,
        model: str | Path | None = None,
        *,
        reference: TrainingReference | None = None,
        any_modality: bool = False,
    ) -> Explainer:
        """Open a released model, a run folder, a weights file or its card.

        Args:
            model: Name or path of a checkpoint, which is converted when it is first opened. A
                network that somebody exported is not explained.
            reference: Reference of the training images; None takes the one beside the weights, if
                there is one.
            any_modality: Whether DICOM headers may name another modality or body part.

        Raises:
            ModelError, MachineError: What reading and converting a checkpoint raise, and what
                `heat_map_engine` and `TrainingReference.load` raise.
        """
        path = RELEASED / DEFAULT_MODEL if model is None else Path(model)
        graph, weights, converted, _ = converted_network(path)
        card = converted.card
        if reference is None:
            beside = reference_beside(weights, card.weights_sha256)
            reference = beside[1] if beside else None
        engine = heat_map_engine(graph, card)
        return cls(card, engine, reference, any_modality=any_modality)

    def explain(
        self,
        radiograph: ImageLike | Prepared,
        *,
        label: str | None = None,
        value_range: ValueRange | None = None,
    ) -> Explanation:
        """Explain the scores of one image. Any number of threads may ask.

        Args:
            radiograph: Image as `Predictor.predict` takes it, or one that was prepared for this
                network already.
            label: Class, or finding, whose score is explained; None is the one with the highest.
            value_range: Values that are black and white in an array, as in `Predictor.predict`.

        Raises:
            TypeError, UsageError, MachineError: What `Predictor.predict` raises.
            ImageError: The code that `Predictor.predict` answers with, for an image that cannot be
                read, or that should get no class; ``not_sure`` only without a label.
            DataError: ``unknown_label`` for a class that the network does not know.
        """
        check_process()  # before anything is decoded, which may wait for its parent's threads
        prepared = (
            radiograph
            if isinstance(radiograph, Prepared)
            else self._prepared(radiograph, value_range)
        )
        if prepared.image is None:
            raise ImageError(prepared.code, prepared.message)
        image, warnings = prepared.image, list(prepared.warnings)
        # The network runs once: for the scores, the neighbours and the map.
        scores, seen, at_places = self._engine.answer(image[None, None])
        neighbours: tuple[Neighbour, ...] = ()
        if self.reference is None:
            warnings.append(NO_NEIGHBOURS)
        else:
            ood_status = self.reference.ood_status(seen)[0]
            if ood_status == "out_of_distribution":
                raise ImageError("out_of_distribution", UNFAMILIAR)
            warnings += place_warnings(ood_status, self.reference.trained_on(seen)[0])
            scores = self.reference.calibrate(scores)
            # A class that was named is explained: who named it may have computed in another way,
            # and found the score on the other side of the limit.
            if label is None and not self.reference.accepts(scores)[0]:
                raise ImageError("not_sure", not_sure(self.reference, scores[0]))
            neighbours = self.reference.neighbours(seen[0], number=NEIGHBOURS)
        labels = self.card.label_set
        target = int(scores[0].argmax()) if label is None else labels.target(label)
        height, width = image.shape
        maps = self._engine.maps(seen, at_places, target, (height, width))
        lungs = lung_mask(image) if prepared.lungs is None else prepared.lungs
        share, area = float(lung_share(maps, lungs[None])[0]), float(lungs.mean())
        heat_map, lungs = (_on_image(plane, prepared.box) for plane in (maps[0], lungs))
        if math.isnan(share):
            warnings.append(NO_MAP)
        return Explanation(
            model=f"{self.card.name} {self.card.weights_sha256[:12]}",
            label=labels.names[target],
            probabilities=dict(zip(labels, map(float, scores[0]), strict=True)),
            calibrated=bool(self.reference and self.reference.calibrated),
            heat_map=heat_map,
            lungs=lungs,
            lung_share=None if math.isnan(share) else share,
            lung_area=area,
            neighbours=neighbours,
            warnings=tuple(warnings),
            temperature=self.reference.temperature if self.reference else None,
            method=self._engine.method,
        )

    def _prepared(self, radiograph: ImageLike, value_range: ValueRange | None) -> Prepared:
        return prepare(
            radiograph,
            self.card.preprocessing,
            value_range=value_range,
            any_modality=self._any_modality,
        )


def _on_image(part: npt.NDArray[Any], box: Box) -> npt.NDArray[Any]:
    """Return a map of a part of the image, (H, W), as one of the whole image; nothing beyond it."""
    if box == WHOLE:
        return part
    height, width = part.shape
    left, top, right, bottom = (
        round(edge * side) for edge, side in zip(box, (width, height) * 2, strict=True)
    )
    kind = Image.Resampling.NEAREST if part.dtype == bool else Image.Resampling.BILINEAR
    small = Image.fromarray(part.astype(np.float32)).resize((right - left, bottom - top), kind)
    whole = np.zeros_like(part)
    whole[top:bottom, left:right] = np.asarray(small)
    return whole


def write_explanation(
    explanation: Explanation, radiograph: Radiograph, folder: Path, stem: str
) -> Path:
    """Write ``STEM.png``, a sheet for people, and ``STEM.json``.

    The same image and model write the same files again. Files of that name may be of another image
    or model, or not ours at all. Then a few digits are put behind the stem.

    Args:
        explanation: Explanation of the image.
        radiograph: Radiograph that is explained.
        folder: Folder of the files; it is made where there is none.
        stem: Name of the files, such as the image's without its ending; see `safe_stem`.

    Returns:
        Path of the sheet.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    whose = {"image_sha256": radiograph.digest(), "model": explanation.model}
    stem = _own_stem(folder, safe_stem(stem), whose)
    # The JSON first: it says whose the name is.
    write_json(folder / f"{stem}.json", whose | explanation.as_dict())
    sheet = folder / f"{stem}.png"
    explanation_sheet(
        sheet,
        radiograph.stored,
        explanation.heat_map,
        explanation.lungs,
        explanation.probabilities,
        explanation.label,
        lines=_lines(explanation),
        title=f"{explanation.model}: {explanation.label}",
    )
    return sheet


def heat_map_png(explanation: Explanation, height: int, width: int) -> bytes:
    """Return what `heat_map_colours` returns, as a PNG."""
    content = io.BytesIO()
    Image.fromarray(heat_map_colours(explanation, height, width)).save(content, "PNG")
    return content.getvalue()


def heat_map_colours(explanation: Explanation, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return the heat map to be laid over the image: the higher, the less transparent.

    Args:
        explanation: Explanation of the image.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        RGBA (H, W, 4), with the image's proportions and its size, but no side above `LARGEST_SIDE`.
    """
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    enlarged = Image.fromarray(explanation.heat_map).resize(size, Image.Resampling.BILINEAR)
    return coloured(np.asarray(enlarged).clip(0, 1))


def safe_stem(name: str) -> str:
    """Return a file name's stem made of ``name``, whatever that holds: never a path.

    Letters and digits of all scripts, dots, hyphens and underscores stay; the rest becomes an
    underscore; what is too long is cut.

    >>> safe_stem("../../etc/passwd")
    'etc_passwd'
    >>> safe_stem("CON"), safe_stem("=cmd()"), safe_stem("")
    ('image_CON', 'cmd', 'image')
    """
    composed = unicodedata.normalize("NFC", name)
    kept = "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in composed)
    kept = kept.lstrip("._-").encode()[:_STEM_BYTES].decode(errors="ignore").rstrip("._-")
    # Windows takes these for devices, with any ending.
    reserved = kept.partition(".")[0].upper() in _RESERVED
    return f"image_{kept}" if reserved else kept or "image"


def _own_stem(folder: Path, stem: str, whose: dict[str, str]) -> str:
    """Return ``stem``, or a longer one where files of that name are somebody else's."""
    card = folder / f"{stem}.json"
    if not card.exists() and not card.with_name(f"{stem}.png").exists():
        return stem
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and whose.items() <= content.items():
        return stem
    return f"{stem}-{fingerprint(json.dumps(whose))}"


def _lines(explanation: Explanation) -> list[str]:
    """Return what the sheet says in words."""
    area = f"{100 * explanation.lung_area:.0f} % of what the model sees"
    lines = ["Heat map"]
    if explanation.lung_share is None:
        lines.append(f"empty; the outlined lungs are {area}")
    else:
        share = f"{100 * explanation.lung_share:.0f} % of it lies in the outlined lungs"
        lines.append(f"{share}, which are {area}")
    lines += [
        "It shows what raised the score, not where a finding is.",
        "",
        "Nearest training images",
    ]
    lines += [
        f"{neighbour.label} ({neighbour.source}), distance {neighbour.distance:.2f}"
        for neighbour in explanation.neighbours
    ]
    lines += [] if explanation.neighbours else ["none kept with this model"]
    lines += ["", "Class scores", score_scale(explanation.temperature)]
    notes = [warning for warning in explanation.warnings if warning not in (NO_NEIGHBOURS, NO_MAP)]
    return lines + (["", "Take note", *notes] if notes else [])
