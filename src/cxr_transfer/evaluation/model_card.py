"""The model card: what is known of one checkpoint, and what is not, as one page of Markdown.

In come the checkpoint, what its run left beside it, and the reports of ``evaluate``, ``study`` and
``audit``; out goes a page of entries. An entry that nothing fills says "not done", and the share
that is filled stands at the top (TRUST, row 20). Computes nothing but counts, and scores no film.

Form: Mitchell et al. 2019, "Model Cards for Model Reporting" (FAT*); its sections in our order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.models.folder import read_json
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files, read_card
from cxr_transfer.models.reference import Reference, reference_beside
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.run_folder import (
    PartRow,
    opened_words,
    openings,
    own_overlap,
    parts,
    patients_in_several_parts,
    run_folder,
    validation_scores,
)
from cxr_transfer.statistics.intervals import Estimate, share
from cxr_transfer.statistics.metrics import Scores
from cxr_transfer.statistics.temperature import NOT_CALIBRATED, score_scale
from cxr_transfer.text import markdown

NOT_DONE = "not done"
PARTS = ("train", "validation", "test")

FOR = (
    "Research on how such models learn and fail; teaching; a point of comparison on the same "
    "films. Its output is a class score: how a film compares with the films of training, not how "
    "likely a disease is."
)
NOT_FOR = (
    "Any statement about a person: whether, how badly or with what somebody is ill. Films of other "
    "kinds than those of training (other ages, other machines, other findings): "
)

EARLIER_INTERVALS = (
    "bootstrap by patient, percentiles; of AUROC the bootstrap's spread on the logit scale, which "
    "was too wide near 1"
)
"""Of reports that do not name the method of their intervals: they were made before it changed."""


@dataclass(frozen=True)
class Entry:
    """One entry of the card.

    Attributes:
        title: What is asked.
        said: The answer in Markdown; "" when nothing answers it.
        why: Why it is blank, if more is known than that.
    """

    title: str
    said: str
    why: str = ""


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
        run: The run folder that the checkpoint is from, where it was handed on without it.

    Returns:
        Markdown.

    Raises:
        DataError: ``other_weights`` when a report that was given is of another checkpoint,
            ``other_report`` when it is a report of something else, or not as we write it.
        ModelError: As `checkpoint_files`, `read_card` and `reference_beside`.
    """
    card_path, weights = checkpoint_files(checkpoint_path)
    card = read_card(card_path)
    beside_weights = reference_beside(weights, card.weights_sha256)
    reference = beside_weights[1] if beside_weights else None
    folder = run or run_folder(checkpoint_path)
    _check_given(card, audit, ("checks",))
    _check_given(card, evaluation, ("evaluation", "models"))
    audit = audit or _beside(card, folder / "audit.json", folder / "audit" / "audit.json")
    beside = (folder / "report.json", folder / "test" / "report.json")
    evaluation = evaluation or _beside(card, *beside)
    study = _beside(card, folder.parent / "report.json")
    try:
        return _page(card, _sections(card, reference, folder, audit, evaluation, study))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "other_report",
            f"Expected the reports of {card.name} as this version writes them, but in one there is "
            f"something else ({type(error).__name__}: {error}); make it anew.",
        ) from error


def _sections(
    card: Checkpoint,
    reference: Reference | None,
    folder: Path,
    audit: Mapping[str, Any] | None,
    evaluation: Mapping[str, Any] | None,
    study: Mapping[str, Any] | None,
) -> dict[str, list[Entry]]:
    rows = _own_parts(card, folder)
    report = _Report.of(card, evaluation, study)
    checks = {check["name"]: check for check in (audit or {}).get("checks", ())}
    validation = validation_scores(folder, card.label_set) if rows else None
    return {
        "The model": _model(card, reference),
        "What it is for": [
            Entry("For", FOR),
            Entry("Not for", NOT_FOR + _of_other_kinds(reference)),
        ],
        "The films that it learnt from": _data(card, rows),
        "Figures": _figures(card, reference, report, validation, audit),
        "Reasons for doubt that were looked for": _doubts(card, rows, audit, checks, folder),
        "Limits": [
            Entry("Known", "\n".join(f"* {each}" for each in _limits(card, reference, rows, audit)))
        ],
    }


