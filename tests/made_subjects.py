"""Networks of other tools, small and with a known answer, and images that they tell apart."""

import csv
import warnings

import numpy as np
import torch
from PIL import Image
from torch import nn

LABELS = ("normal", "covid19")
SIDE = 128
BRIGHTNESS = {"normal": (0.25, 0.85), "covid19": (0.55, 0.55)}
"""Mean grey of the images of a class, in turns: only what lies in the middle is of the second."""


class Middle(nn.Module):
    """Logits of two classes: the second is high where the mean grey is near 0.55 of 0 to 1."""

    def forward(self, images):
        mean = images.mean(dim=(1, 2, 3))
        far = (mean - 0.55).abs()
        return torch.stack([far * 40, 4 - far * 40], dim=1)


def write_images(folder, each=12, labels=LABELS, sources=("a",)):
    """Write images of a known brightness and a manifest of them; return its path."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for source in sources:
        for label in labels:
            for number in range(each):
                mean = BRIGHTNESS[label][number % 2]
                grey = (255 * (mean + rng.normal(0, 0.05, (SIDE, SIDE)))).clip(0, 255)
                name = f"{source}_{label}_{number}.png"
                Image.fromarray(grey.astype(np.uint8)).save(folder / name)
                rows.append((name, label, f"{source}{label}{number}", source))
    path = folder / "images.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "patient", "source"))
        writer.writerows(rows)
    return path


def description(name="middle", **input_changes):
    """Return the text of a description of `Middle`."""
    values = {
        "height": SIDE,
        "width": SIDE,
        "channels": 1,
        "layout": '"NCHW"',
        "range": "[0.0, 1.0]",
    } | input_changes
    lines = "\n".join(f"{key} = {value}" for key, value in values.items())
    labels = ", ".join(f'"{label}"' for label in LABELS)
    return f'name = "{name}"\nlabels = [{labels}]\n[input]\n{lines}\n[output]\nvalues = "logits"\n'


def write_torchscript(path, network=None):
    """Write a network as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
        torch.jit.script(network or Middle()).save(str(path))
    return path


def write_openvino(path, shape=(-1, 1, SIDE, SIDE)):
    """Write `Middle` as OpenVINO's ``.xml`` and ``.bin``."""
    import openvino

    example = torch.zeros([max(side, 1) for side in shape])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript
        network = openvino.convert_model(
            Middle().eval(), example_input=example, input=[list(shape)]
        )
    openvino.save_model(network, path, compress_to_fp16=False)
    return path


def write_keras(path):
    """Write a network like `Middle` in Keras: the mean grey of the image, by dense layers."""
    import os

    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    inputs = keras.Input((SIDE, SIDE, 1))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    # |x - 0.55| of two rectified halves
    halves = keras.layers.Dense(2, activation="relu")(mean)
    outputs = keras.layers.Dense(2, activation="softmax")(halves)
    network = keras.Model(inputs, outputs)
    network.layers[-2].set_weights([np.array([[1.0, -1.0]]), np.array([-0.55, 0.55])])
    weights = np.array([[40.0, -40.0], [40.0, -40.0]])
    network.layers[-1].set_weights([weights, np.array([0.0, 4.0])])
    network.save(path)
    return path


def write_onnx(path, outside=None, datatype="FLOAT", shape=("N", 1, SIDE, SIDE)):
    """Write `Middle` as ONNX; its constant may be said to lie in a file elsewhere."""
    import onnx
    from onnx import TensorProto, helper

    middle = helper.make_tensor("middle", TensorProto.FLOAT, [1], [0.55])
    if outside is not None:
        middle = helper.make_tensor("middle", TensorProto.FLOAT, [1], [0.0])
        middle.ClearField("float_data")
        middle.data_location = TensorProto.EXTERNAL
        middle.external_data.add(key="location", value=outside)
    tensors = [
        middle,
        helper.make_tensor("slope", TensorProto.FLOAT, [1, 2], [40.0, -40.0]),
        helper.make_tensor("base", TensorProto.FLOAT, [1, 2], [0.0, 4.0]),
        helper.make_tensor("flat", TensorProto.INT64, [2], [0, -1]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["values", "flat"], ["pixels"]),
        helper.make_node("ReduceMean", ["pixels", "one"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["mean", "middle"], ["off"]),
        helper.make_node("Abs", ["off"], ["far"]),
        helper.make_node("Mul", ["far", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "base"], ["logits"]),
    ]
    images = helper.make_tensor_value_info("images", getattr(TensorProto, datatype), shape)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])
    graph = helper.make_graph(nodes, "middle", [images], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path
