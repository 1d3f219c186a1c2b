"""Networks of other libraries and of one's own code, by name; each is imported when it is built."""

import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest
import torch

from cxr_transfer.errors import MachineError, ModelError, UsageError
from cxr_transfer.extras import installed
from cxr_transfer.models import backbones
from cxr_transfer.models.adapter import check_network, places_of
from cxr_transfer.models.registry import architecture, build

SIZE = (64, 64)

needs_monai = pytest.mark.skipif(not installed("monai"), reason="MONAI is not installed")
needs_transformers = pytest.mark.skipif(
    not installed("transformers"), reason="transformers is not installed"
)


def made(name):
    torch.manual_seed(0)
    network = build(name, 3, size=SIZE, epsilon=1e-3).eval()
    check_network(network, 3, SIZE)
    return network


@pytest.mark.slow
@needs_monai
@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("monai:resnet18", "layer4_1"),
        ("monai:DenseNet121", "class_layers_relu"),
        ("monai:EfficientNetBN", ""),
    ],
)
def test_networks_of_monai_are_built_without_fetching_anything(name, places):
    network = made(name)
    assert places_of(network) == places
    again = made(name)
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            network.state_dict().values(), again.state_dict().values(), strict=True
        )
    ), "one seed gives the same weights"


@needs_monai
def test_a_network_that_monai_does_not_have_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'DenseNet121'") as raised:
        build("monai:DenseNet122", 3, size=SIZE, epsilon=1)
    assert raised.value.code == "bad_backbone"


@needs_transformers
def test_a_local_folder_of_transformers_is_read_with_its_scale(tmp_path):
    import transformers

    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=2
    )
    torch.manual_seed(3)
    theirs = transformers.ResNetForImageClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}'
    )
    pretrained = architecture(f"hf:{tmp_path}").pretrained(3, SIZE).eval()
    check_network(pretrained, 3, SIZE)
    assert pretrained.scale.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (2, 1, *SIZE), dtype=np.uint8)
    )
    with torch.no_grad():
        expected = theirs.resnet(pretrained.scale(images)).pooler_output.flatten(1)
        assert torch.allclose(pretrained[:-1](images).flatten(1), expected, atol=1e-5)


def test_a_folder_that_is_none_is_refused_before_anything_is_fetched(tmp_path):
    if not installed("transformers"):
        pytest.skip("transformers is not installed")
    with pytest.raises(UsageError, match="local folder of transformers"):
        build(f"hf:{tmp_path}/absent", 3, size=SIZE, epsilon=1)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("timm:resnet18", "timm"),
        ("torchvision:resnet18", "torchvision"),
        ("xrv:densenet", "torchx"),
    ],
)
def test_a_library_that_is_absent_or_broken_is_one_sentence(name, package):
    if installed({"torchx": "torchxrayvision"}.get(package, package)):
        pytest.skip("it is installed")
    with pytest.raises(MachineError, match=f"Expected {package}") as raised:
        build(name, 3, size=SIZE, epsilon=1)
    assert raised.value.code == "missing_package"
    assert "pip install 'cxr-transfer[" in raised.value.message


def test_a_library_whose_import_fails_is_called_broken(monkeypatch, tmp_path):
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms is absent')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(MachineError, match=r"does not work here.*nms") as raised:
        build("timm:resnet18", 3, size=SIZE, epsilon=1)
    assert raised.value.code == "broken_package"


@pytest.mark.parametrize("name", ["monai:", "nope:x y", "a b:c", ":x", "os.path:join()", "x:1"])
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(UsageError) as raised:
        architecture(name)
    assert raised.value.code == "bad_backbone"


OWN = """
    import torch
    from torch import nn

    def small(classes):
        pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), *pooled, nn.Linear(4, classes))

    def broken(classes):
        raise KeyError("weights")

    def number(classes):
        return 3

    from cxr_transfer.models.architecture import Architecture
    ROW = Architecture("mine", lambda classes, size, epsilon: small(classes))
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(dedent(OWN))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(backbones, "_trusted_here", set())
    return "own_nets"


def test_code_of_ones_own_is_run_only_where_it_is_trusted(own_code, monkeypatch):
    with pytest.raises(UsageError, match="CXR_TRUSTED_CODE=own_nets") as raised:
        build("own_nets:small", 3, size=SIZE, epsilon=1)
    assert raised.value.code == "untrusted_code"
    assert "own_nets" not in sys.modules
    monkeypatch.setenv(backbones.TRUSTED, "other, own_nets")
    network = build("own_nets:small", 3, size=SIZE, epsilon=1)
    check_network(network, 3, SIZE)
    assert network.scale.mean.numel() == 1, "its first layer takes one channel"


def test_what_is_wrong_with_ones_own_code_is_said(own_code):
    backbones.trust("own_nets:small")
    for name, code, kind in [
        ("own_nets:broken", "bad_backbone", UsageError),
        ("own_nets:number", "bad_backbone", UsageError),
        ("own_nets:absent", "bad_backbone", UsageError),
    ]:
        with pytest.raises(kind) as raised:
            build(name, 3, size=SIZE, epsilon=1)
        assert raised.value.code == code
    backbones.trust("no_such_module:small")
    with pytest.raises(MachineError, match="PYTHONPATH"):
        build("no_such_module:small", 3, size=SIZE, epsilon=1)


def test_naming_a_network_imports_nothing():
    code = (
        "import sys; from cxr_transfer.models.registry import architecture; "
        "architecture('monai:DenseNet121'); architecture('os:path');"
        "print([one for one in ('torch', 'monai', 'transformers') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_classifier_of_other_classes_gets_a_new_head():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1000))
    assert backbones.with_new_head(module, 2)(torch.zeros(1, 3, 2, 2)).shape == (1, 2)
    with pytest.raises(ModelError, match="linear head"):
        backbones.with_new_head(torch.nn.Sequential(torch.nn.Flatten()), 2)
