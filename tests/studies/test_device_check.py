"""A device is compared with the processor; here the processor is, with itself."""

import pytest
import torch

from cxr_transfer.errors import MachineError
from cxr_transfer.studies import device_check
from cxr_transfer.studies.device_check import PATHS, check_device

QUICK = ("class scores", "heat maps")


def test_the_processor_is_as_near_to_itself_as_can_be():
    said = []
    found = check_device("cpu", lambda phase, share: said.append(phase), paths=QUICK)
    assert found["holds"]
    assert found["checks"][0]["path"] == "class scores of simple_cnn"
    assert len(found["checks"]) == 4
    assert all(row["difference"] == 0 for row in found["checks"])
    assert said == ["class scores (1 of 2)", "heat maps (2 of 2)"]


def test_what_comes_out_otherwise_is_found(monkeypatch):
    """As where a device computes something else: here another network for each question."""

    def another(network, *_, **__):
        return torch.rand(8, 3)

    monkeypatch.setattr(device_check, "probabilities", another)
    found = check_device("cpu", paths=QUICK[:1])
    assert not found["holds"]
    assert not any(row["holds"] for row in found["checks"])


def test_every_path_of_the_processor_holds():
    found = check_device("cpu", paths=set(PATHS) - set(QUICK))
    assert found["holds"], found["checks"]
    named = " ".join(row["path"] for row in found["checks"])
    assert all(
        name in named for name in PATHS if not name.startswith((*QUICK, "training in bfloat16"))
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(MachineError) as refused:
        check_device("cuda")
    assert refused.value.code == "no_device"
