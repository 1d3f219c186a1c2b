"""A folder per class: the folder names are the labels, headers tell the patients."""

import re
from collections import Counter

import pytest

from cxr_transfer.datasets.folder import is_folder, read_folder
from cxr_transfer.datasets.index import index
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.patients import is_unknown
from cxr_transfer.datasets.splits import patient_overlap, split
from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet
from made import chest, encoded, write_image
from made_dicom import dicom

IMAGES = ("a/1.png", "a/deep/er/2.JPG", "b c/1.png", "b c/3.tiff")
JUNK = ("a/.DS_Store", "a/Thumbs.db", "a/._1.png", "b c/notes.txt")
ELSEWHERE = ("empty/readme.md", ".hidden/1.png", "__MACOSX/a/1.png", "top.png")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "images"
    for name in (*IMAGES, *JUNK, *ELSEWHERE):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(found):
    return [case.file for case in found.cases]


def test_every_image_has_the_label_of_its_folder(root):
    found = read_folder(root)
    assert set(names(found)) == set(IMAGES)
    assert all(case.label == case.file.partition("/")[0] for case in found.cases)
    assert all(root / case.file == case.path for case in found.cases)
    assert {case.source for case in found.cases} == {"images"}


def test_every_image_is_its_own_patient_and_that_is_said_once(root):
    found = read_folder(root)
    assert len({case.patient for case in found.cases}) == len(found.cases)
    assert all(is_unknown(case.patient) for case in found.cases)
    (said,) = (line for line in found.notices if "patient" in line)
    assert said.startswith("no patient is known of 4 of 4 images")
    assert "the split may leak" in said


def test_what_is_no_image_is_counted_and_told(root):
    (root / "a" / "__MACOSX").mkdir()
    (root / "a" / "__MACOSX" / "1.png").touch()
    found = read_folder(root)
    assert len(found.cases) == len(IMAGES)
    # The folder without images counts, too.
    assert found.ignored == len(JUNK) + 1 + len(ELSEWHERE) + 1
    told = found.notices[0]
    assert "2 files that are no images (" in told
    assert "1 image beside the class folders (top.png)" in told
    assert "1 folder without images (empty)" in told
    assert "6 hidden files or folders," in told
    assert sum(map(int, re.findall(r"\b(\d+) ", told))) == found.ignored
    for clutter in (".DS_Store", "Thumbs.db", "__MACOSX", ".hidden"):
        assert clutter not in told


def test_it_takes_two_folders_with_images(root, tmp_path):
    assert is_folder(root)
    assert not is_folder(root / "a")
    assert not is_folder(tmp_path / "nowhere")


def test_images_are_known_by_content_whatever_their_names(tmp_path):
    for label in ("clear", "cloudy"):
        write_image(tmp_path / label / "1.png")
        (tmp_path / label / "IM0001").write_bytes(dicom(chest(1)))
        (tmp_path / label / "1.2.840.5").write_bytes(encoded(chest(2), "JPEG"))
        (tmp_path / label / "page.html").write_text("<html>")
    assert names(read_folder(tmp_path)) == [
        f"{label}/{name}"
        for label in ("clear", "cloudy")
        for name in ("1.2.840.5", "1.png", "IM0001")
    ]


def test_links_to_images_and_folders_are_followed(tmp_path):
    write_image(tmp_path / "store" / "1.png")
    write_image(tmp_path / "store" / "deep" / "2.png")
    images = tmp_path / "images"
    write_image(images / "clear" / "0.png")
    (images / "clear" / "1.png").symlink_to(tmp_path / "store" / "1.png")
    (images / "cloudy").symlink_to(tmp_path / "store")
    found = read_folder(images)
    assert names(found) == ["clear/0.png", "clear/1.png", "cloudy/1.png", "cloudy/deep/2.png"]


def test_links_that_lead_back_end_and_are_told(tmp_path):
    for label in ("clear", "cloudy"):
        write_image(tmp_path / label / "deep" / "1.png")
        (tmp_path / label / "again").symlink_to("deep")
        (tmp_path / label / "up").symlink_to("..")
        (tmp_path / label / "top").symlink_to(tmp_path)
    for link in (".", "..", tmp_path.parent):
        (tmp_path / f"class {len(str(link))}").symlink_to(link)
    (tmp_path / "clear" / "gone.png").symlink_to("nowhere.png")
    found = read_folder(tmp_path)
    assert names(found) == ["clear/deep/1.png", "cloudy/deep/1.png"]
    assert "1 broken link (clear/gone.png)" in found.notices[0]
    assert "9 links to folders that are read anyway (" in found.notices[0]
    assert found.ignored == 10


def test_two_classes_that_are_one_folder_are_refused(tmp_path):
    for number in range(12):
        write_image(tmp_path / "clear" / f"{number:02}.png", number)
    (tmp_path / "cloudy").symlink_to("clear")
    dataset = Dataset("images", LabelSet(("clear", "cloudy")), index(read_folder(tmp_path).cases))
    with pytest.raises(DataError) as error:
        split(dataset)
    assert error.value.code == "two_labels"
    assert "clear/00.png = cloudy/00.png" in error.value.message


