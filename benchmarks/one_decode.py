"""Count what commands do to each image before and after a change, and the processor time of both.

    python benchmarks/one_decode.py --before COMMIT --out docs/results/one_decode.json

Each command runs in a process of its own on the same generated images, in turn with the source of
the earlier commit and with this one. Processor time is compared, not the clock: the machine may be
shared. Openings count neither the first bytes that tell a listing which files are images, nor what
libraries open.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxr_transfer import provenance
from cxr_transfer.datasets.phantom import PhantomSize, draw_radiograph, write_phantom
from cxr_transfer.files import write_json
from same_bits import of_json, of_weights

HERE = Path(__file__).resolve().parent.parent
IMAGES = (".png", ".jpg", ".jpeg")
LISTING = ("signatures.py", "dicom_patient.py")
SIDE, PER_CLASS = 1024, 8


def counted(words: list[str]) -> None:
    """Run a command in this process; print what was done to images, and its processor time."""
    from cxr_transfer.radiograph import lung_segmentation, quality_control, raster

    counts: dict[str, Counter[str]] = {}

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(IMAGES):
            frame = sys._getframe(1)
            while frame and "cxr_transfer" not in frame.f_code.co_filename:
                frame = frame.f_back
            if frame and not frame.f_code.co_filename.endswith(LISTING):
                counts.setdefault("test_set_accesses", Counter())[str(arguments[0])] += 1

    def counting(module: Any, name: str, what: str, key: Any) -> None:
        function = getattr(module, name)
        counts[what] = Counter()

        def wrapped(given: Any, *others: Any, **options: Any) -> Any:
            counts[what][hashlib.sha256(key(given)).hexdigest()] += 1
            return function(given, *others, **options)

        setattr(module, name, wrapped)

    sys.addaudithook(note)
    counting(raster, "decode", "decodings", bytes)
    counting(quality_control, "empty", "looks of the quality control", lambda r: r.stored.tobytes())
    counting(lung_segmentation, "shares", "runs of the lung network", lambda r: r.tobytes())
    from cxr_transfer.cli.commands import app

    with contextlib.redirect_stdout(io.StringIO()):
        app(words, standalone_mode=False)
    used = os.times()
    told = {
        what: {
            "total": counter.total(),
            "of_different": len(counter),
            "most_of_one": max(counter.values(), default=0),
        }
        for what, counter in counts.items()
    }
    print(json.dumps(told | {"processor_seconds": used.user + used.system}))


def measured(source: Path, words: list[Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--counted", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def earlier_source(commit: str, place: Path) -> Path:
    content = subprocess.run(
        ["git", "archive", commit, "src"], cwd=HERE, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(place, filter="data")
    return place / "src"


def results(folder: Path) -> dict[str, Any]:
    """Return the numbers of all JSON files and the hashes of all weights that a command left."""
    numbers = {
        path.relative_to(folder).as_posix(): of_json(path) for path in folder.rglob("*.json")
    }
    weights = {
        path.relative_to(folder).as_posix(): of_weights(path)
        for path in folder.rglob("checkpoint.safetensors")
    }
    return numbers | weights


def commands(place: Path) -> dict[str, list[Any]]:
    """Draw the images; return the commands by name, without their folder of results."""
    rng = np.random.default_rng(0)
    for label in ("normal", "bacterial", "covid19"):
        folder = place / "images" / label.replace("bacterial", "other_pneumonia")
        folder.mkdir(parents=True)
        for number in range(PER_CLASS):
            image = Image.fromarray(draw_radiograph(label, rng=rng, pixels=SIDE))
            image.save(folder / f"{number}.png")
    write_phantom(place / "archives", seed=1, size=PhantomSize(48, 48, 24, 24))
    cpu, images = ("--device", "cpu"), place / "images"
    study = ("--models", "model_0,model_1", "--max-epochs", 1, *cpu)
    return {
        "cxr audit multi_source": ["audit", "multi_source", "--data", images, *cpu, "--out"],
        "cxr evaluate multi_source": ["evaluate", "multi_source", "--data", images, *cpu, "--out"],
        "cxr predict --heatmaps": ["predict", images, "--model", "multi_source", "--heatmaps"],
        "cxr study": ["study", "--data", place / "archives", *study, "--out"],
        "cxr data check": ["data", "check", images, "--table"],
    }


def main() -> None:
    if sys.argv[1:2] == ["--counted"]:
        counted(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", required=True, help="commit to compare with")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["CXR_CACHE"] = str(place / "cache")
        sources = {"before": earlier_source(options.before, place), "after": HERE / "src"}
        asked = commands(place)
        # So that the first one who predicts does not convert the network.
        one = next((place / "images").rglob("*.png"))
        measured(
            HERE / "src", ["predict", one, "--model", "multi_source", "--out", place / "a.csv"]
        )
        for number, (title, words) in enumerate(asked.items()):
            seconds: dict[str, list[float]] = {"before": [], "after": []}
            counts: dict[str, Any] = {}
            left: list[dict[str, Any]] = []
            for repeat in range(options.repeats):
                for when, source in sources.items():
                    out = place / f"{number}_{repeat}_{when}"
                    told = measured(source, [*words, out])
                    seconds[when].append(round(told.pop("processor_seconds"), 2))
                    counts[when] = told
                    left.append(results(out))
            ratios = [a / b for a, b in zip(seconds["after"], seconds["before"], strict=True)]
            found[title] = {
                "counts": counts,
                "processor_seconds": seconds,
                "after_by_before": round(statistics.median(ratios), 3),
                "files_with_results": len(left[0]),
                "same_results": all(one == left[0] for one in left),
            }
            print(title, found[title]["after_by_before"], found[title]["same_results"], flush=True)
        images = sorted((place / "images").rglob("*.png"))
        content = hashlib.sha256(b"".join(path.read_bytes() for path in images)).hexdigest()
    record = {
        "what": __doc__.partition("\n")[0],
        "before": options.before,
        "commit": provenance.commit(),
        "time": provenance.now(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "seed": 0,
        "images": {"number": 3 * PER_CLASS, "side": SIDE, "sha256": content},
        "commands": found,
    }
    write_json(options.out, record)


if __name__ == "__main__":
    main()
