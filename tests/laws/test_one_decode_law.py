"""A command opens, decodes, judges and segments each image once.

Counted are openings of image files (by Python itself, but for the first bytes that tell a listing
which files are images), decodings of one content, looks of the
quality control at one image, and runs of the lung network on one picture. A network that sees
crops has two pictures of each image: the whole image, where the box is looked for, and the crop,
in which the lungs are outlined. The commands run in this process, or nothing could be counted.
"""

import asyncio
import csv
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.audits.reencoding import FORMS, MOST
from cxr_transfer.cli.commands import app
from cxr_transfer.datasets.phantom import PhantomSize, draw_radiograph, write_phantom
from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import lung_segmentation, quality_control, raster, read_radiograph
from cxr_transfer.serving import decoder_process
from cxr_transfer.serving.jobs import Background, asked_of
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.service import Service, Upload
from cxr_transfer.serving.settings import Settings
from cxr_transfer.serving.worker_process import answered
from made_sources import recipe, write_sources

CROPPING = """
name = "crops"
title = "a head on random features of crops"
network = "resnet50_early"
dataset = "multi_source"
coverage = 0.8

[preprocessing]
height = 64
width = 64
crop = "lungs"
detail = 48
equalise = true

[[stages]]
name = "head"
fit = "logistic"
background_swap = 0.1
train = ["head"]
"""

IMAGES = (".png", ".jpg", ".jpeg")
OPENED: Counter[str] = Counter()
"""How often each image file was opened, since it was last emptied."""


LISTING = ("signatures.py", "dicom_patient.py")
"""They look at the first bytes of files, to list images and their patients before any is read."""


def _note(event, arguments):
    if event == "open" and str(arguments[0]).endswith(IMAGES):
        frame = sys._getframe(1)
        while frame and "cxr_transfer" not in frame.f_code.co_filename:
            frame = frame.f_back
        if frame and not frame.f_code.co_filename.endswith(LISTING):
            OPENED[str(arguments[0])] += 1


sys.addaudithook(_note)  # for good: a hook cannot be taken away


class Counts:
    """What was done to images, each by the bytes that it was done to."""

    def __init__(self):
        self.decoded, self.judged, self.segmented = Counter(), Counter(), Counter()

    def empty(self):
        for counter in (OPENED, self.decoded, self.judged, self.segmented):
            counter.clear()

    def opened(self, folder):
        return {name: number for name, number in OPENED.items() if name.startswith(str(folder))}

    def check(self, folder, images, *, opened=None, decoded=None, judged=0, segmented=0):
        """Everything once: of so many images, and of so many pictures of them."""
        found = {
            "test_set_accesses": Counter(self.opened(folder).values()),
            "decodings": Counter(self.decoded.values()),
            "judged": Counter(self.judged.values()),
            "segmented": Counter(self.segmented.values()),
        }
        expected = {
            "test_set_accesses": images if opened is None else opened,
            "decodings": decoded or images,
        }
        expected |= {"judged": judged, "segmented": segmented}
        assert found == {name: ({1: n} if n else {}) for name, n in expected.items()}


@pytest.fixture
def counts(monkeypatch):
    counts = Counts()

    def counting(module, name, counter, key):
        function = getattr(module, name)

        def counted(given, *others, **options):
            counter[hashlib.sha256(key(given)).digest()] += 1
            return function(given, *others, **options)

        monkeypatch.setattr(module, name, counted)

    counting(raster, "decode", counts.decoded, bytes)
    # Every look of the quality control asks this once.
    counting(quality_control, "empty", counts.judged, lambda image: image.stored.tobytes())
    counting(lung_segmentation, "shares", counts.segmented, lambda ranked: ranked.tobytes())
    counts.empty()
    return counts


def cxr(*words):
    app([*map(str, words)], standalone_mode=False)


def images_in(folder):
    return sum(path.suffix in IMAGES for path in folder.rglob("*"))


def own_images(folder, number=12):
    """A folder per class with generated images."""
    for place, label in enumerate(("normal", "bacterial", "covid19")):
        (folder / label).mkdir(parents=True)
        for row in range(number):
            image = draw_radiograph(label, rng=np.random.default_rng(1000 * place + row))
            Image.fromarray(image).save(folder / label / f"{row:02}.png")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def crops(tmp_path_factory, cache):
    """Archives, a run of a cropping recipe on them, and images that it has not seen."""
    root = tmp_path_factory.mktemp("crops")
    size = PhantomSize(normal=24, bacterial=24, viral=4, covid19=24)
    write_phantom(root / "archives", seed=2, size=size)
    (root / "crops.toml").write_text(CROPPING)
    own_images(root / "images", number=4)
    words = ("train", root / "crops.toml", "--data", root / "archives", "--out", root / "run")
    cxr(*words, "--device", "cpu")
    # So that the network is converted, which scores a generated image.
    cxr("predict", root / "images", "--model", root / "run", "--csv")
    return root