def test_a_dicom_directory_and_a_report_are_no_images(tmp_path):
    for label in ("clear", "cloudy"):
        path = tmp_path / label / "IM1"
        path.parent.mkdir()
        path.write_bytes(dicom(chest(1), PatientID=label))
    directory = dicom(chest(1), SOPClassUID="1.2.840.10008.1.3.10")
    (tmp_path / "clear" / "DICOMDIR").write_bytes(directory)
    report = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11", "Rows": None, "Columns": None}
    (tmp_path / "cloudy" / "SR.dcm").write_bytes(dicom(chest(1), PixelData=b"\0\0", **report))
    found = read_folder(tmp_path)
    assert names(found) == ["clear/IM1", "cloudy/IM1"]
    assert "1 file that is no image (clear/DICOMDIR)" in found.notices[0]
    assert "1 DICOM file without a picture (cloudy/SR.dcm)" in found.notices[0]
    assert found.ignored == 2


def test_pictures_of_other_formats_are_told_and_their_folder_does_not_vanish(tmp_path):
    for label, kind in (("clear", "PNG"), ("cloudy", "PNG"), ("odd", "GIF")):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1").write_bytes(encoded(chest(1), kind))
    told = read_folder(tmp_path).notices[0]
    assert "1 image of a format that is not read (odd/1)" in told
    assert "1 folder without images (odd)" in told


def test_what_this_program_wrote_beside_the_images_is_no_image(tmp_path):
    for label in ("clear", "cloudy"):
        write_image(tmp_path / label / "1.png")
    for folder in (tmp_path / "run", tmp_path / "clear" / "answers.csv.partial"):
        write_image(folder / "figures" / "1.png")
        (folder / ".lock").touch()
        (folder / "run.json").write_text("{}")
    found = read_folder(tmp_path)
    assert names(found) == ["clear/1.png", "cloudy/1.png"]
    assert "2 written by this program (" in found.notices[0]


@pytest.mark.parametrize("label", ["NaN", "None", "null", "\u200b"])
def test_a_folder_that_names_no_class_is_refused(tmp_path, label):
    write_image(tmp_path / "clear" / "1.png")
    write_image(tmp_path / label / "1.png")
    with pytest.raises(DataError) as error:
        read_folder(tmp_path)
    assert error.value.code == "missing_label"
    assert ascii(label) in error.value.message


def test_folders_of_one_class_in_two_spellings_are_one_class(tmp_path):
    for number, label in enumerate(("Normal", "normal", "nor\u200bmal", "sick", "fie\u0300vre")):
        for radiograph in range(1 + (label == "normal")):
            write_image(tmp_path / label / f"{radiograph}.png", 9 * number + radiograph)
    found = read_folder(tmp_path)
    assert Counter(case.label for case in found.cases) == {
        "normal": 4,
        "sick": 1,
        "fi\u00e8vre": 1,
    }
    assert any("'Normal' (1), 'nor\\u200bmal' (1) taken as 'normal'" in n for n in found.notices)


def test_images_of_one_dicom_patient_stay_together(tmp_path):
    for patient in range(24):
        label = ("clear", "cloudy")[patient % 2]
        folder = tmp_path / "images" / label / f"visit {patient}"
        folder.mkdir(parents=True)
        for image in range(4):
            said = {"PatientAge": "018M", "PatientSex": "M", "ViewPosition": "AP"}
            if image == 3:
                said |= {"ViewPosition": "LATERAL", "PatientAge": "999Y", "PatientSex": "O"}
            content = dicom(chest(4 * patient + image), PatientID=f"Doe {patient}", **said)
            (folder / f"IM{image}").write_bytes(content)
    found = read_folder(tmp_path / "images")
    assert len(found.cases) == 96
    assert len({case.patient for case in found.cases}) == 24
    first, *_, last = found.cases[:4]
    assert (first.view, first.age, first.sex) == ("AP", 1.5, "M")
    assert (last.view, last.age, last.sex) == ("L", None, "")
    told = "\n".join(found.notices)
    assert "96 of 96 images name their patient in the DICOM header; patients: 24" in told
    assert "24 of 96 images are lateral views" in told
    assert "leak" not in told
    assert "Doe" not in told + "".join(case.patient for case in found.cases)
    dataset = Dataset("images", LabelSet(("clear", "cloudy")), index(found.cases))
    for seed in range(5):
        assert patient_overlap(split(dataset, seed=seed)) == 0


def test_a_folder_with_and_without_headers_says_of_how_many_nothing_is_known(tmp_path):
    for label in ("clear", "cloudy"):
        write_image(tmp_path / label / "1.png")
        (tmp_path / label / "IM1").write_bytes(dicom(chest(1), PatientID="P1"))
        (tmp_path / label / "IM2").write_bytes(dicom(chest(2), PatientID=""))
        (tmp_path / label / "IM3").write_bytes(dicom(chest(3), PatientID="ANONYMOUS"))
    found = read_folder(tmp_path)
    assert len({case.patient for case in found.cases}) == 7
    assert "no patient is known of 6 of 8 images" in "\n".join(found.notices)


def test_one_number_of_most_images_may_be_a_placeholder_and_that_is_said(tmp_path):
    for number in range(24):
        path = tmp_path / ("clear", "cloudy")[number % 2] / f"IM{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dicom(chest(0), PatientID="HOSPITAL"))
    found = read_folder(tmp_path)
    assert len({case.patient for case in found.cases}) == 1
    assert any("one Patient ID stands in 24 of 24 DICOM files" in line for line in found.notices)


def test_the_folder_in_which_one_is_names_the_source(root, monkeypatch):
    monkeypatch.chdir(root)
    assert {case.source for case in read_folder(type(root)()).cases} == {"images"}
