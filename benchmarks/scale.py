"""What ten million images cost: each stage on one core, what Ray adds, and the sum, in core-hours.

    python benchmarks/scale.py --out docs/results/scale.json    # under five minutes, machine idle

Images are generated: JPEG as archives on the web have them, DICOM as a hospital has them. Each
stage of ``cxr predict --cluster`` is timed alone, on one core, by the functions that the pipeline
calls. Then Ray answers for two numbers of images on this machine: the difference is what an image
costs there, the rest is the start. Objects are read from moto's server, which this machine runs on
its other cores: a real store answers later, and many at once. Writes the page beside the numbers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.image_files import images_in
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.files import write_json, write_text
from cxr_transfer.inference import stages, table
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.ray_backend import predict_on_cluster
from cxr_transfer.inference.table import CHUNK
from cxr_transfer.models.metadata import RELEASED

ALL_CORES = os.sched_getaffinity(0)
ONE_CORE = {min(ALL_CORES)}
TARGET = 10_000_000
CORES = (8, 64, 512, 4096)
JPEG_SIDE, DICOM_SIDE, BITS = 1024, 2048, 12
MODEL = "multi_source"
BUSY = 0.5
"""Load of the machine, before the script begins, above which its figures are none."""

DIFFERENT = 16
"""Images that are drawn; the others are copies, which no stage knows of."""


def drawn(seed: int, side: int) -> Image.Image:
    """Return a drawn radiograph with the noise that keeps real ones from compressing well."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(draw_radiograph(("normal", "covid19")[seed % 2], rng=rng))
    grey = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip(grey + rng.normal(0, 3, grey.shape), 0, 255).astype(np.uint8))


def write_dicom(path: Path, image: Image.Image) -> None:
    """Write an uncompressed DICOM file of 12 bits in 16."""
    from pydicom.uid import DigitalXRayImageStorageForPresentation

    from cxr_transfer.radiograph.dicom_dataset import Dataset, written

    values = (np.asarray(image, np.uint16) << (BITS - 8)).astype("<u2")
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = DigitalXRayImageStorageForPresentation, "DX"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS, BITS - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    path.write_bytes(written(dataset))


def write_images(folder: Path, kind: str, number: int) -> list[str]:
    folder.mkdir()
    for place in range(number):
        path = folder / f"{place:05}.{'jpg' if kind == 'jpeg' else 'dcm'}"
        if place >= DIFFERENT:
            path.write_bytes(path.with_stem(f"{place % DIFFERENT:05}").read_bytes())
        elif kind == "jpeg":
            drawn(place, JPEG_SIDE).save(path, quality=90)
        else:
            write_dicom(path, drawn(place, DICOM_SIDE))
    return [str(path) for path in sorted(folder.iterdir())]


def timed(work: Callable[[], Iterable[Any]]) -> tuple[list[Any], float]:
    started = time.perf_counter()
    made = list(work())
    return made, time.perf_counter() - started


def rates_of(files: list[str], preparing: Any, inferring: Any) -> tuple[dict[str, float], list]:
    """Return images a second of each stage on one core, and the last rows."""
    listed, listing = timed(lambda: images_in([Path(files[0]).parent]))
    assert len(listed) == len(files)
    row = stages.chunk_row(0, files)
    read, reading = timed(lambda: stages.read(row))
    prepared, making = timed(lambda: map(preparing, read))
    answered, answering = timed(lambda: map(inferring, prepared))
    times = {"list": listing, "read": reading, "prepare": making, "infer": answering}
    return {stage: round(len(files) / took, 1) for stage, took in times.items()}, answered


