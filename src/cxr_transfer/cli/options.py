"""Options that several commands share: one name, one meaning, one text of help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CHECKPOINT_HELP = "Run folder, .safetensors, its .json, or the name of a released model."
SUBJECT_HELP = (
    "Run folder, checkpoint, folder of several, or name of a released model; a file of another "
    "tool (.onnx, .xml, .keras, .h5, .hdf5, .pt, .torchscript); python:package.module:function; "
    "http://HOST/v1/predict of this package's server or http://HOST/v2/models/NAME of KServe's "
    "protocol; or a table of scores (.csv: case, a column for each class)."
)
DEVICE_HELP = "auto, cpu, cuda or mps."
LABEL_HELP = (
    "LABEL=CLASS: what a label of the data counts as; LABEL= leaves its images out, '*=' all that "
    "is not named. May be repeated. What the recipe's [labels] say holds as in training."
)
SOURCE_HELP = "Keep the images of this source alone, such as nih. May be repeated."
FRONTAL_HELP = "Leave out lateral views; an image whose view is not known stays."
DATA_LABEL_HELP = (
    "LABEL=CLASS: what a label of the data counts as; LABEL= leaves its images out. * stands for "
    "any letters: '*=' leaves out all that is not named. May be repeated."
)
NO_LABELS_HELP = "The folders are no classes: an export of DICOM files, for example."
SKIP_DAMAGED_HELP = "Leave out files that cannot be read; damaged.csv in --out lists them."
SUBGROUP_HELP = (
    "Column of the manifest that forms groups, beside source, view, sex and age. May be repeated."
)
OVERRIDE_HELP = (
    "KEY=VALUE: another value of a key of the recipe, such as train.learning_rate=3e-4 (all "
    "stages), head.max_epochs=5 (one stage), augmentation.rotation=10 or input_size=320. May be "
    "repeated."
)
LOGGER_HELP = (
    "tensorboard, mlflow (both with a comma), or none: writes the figures of every epoch for these "
    "programs, below the run folder. Default: tensorboard where it is installed. history.csv is "
    "written in any case."
)
PRECISION_HELP = "auto, float32, or bfloat16 (auto: where the processor has units for it)."

Checkpoint = Annotated[Path, typer.Argument(help=CHECKPOINT_HELP)]
Labels = Annotated[list[str] | None, typer.Option("--label", help=LABEL_HELP)]
DataLabels = Annotated[list[str] | None, typer.Option("--label", help=DATA_LABEL_HELP)]
Sources = Annotated[list[str] | None, typer.Option("--source", help=SOURCE_HELP)]
Frontal = Annotated[bool, typer.Option(help=FRONTAL_HELP)]
NoLabels = Annotated[bool, typer.Option(help=NO_LABELS_HELP)]
SkipDamaged = Annotated[bool, typer.Option(help=SKIP_DAMAGED_HELP)]
Subgroups = Annotated[list[str] | None, typer.Option("--subgroup", help=SUBGROUP_HELP)]
Overrides = Annotated[list[str] | None, typer.Option("-o", help=OVERRIDE_HELP)]
Saw = Annotated[
    Path | None,
    typer.Option(
        help="For a model or a table: table (.csv: path, sha256, pixels or patient) of images "
        "that it was trained on, beside what it declares itself. They are left out."
    ),
]
Describing = Annotated[
    Path | None,
    typer.Option(
        "--description",
        help="For a model of another tool: TOML with its classes, input and output ('cxr audit "
        "inspect' writes one). Default: the one beside its file, of the same name.",
    ),
]
PerSecond = Annotated[
    float, typer.Option(min=0, help="For a model behind HTTP: requests in a second at most.")
]
Device = Annotated[str, typer.Option(help=DEVICE_HELP)]
Precision = Annotated[str, typer.Option(help=PRECISION_HELP)]
MaxEpochs = Annotated[int | None, typer.Option(min=1, help="Cut every stage short.")]
Start = Annotated[
    Path | None, typer.Option("--from", help="Checkpoint that the recipe starts from.")
]
Weights = Annotated[
    Path | None,
    typer.Option(help="File with ResNet-50's ImageNet weights, or (initial = file) your own."),
]
OnCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Train many runs at a time on a Ray cluster: 'local' starts one here, 'auto' or an "
        "address is one that runs; --out must lead to the same folder on every machine.",
    ),
]
ClusterWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="With --cluster: runs at a time, a processor each. Default: 2."
    ),
]
TrainingSeed = Annotated[
    int,
    typer.Option(min=0, max=2**32 - 1, help="Random seed of split, weights, order and dropout."),
]
BootstrapSeed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Random seed of the bootstrap.")
]