@dataclass(frozen=True)
class _Report:
    """What a report says of this checkpoint; nothing without a report.

    Attributes:
        metrics: Figures of merit.
        worth: What `assess` adds to them.
        worth_scale: Scale of the scores, and thresholds, in ``worth``.
        comparisons: Pairs of models with this one among them.
        about: What the metrics are of, and how they were made.
    """

    metrics: Mapping[str, Any] | None = None
    worth: Mapping[str, Any] | None = None
    worth_scale: str = NOT_CALIBRATED
    comparisons: Sequence[Mapping[str, Any]] = ()
    about: str = ""

    @classmethod
    def of(cls, card: Checkpoint, *contents: Mapping[str, Any] | None) -> _Report:
        """Read reports, the one to prefer first."""
        found = cls()
        for content in contents:
            if content is None:
                continue
            about = f"data `{_digits(content['data_hash'])}`, {markdown(content['time'][:10])}"
            models = content.get("models", {})
            name = next((name for name, model in models.items() if _is(card, model)), "")
            metrics = models[name] if models else content.get("evaluation")
            # Reports that name no scale were made of the network's own scores.
            scale = (metrics or {} if models else content).get("score_scale", NOT_CALIBRATED)
            if not found.metrics and metrics:
                about = f"the test part, {about}" if models else about
                if seen := content.get("seen_in_training"):
                    about += f"; **{seen:d} of them, or their patients, were seen in training**"
                about += (
                    f"; scores {markdown(scale)}; accuracy and F1 in percent; 95 % intervals: "
                    f"{markdown(content.get('intervals', EARLIER_INTERVALS))}"
                )
                found = replace(found, metrics=metrics, about=about)
            if not found.worth and content.get("worth"):
                found = replace(found, worth=content["worth"], worth_scale=scale)
            pairs = [pair for pair in content.get("comparisons", ()) if name in pair.values()]
            found = replace(found, comparisons=found.comparisons or pairs)
        return found


def _model(card: Checkpoint, reference: Reference | None) -> list[Entry]:
    known = card.provenance
    title = ": ".join(filter(None, (card.name, card.recipe.get("title"))))
    stages = [
        f"{stage['name']} (logistic regression, penalty {stage['penalty']:g}"
        + (f", surroundings exchanged: {stage['exchange']:g}" if stage.get("exchange") else "")
        + ")"
        if stage.get("fit") == "logistic"
        else f"{stage['name']} (trains {', '.join(stage['train'])}; learning rate "
        f"{stage['learning_rate']:g})"
        for stage in card.recipe.get("stages", ())
    ]
    versions = known.get("versions", {})
    return [
        Entry("Name and title", markdown(title)),
        Entry("Network", f"{card.architecture}, {_films_of(card.preprocessing)}"),
        Entry("Classes, in the order of the scores", markdown(", ".join(card.labels))),
        Entry("Started from", markdown(known.get("initial", ""))),
        Entry("Trained in stages", markdown("; ".join(stages))),
        Entry("Weights that each stage kept", markdown(_kept(card)), "the run did not record it"),
        Entry(
            "Scale of the scores that are given",
            f"{reference.score_scale}. {reference.calibration_words}"
            if reference
            else f"{NOT_CALIBRATED}: there is no reference beside the checkpoint",
        ),
        Entry("Abstention", _abstention(card, reference)),
        Entry("Films that get no class", "; ".join(_no_class(card, reference))),
        Entry(
            "When, and by which software",
            markdown(f"{known['time']}, {', '.join(f'{n} {v}' for n, v in versions.items())}")
            if known.get("time")
            else "",
        ),
        Entry(
            "To repeat it",
            f"seed {known['seed']:d}, commit "
            f"`{markdown(provenance.short(known.get('commit', '')))}`, "
            f"precision {markdown(known.get('precision', 'float32'))} on "
            f"{markdown(known.get('device', 'cpu'))}, data "
            f"`{_digits(card.data['data_hash'])}`, split `{_digits(card.data['split_hash'])}`"
            if "seed" in known and "data_hash" in card.data
            else "",
        ),
        Entry("Weights", f"SHA-256 `{card.weights_sha256}`"),
    ]


