"""Tables of scores as other programs write them, and the criteria of a test on them."""

import csv

import numpy as np
from scipy.special import expit

CRITERIA = """
positive = "ill"
[threshold]
rule = "value"
value = {threshold}
[sensitivity]
minimum = 0.9
margin = {margin}
[specificity]
minimum = 0.8
margin = {margin}
[abstention]
maximum = 0.1
[calibration]
maximum_error = 0.08
[subgroups]
columns = ["sex", "scanner"]
minimum_sensitivity = 0.7
"""


def write_scores(path, images, *, apart=6.0, shift=0.0, seed=0, label=None, copies=1):
    """Write a table: ``ill`` lies ``apart`` above ``well`` on a logit scale, all moved."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as handle:
        names = ["file", "label", "patient", "sex", "scanner", "score_well", "score_ill"]
        rows = csv.writer(handle)
        rows.writerow(names)
        for row in range(images):
            is_ill = row % 2 == 0 if label is None else label == "ill"
            truth = rng.normal((1 if is_ill else -1) * apart / 2, apart**0.5)
            score = round(float(expit(truth + shift)), 6)
            rows.writerow(
                [
                    f"{row:04}.png",
                    "ill" if is_ill else "well",
                    f"p{row // (2 * copies)}{'iw'[is_ill]}",
                    "MF"[row % 3 == 0],
                    f"s{row % 2}",
                    f"{1 - score:.6f}",
                    score,
                ]
            )
    return path


def write_criteria(path, *, threshold=0.5, margin=0.1, more=""):
    path.write_text(CRITERIA.format(threshold=threshold, margin=margin) + more)
    return path
