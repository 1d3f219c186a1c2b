"""Miniature trees of public collections, from their published names, with generated images."""

import csv

from made import encoded, grey
from made_dicom import dicom

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)
NIH_ROWS = (
    # Name, findings, patient, age, sex, view, part.
    ("00000001_000.png", "Cardiomegaly", "1", "57", "M", "PA", "train"),
    ("00000001_001.png", "Emphysema|Cardiomegaly", "1", "58", "M", "PA", "train"),
    ("00000002_000.png", "No Finding", "2", "80", "M", "PA", "train"),
    ("00000003_000.png", "Pneumonia", "3", "411", "F", "AP", "test"),
    ("00000013_005.png", "No Finding", "13", "60", "F", "AP", "test"),
)

CHEXPERT_COLUMNS = (
    *("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding"),
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)
SIIM_CLASSES = (
    *("Negative for Pneumonia", "Typical Appearance"),
    *("Indeterminate Appearance", "Atypical Appearance"),
)


def png(path, seed=0):
    """Write a small generated image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(grey(seed)))


def dcm(path, seed=0, **elements):
    """Write a small generated image as DICOM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom(grey(seed), **elements))


def table(path, columns, rows):
    """Write a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([columns, *rows])


def nih(root, rows=NIH_ROWS, *, header=NIH_HEADER, name="Data_Entry_2017_v2020.csv", parts=True):
    """NIH ChestX-ray14, its images over two of the folders in which they come."""
    lines = [
        f"{image},{findings},0,{patient},{age},{sex},{view},2682,2749,0.143,0.143,\n"
        for image, findings, patient, age, sex, view, _ in rows
    ]
    (root / "nih").mkdir(parents=True)
    (root / "nih" / name).write_text(header + "".join(lines))
    for seed, row in enumerate(rows):
        png(root / "nih" / f"images_{seed % 2 + 1:03}" / "images" / row[0], seed)
    if parts:
        for list_name, part in (("train_val_list.txt", "train"), ("test_list.txt", "test")):
            names = [row[0] for row in rows if row[-1] == part]
            (root / "nih" / list_name).write_text("\n".join(names))
    return root / "nih"


def rsna(root):
    """The RSNA challenge: an image with two boxes, one normal, one neither."""
    folder = root / "rsna"
    table(
        folder / "stage_2_train_labels.csv",
        ("patientId", "x", "y", "width", "height", "Target"),
        [
            ("a1", "264.0", "152.0", "213.0", "379.0", "1"),
            ("a1", "562.0", "152.0", "256.0", "453.0", "1"),
            ("b2", "", "", "", "", "0"),
            ("c3", "", "", "", "", "0"),
        ],
    )
    table(
        folder / "stage_2_detailed_class_info.csv",
        ("patientId", "class"),
        [
            *[("a1", "Lung Opacity")] * 2,
            ("b2", "Normal"),
            ("c3", "No Lung Opacity / Not Normal"),
        ],
    )
    for seed, name in enumerate(("a1", "b2", "c3")):
        known = {"PatientID": name, "PatientSex": "F", "PatientAge": "051Y", "ViewPosition": "AP"}
        dcm(folder / "stage_2_train_images" / f"{name}.dcm", seed, **known)
    return folder


def siim(root):
    """The SIIM challenge: three studies, two of them of one patient."""
    folder = root / "siim"
    studies = {"s1": (1, 0, 0, 0), "s2": (0, 1, 0, 0), "s3": (0, 0, 0, 1)}
    rows = [(f"{study}_study", *found) for study, found in studies.items()]
    table(folder / "train_study_level.csv", ("id", *SIIM_CLASSES), rows)
    images = {"i1": "s1", "i2": "s2", "i3": "s2", "i4": "s3"}
    rows = [(f"{image}_image", "", "none 1 0 0 1 1", study) for image, study in images.items()]
    columns = ("id", "boxes", "label", "StudyInstanceUID")
    table(folder / "train_image_level.csv", columns, rows)
    patients = {"s1": "P7", "s2": "P8", "s3": "P7"}
    for seed, (image, study) in enumerate(images.items()):
        path = folder / "train" / study / f"series{seed}" / f"{image}.dcm"
        dcm(path, seed, PatientID=patients[study], PatientSex="M")
    return folder


def chexpert_row(path, *, view="AP", sex="Male", age="65", **findings):
    """A row of a table of CheXpert; findings by their names, with _ for a space."""
    given = {name.replace("_", " "): value for name, value in findings.items()}
    frontal = "Lateral" if view == "" else "Frontal"
    known = {"Path": path, "Sex": sex, "Age": age, "Frontal/Lateral": frontal, "AP/PA": view}
    return [(known | given).get(name, "") for name in CHEXPERT_COLUMNS]


def chexpert(root, *, top="CheXpert-v1.0-small"):
    """CheXpert: two patients of training, one of validation."""
    folder = root / top
    train = [
        ("patient00001/study1/view1_frontal.jpg", {"Pneumonia": "1.0", "Edema": "-1.0"}),
        ("patient00001/study1/view2_lateral.jpg", {"Pneumonia": "1.0", "view": ""}),
        (
            "patient00002/study1/view1_frontal.jpg",
            {"No_Finding": "1.0", "Support_Devices": "1.0", "view": "PA", "sex": "Female"},
        ),
        ("patient00002/study2/view1_frontal.jpg", {"Edema": "0.0", "sex": "Unknown", "age": "0"}),
    ]
    valid = [("patient64541/study1/view1_frontal.jpg", {"Cardiomegaly": "1.0", "Fracture": "1.0"})]
    for part, images in (("train", train), ("valid", valid)):
        rows = [chexpert_row(f"{top}/{part}/{path}", **known) for path, known in images]
        table(folder / f"{part}.csv", CHEXPERT_COLUMNS, rows)
        for seed, (path, _) in enumerate(images):
            file = folder / part / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(grey(seed), "JPEG"))
    return folder


def tuberculosis(root, images, top="MontgomerySet"):
    """One of the two sets: name of an image to its clinical reading; None for no reading."""
    folder = root / top
    for seed, (name, reading) in enumerate(images.items()):
        png(folder / "CXR_png" / f"{name}.png", seed)
        if reading is not None:
            (folder / "ClinicalReadings").mkdir(exist_ok=True)
            (folder / "ClinicalReadings" / f"{name}.txt").write_text(reading)
    return folder


def montgomery(root):
    """The set of Montgomery County: a patient with two images."""
    images = {
        "MCUCXR_0001_0": "Patient's Sex: F\nPatient's Age: 027Y\nnormal\n",
        "MCUCXR_0162_1": "Patient's Sex: M \nPatient's Age: 049Y\nRUL infiltrate, active TB\n",
        "MCUCXR_0166_1": "Patient's Sex: M \nPatient's Age: 049Y\nNO REPORT (same pt as "
        "MCUCXR_0162_1)\n",
    }
    folder = tuberculosis(root, images)
    png(folder / "ManualMask" / "leftMask" / "MCUCXR_0001_0.png", 9)
    return folder


def shenzhen(root):
    """The set of Shenzhen, with readings as they are written there."""
    images = {
        "CHNCXR_0001_0": "male 45yrs\nnormal",
        "CHNCXR_0002_0": "female24yrs\nnormal",
        "CHNCXR_0003_0": "male 16month\nnormal",
        "CHNCXR_0327_1": "Female , 28yrs  \t\nbilateral PTB,\nleft pleuritis",
        "CHNCXR_0328_1": None,
    }
    return tuberculosis(root, images, "ChinaSet_AllFiles")


COLLECTIONS = {
    "nih": nih,
    "rsna": rsna,
    "siim": siim,
    "chexpert": chexpert,
    "shenzhen": shenzhen,
    "montgomery": montgomery,
}
"""Makers of the trees by the name of their collection."""
