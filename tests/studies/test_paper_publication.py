"""The flow from the archives to the parts of Dataset_1, and what the study writes for a paper."""

import csv
import json

import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.paper import dataset_1
from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.datasets.splits import split
from cxr_transfer.studies.paper import run_study
from cxr_transfer.studies.paper_publication import study_flow
from cxr_transfer.studies.plan import Study
from cxr_transfer.training.device import Execution


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp("archives")
    write_phantom(root, seed=1, size=PhantomSize(normal=40, bacterial=40, viral=40, covid19=24))
    return root


@pytest.mark.slow
def test_the_flow_of_the_study_accounts_for_every_image_of_its_archives(archives):
    read = read_archives(archives)
    target = dataset_1(read)
    flow = study_flow(read, target, [split(target)])
    whole = {each.name: each for each in read}
    assert flow["found"]["images"] == len(whole["kermany"].cases) + len(whole["cohen"].cases)
    left_out = {each["why"]: each["images"] for each in flow["left_out"]}
    assert flow["found"]["images"] == sum(left_out.values()) + len(target.cases)
    assert set(left_out) == {
        "another finding than those of Dataset_1",
        "no frontal view",
        "not among the images of Dataset_1",
    }
    (parts,) = flow["parts"]
    assert sum(part["images"] for part in parts) == len(target.cases)


@pytest.mark.slow
def test_a_study_writes_what_a_publication_needs(archives, tmp_path):
    study = Study(models=("model_1", "model_2"), max_epochs=1, resamples=20, input_size=48)
    execution = Execution(device="cpu", precision="float32")
    report = run_study(str(archives), tmp_path, study, execution=execution)
    folder = tmp_path / "publication"
    record = json.loads((folder / "record.json").read_text())
    assert {run["run"] for run in record["runs"]} == {"model_0", "model_1", "model_2"}
    text = (folder / "methods.md").read_text()
    for run in record["runs"]:
        assert run["weights_sha256"] in text
    assert "It started from model_0 " in text
    assert "No patient had images in more than one part." in text
    with (folder / "predictions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["model"] for row in rows} == {"model_1", "model_2"}
    assert len(rows) == 2 * report["models"]["model_1"]["test_images"]
    with (folder / "table_models.csv").open(newline="") as handle:
        accuracy = {row["model"]: float(row["accuracy"]) for row in csv.DictReader(handle)}
    assert accuracy == {
        name: report["models"][name]["accuracy"]["value"] for name in ("model_1", "model_2")
    }
    for name in ("figure_models", "figure_flow", "figure_model_2_roc"):
        for ending in ("svg", "pdf", "png"):
            assert (folder / f"{name}.{ending}").is_file()
