"""A model card for Hugging Face: the model card, with metadata in front that its site reads.

Form: huggingface.co/docs/hub/model-cards; the figures stand in ``model-index``. They are those of
the evaluation, as they are in its JSON. No figures without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_transfer.evaluation.model_card import model_card
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.reports.documents import Documents
from cxr_transfer.reports.figure_evidence import figures_of
from cxr_transfer.statistics.metrics import TITLES

TASK = "image-classification"
LIBRARY = "cxr-transfer"
_TYPES = {
    "accuracy": "accuracy",
    "precision_macro": "precision",
    "recall_macro": "recall",
    "f1_macro": "f1",
    "auroc_macro": "roc_auc",
}
"""Name of a metric on Hugging Face by ours: one number for all classes."""


def hugging_face_card(
    checkpoint_path: Path, documents: Documents, author: Mapping[str, str]
) -> str:
    """Return ``README.md``.

    Args:
        checkpoint_path: Path of the checkpoint.
        documents: Files that are known of it.
        author: Words of the author: licence and language.

    Raises:
        DataError: What `model_card` raises.
        ModelError: What `model_card` raises.
    """
    body = model_card(
        checkpoint_path,
        audit=documents.audit.content if documents.audit else None,
        evaluation=documents.evaluation.content if documents.evaluation else None,
    )
    return render(
        "hugging_face.md.j2",
        metadata=metadata(documents, author),
        body=body,
        licence_is_stated="license" in author,
    )


def metadata(documents: Documents, author: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata, in the order in which they are written."""
    card = documents.card
    sources = sorted({row.source for row in documents.rows if row.source})
    front: dict[str, Any] = {"license": author.get("license", "other")}
    if "license" not in author:
        front["license_name"] = "not-stated"
    stated = ("license_name", "license_link", "language")
    front |= {name: author[name] for name in stated if name in author}
    front |= {
        "library_name": LIBRARY,
        "pipeline_tag": TASK,
        "tags": [
            *("chest-x-ray", "radiology", "medical-imaging", "research-use-only"),
            card.architecture,
        ],
    }
    # Ids of data sets on the site are names without spaces.
    names = [*sources, *([str(card.data["name"])] if card.data.get("name") and not sources else [])]
    if names:
        front["datasets"] = ["-".join(name.split()) for name in names]
    results = _results(documents)
    if results:
        front["metrics"] = [metric["type"] for metric in results[0]["metrics"]]
        front["model-index"] = [{"name": card.name, "results": results}]
    return front


def _results(documents: Documents) -> list[dict[str, Any]]:
    has_figures = figures_of(documents)
    if has_figures is None:
        return []
    document, figures, _ = has_figures
    metrics = [
        {
            "type": type_,
            "name": f"{TITLES[name]}, 95 % {figures[name]['low']:.4f} to "
            f"{figures[name]['high']:.4f}"
            if figures[name].get("low") is not None
            else TITLES[name],
            "value": figures[name]["value"],
        }
        for name, type_ in _TYPES.items()
        if isinstance(figures.get(name), dict) and figures[name].get("value") is not None
    ]
    if not metrics:
        return []
    data_hash = str(document.content.get("data_hash", ""))
    name = f"{documents.card.data.get('name') or 'test images'}, {figures['test_images']} images"
    dataset = {"name": name, "type": "image-folder", "split": "test", "revision": data_hash}
    return [
        {
            "task": {"type": TASK, "name": "Chest radiograph classification"},
            "dataset": dataset,
            "metrics": metrics,
        }
    ]
