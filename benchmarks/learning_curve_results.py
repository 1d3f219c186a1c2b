"""Put a finished learning curve into docs/results: page, numbers, table and figure.

    cxr study --data DATA --out runs/curve --learning-curve 10,20,50,100,200,340
    python benchmarks/learning_curve_results.py --run runs/curve --out docs/results

Nothing is computed here: the page is the study's own report.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

FILES = {
    "report.md": "learning_curve.md",
    "curve.json": "learning_curve.json",
    "learning_curve.csv": "learning_curve.csv",
    "learning_curve.tex": "learning_curve.tex",
    "figures/learning_curve.png": "figures/learning_curve.png",
    "figures/learning_curve.svg": "figures/learning_curve.svg",
}
"""Files of a study's folder and where they go."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="Folder of the finished study.")
    parser.add_argument("--out", type=Path, required=True, help="Where the results go.")
    given = parser.parse_args()
    (given.out / "figures").mkdir(parents=True, exist_ok=True)
    for name, copy in FILES.items():
        shutil.copyfile(given.run / name, given.out / copy)
        print(given.out / copy)


if __name__ == "__main__":
    main()
