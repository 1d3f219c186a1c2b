import dataclasses
import math
import os
import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from PIL import Image

from cxr_transfer import INTENDED_USE
from cxr_transfer.errors import DataError, MachineError
from cxr_transfer.evaluation import error_sheet
from cxr_transfer.figures import audit as audit_figures
from cxr_transfer.figures import canvas
from cxr_transfer.figures import evaluation as figures
from cxr_transfer.labels import DATASET_1, LabelSet
from cxr_transfer.statistics.association import source_by_class
from cxr_transfer.statistics.curves import roc_band
from cxr_transfer.statistics.intervals import NOT_DEFINED, Estimate
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from made import case, grey

METRICS = ("accuracy", "f1_macro")
ESTIMATES = {
    "Model_1": {"accuracy": Estimate(0.92, 0.88, 0.95), "f1_macro": Estimate(0.91, 0.87, 0.94)},
    "Model_2": {"accuracy": Estimate(0.96, 0.93, 0.98), "f1_macro": Estimate(0.95, 0.92, 0.97)},
}
PAPER = {"Model_1": {"accuracy": 92.32, "f1_macro": 92.46}, "Model_2": {"accuracy": 95.65}}
MS = {"Model_1": Estimate(3.1, 2.9, 3.4), "Model_3": Estimate(58.0, 51.0, 66.04)}
CONFUSION = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]])

BEFORE = [
    {"low": 0.5, "high": 0.6, "images": 4, "mean_score": 0.58, "right": (0.25, 0.05, 0.7)},
    {"low": 0.9, "high": 1.0, "images": 96, "mean_score": 0.99, "right": (0.95, 0.89, 0.98)},
]
AFTER = [{"low": 0.9, "high": 1.0, "images": 100, "mean_score": 0.93, "right": (0.92, 0.85, 0.96)}]
BEFORE, AFTER = (
    [row | {"right": Estimate(*row["right"]).as_dict()} for row in rows] for rows in (BEFORE, AFTER)
)
COVERAGE, RISK = np.array([0.4, 0.5, 1.0]), np.array([0.0, 0.02, 0.08])


def scores_of(targets=(0, 0, 1, 1, 2, 2)):
    probabilities = np.array(
        [[8, 1, 1], [3, 6, 1], [1, 8, 1], [4, 5, 1], [1, 1, 8], [2, 2, 6]], dtype=float
    )
    names = tuple("abcdef")
    return Scores(DATASET_1, np.array(targets), probabilities / 10, names, names)


def epochs(*val_losses, stage="head"):
    return [
        {
            "stage": stage,
            "epoch": i,
            "loss": 1 / (i + 1),
            "val_loss": loss,
            "accuracy": 0.5 + i / 100,
            "val_accuracy": 0.4 + i / 100,
            "learning_rate": 1e-3,
            "seconds": 2.0,
        }
        for i, loss in enumerate(val_losses)
    ]


def draw_bars(path):
    figures.paper_bars(path, ESTIMATES, METRICS, PAPER, "Figure 5")


def draw_times(path):
    figures.time_bars(path, MS, "Figure 6: two CPU cores")


def draw_confusion(path):
    figures.confusion_matrix(path, CONFUSION, DATASET_1, "Model_1")


def draw_roc(path):
    figures.roc_curves(path, scores_of(), evaluate(scores_of(), resamples=20), "Model_1")


def draw_pr(path):
    figures.pr_curves(path, scores_of(), evaluate(scores_of(), resamples=20), "Model_1")


def draw_history(path):
    figures.training_history(path, epochs(3, 1, 2) + epochs(0.9, 0.5, stage="whole"))


def draw_reliability(path):
    figures.reliability_plot(path, BEFORE, AFTER, "Model_1")


def draw_reliability_untempered(path):
    figures.reliability_plot(path, BEFORE, [], "Model_1")


def draw_risk_coverage(path):
    figures.risk_coverage_plot(path, COVERAGE, RISK, "Model_1")


