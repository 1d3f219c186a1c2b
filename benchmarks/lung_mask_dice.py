"""Measure `lung_mask` against lungs drawn by hand on real images.

    pip download torchxrayvision --no-deps -d /tmp/xrv
    unzip /tmp/xrv/torchxrayvision-*.whl 'torchxrayvision/data/semantic_masks*' -d /tmp/xrv
    python benchmarks/lung_mask_dice.py \
        /tmp/xrv/torchxrayvision/data/semantic_masks_v7labs_lungs.zip \
        ../shared/data/covid-chestxray-dataset/images --out docs/results/lung_mask.json

The masks lie on images of Cohen's collection, whose metadata.csv is read beside the folder of
images. The network that finds the lungs was fitted by `lung_network.py` on four fifths of the
patients; the images of the others are reported. The masks follow the chest, not the air: they hold
consolidated lung and lung behind the heart. Neither masks nor images are copied.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from cxr_transfer import INTENDED_USE, provenance, radiograph
from cxr_transfer.files import write_json
from cxr_transfer.radiograph import Preprocessing, read_radiograph
from cxr_transfer.radiograph.lung_segmentation import MARGIN, dice, lung_mask

FRONTAL = ("PA", "AP", "AP Supine")
LUNG = 192  # in the masks lungs are 255; 127 marks letters, arrows and devices on the image


def frontal(table: Path) -> dict[str, dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {
        row["filename"]: row
        for row in rows
        if row["modality"] == "X-ray" and row["view"] in FRONTAL
    }


def held_out(pair: dict) -> bool:
    """Whether the network was not fitted on this image, and on no other of its patient."""
    return hashlib.sha256(pair["patientid"].encode()).digest()[0] < 256 / 5


def read_pairs(masks: Path, images: Path) -> tuple[list[dict], dict[str, int]]:
    """Read the images that have a mask, as model inputs, in the order of their names."""
    rows, prepare = frontal(images.parent / "metadata.csv"), Preprocessing()
    pairs, left_out = [], {"not_frontal": 0, "image_absent": 0, "no_lungs": 0, "other_crop": 0}
    with zipfile.ZipFile(masks) as archive:
        members = {PurePosixPath(m).name: m for m in archive.namelist() if not m.endswith("/")}
        for name in sorted(members):
            if name not in rows:
                left_out["not_frontal"] += 1
                continue
            if not (images / name).is_file():
                left_out["image_absent"] += 1
                continue
            with Image.open(io.BytesIO(archive.read(members[name]))) as drawn:
                lungs = Image.fromarray(np.asarray(drawn.convert("L")) >= LUNG).convert("L")
            radiograph = read_radiograph(images / name)
            height, width = radiograph.pixels.shape
            if abs(lungs.width / lungs.height * height / width - 1) > 0.02:
                left_out["other_crop"] += 1  # drawn on another version of the image
                continue
            size = (prepare.width, prepare.height)
            mask = np.asarray(lungs.resize(size, Image.Resampling.BILINEAR)) >= 128
            if not mask.any():
                left_out["no_lungs"] += 1
                continue
            row = rows[name]
            pairs.append({"image": prepare.apply(radiograph), "mask": mask, **row})
    return pairs, left_out


def summary(values: list[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(values)), 4),
        "median": round(float(np.median(values)), 4),
        "percentile_10": round(float(np.percentile(values, 10)), 4),
    }


def measured(pairs: list[dict]) -> dict:
    """Return Dice, and the share of the true lungs that the mask covers, at both margins."""
    usual = np.zeros_like(pairs[0]["image"])  # a blank image has lungs at their usual place
    found: dict = {
        "images": len(pairs),
        "patients": len({pair["patientid"] for pair in pairs}),
    }
    for name, margin, blank in (
        ("margin_0", 0.0, False),
        ("margin_default", MARGIN, False),
        ("usual_place_margin_0", 0.0, True),
        ("usual_place_margin_default", MARGIN, True),
    ):
        overlap, cover, area = [], [], []
        for pair in pairs:
            mask = lung_mask(usual if blank else pair["image"], margin=margin)
            overlap.append(dice(mask, pair["mask"]))
            cover.append(float((mask & pair["mask"]).sum() / pair["mask"].sum()))
            area.append(float(mask.mean()))
        found[name] = {
            "margin": margin,
            "dice": summary(overlap),
            "coverage": summary(cover),
            "share_of_image": summary(area),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("masks", type=Path, help="semantic_masks_v7labs_lungs.zip")
    parser.add_argument("images", type=Path, help="the folder images of covid-chestxray-dataset")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()

    pairs, left_out = read_pairs(options.masks, options.images)
    package = Path(radiograph.__file__).parent
    known = json.loads((package / "lungs.json").read_text(encoding="utf-8"))
    reported = [pair for pair in pairs if held_out(pair)]
    groups = {"reported": reported}
    for view in FRONTAL:
        groups[f"reported_{view}"] = [pair for pair in reported if pair["view"] == view]
    groups["fitted_on"] = [pair for pair in pairs if not held_out(pair)]
    results = {name: measured(group) for name, group in groups.items() if group}
    write_json(
        options.out,
        {
            "intended_use": INTENDED_USE,
            "command": f"python benchmarks/lung_mask_dice.py {options.masks.name} IMAGES "
            f"--out {options.out}",
            "date": provenance.now(),
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "versions": provenance.versions(),
            "masks": {
                "file": options.masks.name,
                "sha256": hashlib.sha256(options.masks.read_bytes()).hexdigest(),
                "source": "torchxrayvision (PyPI); drawn by V7 Labs on Cohen's collection",
            },
            "images": "frontal, prepared to 224 x 224; masks with bilinear filter, cut at one half",
            "split": "by patient: reported are the images of patients on none of whose images the "
            "network was fitted",
            "network": {
                "weights": known["weights"],
                "sha256": {
                    name: hashlib.sha256((package / name).read_bytes()).hexdigest()
                    for name in ("lungs.xml", "lungs.bin")
                },
            },
            "left_out": left_out,
            "results": results,
        },
    )
    for name, found in results.items():
        plain, wide = found["margin_0"]["dice"], found["margin_default"]["coverage"]
        print(f"{name}: {found['images']} images, Dice {plain['mean']}, coverage {wide['mean']}")


if __name__ == "__main__":
    main()
