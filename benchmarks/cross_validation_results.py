"""Put a finished cross-validation into docs/results: page, numbers and figures.

    cxr train conv4_probe --choose linear_probe --folds 5 --data DATA --out runs/best
    python benchmarks/cross_validation_results.py --run runs/best --out docs/results --name best

Nothing is computed here: the page is the run's own report.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path


def main() -> None:
    """Copy page, numbers and the figures that the page shows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="Folder of the cross-validation.")
    parser.add_argument("--out", type=Path, required=True, help="Where the results go.")
    parser.add_argument("--name", required=True, help="Name of the page and start of its figures.")
    given = parser.parse_args()
    page = (given.run / "report.md").read_text(encoding="utf-8")
    (given.out / "figures").mkdir(parents=True, exist_ok=True)
    # The figure of the models alone: the repository is kept small, and the tables say the rest.
    page = "".join(
        line
        for line in page.splitlines(keepends=True)
        if not line.startswith("![") or "figures/models.png" in line
    )
    page = page.replace("figures/models.png", f"figures/{given.name}_models.png")
    models = given.out / "figures" / f"{given.name}_models.png"
    shutil.copyfile(given.run / "figures" / "models.png", models)
    # What lies beside the report in its folder does not lie beside this page.
    page = page.partition("\n## What else is here\n")[0].rstrip() + "\n"
    (given.out / f"{given.name}.md").write_text(page, encoding="utf-8")
    shutil.copyfile(given.run / "report.json", given.out / f"{given.name}.json")


if __name__ == "__main__":
    main()
