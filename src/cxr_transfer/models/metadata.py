"""The card of a trained network: all that is known of it beside its weights.

Self-sufficient: labels in order, preprocessing, architecture, recipe, data and split hashes,
versions. Knows nothing of tensors, so that what only reads a card starts without torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.labels import LabelSet, Task
from cxr_transfer.models.folder import checked_words, read_json
from cxr_transfer.models.registry import ArchitectureName
from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.text import for_terminal

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""In hexadecimal digits; it becomes a part of paths."""

Words = Annotated[dict[str, Any], AfterValidator(checked_words)]
"""JSON that pages and terminals show: printable texts, finite numbers, not too many of them."""

Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]

SCHEMA: Literal[2] = 2
LONGEST_TITLE = 200
WEIGHTS = "checkpoint.safetensors"
CARD = "checkpoint.json"
CHANGED = "changed.safetensors.xz"
"""What training changed of ImageNet's weights, where the whole is put together at first use."""

RELEASED = Path(__file__).parent.parent / "released"
"""Folders of the checkpoints that come with the package, each under its name."""


class Checkpoint(BaseModel):
    """Facts that a network needs beside its weights, and its origin.

    Attributes:
        schema_version: Version of this file; any other one is refused.
        name: Name of the recipe; it stands in answers and in names of files.
        weights_sha256: SHA-256 of the ``.safetensors`` file beside it.
        task: Whether an image has one of the labels, or any number of them. Written only where it
            is any number: an older version then refuses the card.
        epsilon: Epsilon of the batch normalisation (ResNet-50).
        network: Title, licence, library and version of the architecture, and its child before which
            images still have places.
        recipe: The recipe as it was run.
        provenance: Time, versions, commit, machine, seed, device.
        data: Name and hash of the data set, how it was split and that hash, images per part.
        seen: SHA-256 of every image that training or validation saw, and of every such patient's
            name: enough to refuse them in an evaluation, not enough to know who they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[2] = SCHEMA
    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+ -]{0,63}$")
    architecture: ArchitectureName
    labels: tuple[str, ...]
    task: Task = "multi_class"
    preprocessing: Preprocessing
    epsilon: float = Field(gt=0, le=1, allow_inf_nan=False)
    weights_sha256: Sha256
    network: Words = Field(default_factory=dict)
    recipe: Words = Field(default_factory=dict)
    provenance: Words = Field(default_factory=dict)
    data: Words = Field(default_factory=dict)
    seen: dict[str, list[Fingerprint]] = Field(default_factory=dict, max_length=8)

    @model_validator(mode="after")
    def _has_labels(self) -> Checkpoint:
        try:
            _ = self.label_set
        except DataError as error:
            raise ValueError(error.message) from None
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        if self.task == "multi_class":
            written.pop("task", None)
        return written

    @field_validator("recipe")
    @classmethod
    def _tells_what_is_used_of_it(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        title, coverage = recipe.get("title", ""), recipe.get("coverage")
        if not isinstance(title, str) or len(title) > LONGEST_TITLE:
            raise ValueError(f"a title that is no text of at most {LONGEST_TITLE} characters")
        number = isinstance(coverage, int | float) and not isinstance(coverage, bool)
        if coverage is not None and not (number and 0 < coverage <= 1):
            raise ValueError("a coverage that is no share above 0")
        return recipe

    @property
    def last_with_places(self) -> str:
        """Child whose output is the last that still has places; "" where it is not known."""
        return str(self.network.get("last_with_places", ""))

    @property
    def label_set(self) -> LabelSet:
        """Classes, or findings, in index order."""
        return LabelSet(self.labels, exclusive=self.task == "multi_class")

    @property
    def label_table(self) -> dict[str, str]:
        """Label to the class that it counted as in training, or to "", where the recipe says so."""
        table = self.recipe.get("labels")
        return (
            {label: str(name) for label, name in table.items()} if isinstance(table, dict) else {}
        )


def fingerprint(text: str) -> str:
    """Return a short hash that stands for an image or a patient without naming it.

    >>> fingerprint("kermany:person1")
    '5ba8a472c9c48631'
    """
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def released_models() -> tuple[str, ...]:
    """Return the names of the models that come with the package, sorted."""
    return tuple(sorted(card.parent.name for card in RELEASED.glob(f"*/{CARD}")))


def checkpoint_files(path: Path) -> tuple[Path, Path]:
    """Return the card and the weights of a run folder, a weights file, a card, or a name.

    Where `CHANGED` lies in the weights' place, `models.released.weights_at_hand` has them.

    Args:
        path: A path; or, where there is nothing at it, the name of a released model.

    Raises:
        ModelError: ``not_safetensors``, ``no_checkpoint``.
    """
    if not path.exists() and str(path) in released_models():
        path = RELEASED / path
    folder, stem = (path, "checkpoint") if path.is_dir() else (path.parent, path.stem)
    if not path.is_dir() and path.suffix == "" and not path.exists():
        raise ModelError(
            "no_checkpoint",
            f"Expected a checkpoint at {path}, but there is none, and no released model of that "
            f"name either ({', '.join(released_models()) or 'none came with this package'}).",
        )
    if not path.is_dir() and path.suffix not in (".safetensors", ".json"):
        raise ModelError(
            "not_safetensors",
            f"Expected a run folder, a .safetensors file or its .json, but got {path}; other "
            "formats (pickles above all) are never opened.",
        )
    card, weights = folder / f"{stem}.json", folder / f"{stem}.safetensors"
    absent = [str(file) for file in (card, weights) if not file.is_file()]
    if absent == [str(weights)] and weights.name == WEIGHTS and (folder / CHANGED).is_file():
        absent = []  # `models.released` puts them together
    if absent:
        raise ModelError(
            "no_checkpoint",
            f"Expected a checkpoint at {path}, but there is no {' and no '.join(absent)}; train "
            "one with 'cxr train', or give another path.",
        )
    return card, weights


def read_card(path: Path) -> Checkpoint:
    """Read the card at ``path``.

    Raises:
        ModelError: ``bad_card``, ``other_schema``, and what `models.folder.opened` raises.
    """
    try:
        content = read_json(path)
    except ValueError as error:
        raise ModelError("bad_card", f"Expected JSON in {path}, but got: {error}.") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and not isinstance(version, bool) and version != SCHEMA:
        remedy = "train it anew" if version < SCHEMA else "update cxr-transfer"
        raise ModelError(
            "other_schema",
            f"Expected a checkpoint of schema {SCHEMA}, but {path} has {version}; {remedy}.",
        )
    try:
        return Checkpoint.model_validate(content)
    except ValidationError as error:
        raise ModelError(
            "bad_card", f"Expected a checkpoint's fields in {path}, but {first_problem(error)}."
        ) from None


def check_hash(checkpoint: Checkpoint, digest: str, weights_path: Path) -> None:
    """Refuse weights that are not those of which the card tells.

    Args:
        checkpoint: Card of the checkpoint.
        digest: SHA-256 of the weights' file.
        weights_path: Path of that file, for the message.

    Raises:
        ModelError: ``wrong_hash``.
    """
    if digest != checkpoint.weights_sha256:
        raise ModelError(
            "wrong_hash",
            f"Expected weights with SHA-256 {checkpoint.weights_sha256[:12]}..., but "
            f"{weights_path} has {digest[:12]}...; the file is damaged or of another run.",
        )


def first_problem(error: ValidationError) -> str:
    """Return where the first thing that is wrong stands, and what it is, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return for_terminal(f"{where}: {first['msg'].removeprefix('Value error, ')}").rstrip(".")
