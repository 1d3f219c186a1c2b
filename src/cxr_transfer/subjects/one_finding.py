"""One finding of a model that tells several: a model of two classes, the finding and its absence.

In come a model of findings and the name of one; out goes a model as everything that judges classes
takes it. Scores are moved so that the finding's threshold lies at 0.5: what is called the finding
here is what `cxr predict` names. The order of the images stays, and with it every AUROC.
"""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import UsageError
from cxr_transfer.labels import NONE_STATED, LabelSet
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.forward import OnImages
from cxr_transfer.statistics.findings import finding_classes
from cxr_transfer.statistics.temperature import EVEN, SMALLEST
from cxr_transfer.subjects.subject import Floats, Images, NetworkScores, OneFinding, Subject


class FindingEngine:
    """A converted network of findings that answers for one of them, as two classes.

    Args:
        engine: Converted network.
        finding: Finding that is asked for.
    """

    def __init__(self, engine: Engine, finding: OneFinding) -> None:
        self._engine, self._finding = engine, finding

    def answer_all(self, images: Images, on_image: OnImages) -> tuple[Floats, Any]:
        """Return scores (N, 2), and what the head sees (N, F), of images (N, 1, H, W)."""
        scores, features = self._engine.answer_all(images, on_image)
        finding = self._finding
        return finding.scores(scores.astype("float64"), finding.network_threshold), features


def as_classes(
    subject: Subject, finding: str | None, *images: Sequence[Case]
) -> tuple[Subject, list[Sequence[Case]]]:
    """Return a model and lists of images of classes: of several findings the one that is named.

    Args:
        subject: Model of any kind.
        finding: Name of a finding; None for a model of classes.
        images: Lists of images.

    Raises:
        UsageError: ``several_findings`` for a model of findings where none is named;
            ``unknown_finding``.
    """
    labels = subject.labels
    if finding is not None:
        judged = one_finding(subject, finding)
        return judged, [cases_of_finding(labels, finding, cases) for cases in images]
    if not labels.exclusive:
        raise UsageError(
            "several_findings",
            f"Expected a finding to audit, since {subject.name} tells several at once, but got "
            f"none; add --finding with one of {', '.join(labels)}.",
        )
    return subject, list(images)


def one_finding(subject: Subject, name: str) -> Subject:
    """Return a model of two classes: whether an image has one of the findings of ``subject``.

    Args:
        subject: Model of findings.
        name: Name of a finding of it.

    Raises:
        UsageError: ``unknown_finding`` for another name, or for a model of classes.
    """
    if subject.labels.exclusive or name not in subject.labels:
        known = ", ".join(subject.labels)
        raise UsageError(
            "unknown_finding",
            f"Expected a model of several findings at once, but {subject.name} tells classes "
            f"apart ({known}); leave the finding out."
            if subject.labels.exclusive
            else f"Expected one of the findings of {subject.name} ({known}), but got {name!r}.",
        )
    finding = _finding(subject, name)
    ask = subject.score_networks

    def score_networks(
        images: Images, with_features: bool, on_image: OnImages
    ) -> list[NetworkScores]:
        assert ask is not None
        return [
            NetworkScores(
                finding.scores(network.own, finding.network_threshold),
                finding.scores(network.given, finding.threshold),
                network.features,
            )
            for network in ask(images, with_features, on_image)
        ]

    return dataclasses.replace(
        subject,
        labels=finding_classes(name),
        score_networks=None if ask is None else score_networks,
        network=None if subject.network is None else _two_classes(subject.network, finding),
        confidence_threshold=None,
        finding=finding,
    )


def cases_of_finding(labels: LabelSet, name: str, cases: Sequence[Case]) -> list[Case]:
    """Return cases under the label that they have as far as one finding goes.

    A case whose label of it is missing is `NONE_STATED`: it is no image of either class.

    Args:
        labels: Findings of the model.
        name: Name of the finding.
        cases: Cases, as `as_findings` returns them.
    """
    target = labels.target(name)
    words = {-1: NONE_STATED, **dict(enumerate(finding_classes(name)))}
    return [
        dataclasses.replace(case, label=words[labels.row(case.label)[target]]) for case in cases
    ]


def _finding(subject: Subject, name: str) -> OneFinding:
    target = subject.labels.target(name)
    threshold = subject.thresholds[target] if subject.thresholds else EVEN
    threshold = min(max(threshold, SMALLEST), 1 - SMALLEST)
    # At temperature T the odds are those of the network to the power of 1 / T.
    odds = (threshold / (1 - threshold)) ** (subject.temperature or 1.0)
    return OneFinding(name, target, threshold, odds / (1 + odds))


def _two_classes(network: nn.Sequential, finding: OneFinding) -> nn.Sequential:
    """Return a network whose softmax gives `OneFinding.scores`: the absence has a logit of 0."""
    threshold = finding.network_threshold
    head = network.get_submodule("head")
    two = nn.Linear(head.in_features, 2)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in two.parameters():
            parameter.zero_()
        two.weight[1] = head.weight[finding.target]  # type: ignore[index]
        two.bias[1] = -math.log(threshold / (1 - threshold))
        if head.bias is not None:
            two.bias[1] += head.bias[finding.target]  # type: ignore[index]
    children = OrderedDict(network.named_children()) | {"head": two}
    return nn.Sequential(OrderedDict(children)).train(network.training)