def draw_forest(path):
    rows = [("all images", Estimate(0.9, 0.8, 0.95)), ("sex: F (40)", Estimate(0.8, 0.6, 0.9))]
    figures.forest_plot(path, rows, "Model_1")


def draw_band(path):
    scores = scores_of()
    bands = {label: roc_band(scores, label, resamples=30) for label in DATASET_1}
    figures.roc_curves(path, scores, evaluate(scores, resamples=20), "Model_1", bands)


def crossed():
    """Two sources of one class each, large, and a small one of both."""
    kinds = {("kermany", "normal"): 50, ("cohen", "covid19"): 30,
             ("clinic", "normal"): 6, ("clinic", "covid19"): 14}  # fmt: skip
    cases = [
        dataclasses.replace(case(f"{source}{label}{i}.png", label), source=source)
        for (source, label), images in kinds.items()
        for i in range(images)
    ]
    return source_by_class(cases, resamples=5)


def draw_mosaic(path):
    labels = ("normal", "bacterial", "covid19")  # of one there is no image
    audit_figures.source_mosaic(path, crossed(), labels, "Where the images come from")


def draw_masked(path):
    rows = [
        ("all of the image", Estimate(0.95, 0.9, 0.98)),
        ("border only", Estimate(0.4, 0.3, 0.5)),
    ]
    audit_figures.masked_bars(path, [*rows, ("age alone", NOT_DEFINED)], "Model_1")


def draw_errors(path):
    cases = [case(f"{i}.png", label) for i, label in enumerate(DATASET_1.names * 2)]
    images = np.stack([grey(i, 64, 64) for i in range(6)])[:, None]
    scored = scores_of().probabilities
    error_sheet.error_sheet(path, DATASET_1, scored, cases, images, np.array([4, 1]), "Model_1")


ALL = (
    draw_errors,
    draw_band,
    draw_mosaic,
    draw_masked,
    draw_bars,
    draw_times,
    draw_confusion,
    draw_roc,
    draw_pr,
    draw_history,
    draw_reliability,
    draw_reliability_untempered,
    draw_risk_coverage,
    draw_forest,
)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def markers(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata())]


@pytest.mark.parametrize("draw", ALL)
def test_every_figure_is_a_whole_png_with_the_footer(draw, tmp_path, drawn):
    before = dict(mpl.rcParams)
    path = tmp_path / "figures" / "figure.png"
    draw(path)
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert image.size == pytest.approx(150 * drawn[0].get_size_inches(), abs=1)
        assert len(image.getcolors(maxcolors=10**6)) > 20  # drawn on, not blank
    assert os.listdir(path.parent) == ["figure.png"]
    assert INTENDED_USE.startswith("Research use only")
    assert INTENDED_USE in [text.get_text() for text in drawn[0].texts]
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("draw", ALL)
def test_nothing_is_cut_off_and_no_text_lies_on_the_footer(draw, tmp_path, drawn):
    draw(tmp_path / "figure.png")
    figure = drawn[0]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    footer = next(text for text in figure.texts if text.get_text() == INTENDED_USE)
    base = footer.get_window_extent(renderer)
    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert box.y0 > base.y1
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 < figure._suptitle.get_window_extent(renderer).y0 + 1


def test_a_figure_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fail(*args, **kwargs):
        raise RuntimeError("out of ink")

    monkeypatch.setattr(canvas.Figure, "savefig", fail)
    with pytest.raises(RuntimeError, match="out of ink"):
        draw_times(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["figure.png"]


def test_a_folder_that_cannot_be_written_is_a_machine_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError):
        draw_times(tmp_path / "file" / "figure.png")


