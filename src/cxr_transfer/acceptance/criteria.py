"""What a hospital asks of a model before it looks at a score: ``criteria.toml``, strict when read.

In comes a TOML file, out go checked `Criteria` or one error with all that is wrong. Measures
nothing.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from cxr_transfer.errors import UsageError, listing
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.files import check_new, read_toml, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.sample_size import LEVEL, SMALLEST_MARGIN
from cxr_transfer.tables import nearest
from cxr_transfer.text import for_terminal

LARGEST = 65_536
"""Bytes of a file of criteria; the commented one has under 3,000."""

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PromisedShare(_Strict):
    """A sensitivity or specificity that is promised.

    Attributes:
        minimum: Share that is promised.
        margin: Amount below ``minimum`` above which the one-sided exact bound has to lie.
    """

    minimum: Share
    margin: float = Field(0.05, ge=SMALLEST_MARGIN, lt=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.margin >= self.minimum:
            raise ValueError(f"margin {self.margin} is not below minimum {self.minimum}")
        return self

    @property
    def floor(self) -> float:
        """Share below which the bound may not lie."""
        return self.minimum - self.margin


class ThresholdRule(_Strict):
    """Where the threshold comes from: never from the images that test it.

    Attributes:
        rule: "validation": the highest that finds the promised share of the model's own validation
            images; "value": a number; "table": the same as "validation", of a table of scores.
        value: Threshold on the score as the model gives it; for "value".
        table: Path of a table of predictions (.csv), as seen from the criteria; for "table".
    """

    rule: Literal["validation", "value", "table"] = "validation"
    value: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    table: str | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for name in ("value", "table"):
            is_given, is_needed = getattr(self, name) is not None, self.rule == name
            if is_given != is_needed:
                verb = "needs" if is_needed else "takes no"
                raise ValueError(f'rule "{self.rule}" {verb} key {name}')
        return self


class AbstentionCriterion(_Strict):
    """Largest share of images without an answer: refused, out of distribution or not sure.

    Attributes:
        maximum: Share of images.
    """

    maximum: Share


class CalibrationCriterion(_Strict):
    """Largest calibration error of the positive class's score, beyond what chance gives.

    Attributes:
        maximum_error: Error, as a share.
    """

    maximum_error: Share


class SubgroupCriterion(_Strict):
    """What holds for every group of patients.

    Attributes:
        columns: Columns of the data that form groups: source, view, sex, age, or any other.
        minimum_sensitivity: Sensitivity below which no group of enough positives may lie.
        fewest_positives: Number of positives below which a group is named and not judged.
    """

    columns: tuple[str, ...] = ("source", "view", "sex", "age")
    minimum_sensitivity: Share
    fewest_positives: int = Field(20, ge=1)


class Criteria(_Strict):
    """What a model has to reach at one place.

    Attributes:
        positive: Class, or classes, that are looked for; their scores are added.
        level: Confidence level of each one-sided bound.
        seed: Random seed of folds and bootstrap.
        threshold: Where the threshold comes from.
        sensitivity: Promised share of positives that are found.
        specificity: Promised share of the others that are spared; None asks for none.
        abstention: Largest share without an answer; None asks for none.
        calibration: Largest calibration error; None asks for none.
        subgroups: What holds for every group; None asks for none.
    """

    positive: tuple[str, ...] = Field(min_length=1)
    level: float = Field(LEVEL, ge=0.5, lt=1, allow_inf_nan=False)
    seed: int = Field(0, ge=0, lt=2**32)
    threshold: ThresholdRule = ThresholdRule()
    sensitivity: PromisedShare
    specificity: PromisedShare | None = None
    abstention: AbstentionCriterion | None = None
    calibration: CalibrationCriterion | None = None
    subgroups: SubgroupCriterion | None = None

    @field_validator("positive", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("positive")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names))  # Else a score would be added twice.

    def check_classes(self, labels: LabelSet) -> None:
        """Refuse a positive class that the model does not have, and one that leaves no other.

        Raises:
            UsageError: ``unknown_class``.
        """
        absent = [name for name in self.positive if name not in labels]
        if absent or set(self.positive) >= set(labels):
            problem = (
                f"positive names {for_terminal(absent[0])!r}{nearest(absent[0], list(labels))}"
                if absent
                else "positive names all of them"
            )
            raise UsageError(
                "unknown_class",
                f"Expected criteria for the model's classes {', '.join(labels)}, but {problem}; "
                "write the names as the model has them.",
            )


def read_criteria(path: Path) -> tuple[Criteria, str]:
    """Read criteria.

    Returns:
        The criteria, and the SHA-256 of the file.

    Raises:
        UsageError: ``no_criteria`` where there is no such file, ``bad_criteria`` for another one.
    """
    try:
        table, content = read_toml(path, LARGEST)
        criteria = Criteria.model_validate(table)
    except OSError as error:
        raise UsageError(
            "no_criteria",
            f"Expected criteria (.toml) at {path}, but got: {error.strerror or error}; 'cxr accept "
            "plan --write-criteria criteria.toml' writes a commented file to fill in.",
        ) from None
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise _bad(path, listing(map(_problem, problems))) from None
    except ValueError as error:
        raise _bad(path, for_terminal(str(error))) from None
    return criteria, hashlib.sha256(content).hexdigest()


def write_criteria(path: Path, facts: dict[str, Any]) -> None:
    """Write commented criteria to fill in.

    Args:
        path: Path of the file, which must not be there.
        facts: What the plan knows: ``positive``, ``sensitivity``, ``specificity`` (or None),
            ``margin`` and ``level``.

    Raises:
        UsageError: ``out_exists``.
        MachineError: ``disk_full``, ``not_writable``.
    """
    check_new(path, "--write-criteria")
    # JSON's text is TOML's, too: a name with quotes stays one name.
    quoted = {"positive": json.dumps(facts["positive"], ensure_ascii=False)}
    write_text(path, render("criteria.toml.j2", **facts | quoted))


TABLES: dict[str, type[BaseModel]] = {
    "threshold": ThresholdRule,
    "sensitivity": PromisedShare,
    "specificity": PromisedShare,
    "abstention": AbstentionCriterion,
    "calibration": CalibrationCriterion,
    "subgroups": SubgroupCriterion,
}
"""Tables of the file, by their names."""


def _problem(error: ErrorDetails) -> str:
    """Return where something is wrong, and what, with the key that may have been meant."""
    names = [str(part) for part in error["loc"]]
    where = for_terminal(".".join(names))
    if error["type"] == "extra_forbidden":
        keys = list(TABLES.get(".".join(names[:-1]), Criteria).model_fields)
        return f"there is no key {where}{nearest(names[-1], keys)}"
    if error["type"] == "missing":
        return f"the key {where} is absent"
    return f"{where}: {for_terminal(error['msg'].removeprefix('Value error, '))}"


def _bad(path: Path, why: str) -> UsageError:
    return UsageError(
        "bad_criteria",
        f"Expected criteria for an acceptance test in {path}, but {why}; 'cxr accept plan "
        "--write-criteria FILE' writes a commented file.",
    )
