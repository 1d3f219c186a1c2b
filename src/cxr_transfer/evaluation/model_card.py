"""The model card: what is known of one checkpoint, and what is not, as one page of Markdown.

In come the checkpoint, what its run left beside it, and the reports of ``evaluate``, ``study`` and
``audit``; out goes a page of entries. An entry that nothing fills says "not done", and the share
that is filled stands at the top. Computes nothing but counts, and scores no image.
The words: ``model_card.md.j2`` and a template for each of its sections.

Form: Mitchell et al. 2019, "Model Cards for Model Reporting" (FAT*); its sections in our order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.card_facts import (
    PARTS,
    CardInputs,
    check_facts,
    data_facts,
    doubt_facts,
    figure_facts,
    limit_facts,
    model_facts,
)
from cxr_transfer.evaluation.card_reports import Report, check_given, report_beside
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.models.metadata import checkpoint_files, read_card
from cxr_transfer.models.reference import reference_beside
from cxr_transfer.runs.run_folder import own_parts, run_folder, validation_scores
from cxr_transfer.statistics.temperature import NOT_CALIBRATED


def model_card(
    checkpoint_path: Path,
    *,
    audit: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    run: Path | None = None,
) -> str:
    """Return the model card of a checkpoint.

    Args:
        checkpoint_path: Weights file, its card, a run folder or a released model's name.
        audit: Content of its ``audit.json``. Default: of the run folder, or of ``audit/`` in it.
        evaluation: Content of a ``report.json`` of ``evaluate`` or ``study``. Default: of the run
            folder or of ``test/`` in it. What it does not tell is taken from the study in whose
            folder the run lies.
        run: Run folder that the checkpoint is from, where it was handed on without it.

    Returns:
        Markdown.

    Raises:
        DataError: ``other_weights`` for a report on another checkpoint, ``other_report`` for one on
            something else, or not as we write it.
        ModelError: What `checkpoint_files`, `read_card` and `reference_beside` raise.
    """
    card_path, weights = checkpoint_files(checkpoint_path)
    card = read_card(card_path)
    beside_weights = reference_beside(weights, card.weights_sha256)
    folder = run or run_folder(checkpoint_path)
    check_given(card, audit, ("checks",))
    check_given(card, evaluation, ("evaluation", "models"))
    audit = audit or report_beside(card, folder / "audit.json", folder / "audit" / "audit.json")
    beside = (folder / "report.json", folder / "test" / "report.json")
    evaluation = evaluation or report_beside(card, *beside)
    study = report_beside(card, folder.parent / "report.json")
    try:
        rows = own_parts(card, folder)
        card_inputs = CardInputs(
            card=card,
            reference=beside_weights[1] if beside_weights else None,
            folder=folder,
            rows=rows,
            validation=validation_scores(folder, card.label_set)
            if rows and card.label_set.exclusive
            else None,
            report=Report.of(card, evaluation, study),
            audit=audit,
        )
        return _page(card_inputs)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "other_report",
            f"Expected the reports of {card.name} as this version writes them, but in one there is "
            f"something else ({type(error).__name__}: {error}); make it anew.",
        ) from error


def _page(card_inputs: CardInputs) -> str:
    kinds = (model_facts, data_facts, figure_facts, doubt_facts, limit_facts)
    facts = {entry: fact for collect in kinds for entry, fact in collect(card_inputs).items()}
    checks = check_facts(card_inputs)
    answers = [*facts.values(), *(check["found"] for check in checks)]
    return render(
        "model_card.md.j2",
        card=card_inputs.card,
        several=card_inputs.several,
        image=card_inputs.card.preprocessing,
        reference=card_inputs.reference,
        report=card_inputs.report,
        facts=facts,
        checks=checks,
        parts=PARTS,
        not_calibrated=NOT_CALIBRATED,
        filled=sum(answer is not None for answer in answers),
        entries=len(answers),
    )
