"""Put a finished learning curve into docs/results: page, numbers and figure.

    cxr study --learning-curve 10,20,50,100,200,320 --draws 3 --input-size 112 --data DATA \\
        --models model_1,model_2,model_3,linear_probe,benchmarks/learning_curve/densenet121.toml \\
        --out runs/curve
    python benchmarks/learning_curve_results.py --run runs/curve --out docs/results

Nothing is computed here: the page is the study's own report. The figure is made smaller, since a
repository keeps every version of a file.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image

FILES = {"report.md": "learning_curve.md", "curve.json": "learning_curve.json"}
"""Files of a study's folder and where they go."""

NUMBERS = "* Numbers: [learning_curve.json](learning_curve.json). A study's folder has tables, too."

FIGURE, WIDTH, COLOURS = "figures/learning_curve.png", 1125, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="Folder of the finished study.")
    parser.add_argument("--out", type=Path, required=True, help="Where the results go.")
    given = parser.parse_args()
    (given.out / "figures").mkdir(parents=True, exist_ok=True)
    for name, copy in FILES.items():
        shutil.copyfile(given.run / name, given.out / copy)
        print(given.out / copy)
    page = given.out / FILES["report.md"]
    kept = page.read_text(encoding="utf-8").partition("* Numbers: ")[0]
    page.write_text(f"{kept}{NUMBERS}\n", encoding="utf-8")
    with Image.open(given.run / FIGURE) as figure:
        height = round(WIDTH * figure.height / figure.width)
        small = figure.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(given.out / FIGURE, optimize=True)
    print(given.out / FIGURE)


if __name__ == "__main__":
    main()