def read_of(run):
    """Number of images by their part in a run."""
    with (run / "split.csv").open(newline="") as handle:
        return Counter(row["split"] for row in csv.DictReader(handle))


def test_a_training_decodes_each_image_once(counts, tmp_path):
    own_images(tmp_path / "images")
    counts.empty()
    words = ["train", "model_1", "--data", tmp_path / "images", "--out", tmp_path / "run"]
    cxr(*words, "--max-epochs", 1, "--device", "cpu")
    counts.check(tmp_path / "images", 36)


def test_a_training_on_all_of_the_archives_decodes_what_it_leaves_out_once(counts, tmp_path):
    """Model_0 leaves the other data set's patients out, whose images are among its own."""
    write_phantom(tmp_path / "data", seed=1, size=PhantomSize(48, 48, 24, 24))
    words = ["train", "model_0", "--data", tmp_path / "data", "--out", tmp_path / "run"]
    counts.empty()
    cxr(*words, "--max-epochs", 1, "--device", "cpu")
    images = len(counts.opened(tmp_path / "data"))
    assert images > 48 + 48
    counts.check(tmp_path / "data", images)


def test_a_training_of_crops_with_a_source_of_ones_own_reads_each_image_once(
    crops, counts, tmp_path
):
    own_images(tmp_path / "clinic", number=30)
    counts.empty()
    words = ["train", crops / "crops.toml", "--data", crops / "archives", "--out", tmp_path / "run"]
    cxr(*words, "--add-source", f"clinic={tmp_path / 'clinic'}", "--device", "cpu")
    assert (tmp_path / "run" / "added_clinic.json").is_file()
    parts = read_of(tmp_path / "run")
    # A box in each image; lungs in the crops that surroundings are exchanged between, once for
    # the two trainings.
    segmented = parts.total() + parts["train"]
    assert len(counts.opened(tmp_path / "clinic")) == 90
    counts.check(Path("/"), parts.total(), segmented=segmented)


@pytest.mark.parametrize("pretraining", ["clean", "paper"])
def test_a_study_decodes_each_image_of_its_two_data_sets_once(counts, tmp_path, pretraining):
    write_phantom(tmp_path / "data", seed=1, size=PhantomSize(48, 48, 24, 24))
    words = ["study", "--data", tmp_path / "data", "--out", tmp_path / "study"]
    words += ["--models", "model_0,model_1", "--pretraining", pretraining]
    counts.empty()
    cxr(*words, "--max-epochs", 1, "--device", "cpu")
    images = len(counts.opened(tmp_path / "data"))
    assert images > 48 + 48 + 24
    counts.check(tmp_path / "data", images)


def test_a_learning_curve_decodes_each_image_once_for_all_of_its_runs(counts, tmp_path):
    write_phantom(tmp_path / "data", seed=1, size=PhantomSize(48, 48, 24, 24))
    words = ["study", "--data", tmp_path / "data", "--out", tmp_path / "study"]
    words += ["--learning-curve", "4,8", "--draws", 2, "--models", "model_1,model_2"]
    counts.empty()
    cxr(*words, "--max-epochs", 1, "--input-size", 64, "--device", "cpu")
    images = len(counts.opened(tmp_path / "data"))
    assert images > 48 + 48 + 24
    counts.check(tmp_path / "data", images)


def test_a_validation_decodes_each_image_once_for_all_of_its_runs(counts, tmp_path):
    write_sources(tmp_path / "data", {"north": (40, 40), "south": (40, 40), "east": (0, 12)})
    (tmp_path / "small.toml").write_text(recipe().to_toml())
    words = ["validate", tmp_path / "small.toml", "--data", tmp_path / "data" / "images.csv"]
    words += ["--resamples", 10, "--device", "cpu"]
    counts.empty()
    cxr(*words, "--out", tmp_path / "out")
    # The lungs are blacked out in the images of the two sources that are judged.
    counts.check(tmp_path / "data", 172, segmented=160)
    counts.empty()
    cxr(*words, "--out", tmp_path / "local", "--local", "south", "--curve", "0,12", "--draws", 2)
    counts.check(tmp_path / "data", 172)
    counts.empty()
    words[1] = tmp_path / "out" / "without_south"
    cxr(*words, "--out", tmp_path / "model")
    scored = len((tmp_path / "model" / "predictions.csv").read_text().splitlines()) - 1
    met = json.loads((words[1] / "checkpoint.json").read_text())["data"]["images"]
    # The checkpoint is converted, which tries a picture of its own.
    lungs = 172 - met["train"] - met["validation"]
    counts.check(tmp_path / "data", 172, decoded=173, segmented=lungs)
    assert scored == 80


