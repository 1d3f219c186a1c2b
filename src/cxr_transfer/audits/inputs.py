"""What an audit looks at, and the form in which each of its checks answers.

In comes what ``run.py`` measured: an `AuditInputs`. Out of each check goes a `Finding`: pass, warn
or fail by the bounds of its row in the table, what that means in one sentence, and every figure.
A check that the images cannot answer says so: it is "not done", never passed. Knows nothing of
files or networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from cxr_transfer.datasets.case import Case
from cxr_transfer.statistics.findings import absence_and_finding
from cxr_transfer.statistics.metrics import Evaluation
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import EVEN

Verdict = Literal["pass", "warn", "fail", "not done"]


@dataclass(frozen=True)
class Check:
    """One check of an audit as it is reported: its row in the table, and its result.

    Attributes:
        name: Name of the check, stable, for programs.
        title: Title for people.
        verdict: Verdict by ``bounds``.
        hard: Whether a failure fails the audit; False for a check that was not done.
        reading: Sentence on what was found and what it means.
        bounds: Bounds of a warning and of a failure, in words.
        measured: Figures, each with its interval where it has one.
    """

    name: str
    title: str
    verdict: Verdict
    hard: bool
    reading: str
    bounds: str
    measured: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in ``audit.json``."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class AuditInputs:
    """Everything that the checks look at.

    Attributes:
        scores: Scores of the images with known labels that training has not seen.
        cases: Cases of these images, in the same order.
        evaluation: Evaluation of ``scores``.
        occluded: Evaluations of the same images by what was left of them: "lungs blacked out",
            "border only", "lungs only".
        metadata: Evaluation of what size, format, compression and corners alone tell of the
            labels; None if not done.
        grey_levels: Evaluation of what grey percentiles and bytes per pixel alone tell, in which a
            finding may show.
        demographics: Evaluation of what age, sex and view alone tell.
        association: Result of `association.source_by_class` over all images with known labels.
        source_classifier: Result of `baselines.source_classifier` on the network's features.
        near_copies: Near-duplicates between images that training saw and those scored.
        own_images_seen: Images of the run's own test part that training saw, or whose patient it
            saw.
        outside: Groups of images of sources or labels that training has not seen, as
            `assessment.groups`.
        parts: Result of `leakage.parts_evidence`: how the run's images were parted, and what
            parting them by image would leak; None if not known.
        matched: Result of `matching.matched_pairs` over unseen images.
        heat_maps: Result of `saliency.saliency_evidence`; None if not done.
        left_out: Result of `retraining.leave_sources_out`; None if not asked for.
        columns: Further columns of the manifest by which groups are formed.
        input_variants: Result of `input_variants.compare_input_variants`: how well classes are told
            apart where images are brought to the model in another way; None where there is none.
        evidence: Results of `robustness`, `markers`, `counterfactual`, `mask_shape`, `reencoding`
            and `drift`, by the name of the check; none of what was not measured.
        threshold: Threshold of the finding that is audited alone: ``scores`` lie so that it is at
            0.5.
        unavailable: Reason why a check cannot be run on such a model, by the name of the check.
    """

    scores: Scores
    cases: Sequence[Case]
    evaluation: Evaluation
    occluded: Mapping[str, Evaluation]
    metadata: Evaluation | None
    grey_levels: Evaluation | None
    demographics: Evaluation | None
    association: Mapping[str, Any]
    source_classifier: Mapping[str, Any] | None
    near_copies: Sequence[Mapping[str, Any]]
    own_images_seen: int
    outside: Sequence[Mapping[str, Any]]
    parts: Mapping[str, Any] | None = None
    matched: Sequence[Mapping[str, Any]] = ()
    heat_maps: Mapping[str, Any] | None = None
    left_out: Mapping[str, Any] | None = None
    columns: Sequence[str] = ()
    input_variants: Mapping[str, Any] | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    threshold: float = EVEN
    unavailable: Mapping[str, str] = field(default_factory=dict)

    @property
    def probabilities(self) -> Scores:
        """Scores that are meant as probabilities: of a finding as its model gives them."""
        if self.threshold == EVEN:
            return self.scores
        given = absence_and_finding(self.scores.probabilities[:, 1], 1 - self.threshold)
        return replace(self.scores, probabilities=given)


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        verdict: Verdict by the bounds of the check.
        reading: Sentence on what was found and what it means.
        measured: Figures, each with its interval where it has one.
    """

    verdict: Verdict
    reading: str
    measured: Mapping[str, Any] = field(default_factory=dict)


def not_done(why: str, measured: Mapping[str, Any] | None = None) -> Finding:
    """Return the finding of a check that the images cannot answer, and why."""
    return Finding("not done", f"Not done: {why}.", dict(measured or {}))


def above(value: float, *, warn: float, fail: float) -> Verdict:
    """Return the verdict on a figure that should be low.

    >>> [above(value, warn=0.3, fail=0.6) for value in (0.3, 0.4, 0.7)]
    ['pass', 'warn', 'fail']
    """
    return "fail" if value > fail else "warn" if value > warn else "pass"


def below(value: float, *, warn: float, fail: float) -> Verdict:
    """Return the verdict on a figure that should be high."""
    return "fail" if value < fail else "warn" if value < warn else "pass"
