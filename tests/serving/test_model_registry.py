"""What lies beside a served model goes out over HTTP: nothing that it leads to elsewhere does."""

import json
import os
import shutil

import pytest

from cxr_transfer.export.self_test import self_test_image
from cxr_transfer.models.folder import LARGEST_PAGE
from cxr_transfer.serving.model_registry import named_models, open_model
from serving.asking import running


@pytest.fixture
def folder(checkpoint, predictor, tmp_path):
    """A model folder of its own, and a secret beside it that names the model's weights."""
    shutil.copytree(checkpoint, tmp_path / "model")
    known = predictor.card.weights_sha256
    (tmp_path / "secret").write_text(f"of somebody, {known}")
    audit = {"checkpoint": {"weights_sha256": known}, "verdict": "pass", "time": "now"}
    (tmp_path / "secret.json").write_text(json.dumps(audit | {"checks": []}))
    return tmp_path / "model"


def served(folder):
    ((name, origin),) = named_models([folder]).items()
    return open_model(name, origin, self_test_image())


def test_a_card_and_an_audit_of_the_folders_own_are_handed_on(folder):
    shutil.copy(folder.parent / "secret", folder / "MODEL_CARD.md")
    shutil.copy(folder.parent / "secret.json", folder / "audit.json")
    one = served(folder)
    assert one.card().startswith("of somebody")
    assert one.audit()["verdict"] == "pass"


@pytest.mark.parametrize("to", ["../secret", "/proc/self/environ", "/dev/zero", "../gone"])
def test_a_card_that_is_a_link_out_of_the_folder_is_none(folder, to):
    (folder / "MODEL_CARD.md").symlink_to(to)
    (folder / "audit.json").symlink_to("../secret.json")
    one = served(folder)
    assert one.card() is None
    assert one.audit() is None
    told = one.described()
    assert (told["card"], told["audit"]) == (False, "not done")


def test_what_is_no_file_or_has_no_end_is_none(folder):
    os.mkfifo(folder / "MODEL_CARD.md")
    (folder / "audit.json").mkdir()
    one = served(folder)
    assert (one.card(), one.audit()) == (None, None)
    (folder / "MODEL_CARD.md").unlink()
    text = (folder.parent / "secret").read_text()
    (folder / "MODEL_CARD.md").write_text(text + " " * LARGEST_PAGE)
    assert one.card() is None
    (folder / "audit.json").rmdir()
    audit = (folder.parent / "secret.json").read_text()
    (folder / "audit.json").write_text(audit.replace('"now"', "NaN"))
    assert one.audit() is None


@pytest.mark.slow
def test_over_http_a_linked_card_is_not_there(folder):
    (folder / "MODEL_CARD.md").symlink_to("../secret")
    with running(folder) as server, server.client() as client:
        (name,) = [one["name"] for one in client.get("/v1/models").json()["models"]]
        answer = client.get(f"/v1/models/{name}/card")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_card")
        assert "of somebody" not in answer.text
