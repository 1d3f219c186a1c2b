"""Keep a finished cross-validation as docs/results/folds.json and folds.md.

cxr study --data DATA --out runs/folds --folds 5
python benchmarks/folds_results.py runs/folds --out docs/results

The page is the study's own report.md up to its models one by one, and the errors of Model_3 by
class; the JSON is its report.json. Nothing is computed here but counts.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections import Counter
from pathlib import Path

from cxr_transfer.files import write_json, write_text

FIGURE = "figure_5.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a study with --folds")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()

    content = json.loads((options.run / "report.json").read_text(encoding="utf-8"))
    page = (options.run / "report.md").read_text(encoding="utf-8")
    head = page.partition("\n![](figures/")[0].replace("# Study:", "# Cross-validated:", 1)
    wrong: Counter[tuple[str, str]] = Counter()
    for table in sorted(options.run.glob("fold_*/model_3/predictions.csv")):
        with table.open(newline="", encoding="utf-8") as handle:
            wrong.update(
                (row["label"], row["predicted"])
                for row in csv.DictReader(handle)
                if row["label"] != row["predicted"]
            )
    content["model_3_errors"] = {f"{was} called {said}": n for (was, said), n in wrong.items()}
    lines = [
        head.rstrip(),
        "",
        f"![accuracy and F1 beside the paper's](figures/folds_{FIGURE})",
        "",
        "## What Model_3 gets wrong",
        "",
        *(f"* {was} called {said}: {number}" for (was, said), number in wrong.most_common()),
        "",
        "Written by `cxr study --folds 5` and `benchmarks/folds_results.py`; all figures, by class "
        "too, in [folds.json](folds.json).",
    ]
    write_json(options.out / "folds.json", content)
    write_text(options.out / "folds.md", "\n".join(lines) + "\n")
    shutil.copy(options.run / "figures" / FIGURE, options.out / "figures" / f"folds_{FIGURE}")


if __name__ == "__main__":
    main()