def _kept(card: Checkpoint) -> str:
    """Say which epoch's weights each stage handed on, and which stage improved nothing."""
    said = []
    for stage in card.provenance.get("stages", ()):
        kept, epochs = stage["kept_epoch"], stage["epochs"]
        if kept is None:
            one = f"those before it, since none of its {epochs} epochs was better"
        else:
            one = f"those of epoch {kept} of {epochs}, validation loss {stage['val_loss']:.4f}"
            one += "" if stage["improved"] else ", although those before it were better"
        said.append(f"{stage['name']}: {one}")
    return "; ".join(said)


def _abstains(reference: Reference | None) -> bool:
    return reference is not None and reference.least_score is not None


def _abstention(card: Checkpoint, reference: Reference | None) -> str:
    if reference is not None and reference.least_score is not None:
        return (
            "no class for a film whose highest score is below "
            f"{reference.least_score:.6f}, which {100 * (reference.coverage or 1):.0f} % of the "
            "validation films reach; its scores are told"
        )
    if card.recipe.get("coverage"):
        return (
            "none here: it was made to give no class where it is not sure, but the limit for that "
            "stands in its reference, which is not beside the checkpoint or does not hold it"
        )
    return "none: however low its highest score, a film gets a class if nothing else is against it"


def _no_class(card: Checkpoint, reference: Reference | None) -> list[str]:
    """Say which films `cxr predict` refuses to judge by this model, and for which reason."""
    said = [
        "what quality control takes for no frontal chest radiograph fit to be judged (lateral, "
        "turned, negative, blank, another body part)"
    ]
    if reference:
        said.append("what is far from all films of training")
    if _abstains(reference):
        said.append("what it is not sure of, as above")
    if not reference:
        said.append(
            "no others: without a reference beside the checkpoint a film unlike those of training "
            "is not noticed"
        )
    return said


def _of_other_kinds(reference: Reference | None) -> str:
    """End the sentence on films of other kinds than those of training."""
    if reference is None:
        return "the model names one of its classes all the same."
    limit = " or its highest score is below the limit" if _abstains(reference) else ""
    return (
        "unless such a film is far from all films of training"
        f"{limit}, the model names one of its classes all the same."
    )


def _films_of(preprocessing: Preprocessing) -> str:
    """Say what becomes of a film before the network sees it."""
    said = [f"grey films of {preprocessing.height} x {preprocessing.width} pixels"]
    if preprocessing.crop == "lungs":
        said.append("cropped to the lungs")
    if preprocessing.detail:
        said.append(f"as sharp as {preprocessing.detail} pixels a side allow")
    if preprocessing.equalise:
        said.append("grey values spread evenly")
    return ", ".join(said)


def _data(card: Checkpoint, rows: Sequence[PartRow]) -> list[Entry]:
    films = card.data.get("films", {})
    counted = ", ".join(f"{part} {films[part]}" for part in PARTS if part in films)
    split_by = {
        "patient": "by patient",
        "image": "by image, as in the paper: a patient may stand in several parts",
        "given": "as its owner gave the parts",
    }.get(card.data.get("split_by", ""), "")
    if not rows:
        why = "there is no split.csv of this run beside the checkpoint"
        table = licences = views = people = ""
    else:
        why = "the manifest does not state it"
        table = "\n".join(_source_table(rows))
        licences = _counted(row.licence for row in rows)
        views = _counted(row.view for row in rows)
        ages = sorted(float(row.age) for row in rows if row.age)
        people = (
            f"age stated for {len(ages)} of {len(rows)} films, {ages[0]:g} to {ages[-1]:g} years, "
            f"median {ages[len(ages) // 2]:g}; sex: {_counted(row.sex for row in rows)}"
            if ages
            else ""
        )
    return [
        Entry(
            "Data set",
            f"{markdown(card.data['name'])}: {counted} films" if "name" in card.data else "",
        ),
        Entry("Parts", f"drawn {split_by}" if split_by else ""),
        Entry("Left out", markdown(_left_out(card)), "the run did not record it"),
        Entry("Films by source, class and part", table, why),
        Entry("Licences", licences, why),
        Entry("Views", views, why),
        Entry("Ages and sexes", people, why),
    ]


def _left_out(card: Checkpoint) -> str:
    """Say which images were not trained on: those of no class, and files that cannot be read."""
    if "damaged" not in card.data:
        return ""
    said = [f"{n} images of {label}" for label, n in card.data.get("left_out", {}).items()]
    if card.data["damaged"]:
        said.append(f"{card.data['damaged']} files that cannot be read")
    return ", ".join(said) or "nothing"