def test_paper_bars_start_at_0_and_carry_values_whiskers_and_the_papers_diamonds(tmp_path, drawn):
    draw_bars(tmp_path / "figure.png")
    (axes,) = drawn[0].axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx([92, 96, 91, 95])
    assert axes.get_ylim()[0] == 0
    whiskers = [axes.containers[i].lines[2][0].get_segments() for i in (1, 3)]
    ends = [segment[:, 1].tolist() for series in whiskers for segment in series]
    assert np.allclose(ends, [[88, 95], [93, 98], [87, 94], [92, 97]])
    assert "92.0\n[88.0, 95.0]" in texts(axes)
    theirs = [value for line in markers(axes, "D") for value in line.get_ydata()]
    assert theirs[:3] == [92.32, 95.65, 92.46]
    assert math.isnan(theirs[3])  # the paper's F1 of Model_2 was not given: not drawn
    assert set(legend(axes)) == {"Accuracy", "F1 (macro)", "the paper, one split"}
    assert [label.get_text() for label in axes.get_xticklabels()] == list(ESTIMATES)


def test_paper_bars_without_the_paper_and_without_a_value(tmp_path, drawn):
    estimates = {"mine": {"accuracy": Estimate(1, 1, 1), "recall_macro": NOT_DEFINED}}
    figures.paper_bars(tmp_path / "f.png", estimates, ("accuracy", "recall_macro"), {}, "Mine")
    (axes,) = drawn[0].axes
    assert legend(axes) == ["Accuracy", "Recall (macro)"]
    assert texts(axes) == ["100.0\n[100.0, 100.0]", "not defined"]


def test_time_bars_show_the_papers_range(tmp_path, drawn):
    draw_times(tmp_path / "figure.png")
    (axes,) = drawn[0].axes
    band, *bars = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((26.9, 42.7))
    assert [bar.get_width() for bar in bars] == [3.1, 58.0]
    assert texts(axes) == ["3.1 [2.9, 3.4]", "58.0 [51.0, 66.0]"]
    assert legend(axes) == ["the paper on a Tesla K80: 26.9 to 42.7 ms"]
    assert axes.get_xlim()[0] == 0
    assert axes.get_xlim()[1] > 66


def test_confusion_matrix_has_true_rows_counts_and_shares(tmp_path, drawn):
    draw_confusion(tmp_path / "figure.png")
    (axes,) = drawn[0].axes
    at = {
        (round(text.get_position()[1]), text.get_position()[0], size): text.get_text()
        for text in axes.texts
        for size in [text.get_fontsize()]
    }
    assert (at[0, 1, 16], at[0, 1, 9]) == ("2", "20.0 %")
    assert (at[1, 0, 16], at[1, 0, 9]) == ("1", "10.0 %")
    assert at[2, 2, 9] == "0.0 %"  # a class without an image divides by no zero
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "normal\n10 images",
        "bacterial\n10 images",
        "covid19\n0 images",
    ]
    dark = next(text for text in axes.texts if text.get_text() == "9")
    assert to_hex(dark.get_color()) == "#ffffff"


@pytest.mark.parametrize("draw", [draw_roc, draw_pr])
def test_curves_name_their_area_and_interval(draw, tmp_path, drawn):
    draw(tmp_path / "figure.png")
    (axes,) = drawn[0].axes
    per_class = evaluate(scores_of(), resamples=20).per_class
    area, name = ("auroc", "AUROC") if draw is draw_roc else ("average_precision",) * 2
    expected = [
        f"{label}: {name.replace('_', ' ')} {per_class[label][area]}" for label in DATASET_1
    ]
    assert legend(axes)[:3] == expected
    curves = [line for line in axes.lines if line.get_label() in expected]
    assert [to_hex(line.get_color()) for line in curves] == ["#0072b2", "#e69f00", "#009e73"]


def test_a_class_without_an_image_has_no_curve_and_the_others_keep_their_colours(tmp_path, drawn):
    scores = scores_of((0, 0, 2, 2, 2, 2))
    evaluation = evaluate(scores, resamples=20)
    for curves in (figures.roc_curves, figures.pr_curves):
        curves(tmp_path / "figure.png", scores, evaluation, "two of three")
    for figure in drawn:
        (axes,) = figure.axes
        named = [
            line for line in axes.lines if ": A" in line.get_label() or ": av" in line.get_label()
        ]
        assert [line.get_label().split(":")[0] for line in named] == ["normal", "covid19"]
        assert [to_hex(line.get_color()) for line in named] == ["#0072b2", "#009e73"]


