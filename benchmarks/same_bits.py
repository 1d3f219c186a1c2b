"""Record what a small study, an audit, predictions and exports come to, or compare with a record.

    python benchmarks/same_bits.py --out before.json
    python benchmarks/same_bits.py --against before.json

For a change that is to change nothing: run it before and after on one machine. Everything goes
through the `cxr` command. Numbers are compared, whatever the fields around them are called; times,
dates, versions and addresses are left out. The images are generated.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from cxr_transfer import provenance

try:
    from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
except ModuleNotFoundError:
    from cxr_transfer.datasets.phantom import PhantomSize, write_phantom

CXR = Path(sys.executable).with_name("cxr")
RELEASED = ("multi_source", "model_2", "model_3")
PASSED = ("seconds", "time", "date", "ms_", "memory", "versions", "machine", "made_on", "commit")
"""Beginnings of fields that differ between two runs of one command, and their endings."""


def cxr(*words: object, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [str(CXR), *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode not in codes:
        raise SystemExit(f"cxr {words}: code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def numbers(content: Any) -> Iterator[float]:
    """Yield the numbers in JSON, in the order of their values where fields have no order."""
    if isinstance(content, bool) or content is None or isinstance(content, str):
        return
    if isinstance(content, int | float):
        yield float(content)
    elif isinstance(content, list):
        for item in content:
            yield from numbers(item)
    else:
        fields = [
            list(numbers(value))
            for key, value in content.items()
            if not key.startswith(PASSED) and not key.endswith(PASSED)
        ]
        # Fields may be renamed and ordered anew.
        for values in sorted(fields):
            yield from values


def of_json(path: Path) -> list[float]:
    return list(numbers(json.loads(path.read_text())))


def of_table(path: Path) -> list[float]:
    """The numbers of a table, columns in the order of their values."""
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    columns = []
    for name in rows[0] if rows else ():
        if not name.startswith(PASSED):
            column = []
            for row in rows:
                try:
                    column.append(float(row[name]))
                except ValueError:
                    column.append(float("-inf"))
            columns.append(column)
    return [value for column in sorted(columns) for value in column if value != float("-inf")]


def of_weights(path: Path) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(load_file(path).items()):
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def record(place: Path) -> dict[str, Any]:
    """Run everything in an empty folder; return what came of it, by name."""
    found: dict[str, Any] = {}
    archives = place / "archives"
    write_phantom(archives, seed=1, size=PhantomSize(normal=48, bacterial=48, viral=24, covid19=24))
    study = place / "study"
    exact = ("--device", "cpu", "--precision", "float32")
    models = ("--models", "model_0,model_1,model_2")
    cxr(
        "study", "--data", archives, "--out", study, "--max-epochs", 2, "--seed", 3, *models, *exact
    )
    found["study"] = of_json(study / "report.json")
    for model in ("model_0", "model_1", "model_2"):
        for path in sorted((study / model).glob("*.safetensors")):
            found[f"{model}/{path.name}"] = of_weights(path)
        found[f"{model}/history"] = of_table(study / model / "history.csv")
    audited = ("--data", archives, "--out", place / "audit")
    cxr("audit", study / "model_1", *audited, *exact, codes=(0, 1))
    found["audit"] = of_json(place / "audit" / "audit.json")
    evaluated = ("--data", study / "model_2" / "split.csv", "--out", place / "evaluated")
    cxr("evaluate", study / "model_2", *evaluated, *exact[:2])
    found["evaluate"] = of_json(place / "evaluated" / "report.json")
    images = sorted(archives.rglob("*.jp*g"))[::6]
    (place / "images").mkdir()
    for number, path in enumerate(images):
        os.link(path, place / "images" / f"{number:02}.jpg")
    noise = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
    Image.fromarray(noise).save(place / "images" / "noise.png")
    for model in RELEASED:
        out = place / f"{model}.csv"
        cxr("predict", place / "images", "--model", model, "--out", out, codes=(0, 1))
        found[f"{model}/predict"] = of_table(out)
        sheet = ("--out", place / "sheets", "--json")
        said = cxr("explain", images[0], "--model", model, *sheet, codes=(0, 1, 3))
        # A model may refuse a generated image (code 3).
        found[f"{model}/explain"] = list(numbers(json.loads(said))) if "{" in said else []
        for suffix in ("xml", "onnx", "pt"):
            file = place / model / f"network.{suffix}"
            file.parent.mkdir(exist_ok=True)
            cxr("export", model, "--out", file)
            card = file.with_suffix(".json") if suffix == "xml" else Path(f"{file}.json")
            found[f"{model}/{suffix}"] = of_json(card)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file to keep the record in")
    parser.add_argument("--against", type=Path, help="a record to compare with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = record(Path(name))
    if options.out:
        content = {"commit": provenance.commit(), "machine": provenance.machine(), "found": found}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
    if not options.against:
        return
    before = json.loads(options.against.read_text())["found"]
    found = json.loads(json.dumps(found))
    differ = [key for key in before.keys() | found.keys() if before.get(key) != found.get(key)]
    for key in sorted(differ):
        was, now = before.get(key), found.get(key)
        print(f"differs: {key}")
        if isinstance(was, list) and isinstance(now, list):
            gone, come = sorted(set(was) - set(now)), sorted(set(now) - set(was))
            print(f"  {len(was)} numbers before, {len(now)} now; gone {gone[:5]}, new {come[:5]}")
    if differ:
        raise SystemExit(1)
    print(f"bit-equal: {len(found)} results")


if __name__ == "__main__":
    main()
