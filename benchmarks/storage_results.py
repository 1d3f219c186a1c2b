"""How much of an answer depends on how an image is stored, and what the grey scale's rule cuts off.

    python benchmarks/storage_results.py --data ../shared/data

Real images of each source, enlarged in floating point so that they truly hold more than 8 bits, are
stored in 12 bits as DICOM, and then in other ways that show the same picture: other containers,
offsets, gains, marks, polarities, codecs. Each is answered by the released model; an answer is
compared with that for the 12 bits. Beside it, for how many images the rule of
``radiograph/grey_range.py`` would leave pixels out, were their 8 bits more. Writes
``docs/results/storage.json`` and ``storage.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import made_dicom
from cxr_transfer import INTENDED_USE, Predictor, provenance
from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import FRONTAL_VIEWS, Case
from cxr_transfer.files import write_json, write_text
from cxr_transfer.radiograph import read_radiograph
from cxr_transfer.radiograph.grey_range import counted, range_in_use

SOURCES = ("kermany", "cohen", "rsna", "nih", "valencia")
OUT = Path(__file__).resolve().parents[1] / "docs" / "results"
CLOSE = 0.05


def some(data: Path, number: int) -> list[Case]:
    """Return images of each source, evenly from the whole of it; of Kermany the large copies."""
    found = []
    for source in SOURCES:
        cases = [
            case
            for archive in read_archives(data)
            for case in archive.cases
            if case.source == source
            and archive.root.name != "chest_xray"
            and (source != "cohen" or case.view in FRONTAL_VIEWS)
        ]
        found += cases[:: max(1, len(cases) // number)][:number]
    return found


def deep(image: Image.Image, bits: int) -> np.ndarray:
    """The image 1.7 times as large, with values from 0 to 2 ** bits - 1 where it has 0 to 255."""
    size = int(image.width * 1.7), int(image.height * 1.7)
    values = np.asarray(image.convert("F").resize(size, Image.Resampling.BICUBIC))
    return np.rint(np.clip(values / 255, 0, 1) * ((1 << bits) - 1)).astype(np.uint16)


def encoded(values: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind)
    return out.getvalue()


def stored(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Yield the ways of storing, the 12 bits that all are compared with first."""
    twelve, fourteen, sixteen = (deep(image, bits) for bits in (12, 14, 16))
    yield "12 bits of 12, DICOM", made_dicom.dicom(twelve, BitsStored=12)
    yield "12 bits of 16, DICOM", made_dicom.dicom(twelve)
    yield "12 bits of 16, PNG", encoded(twelve, "PNG")
    yield "14 bits of 16, TIFF", encoded(fourteen, "TIFF")
    yield "16 bits, PNG", encoded(sixteen, "PNG")
    yield "8 bits, PNG", encoded((sixteen >> 8).astype(np.uint8), "PNG")
    yield "offset 12,000", made_dicom.dicom(twelve + 12_000)
    yield "offset 500", made_dicom.dicom(twelve + 500)
    yield "signed, around 0", made_dicom.dicom((twelve.astype(np.int32) - 2048).astype(np.int16))
    yield "gain 7", made_dicom.dicom(twelve * 7)
    marked = twelve.copy()
    marked[30:34, 30:34] = 16_383
    yield "16 pixels at 16,383", made_dicom.dicom(marked)
    inverted = {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}
    yield "MONOCHROME1", made_dicom.dicom(4095 - twelve, **inverted)
    for syntax in (JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless):
        yield syntax.name, made_dicom.dicom(twelve, syntax, BitsStored=12)


