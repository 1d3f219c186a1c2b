"""Where the time of a command goes: the phases of a training, an evaluation and an audit, and the
steps of an image from its file to its answer.

    python benchmarks/profile_commands.py --out docs/results/profile.json

Images are generated. Phases are those that a person is told of; a step is what the functions of
`STEPS` take by themselves and in what they call, summed by Python's profiler over one thread, which
slows small functions down: trust the shares. Writes the JSON file, and a page of it beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cxr_transfer
from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.audits.run import audit
from cxr_transfer.datasets.loading import open_all, open_cases
from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.evaluation.evaluate import evaluate_checkpoint
from cxr_transfer.files import write_json, write_text
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.studies.one_recipe import TrainingPlan, train_recipe
from cxr_transfer.subjects.opening import SubjectOptions, open_subject
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import load_recipe

READING = "reading images"

STEPS = {
    "decoding": ("radiograph/in_memory.py", ("read_image",)),
    "quality control": ("radiograph/quality_control.py", ("quality_issues",)),
    "resizing": ("radiograph/preprocessing.py", ("apply",)),
    "network": ("models/engine.py", ("answer",)),
}
"""Module and functions of each step of a prediction."""


class Phases:
    """Seconds of each phase, in the order in which they came."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._now, self._since = READING, time.perf_counter()

    def tell(self, phase: str, share: float = 0.0) -> None:
        """Take note of the phase that runs now."""
        now = time.perf_counter()
        self.seconds[self._now] = self.seconds.get(self._now, 0.0) + now - self._since
        self._now, self._since = phase, now

    def done(self) -> dict[str, float]:
        """Return the seconds of all phases."""
        self.tell("")
        return {name: round(took, 2) for name, took in self.seconds.items() if took >= 0.01}


def training(data: Path, out: Path) -> dict[str, float]:
    phases = Phases()
    plan = TrainingPlan(
        recipe=load_recipe("model_3").limited(5),
        mapping={},
        seed=0,
        execution=Execution(device="cpu", say_epochs=False, progress=phases.tell),
    )
    for _ in train_recipe(plan, data, out, log=lambda line: None):
        pass
    return phases.done()


def evaluation(run: Path, out: Path) -> dict[str, float]:
    phases = Phases()
    cases = open_cases(run / "split.csv").cases
    evaluate_checkpoint(run, cases, out, progress=phases.tell)
    return phases.done()


def auditing(run: Path, data: Path, out: Path) -> dict[str, float]:
    phases = Phases()
    subject = open_subject(str(run), SubjectOptions("cpu", None))
    audit(subject, open_all(data, subject.labels).cases, out, progress=phases.tell)
    return phases.done()


@contextlib.contextmanager
def profiled() -> Iterator[cProfile.Profile]:
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield profile
    finally:
        profile.disable()


def prediction(run: Path, files: list[Path]) -> dict[str, float]:
    """Return milliseconds an image of each step, and of all that is left."""
    predictor = Predictor.open(run)
    for file in files[:3]:
        predictor.predict(file)
    with profiled() as profile:
        for file in files:
            predictor.predict(file)
    stats = pstats.Stats(profile)
    found: dict[str, float] = {}
    for (path, _, name), (*_, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        for step, (module, names) in STEPS.items():
            if path.endswith(os.path.join("cxr_transfer", module)) and name in names:
                found[step] = max(found.get(step, 0.0), 1000 * cumulative / len(files))
    whole = 1000 * stats.total_tt / len(files)  # type: ignore[attr-defined]
    found["everything else"] = whole - sum(found.values())
    return {step: round(took, 2) for step, took in found.items()}


def page(content: dict[str, Any], name: str) -> str:
    lines = [
        "# Where the time goes",
        "",
        f"Written by `benchmarks/profile_commands.py`; numbers in [{name}]({name}). {INTENDED_USE}",
        "",
        f"{content['images']} generated images of {content['pixels']} pixels a side; "
        f"{content['machine']['processor']}, {content['machine']['cores']} cores; "
        f"`{str(content['commit'])[:12]}`. One run of each: the shares count, and small ones are "
        "chance.",
    ]
    for title, times in content["commands"].items():
        whole = sum(times.values())
        unit = "ms an image" if title == "predict" else "s"
        lines += ["", f"## {title}: {whole:.1f} {unit}", "", f"| | {unit} | % |", "|---|---|---|"]
        lines += [
            f"| {phase} | {took:.2f} | {100 * took / whole:.0f} |" for phase, took in times.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600, help="generated images")
    parser.add_argument("--pixels", type=int, default=512, help="their side")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = parser.parse_args()
    commands: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = root / "data"
        write_phantom(data, size=PhantomSize(*[given.images // 4] * 4), pixels=given.pixels)
        measures: dict[str, Callable[[], dict[str, float]]] = {
            "train model_3, 5 epochs a stage": lambda: training(data, root / "run"),
            "evaluate": lambda: evaluation(root / "run", root / "evaluated"),
            "audit": lambda: auditing(root / "run", data, root / "audited"),
            "predict": lambda: prediction(root / "run", sorted(data.rglob("*.jp*g"))[:100]),
        }
        for title, measure in measures.items():
            commands[title] = measure()
            print(title, commands[title], flush=True)
    content = {
        "intended_use": INTENDED_USE,
        "images": given.images,
        "pixels": given.pixels,
        "version": cxr_transfer.__version__,
        "commands": commands,
        "date": provenance.now(),
        "commit": provenance.commit(),
        "seed": 0,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
    }
    write_json(given.out, content)
    write_text(given.out.with_suffix(".md"), page(content, given.out.name))


if __name__ == "__main__":
    main()
