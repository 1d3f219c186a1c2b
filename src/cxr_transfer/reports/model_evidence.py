"""What the card of a checkpoint proves of the model, and of how it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_transfer.provenance import short
from cxr_transfer.reports.documents import Documents, Fact
from cxr_transfer.statistics.temperature import NOT_CALIBRATED

Facts = dict[str, Fact | None]


def model_evidence(documents: Documents) -> Facts:
    """Return what is known of the model."""
    card, of_card = documents.card, documents.of_card
    network, image = card.network, card.preprocessing
    several = card.task != "multi_class"
    title = str(network.get("title") or card.architecture)
    size = network.get("weights")
    reference = documents.reference
    scale = reference.score_scale if reference else NOT_CALIBRATED
    kind = "a probability of each finding" if several else "a score of each class, which sum to 1"
    return {
        "model.name": of_card(card.name, "$.name"),
        "model.architecture": of_card(
            f"{title} ({card.architecture})" + (f", {size} weights" if size else ""),
            "$.architecture, $.network",
        ),
        "model.input": of_card(
            f"grey image of {image.height} x {image.width} pixels, {image.interpolation}",
            "$.preprocessing",
        ),
        "model.preprocessing": of_card(_written(image.model_dump(mode="json")), "$.preprocessing"),
        "model.output": of_card(f"{kind}: {', '.join(card.labels)}", "$.labels, $.task"),
        "model.scale": of_card(f"scores {scale}", "$.weights_sha256, reference.safetensors"),
        "model.abstention": of_card(_abstention(documents), "$.recipe.coverage"),
        "model.weights": of_card(f"SHA-256 {card.weights_sha256}", "$.weights_sha256"),
        "model.licence": of_card(str(network.get("licence") or ""), "$.network.licence"),
        "model.ensemble": of_card("one network; no ensemble", "$.architecture"),
        "model.made": of_card(str(card.provenance.get("time") or "")[:10], "$.provenance.time"),
    }


def _abstention(documents: Documents) -> str:
    reference = documents.reference
    if reference is None:
        return ""
    far = "no class for an image that is far from all images of training"
    if reference.confidence_threshold is None:
        return far
    return f"{far}, or whose highest score is below {reference.confidence_threshold:.6f}"


def training_evidence(documents: Documents) -> Facts:
    """Return what is known of how it was trained."""
    recipe, record, of_card = (
        documents.card.recipe,
        documents.card.provenance,
        documents.of_card,
    )
    stages = [stage for stage in recipe.get("stages", ()) if isinstance(stage, dict)]
    is_known = bool(stages)
    kept = [stage for stage in record.get("stages", ()) if isinstance(stage, dict)]
    balance = {
        "class weights": recipe.get("class_weights"),
        "sampling": recipe.get("sampling"),
        "balance of a fit": next((s["balance"] for s in stages if s.get("balance")), None),
    }
    augmentation = recipe.get("augmentation") or {}
    commit = str(record.get("commit") or "")
    return {
        "training.software": of_card(_written(record.get("versions", {})), "$.provenance.versions"),
        "training.machine": of_card(
            _written(record.get("machine", {}) | {"device": record.get("device", "cpu")})
            if record.get("machine")
            else "",
            "$.provenance.machine, $.provenance.device",
        ),
        "training.commit": of_card(short(commit) if commit else "", "$.provenance.commit"),
        "training.initial": of_card(str(record.get("initial") or ""), "$.provenance.initial"),
        "training.stages": of_card("; ".join(map(_stage, stages)), "$.recipe.stages"),
        "training.augmentation": of_card(
            (_written(augmentation) or "none") if is_known else "", "$.recipe.augmentation"
        ),
        "training.imbalance": of_card(
            _written({key: value for key, value in balance.items() if value}) if is_known else "",
            "$.recipe.class_weights, $.recipe.sampling, $.recipe.stages[*].balance",
        ),
        "training.selection": of_card("; ".join(map(_kept, kept)), "$.provenance.stages"),
        "training.seed": of_card(
            f"seed {record['seed']}" if "seed" in record else "", "$.provenance.seed"
        ),
        "training.start": of_card(
            str(record.get("initial"))
            if str(recipe.get("initial", "")).startswith("checkpoint")
            else "",
            "$.recipe.initial",
        ),
    }


def _stage(stage: Mapping[str, Any]) -> str:
    """Return what a stage did, with every number that decides it."""
    name = stage.get("name", "")
    if stage.get("fit") == "logistic":
        return f"{name}: logistic regression on frozen features, penalty {stage.get('penalty')}"
    numbers = {
        "learning rate": stage.get("learning_rate"),
        "schedule": stage.get("schedule"),
        "batch size": stage.get("batch_size"),
        "most epochs": stage.get("max_epochs"),
        "weight decay": stage.get("weight_decay"),
        "stops after epochs without gain": stage.get("stop_after"),
    }
    trained = ", ".join(map(str, stage.get("train", ())))
    return f"{name}: {stage.get('optimizer')} on {trained}, {_written(numbers)}"


def _kept(stage: Mapping[str, Any]) -> str:
    epoch, monitor = stage.get("kept_epoch"), stage.get("monitor", "val_loss")
    if epoch is None:
        return f"{stage.get('name')}: the weights before it, since no epoch was better"
    return f"{stage.get('name')}: weights of epoch {epoch} of {stage.get('epochs')}, by {monitor}"


def _written(table: Mapping[str, Any]) -> str:
    """Return a flat table in words.

    >>> _written({"height": 224, "crop": None})
    'height 224'
    """
    return ", ".join(f"{key} {value}" for key, value in table.items() if value is not None)
