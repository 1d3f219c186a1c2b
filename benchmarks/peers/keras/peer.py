"""The paper's method as a practitioner writes it in Keras 3 on TensorFlow: the side to beat.

Same tasks and the same line of JSON as ``benchmarks/ours.py``; imports nothing of ours. Batch 20,
decoded once and kept (``cache``), shuffled, prefetched; ResNet-50 with random weights, since only
time is measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

EPOCHS = 3
SIZE = (224, 224)


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch, validation included."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.started)


def images(folder, part):
    loaded = keras.utils.image_dataset_from_directory(
        folder / "classes",
        image_size=SIZE,
        batch_size=None,
        shuffle=True,
        seed=0,
        validation_split=0.16,
        subset=part,
        verbose=False,
    )
    number = len(loaded)
    kept = loaded.cache()
    if part == "training":
        kept = kept.shuffle(number)
    return kept.batch(20).prefetch(tf.data.AUTOTUNE), number


def fit(network, training, validation, rate):
    network.compile(
        keras.optimizers.Adam(rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    clock = Clock()
    network.fit(training, validation_data=validation, epochs=EPOCHS, verbose=0, callbacks=[clock])
    return clock.seconds


def cnn():
    layers = [keras.Input((*SIZE, 3)), keras.layers.Rescaling(1 / 255)]
    for channels in (32, 64, 128, 128):
        layers += [
            keras.layers.Conv2D(channels, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(3, activation="softmax"),
    ]
    return keras.Sequential(layers)


def resnet():
    base = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(*SIZE, 3), pooling="avg"
    )
    return base, keras.Sequential([base, keras.layers.Dense(3, activation="softmax")])


def prepared(images):
    return keras.applications.resnet.preprocess_input(images)


def training(folder, task):
    started = time.perf_counter()
    train, number = images(folder, "training")
    validation, others = images(folder, "validation")
    if task == "cnn_epoch":
        stages = {"all": fit(cnn(), train, validation, 1e-3)}
    else:
        train, validation = (
            data.map(lambda x, y: (prepared(x), y)) for data in (train, validation)
        )
        base, network = resnet()
        base.trainable = False
        stages = {"head": fit(network, train, validation, 1e-3)}
        base.trainable = True
        for layer in base.layers:  # the last 11 layers: the last block, and the head
            layer.trainable = layer.name.startswith("conv5_block3")
        stages["last_block"] = fit(network, train, validation, 1e-4)
    whole = time.perf_counter() - started
    return {
        "training_images": number,
        "validation_images": others,
        "once_s": whole - sum(map(sum, stages.values())),
        "epochs_s": stages,
    }


def one(folder, how):
    _, network = resnet()
    took = []
    for file in sorted((folder / "megapixel").iterdir())[:20]:
        started = time.perf_counter()
        image = keras.utils.img_to_array(keras.utils.load_img(file, target_size=SIZE))
        batch = prepared(image[np.newaxis])
        if how == "predict":
            network.predict(batch, verbose=0)
        else:
            np.asarray(network(batch, training=False))
        took.append(1000 * (time.perf_counter() - started))
    return {"ms": took[5:]}


def whole_folder(folder, limit):
    _, network = resnet()
    data = keras.utils.image_dataset_from_directory(
        folder / "megapixel",
        labels=None,
        image_size=SIZE,
        batch_size=32,
        shuffle=False,
        verbose=False,
    )
    number = len(data.file_paths)
    if limit:
        data, number = data.take(limit // 32), limit // 32 * 32
    data = data.map(prepared, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    network.predict(data.take(1), verbose=0)
    started = time.perf_counter()
    network.predict(data, verbose=0)
    return {"images": number, "s": time.perf_counter() - started}


def cold(folder):
    """One process from nothing to one answer: timed from outside; the network from a file."""
    path = folder / "resnet.keras"
    if not path.is_file():
        resnet()[1].save(path)
        return {"saved": True}
    network = keras.models.load_model(path, compile=False)
    file = min((folder / "megapixel").iterdir())
    image = keras.utils.img_to_array(keras.utils.load_img(file, target_size=SIZE))
    return {"scores": network.predict(prepared(image[np.newaxis]), verbose=0)[0].tolist()}


def peak_mb():
    """Return the most memory that this process held; Linux' own count, which exec resets."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1024)
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    if given.task in ("cnn_epoch", "resnet_epochs"):
        found = training(given.folder, given.task)
    elif given.task.startswith("one"):
        found = one(given.folder, "call" if given.task == "one_call" else "predict")
    elif given.task == "cold":
        found = cold(given.folder)
    else:
        found = whole_folder(given.folder, given.limit)
    print(json.dumps(found | {"peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