def _figures(
    card: Checkpoint,
    reference: Reference | None,
    report: _Report,
    validation: Scores | None,
    audit: Mapping[str, Any] | None,
) -> list[Entry]:
    found, why = report.metrics, "no report of this checkpoint is beside it, nor was one given"
    if found is None and audit:
        said = (
            f"accuracy {_percent(audit['accuracy'])}, macro AUROC {_written(audit['auroc_macro'])} "
            f"over {audit['films']['scored']:d} films (of the audit, data "
            f"`{_digits(audit['data_hash'])}`; scores {markdown(_audit_scale(audit))}; "
            f"95 % intervals: {markdown(audit.get('intervals', EARLIER_INTERVALS))})"
        )
    elif found is None:
        said = ""
    else:
        said = (
            f"accuracy {_percent(found['accuracy'])}, macro F1 {_percent(found['f1_macro'])}, "
            f"macro AUROC {_written(found['auroc_macro'])} over {found['test_images']:d} films of "
            f"{found['test_patients']:d} patients ({report.about})"
        )
    worth = report.worth or {}
    return [
        Entry("Films held back from training", said, why),
        Entry("By class", "\n".join(_class_table(found)) if found else "", why),
        Entry(
            "Validation films",
            f"accuracy {_right(validation)} percent over {len(validation.files)} films"
            f"{_chosen_by_validation(card, reference)}"
            if validation
            else "",
            "their scores are not beside the checkpoint",
        ),
        Entry("Subgroups", _subgroups(worth), why),
        Entry("Calibration", _calibration(worth), why),
        Entry(
            "Operating points",
            _operating_points(worth, report.worth_scale),
            "the scores of validation films, on which they are chosen, were not beside the "
            "checkpoint when it was evaluated"
            if worth
            else why,
        ),
        Entry("Compared with other models", _comparisons(report), "no study was given"),
    ]


_CHECKED = (
    ("Copies of films across parts and sources", "overlap"),
    ("Source and class", "source_by_class"),
    ("Source told from the network's own features", "source_classifier"),
    ("The score without the lungs", "occlusion"),
    ("What the files alone tell", "metadata"),
    ("What age, sex and view alone tell", "demographics"),
    ("Films of like age, sex and view", "matched"),
    ("Films from elsewhere", "outside"),
    ("Told apart within one source", "within_source"),
    ("Sources left out of training", "left_out"),
    ("Heat maps inside the lungs, and whether they follow the weights", "heat_maps"),
    ("Scores and what comes true", "calibration"),
    ("Groups that are served worse", "groups"),
    ("Changes that change no finding", "fragility"),
)
"""What an audit looks for, in the order of the pitfalls, and the name of its check."""