def answers(predictor: Predictor, cases: list[Case]) -> dict[str, list]:
    """Return for each way of storing (same answer, another class, largest difference) per image."""
    found: dict[str, list] = {}
    for case in cases:
        with Image.open(case.path) as image:
            ways = list(stored(image.convert("L")))
        names = [name for name, _ in ways]
        given = list(predictor.predict_files(content for _, content in ways))
        first = given[0]
        if not first.probabilities:
            continue  # not to be assessed as it is
        for name, answer in zip(names[1:], given[1:], strict=True):
            difference = max(
                abs(answer.probabilities.get(label, 9.0) - score)
                for label, score in first.probabilities.items()
            )
            same = (answer.status, answer.label) == (first.status, first.label)
            other = bool(answer.label and first.label) and answer.label != first.label
            found.setdefault(name, []).append((same, other, difference))
    return found


def cut_off(cases: list[Case]) -> dict[str, dict[str, float]]:
    """Return per source how many images the rule would take something from, were they deeper."""
    found: dict[str, list[tuple[float, float]]] = {source: [] for source in SOURCES}
    for case in cases:
        radiograph = read_radiograph(case.path)
        pixels = np.rint(radiograph.pixels * 255).astype(np.uint8)
        counts = counted(pixels, 256)
        chosen = range_in_use(np.arange(256, dtype=np.float64), counts)
        span = float(pixels.max()) - float(pixels.min())
        found[case.source].append((chosen.outside, (chosen.high - chosen.low) / max(span, 1)))
    return {
        source: {
            "images": len(rows),
            "untouched": float(np.mean([outside == 0 for outside, _ in rows])),
            "pixels_beyond": float(np.mean([outside for outside, _ in rows])),
            "least_share_of_range": float(min(kept for _, kept in rows)),
        }
        for source, rows in found.items()
        if rows
    }


def written(content: dict) -> str:
    lines = [
        "# Does an answer depend on how an image is stored?",
        "",
        f"Written by `benchmarks/storage_results.py`; numbers in [storage.json](storage.json). "
        f"{content['images']} real images of {len(SOURCES)} sources, enlarged in floating point; "
        f"answers of `{content['model']}`, each compared with that for 12 bits of 12.",
        "",
        INTENDED_USE,
        "",
        "Another answer is another class, or a class for one and abstention for the other.",
        "",
        "| stored as | images | same answer | another class | largest difference of a score "
        "| beyond 0.05 |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in content["stored"].items():
        lines.append(
            f"| {name} | {row['images']} | {row['same']} | {row['other_class']} | "
            f"{row['largest']:.4f} | {row['beyond']} |"
        )
    lines += [
        "",
        "## What the rule leaves out",
        "",
        "Images as they are, of 8 bits, as if they were deeper: the share of images from which no "
        "pixel is clipped, the mean share of pixels beyond the range, and the smallest share of "
        "an image's range that is kept.",
        "",
        "| source | images | untouched | pixels beyond | least of the range |",
        "|---|---|---|---|---|",
    ]
    for source, row in content["cut_off"].items():
        lines.append(
            f"| {source} | {row['images']} | {100 * row['untouched']:.0f} % | "
            f"{100 * row['pixels_beyond']:.3f} % | {100 * row['least_share_of_range']:.0f} % |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the archives")
    parser.add_argument(
        "--of-each", type=int, default=20, help="images of each source that are stored"
    )
    options = parser.parse_args()
    cases = some(options.data, options.of_each)
    many = some(options.data, 200)
    predictor = Predictor.released()
    rows = answers(predictor, cases)
    hashes = sorted(hashlib.sha256(case.path.read_bytes()).hexdigest() for case in cases)
    content = {
        "measured": {
            "time": provenance.now(),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "seed": None,
            "data_hash": hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
        },
        "model": predictor.model,
        "images": len(next(iter(rows.values()))),
        "stored": {
            name: {
                "images": len(each),
                "same": sum(same for same, _, _ in each),
                "other_class": sum(other for _, other, _ in each),
                "largest": max(difference for _, _, difference in each),
                "beyond": sum(difference > CLOSE for _, _, difference in each),
            }
            for name, each in rows.items()
        },
        "cut_off": cut_off(many),
    }
    write_json(OUT / "storage.json", content)
    write_text(OUT / "storage.md", written(content))


if __name__ == "__main__":
    main()