def test_a_preparation_decodes_each_image_of_its_data_sets_once(counts, tmp_path):
    write_phantom(tmp_path / "data", seed=1, size=PhantomSize(48, 48, 24, 24))
    counts.empty()
    cxr("data", "prepare", tmp_path / "data", "--out", tmp_path / "prepared")
    images = len(counts.opened(tmp_path / "data"))
    assert images > 48 + 48 + 24
    counts.check(tmp_path / "data", images)


def test_a_check_decodes_each_image_once_and_opens_damaged_ones_once(counts, tmp_path):
    own_images(tmp_path / "images", number=3)
    damaged = tmp_path / "images" / "normal" / "00.png"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    counts.empty()
    cxr("data", "check", tmp_path / "images")
    counts.check(tmp_path / "images", 9)


def test_a_check_with_a_sheet_takes_its_pictures_from_the_same_decoding(counts, tmp_path):
    own_images(tmp_path / "images", number=10)
    counts.empty()
    cxr("data", "check", tmp_path / "images", "--sheet", tmp_path / "sheet.png")
    counts.check(tmp_path / "images", 30, judged=18)


def test_a_manifest_of_a_folder_is_prepared_by_one_decoding_of_each_image(counts, tmp_path):
    own_images(tmp_path / "images", number=3)
    counts.empty()
    cxr("data", "prepare", tmp_path / "images", "--out", tmp_path / "prepared")
    counts.check(tmp_path / "images", 9)


def test_an_evaluation_reads_each_image_once(crops, counts, tmp_path):
    counts.empty()
    words = ["evaluate", crops / "run", "--data", crops / "run" / "split.csv"]
    cxr(*words, "--out", tmp_path / "evaluated", "--device", "cpu")
    tested = read_of(crops / "run")["test"]
    counts.check(crops, tested, segmented=tested)