def _doubts(
    card: Checkpoint,
    rows: Sequence[PartRow],
    audit: Mapping[str, Any] | None,
    checks: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> list[Entry]:
    told = checks.get("parts", {})
    said = [
        f"{patients_in_several_parts(rows)} patients in several parts; {own_overlap(card, rows)} "
        "test films of which training saw the film or the patient."
        if rows
        else "",
        "" if told.get("verdict", NOT_DONE) == NOT_DONE else markdown(told["reading"]),
    ]
    entries = [Entry("A patient in several parts", " ".join(filter(None, said)))]
    for title, name in _CHECKED:
        check = checks.get(name)
        if check is None:
            asked_for = "retraining was not asked for: cxr audit --retrain"
            absent = asked_for if name == "left_out" else "this audit does not make the check"
            entries.append(Entry(title, "", absent if checks else "no audit is beside it"))
        elif check["verdict"] == NOT_DONE:
            why = check["reading"].removeprefix("Not done: ").rstrip(".")
            entries.append(Entry(title, "", markdown(why)))
        else:
            found = f"**{markdown(check['verdict'])}**. {markdown(check['reading'])}"
            entries.append(Entry(title, found))
    entries.append(
        Entry(
            "Scores and intervals of these checks",
            f"scores {markdown(_audit_scale(audit))}; 95 % intervals: "
            f"{markdown(audit.get('intervals', EARLIER_INTERVALS))}"
            if audit
            else "",
            "no audit is beside it",
        )
    )
    opened = openings(folder) if rows else None
    entries.append(
        Entry("How often the test part was opened", opened_words(opened) if opened else "")
    )
    return entries


def _audit_scale(audit: Mapping[str, Any]) -> str:
    # An audit that names no scale was made of the network's own scores.
    return str(audit.get("score_scale", NOT_CALIBRATED))


def _chosen_by_validation(card: Checkpoint, reference: Reference | None) -> str:
    """Say what was chosen on validation films, whose figures therefore prove nothing."""
    chosen = []
    if any(stage.get("fit") != "logistic" for stage in card.recipe.get("stages", ())):
        chosen.append("the weights")
    if reference and reference.calibrated:
        chosen.append("the temperature")
    if reference:
        chosen.append("the distance that is far from training")
    if _abstains(reference):
        chosen.append("the limit of abstention")
    return f"; they chose {', '.join(chosen)}, and prove nothing" if chosen else ""


def _limits(
    card: Checkpoint,
    reference: Reference | None,
    rows: Sequence[PartRow],
    audit: Mapping[str, Any] | None,
) -> list[str]:
    kept_back = " that is not refused (see above)" if reference else ""
    said = [
        f"It knows {len(card.labels)} classes and no other: a film{kept_back} gets one of them, "
        "also where it shows a finding that the model was never taught.",
    ]
    if reference and not reference.calibrated:
        said.append(reference.calibration_words)
    sources: dict[str, set[str]] = {label: set() for label in card.labels}
    for row in rows:
        sources.setdefault(row.label, set()).add(row.source)
    for label, found in sources.items():
        if len(found) == 1:
            said.append(
                f"All its films of {markdown(label)} come from one source "
                f"({markdown(next(iter(found)))}): a network "
                "that recognises the source would score as high."
            )
    if card.data.get("split_by") == "image":
        said.append("Its parts share patients: figures on its test part are too high.")
    if audit and audit["verdict"] == "fail":
        failed = [
            check["title"]
            for check in audit["checks"]
            if check["hard"] and check["verdict"] == "fail"
        ]
        said.append(
            "**Its audit fails it: the figures do not mean that it recognises a disease** "
            f"({markdown('; '.join(failed))})."
        )
    if not audit:
        said.append("Nobody has looked for shortcuts: there is no audit.")
    return [*said, "All its figures are of stored films: how it does in use is not known."]


def _page(card: Checkpoint, sections: Mapping[str, Sequence[Entry]]) -> str:
    entries = [entry for section in sections.values() for entry in section]
    filled = sum(bool(entry.said) for entry in entries)
    lines = [
        f"# Model card: {card.name}",
        "",
        f"**{INTENDED_USE}**",
        "",
        f"{filled} of {len(entries)} entries are filled ({100 * filled / len(entries):.0f} %); the "
        f'others say "{NOT_DONE}".',
    ]
    for title, section in sections.items():
        lines += ["", f"## {title}"]
        for entry in section:
            blank = f"*{NOT_DONE}*" + (f" ({entry.why})" if entry.why else "")
            said = entry.said or blank
            block = "\n" in said or said.startswith("* ")
            lines += ["", f"**{entry.title}**" + ("" if block else f": {_ended(said)}")]
            lines += ["", said] if block else []
    return "\n".join(lines) + "\n"


def _own_parts(card: Checkpoint, folder: Path) -> tuple[PartRow, ...]:
    """The films of ``split.csv``, if they are those of which the card tells."""
    rows = parts(folder)
    counts = Counter(row.split for row in rows)
    told = card.data.get("films", {})
    return rows if {part: counts[part] for part in told} == told else ()


def _beside(card: Checkpoint, *paths: Path) -> Mapping[str, Any] | None:
    """The first of these reports that is there and of this checkpoint."""
    for path in paths:
        try:
            content = read_json(path)
        except (ModelError, ValueError):
            continue
        if isinstance(content, dict) and _speaks_of(card, content):
            return content
    return None


def _speaks_of(card: Checkpoint, content: Mapping[str, Any]) -> bool:
    models = content.get("models", {"": content.get("checkpoint", {})})
    return any(_is(card, model) for model in models.values())


def _is(card: Checkpoint, model: Mapping[str, Any]) -> bool:
    return bool(model.get("weights_sha256") == card.weights_sha256)


def _check_given(card: Checkpoint, content: Mapping[str, Any] | None, holds: Sequence[str]) -> None:
    if content is None:
        return
    if not set(holds) & set(content):
        raise DataError(
            "other_report",
            f"Expected a report with {' or '.join(holds)} in it, but got one with "
            f"{', '.join(list(content)[:5]) or 'nothing'}; give audit.json as the audit, "
            "report.json as the evaluation.",
        )
    if not _speaks_of(card, content):
        raise DataError(
            "other_weights",
            f"Expected a report of {card.name} with the weights {card.weights_sha256[:12]}, but "
            "got one of another checkpoint; give the one that was made with it.",
        )


def _source_table(rows: Sequence[PartRow]) -> list[str]:
    counts = Counter((row.source, row.label, row.split) for row in rows)
    kinds = sorted({(row.source, row.label) for row in rows})
    people = {
        kind: len({row.patient for row in rows if (row.source, row.label) == kind})
        for kind in kinds
    }
    return [
        f"| source | class | {' | '.join(PARTS)} | patients |",
        f"|---|---|{'---|' * (len(PARTS) + 1)}",
        *(
            f"| {markdown(source)} | {markdown(label)} | "
            f"{' | '.join(str(counts[source, label, part]) for part in PARTS)} | "
            f"{people[source, label]} |"
            for source, label in kinds
        ),
    ]


def _class_table(found: Mapping[str, Any]) -> list[str]:
    names = ("precision", "recall", "f1", "auroc")
    return [
        "| class | films | precision, % | recall, % | F1, % | AUROC, % |",
        "|---|---|---|---|---|---|",
        *(
            f"| {markdown(label)} | {one['films']:d} | "
            f"{' | '.join(_percent(one[n]) for n in names)} |"
            for label, one in found["per_class"].items()
        ),
    ]


def _subgroups(worth: Mapping[str, Any]) -> str:
    if not worth:
        return ""
    lines = ["| by | group | films | accuracy, % |", "|---|---|---|---|"]
    for axis, groups in worth["subgroups"].items():
        lines += [
            f"| {markdown(axis)} | {markdown(group['group'])} | {group['films']:d} | "
            f"{'too few' if group['too_few'] else _percent(group['accuracy'])} |"
            for group in groups
        ]
    return "\n".join(lines)


def _calibration(worth: Mapping[str, Any]) -> str:
    if not worth:
        return ""
    found = worth["calibration"]
    said = (
        f"of scores {NOT_CALIBRATED}, expected calibration error "
        f"{_written(found['before']['ece'])}, Brier score {_written(found['before']['brier'])}"
    )
    if found["after"]:
        said += (
            f"; of scores {score_scale(found['temperature'])} "
            f"{_written(found['after']['ece'])} and {_written(found['after']['brier'])}"
        )
    return said


def _operating_points(worth: Mapping[str, Any], scale: str) -> str:
    if not worth or not worth["operating_points"]:
        return ""
    lines = [
        f"Scores {scale}; chosen on validation films.",
        "",
        "| class | for | score from | sensitivity, % | specificity, % |",
        "|---|---|---|---|---|",
    ]
    for label, points in worth["operating_points"].items():
        lines += [
            f"| {markdown(label)} | {markdown(name)} | {point['threshold']:.6f} | "
            f"{_percent(point['sensitivity'])} | {_percent(point['specificity'])} |"
            for name, point in points.items()
        ]
    return "\n".join(lines)


def _comparisons(report: _Report) -> str:
    return "; ".join(
        f"{markdown(pair['b'])} over {markdown(pair['a'])}: accuracy gained "
        f"{_percent(pair['accuracy_b_minus_a'])} points, exact McNemar p = "
        f"{pair['p_mcnemar_exact']:.3g} (Holm {pair['p_holm']:.3g})"
        for pair in report.comparisons
    )


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values)
    if not set(counts) - {""}:
        return ""
    return ", ".join(f"{markdown(value) or 'not stated'} {n}" for value, n in counts.most_common())


def _right(validation: Scores) -> str:
    right = validation.predicted == validation.targets
    return share(right, validation.patients).percent()


def _digits(hashed: str) -> str:
    """The first digits of a hash that stands in a file of somebody else's."""
    return "".join(sign for sign in hashed[:12] if sign.isalnum())


def _ended(text: str) -> str:
    return text if text.endswith((".", ")", "*")) else f"{text}."


def _percent(found: Mapping[str, float | None]) -> str:
    return Estimate.from_dict(found).percent()


def _written(found: Mapping[str, float | None]) -> str:
    return Estimate.from_dict(found).written()
