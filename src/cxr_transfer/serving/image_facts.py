"""What is told of an image that somebody looks at: its grey values, their units, the pixel spacing.

Comes in: a radiograph at full depth. Goes out: facts as JSON has them. No identity is among them.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, Literal, cast

import numpy as np
from pydantic import BaseModel, Field

from cxr_transfer.radiograph import Radiograph
from cxr_transfer.radiograph.full_depth import FullDepth, Preset
from cxr_transfer.radiograph.grey_scale import Table, Window
from cxr_transfer.serving.schemas import Envelope

AS_ASSESSED = "as assessed"


class LookUpTable(BaseModel):
    """A VOI LUT: what its values are shown as, before inversion (DICOM PS3.3, C.11.2.1.1)."""

    first: int = Field(description="Value that the first entry stands for; smaller ones have it.")
    greys: str = Field(description="Greys 0 to 255, a byte for each value from there on, base64.")


class GreyPreset(BaseModel):
    """A way to show an image's values, before inversion (DICOM PS3.3, C.11.2)."""

    name: str = Field(description=f'"{AS_ASSESSED}", or the words of the file; "" without any.')
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID", "TABLE"]
    centre: float = Field(description="Window centre, in units of the file; of a table, its middle")
    width: float = Field(description="Window width, in units of the file; of a table, its width.")
    table: LookUpTable | None = Field(description="Table; null of a window.")


class Spacing(BaseModel):
    """Distance between the middles of neighbouring pixels, in mm."""

    row: float = Field(description="Between rows.", gt=0)
    column: float = Field(description="Between columns.", gt=0)
    source: Literal["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"] = Field(
        description="DICOM attribute that says so."
    )
    calibration: Literal["GEOMETRY", "FIDUCIAL", ""] = Field(
        description='Pixel Spacing Calibration Type; "" without one.'
    )
    magnification: float | None = Field(
        description="Estimated Radiographic Magnification Factor; null where it is unknown."
    )


class PictureFacts(BaseModel):
    """What an image holds, and how it is shown."""

    format: Literal["JPEG", "PNG", "TIFF", "DICOM"]
    width: int = Field(description="Columns, as it is shown upright.", gt=0)
    height: int = Field(description="Rows, as it is shown upright.", gt=0)
    bits: int = Field(description="Bits that are stored of a sample.", ge=1, le=16)
    slope: float = Field(description="Units of the file for a step of a sample (rescale slope).")
    intercept: float = Field(description="Value of the sample 0, in units of the file.")
    lowest: int = Field(description="Lowest sample of the picture.", ge=0)
    highest: int = Field(description="Highest sample of the picture.", ge=0)
    inverted: bool = Field(description="Whether low values are bright.")
    presets: list[GreyPreset] = Field(
        description="The one by which networks see the image, then the windows and VOI LUTs of "
        "the file."
    )
    photometric: str = Field(description='Photometric Interpretation; "" of other files.')
    modality: str = Field(description='DICOM Modality, such as "DX"; "" without one.')
    view: str = Field(description='"PA", "AP" or "lateral"; "" where it is not said.')
    laterality: str = Field(description='"L", "R", "B" (both) or "U" (neither); "" without one.')
    lossy: bool | None = Field(
        description="Whether it was compressed with a loss; null where nothing says so."
    )
    lossy_ratio: float | None = Field(description="Ratio of that; null where it is unknown.")
    spacing: Spacing | None = Field(description="Pixel spacing; null where it is unknown.")
    warnings: list[str] = Field(description="What a reader should know of the image.")


class ImageFacts(Envelope, PictureFacts):
    """What an uploaded image holds, and how it is shown."""

    sha256: str = Field(description="SHA-256 of the bytes that were uploaded.")


def described(radiograph: Radiograph) -> dict[str, Any]:
    """Return the facts of a radiograph that was decoded at full depth."""
    deep = cast("FullDepth", radiograph.full_depth)
    lossy = True if radiograph.format == "JPEG" else deep.facts.lossy
    facts = PictureFacts(
        format=radiograph.format,
        width=radiograph.width,
        height=radiograph.height,
        bits=deep.bits,
        slope=deep.slope,
        intercept=deep.intercept,
        lowest=deep.lowest,
        highest=deep.highest,
        inverted=deep.inverted,
        presets=[_preset(Preset(AS_ASSESSED, deep.assessed)), *map(_preset, deep.presets)],
        photometric=deep.facts.photometric,
        modality=radiograph.header.modality,
        view=radiograph.header.view,
        laterality=deep.facts.laterality,
        lossy=lossy,
        lossy_ratio=deep.facts.lossy_ratio,
        spacing=(Spacing(**dataclasses.asdict(deep.facts.spacing)) if deep.facts.spacing else None),
        warnings=list(radiograph.warnings),
    )
    return facts.model_dump()


def _preset(preset: Preset) -> GreyPreset:
    voi = preset.voi
    if isinstance(voi, Window):
        facts = {"function": voi.function, "centre": voi.centre, "width": voi.width}
        return GreyPreset(name=preset.name, table=None, **facts)
    return GreyPreset(
        name=preset.name,
        function="TABLE",
        centre=voi.first + len(voi.entries) / 2,
        width=len(voi.entries),
        table=_table(voi),
    )


def _table(table: Table) -> LookUpTable:
    greys = np.rint(255 * (table.entries / table.highest)).astype(np.uint8)
    return LookUpTable(first=table.first, greys=base64.b64encode(greys.tobytes()).decode())