def test_an_acceptance_test_reads_each_image_once(crops, counts, tmp_path):
    own_images(tmp_path / "clinic", number=4)
    rows = [
        f"clinic/{label}/{row:02}.png,{'normal' if label == 'normal' else 'covid19'}"
        for label in ("normal", "covid19")
        for row in range(4)
    ]
    (tmp_path / "clinic.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    (tmp_path / "criteria.toml").write_text('positive = "covid19"\n[sensitivity]\nminimum = 0.9\n')
    words = ["accept", "run", crops / "run", "--data", tmp_path / "clinic.csv", "--device", "cpu"]
    counts.empty()
    # Its exit code says that eight images are too few.
    cxr(*words, "--criteria", tmp_path / "criteria.toml", "--out", tmp_path / "accepted")
    counts.check(tmp_path / "clinic", 8, judged=8, segmented=8)


@pytest.mark.parametrize(
    "retrain",
    [
        pytest.param(False, id="alone"),
        pytest.param(True, id="retrained", marks=pytest.mark.slow),
    ],
)
def test_an_audit_of_crops_reads_each_image_once(crops, counts, tmp_path, retrain):
    own_images(tmp_path / "clinic", number=30)
    with (crops / "run" / "split.csv").open(newline="") as handle:
        rows = [*csv.DictReader(handle)]
    data = tmp_path / "all.csv"
    with data.open("w", newline="") as handle:
        columns = ("path", "label", "patient", "source")
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        base = crops / "run"
        writer.writerows(row | {"path": base / row["path"]} for row in rows)
        for number, path in enumerate(sorted((tmp_path / "clinic").rglob("*.png"))):
            label = {"bacterial": "other_pneumonia"}.get(path.parent.name, path.parent.name)
            known = {"patient": f"clinic {number}", "source": "clinic", "label": label}
            writer.writerow({"path": path} | known)
    counts.empty()
    words = ["audit", crops / "run", "--data", data, "--out", tmp_path / "audit"]
    cxr(*words, "--device", "cpu", *(["--retrain"] if retrain else []))
    assert (tmp_path / "audit" / "retrain").is_dir() == retrain
    images, tested = len(rows) + 90, read_of(crops / "run")["test"]
    segmented = sum(counts.segmented.values())
    # Some pictures are also written as other files, which are images of their own.
    written = (1 + len(FORMS)) * min(tested, MOST)
    assert images < segmented - written <= 2 * images
    if not retrain:
        assert segmented == images + tested + written
    again = [key for key, times in counts.segmented.items() if times > 1]
    assert len(again) == min(tested, MOST), "a picture is the same one in every form without loss"
    for key in again:
        counts.segmented[key] = 1
    for name in [name for name in OPENED if name.startswith(str(tmp_path / "audit"))]:
        del OPENED[name]  # its own figures, which its page holds
    pixel_files = len(FORMS) - sum(name.startswith("DICOM") for name in FORMS)
    counts.check(
        Path("/"),
        images,
        opened=images,
        decoded=images + pixel_files * min(tested, MOST),
        segmented=len(counts.segmented),
    )


@pytest.mark.parametrize("maps", [False, True], ids=["scores", "heat maps"])
def test_a_prediction_reads_each_image_once(crops, counts, tmp_path, maps):
    counts.empty()
    words = ["predict", crops / "images", "--model", crops / "run", "--csv"]
    cxr(*words, *(["--heatmaps", tmp_path / "maps"] if maps else []))
    drawn = len([*(tmp_path / "maps").glob("*.json")]) if maps else 0
    assert bool(drawn) == maps
    counts.check(crops / "images", 12, judged=12, segmented=12 + drawn)


def test_an_explanation_reads_its_image_once(crops, counts, tmp_path):
    image = told_a_class(crops, tmp_path)[0]
    counts.empty()
    cxr("explain", image, "--model", crops / "run", "--out", tmp_path / "why")
    counts.check(crops / "images", 1, judged=1, segmented=2)


class Here:
    """Stands for the decoding processes: the same work, in this process, where it is counted."""

    alive, replaced = 1, 0

    async def start(self):
        """Do nothing: there is no process."""

    close = start

    async def ask(self, header, pieces=(), *, seconds):
        answer, content = answered(decoder_process.WORK, json.loads(json.dumps(header)), [*pieces])
        if "error" in answer:
            raise ImageError(answer["error"], answer["message"])
        return answer, content


async def served(models, work):
    """Do some work in a server's room on models."""
    room = Service(Settings(workers=1), Metrics())
    room.decoders = room._slow = Here()
    try:
        await room.open(models)
        return await work(room, [*room.models.values()])
    finally:
        await room.close()


@pytest.mark.parametrize("maps", [False, True], ids=["scores", "heat maps"])
def test_a_servers_answer_reads_each_image_once(crops, counts, tmp_path, maps):
    images = told_a_class(crops, tmp_path)
    images = [Upload(path.name, path.read_bytes()) for path in images]

    async def asked(room, models):
        counts.empty()
        return await room.answers(models[0], images, heat_map=maps)

    answers = asyncio.run(served([crops / "run"], asked))
    drawn = sum(answer["heat_map"] is not None for answer in answers)
    assert drawn == (len(images) if maps else 0), [one["warnings"] for one in answers]
    number = len(images)
    counts.check(tmp_path, number, opened=0, judged=number, segmented=number + drawn)


def test_a_servers_report_of_two_models_reads_each_image_once(crops, counts, tmp_path):
    """Both models see the same crops: the lungs are outlined once, too."""
    words = ("train", crops / "crops.toml", "--data", crops / "archives", "--seed", 1)
    cxr(*words, "--out", tmp_path / "other", "--device", "cpu")
    images = told_a_class(crops, tmp_path)
    images = [Upload(path.name, path.read_bytes()) for path in images]

    async def asked(room, models):
        counts.empty()
        background = Background(room, Settings(), Metrics())
        reports = background.reports
        asked = asked_of(models, heat_map=True, picture=True, request_id="0" * 32)
        try:
            background.start()
            number = await reports.begin("", "report", asked, images)
            assert (await reports.ended(number)).status == "done"
            return await reports.do(reports.store.result, number)
        finally:
            await background.close()

    pdf = asyncio.run(served([crops / "run", tmp_path / "other"], asked))
    assert pdf.startswith(b"%PDF")
    number = len(images)
    counts.check(tmp_path, number, opened=0, judged=number, segmented=2 * number)


def told_a_class(crops, tmp_path):
    """Images for which the cropping network tells a class."""
    cxr("predict", crops / "images", "--model", crops / "run", "--heatmaps", tmp_path / "told")
    written = [json.loads(path.read_text()) for path in (tmp_path / "told").glob("*.json")]
    known = {one["image_sha256"] for one in written}
    images = sorted((crops / "images").rglob("*.png"))
    return [path for path in images if read_radiograph(path).digest() in known]