def test_images_of_one_class_give_empty_axes_not_an_error(tmp_path, drawn):
    scores = scores_of((0,) * 6)
    figures.roc_curves(tmp_path / "f.png", scores, evaluate(scores, resamples=5), "one class")
    assert legend(drawn[0].axes[0]) == ["no skill"]


def test_training_history_marks_stages_and_the_best_epoch_of_each(tmp_path, drawn):
    draw_history(tmp_path / "figure.png")
    loss, accuracy = drawn[0].axes
    for axes, best in ((loss, [1, 0.5]), (accuracy, [41, 41])):
        (rings,) = markers(axes, "o")
        assert rings.get_xdata().tolist() == [2, 5]
        assert rings.get_ydata().tolist() == pytest.approx(best)
        boundaries = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert boundaries == [0.5, 3.5]
        assert [text.strip() for text in texts(axes)] == ["stage head", "stage whole"]
        training, validation = markers(axes, ".")
        assert training.get_xdata().tolist() == [1, 2, 3, 4, 5]
        assert (training.get_label(), validation.get_label()) == ("training", "validation")
    assert validation.get_ydata()[:3].tolist() == pytest.approx([40, 41, 42])


def test_training_history_takes_one_epoch_text_and_nan(tmp_path, drawn):
    figures.training_history(tmp_path / "one.png", epochs(0.7))
    as_text = [{key: str(value) for key, value in row.items()} for row in epochs(math.nan, 0.5)]
    figures.training_history(tmp_path / "two.png", as_text + epochs(math.nan, stage="whole"))
    (rings,) = markers(drawn[1].axes[0], "o")
    assert rings.get_xdata().tolist() == [2]
    with pytest.raises(DataError, match="at least one epoch"):
        figures.training_history(tmp_path / "none.png", [])
    assert sorted(os.listdir(tmp_path)) == ["one.png", "two.png"]


def test_without_a_temperature_there_is_no_half_that_claims_one(tmp_path, drawn):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_reliability_untempered(tmp_path / "figure.png")
    assert len(drawn[0].axes) == 2
    labels = [label for axes in drawn[0].axes for label in axes.get_legend_handles_labels()[1]]
    assert any(label.startswith("as given by the network") for label in labels)
    assert not any(label.startswith("calibrated") for label in labels)


def test_reliability_shows_share_whisker_diagonal_and_images_before_and_after(tmp_path, drawn):
    draw_reliability(tmp_path / "figure.png")
    panels = np.reshape(drawn[0].axes, (2, 2))
    for (shares, images), rows, name in zip(
        panels.T, (BEFORE, AFTER), ("as given by the network", "calibrated"), strict=True
    ):
        (dots,) = markers(shares, "o")
        assert dots.get_xdata() == pytest.approx([row["mean_score"] for row in rows])
        assert dots.get_ydata() == pytest.approx([row["right"]["value"] for row in rows])
        whiskers = shares.containers[0].lines[2][0].get_segments()
        ends = [[row["right"]["low"], row["right"]["high"]] for row in rows]
        assert np.allclose([segment[:, 1] for segment in whiskers], ends)
        (diagonal,) = [line for line in shares.lines if line.get_linestyle() == ":"]
        assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
        assert legend(shares)[1] == f"{name}: share right [95 %, Wilson]"
        assert shares.get_xlim() == shares.get_ylim() == images.get_xlim() == (0, 1)
        assert [bar.get_height() for bar in images.patches] == [row["images"] for row in rows]
        centres = [bar.get_x() + bar.get_width() / 2 for bar in images.patches]
        assert centres == pytest.approx([(row["low"] + row["high"]) / 2 for row in rows])
        assert texts(images) == [str(row["images"]) for row in rows]
    assert panels[1, 0].get_ylim() == panels[1, 1].get_ylim()  # heights can be compared
    assert panels[1, 0].get_ylim()[1] > 100