def write_rate(
    predictor: Predictor, files: list[str], rows: list, folder: Path
) -> dict[str, float]:
    """Return rows a second that the driver keeps and composes, into CSV and Parquet."""
    answers = [answer for row in rows for answer in stages.answers_of(row)]
    times = max(1, 8192 // len(files))
    rates = {}
    for suffix in (".csv", ".parquet"):
        out = folder / f"write{suffix}"
        started = time.perf_counter()
        with table.resumable(predictor, files * times, out) as parts:
            all_answers = answers * times
            for number in parts.missing():
                parts.keep(number, all_answers[number * CHUNK : (number + 1) * CHUNK])
            parts.finish()
        rates[suffix[1:]] = round(len(all_answers) / (time.perf_counter() - started), 1)
    return rates


def store_rates(files: list[str]) -> dict[str, float] | None:
    """Return objects a second that one core lists and reads of a server of S3's kind beside it."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    try:
        import boto3
        import moto.server
        import s3fs
    except ImportError:
        return None
    from cxr_transfer.datasets.stored_images import images_at
    from made_store import BUCKET, KEYS

    del moto, s3fs
    with ExitStack() as stack:
        program = [sys.executable, "-c", SERVER]
        server = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        stack.callback(server.wait)
        stack.callback(server.kill)
        assert server.stdout is not None
        stack.callback(server.stdout.close)
        os.environ.update(KEYS, AWS_ENDPOINT_URL=server.stdout.readline().strip())
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        for file in files:
            content = Path(file).read_bytes()
            client.put_object(Bucket=BUCKET, Key=f"set/{Path(file).name}", Body=content)
        addresses, listing = timed(lambda: images_at(f"s3://{BUCKET}/set"))
        row = stages.chunk_row(0, addresses)
        _, reading = timed(lambda: stages.read(row))
    return {"list": round(len(files) / listing, 1), "read": round(len(files) / reading, 1)}


SERVER = """
import logging, os, time
cores = os.environ.get("CXR_CORES")
os.sched_setaffinity(0, set(map(int, cores.split(","))))
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%s" % server.get_host_and_port(), flush=True)
time.sleep(3600)
"""


def with_ray(files: list[str], few: int, many: int, folder: Path) -> dict[str, float]:
    """Return core-seconds of an image through Ray, and seconds until the first one is answered."""
    cores = len(ALL_CORES)
    os.sched_setaffinity(0, ALL_CORES)
    times = []
    for number in (few, many):
        listed = (files * (number // len(files) + 1))[:number]
        started = time.perf_counter()
        predict_on_cluster(RELEASED / MODEL, listed, folder / f"ray{number}.csv", workers=cores)
        times.append(time.perf_counter() - started)
        print(f"Ray: {number} images in {times[-1]:.1f} s", flush=True)
    os.sched_setaffinity(0, ONE_CORE)
    each = (times[1] - times[0]) / (many - few)
    return {
        "processors": cores,
        "images": [few, many],
        "seconds": [round(one, 2) for one in times],
        "core_seconds_per_image": round(max(each, 0) * cores, 5),
        "start_s": round(times[0] - each * few, 1),
    }


def seconds_of(rates: dict[str, float]) -> float:
    return sum(1 / rate for rate in rates.values())


def cost_of(rates: dict[str, float], overhead: float) -> dict[str, Any]:
    """Return what `TARGET` images cost: core-hours, and hours on some numbers of cores."""
    hours = TARGET * seconds_of(rates) * (1 + overhead) / 3600
    return {
        "core_seconds_per_image": round(seconds_of(rates) * (1 + overhead), 5),
        "core_hours": round(hours, 1),
        "hours_by_cores": {str(cores): round(hours / cores, 2) for cores in CORES},
    }


def measured(jpegs: int, dicoms: int, few: int, many: int) -> dict[str, Any]:
    predictor = Predictor.open(RELEASED / MODEL)
    preparing = stages.Preparing(predictor.card.preprocessing, False)
    inferring = stages.Inferring(str(RELEASED / MODEL), {})
    results: dict[str, Any] = {"kinds": {}}
    with tempfile.TemporaryDirectory(prefix="cxr") as name:
        folder = Path(name)
        for kind, number in (("jpeg", jpegs), ("dicom", dicoms)):
            files = write_images(folder / kind, kind, number)
            # First use compiles, and fills caches.
            list(map(inferring, map(preparing, stages.read(stages.chunk_row(0, files[:4])))))
            rates, rows = rates_of(files, preparing, inferring)
            size = sum(os.path.getsize(file) for file in files) / len(files)
            results["kinds"][kind] = {
                "images": number,
                "megabytes_per_image": round(size / 1e6, 3),
                "per_second_and_core": rates,
            }
            print(f"{kind}: {rates}", flush=True)
            if kind == "jpeg":
                listed, answered = files, rows
        results["write_rows_per_second"] = write_rate(predictor, listed, answered, folder)
        os.environ["CXR_CORES"] = ",".join(map(str, sorted(ALL_CORES - ONE_CORE or ALL_CORES)))
        results["store"] = store_rates(listed)
        results["ray"] = with_ray(listed, few, many, folder)
    return results


def add_costs(results: dict[str, Any]) -> None:
    write = {"write": results["write_rows_per_second"]["csv"]}
    alone = seconds_of(results["kinds"]["jpeg"]["per_second_and_core"] | write)
    overhead = max(0.0, results["ray"]["core_seconds_per_image"] / alone - 1)
    results["ray"]["overhead"] = round(overhead, 3)
    for kind in results["kinds"].values():
        kind["ten_million"] = cost_of(kind["per_second_and_core"] | write, overhead)
        kind["ten_million"]["terabytes"] = round(kind["megabytes_per_image"] * TARGET / 1e6, 2)
    results["ten_million_requests"] = {"reads": TARGET, "parts": -(-TARGET // CHUNK)}


def page(content: dict[str, Any]) -> str:
    found, ray = content["results"], content["results"]["ray"]
    kinds, rows, store = found["kinds"], found["write_rows_per_second"], found["store"]
    jpeg, dicom = kinds["jpeg"], kinds["dicom"]
    of_jpeg, of_dicom = jpeg["per_second_and_core"], dicom["per_second_and_core"]
    rates = [f"| {stage} | {rate:,} | {of_dicom[stage]:,} |" for stage, rate in of_jpeg.items()]
    costs = [
        f"| {kind} | {cost['core_seconds_per_image']} | {cost['core_hours']:,} | "
        f"{cost['terabytes']} | "
        f"{' | '.join(f'{hours:,}' for hours in cost['hours_by_cores'].values())} |"
        for kind, cost in ((name, one["ten_million"]) for name, one in kinds.items())
    ]
    of_store = "No server of S3's kind was at hand."
    if store:
        of_store = (
            f"From a server of S3's kind on the same machine, one core lists {store['list']:,}\n"
            f"objects a second and reads {store['read']:,}. That server is a test program, and "
            "bounds it."
        )
    busy = ""
    if content["load"] > BUSY:
        busy = (
            f"**The machine was busy (load {content['load']}): the rates are too low. "
            "Measure again.**\n\n"
        )
    hours = " | ".join(f"hours on {cores:,} cores" for cores in CORES)
    lines = "\n"
    return f"""# What do ten million images cost?

Written by `benchmarks/scale.py`; numbers in [scale.json](scale.json). {INTENDED_USE}

{busy}Images are generated: JPEG of {JPEG_SIDE} x {JPEG_SIDE} pixels
({jpeg["megabytes_per_image"]} MB), and uncompressed DICOM of {DICOM_SIDE} x {DICOM_SIDE} pixels of
{BITS} bits ({dicom["megabytes_per_image"]} MB). The model is `{content["model"]}`, in float32. The
processor: {content["machine"]["processor"]}.

## Each stage alone

Images a second on one core, {jpeg["images"]} JPEG and {dicom["images"]} DICOM images from this
machine's disk:

| stage | JPEG | DICOM |
|---|---|---|
{lines.join(rates)}

The driver keeps and composes {rows["csv"]:,} rows a second as CSV, {rows["parquet"]:,} as Parquet.
{of_store}

## What Ray adds

On {ray["processors"]} cores Ray takes {ray["core_seconds_per_image"]} core-seconds for a JPEG
image, {ray["overhead"]:.0%} more than the stages alone, one after the other; cores that wait count,
too. {ray["start_s"]} s go by until all processes run. Measured as the difference of
{ray["images"][0]} and {ray["images"][1]} images.

## Ten million images

All stages and what Ray adds, if the store keeps up, and cores are added without loss. That was not
tried: the table is arithmetic. What a core-hour costs, readers know best.

| images | core-seconds an image | core-hours | TB read | {hours} |
|---|---|---|---|{"---|" * len(CORES)}
{lines.join(costs)}

A store gets {TARGET:,} requests to read, and {found["ten_million_requests"]["parts"]:,} parts of
{CHUNK} rows, each written, read and deleted once. One driver writes the parts. It holds the names
of all images.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jpegs", type=int, default=512)
    parser.add_argument("--dicoms", type=int, default=128)
    parser.add_argument("--ray", type=int, nargs=2, default=(512, 1536), metavar=("FEW", "MANY"))
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    load = round(os.getloadavg()[0], 2)
    # Before OpenVINO counts processors.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, ONE_CORE)
    results = measured(options.jpegs, options.dicoms, *options.ray)
    add_costs(results)
    content = {
        "intended_use": INTENDED_USE,
        "command": f"python benchmarks/scale.py --jpegs {options.jpegs} --dicoms {options.dicoms} "
        f"--ray {options.ray[0]} {options.ray[1]} --out {options.out}",
        "date": provenance.now(),
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "load": load,
        "versions": provenance.versions(),
        "model": MODEL,
        "results": results,
    }
    write_json(options.out, content)
    write_text(options.out.with_suffix(".md"), page(content))


if __name__ == "__main__":
    main()
