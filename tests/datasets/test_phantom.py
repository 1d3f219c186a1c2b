from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

from cxr_transfer.datasets import phantom
from cxr_transfer.datasets.phantom import (
    PhantomSize,
    draw_radiograph,
    draw_radiograph_and_lungs,
    write_phantom,
)
from cxr_transfer.errors import DataError

SIZE = PhantomSize(normal=14, bacterial=16, viral=12, covid19=13)
PIXELS = 64
FINDINGS = ("normal", "bacterial", "viral", "covid19")
FRONTAL = {"PA", "AP", "AP Supine"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "data"
    write_phantom(folder, seed=3, size=SIZE, pixels=PIXELS)
    return folder


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "covid-chestxray-dataset/metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def kermany(root: Path, parts: tuple[str, ...] = ("train", "test")) -> list[tuple[str, str, str]]:
    """(class, patient, part) of every image."""
    found = []
    for part in parts:
        for path in (root / "kermany/chest_xray" / part).glob("*/*.jpeg"):
            if path.parent.name == "NORMAL":
                found.append(("normal", path.stem.rpartition("-")[0], part))
            else:
                patient, cause, _ = path.stem.split("_")
                found.append(({"bacteria": "bacterial", "virus": "viral"}[cause], patient, part))
    return found


def test_kermany_layout_holds_the_asked_numbers_in_train_and_test(root: Path) -> None:
    images = kermany(root)
    assert Counter(label for label, _, _ in images) == {"normal": 14, "bacterial": 16, "viral": 12}
    assert {part for _, _, part in images} == {"train", "test"}
    assert Counter(label for label, _, _ in kermany(root, ("val",))) == {
        "normal": 1,
        "bacterial": 1,
    }


def test_each_patient_has_one_label_and_one_part_and_some_have_several_images(root: Path) -> None:
    labels, parts, images = defaultdict(set), defaultdict(set), Counter[str]()
    for label, patient, part in kermany(root, ("train", "test", "val")):
        labels[patient].add(label)
        parts[patient].add(part)
        images[patient] += 1
    assert all(len(found) == 1 for found in (*labels.values(), *parts.values()))
    assert max(images.values()) > 1


def test_cohen_table_has_the_published_columns_and_frontal_covid_images(root: Path) -> None:
    table = rows(root)
    assert tuple(table[0]) == phantom.COHEN_COLUMNS
    images = root / "covid-chestxray-dataset/images"
    present = [row for row in table if (images / row["filename"]).is_file()]
    covid = [r for r in present if r["finding"].startswith("COVID-19") and r["view"] in FRONTAL]
    assert len(covid) == SIZE.covid19
    assert all(r["modality"] == "X-ray" and r["folder"] == "images" for r in present)
    assert all(r["age"] and r["sex"] in "MF" for r in present)
    assert max(Counter(r["patientid"] for r in covid).values()) > 1
    assert {"Streptococcus", "No Finding", "todo", "SARS"} <= {r["finding"] for r in present}
    assert any(r["view"] == "L" for r in present)


def test_cohen_table_names_a_ct_and_a_volume_that_are_absent(root: Path) -> None:
    folder = root / "covid-chestxray-dataset"
    absent = [row for row in rows(root) if not (folder / "images" / row["filename"]).is_file()]
    assert [(row["modality"], row["folder"]) for row in absent] == [
        ("CT", "images"),
        ("CT", "volumes"),
    ]


def test_every_image_is_a_grey_jpeg_of_one_quality_marked_as_generated(root: Path) -> None:
    tables = set()
    images = [p for p in root.rglob("*") if p.suffix in {".jpg", ".jpeg", ".png"}]
    for path in images:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.height) == ("JPEG", "L", PIXELS)
            assert image.info["comment"] == phantom.MARK.encode()
            tables.add(json.dumps(image.quantization))
    assert len(tables) == 1
    assert "They show no patient" in (root / "GENERATED.txt").read_text(encoding="utf-8")


def test_the_same_seed_writes_the_same_bytes_and_another_seed_other_images(
    root: Path, tmp_path: Path
) -> None:
    write_phantom(tmp_path / "same", seed=3, size=SIZE, pixels=PIXELS)
    write_phantom(tmp_path / "other", seed=4, size=SIZE, pixels=PIXELS)
    assert contents(tmp_path / "same") == contents(root)
    other = contents(tmp_path / "other")
    images = {name: data for name, data in contents(root).items() if "/images/" in name}
    assert all(other.get(name) != data for name, data in images.items())


def test_global_random_state_plays_no_part() -> None:
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draw_radiograph("viral", rng=default_rng(0), pixels=PIXELS)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("finding", FINDINGS[1:])
@pytest.mark.parametrize("child", [False, True])
def test_a_finding_changes_the_lungs_and_nothing_else(finding: str, child: bool) -> None:
    for seed in range(6):
        normal, lungs = draw_radiograph_and_lungs("normal", rng=default_rng(seed), child=child)
        image, same = draw_radiograph_and_lungs(finding, rng=default_rng(seed), child=child)
        assert (lungs == same).all()
        changed = image != normal
        assert changed[lungs].mean() > 0.01
        assert not changed[~lungs].any()


def test_the_lungs_are_a_sensible_share_of_the_image() -> None:
    for seed in range(20):
        image, lungs = draw_radiograph_and_lungs("normal", rng=default_rng(seed))
        assert 0.12 < lungs.mean() < 0.5
        assert image[lungs].mean() < image[~lungs & (image > 30)].mean()


def test_the_chest_takes_as_much_chance_from_the_patient_at_every_visit() -> None:
    # If it took more for a wider image, two images of one patient would show two chests.
    states = []
    for visit in range(5):
        body = default_rng(9)
        draw_radiograph_and_lungs("normal", rng=default_rng(visit), body=body, pixels=PIXELS)
        states.append(body.bit_generator.state)
    assert all(state == states[0] for state in states)


def test_a_finding_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        draw_radiograph("fracture", rng=default_rng(0))
    assert caught.value.code == "unknown_label"


def test_a_second_call_writes_nothing(root: Path) -> None:
    times = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    write_phantom(root, seed=3, size=SIZE, pixels=PIXELS)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == times


def test_an_interrupted_phantom_is_completed(root: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    write_phantom(half, seed=3, size=SIZE, pixels=PIXELS)
    (half / "phantom.json").unlink()
    next((half / "kermany").rglob("*.jpeg")).write_bytes(b"cut off")
    write_phantom(half, seed=3, size=SIZE, pixels=PIXELS)
    assert contents(half) == contents(root)


@pytest.mark.parametrize("change", [{"seed": 4}, {"size": PhantomSize()}, {"pixels": 80}])
def test_another_phantom_is_refused_and_left_alone(root: Path, change: dict[str, object]) -> None:
    before = contents(root)
    settings = {"seed": 3, "size": SIZE, "pixels": PIXELS} | change
    with pytest.raises(DataError) as caught:
        write_phantom(root, **settings)
    assert caught.value.code == "not_empty"
    assert contents(root) == before


def test_a_foreign_folder_is_refused_and_an_empty_one_is_used(tmp_path: Path) -> None:
    foreign, empty = tmp_path / "foreign", tmp_path / "empty"
    foreign.mkdir()
    empty.mkdir()
    (foreign / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        write_phantom(foreign, size=SIZE, pixels=PIXELS)
    assert caught.value.code == "not_empty"
    assert contents(foreign) == {"thesis.txt": b"mine"}
    write_phantom(empty, size=PhantomSize(1, 1, 1, 1), pixels=PIXELS)
    assert (empty / "phantom.json").is_file()