def test_risk_coverage_encloses_the_area_and_names_the_risk_of_all_images(tmp_path, drawn):
    draw_risk_coverage(tmp_path / "figure.png")
    (axes,) = drawn[0].axes
    curve, chance = axes.lines
    assert curve.get_drawstyle() == "steps-pre"  # each risk back to the point before
    kept, wrong = curve.get_xdata(), curve.get_ydata()
    assert (kept[0], kept[-1], wrong[-1]) == pytest.approx((0, 100, 8))
    area = (np.diff(kept) * wrong[1:]).sum() / 100**2
    assert area == pytest.approx(0.1 * 0.02 + 0.5 * 0.08)
    assert list(chance.get_ydata()) == pytest.approx([8, 8])
    assert legend(axes) == ["surest images kept first", "kept at random: 8.0 %"]
    assert axes.get_ylim() == (0, pytest.approx(1.15 * 8))
    assert axes.get_xlim() == (0, 100)


def test_risk_coverage_of_a_model_without_an_error(tmp_path, drawn):
    figures.risk_coverage_plot(tmp_path / "f.png", np.array([1.0]), np.array([0.0]), "all right")
    (axes,) = drawn[0].axes
    assert axes.get_ylim() == (0, 1)
    assert legend(axes)[1] == "kept at random: 0.0 %"


def test_a_forest_has_every_group_and_the_line_of_all_images(tmp_path, drawn):
    draw_forest(tmp_path / "f.png")
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["all images", "sex: F (40)"]
    assert list(axes.lines[0].get_xdata()) == pytest.approx([90, 90])
    assert axes.yaxis_inverted(), "the first stands on top"
    assert axes.get_xlim()[1] == 100


def test_a_curve_lies_in_its_band(tmp_path, drawn):
    draw_band(tmp_path / "f.png")
    (axes,) = drawn[0].axes
    bands = [band.get_paths()[0] for band in axes.collections]
    assert len(bands) == 3
    assert len(axes.lines) == 4, "three curves and the diagonal"


def test_a_mosaic_has_the_area_of_every_count(tmp_path, drawn):
    draw_mosaic(tmp_path / "f.png")
    (axes,) = drawn[0].axes
    areas = [bar.get_width() * bar.get_height() / 100 for bar in axes.patches]
    # By source in the order of their names, then by class, in percent of 100 images.
    assert areas == pytest.approx([6, 0, 14, 0, 0, 30, 50, 0, 0])
    assert legend(axes) == ["normal", "bacterial", "covid19"]
    colours = [to_hex(bar.get_facecolor()) for bar in axes.patches[:3]]
    assert colours == [colour.lower() for colour in figures.PALETTE[:3]]
    assert "kermany (50)" in texts(axes)


def test_bars_of_what_is_left_grow_from_chance(tmp_path, drawn):
    draw_masked(tmp_path / "f.png")
    (axes,) = drawn[0].axes
    reach = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert reach[:2] == pytest.approx([0.95, 0.4])
    assert math.isnan(reach[2])
    assert texts(axes) == ["0.95 [0.90, 0.98]", "0.40 [0.30, 0.50]", "not defined"]
    assert axes.get_xlim()[0] <= 0.3, "a whisker is not cut off"


def test_a_dollar_in_a_name_is_a_dollar(tmp_path):
    labels = LabelSet(("$x", "y$_{"))
    figures.confusion_matrix(tmp_path / "f.png", np.eye(2, dtype=int), labels, "a $\\frac b$")
    assert (tmp_path / "f.png").exists()


@pytest.mark.slow
def test_no_pyplot_and_matplotlib_only_where_figures_are_drawn():
    """A fresh interpreter: importing leaves no global plotting state, and no torch."""
    code = (
        "import sys\n"
        "import cxr_transfer.statistics.comparison\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import cxr_transfer.figures.evaluation\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
