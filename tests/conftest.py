"""What all tests share: nothing of theirs is kept in the settings of whoever runs them."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLACES = {
    "journeys/": "journey",
    "laws/": "slow",
    "real/": "real",
    "serving/test_page": "browser",
}
"""Start of a path below this folder to the mark that its tests get."""

SLOW = (
    "acceptance/test_model.py",
    "audits/test_html_page.py",
    "audits/test_subjects_audited.py",
    "evaluation/test_error_sheet.py",
    "evaluation/test_evaluated.py",
    "export/",
    "pacs/test_answer_files.py",
    "pacs/test_answer_objects.py",
    "pacs/test_deidentify.py",
    "pacs/test_listener.py",
    "pacs/test_odd_headers.py",
    "serving/test_api.py",
    "serving/test_audit_trail.py",
    "serving/test_changed_images.py",
    "serving/test_client.py",
    "serving/test_findings.py",
    "serving/test_guide.py",
    "serving/test_image_samples.py",
    "serving/test_jobs.py",
    "serving/test_kept_answers.py",
    "serving/test_lifecycle.py",
    "serving/test_limits.py",
    "serving/test_openapi.py",
    "serving/test_service.py",
    "statistics/test_coverage.py",
    "studies/test_comparison.py",
    "studies/test_cross_validation.py",
    "studies/test_external_model.py",
    "studies/test_external_validation.py",
    "studies/test_learning_curve.py",
    "studies/test_local_curve.py",
    "studies/test_paper.py",
    "studies/test_reader_study.py",
    "studies/test_source_contribution.py",
    "subjects/test_foreign_files.py",
    "subjects/test_inspection.py",
    "test_api.py",
    "test_forks.py",
    "test_install.py",
    "test_reference_pages.py",
    "training/test_source_losses.py",
)
"""Starts of paths whose tests start servers or other programs, or train networks."""

LARGE = ("resnet50", "model_3", "multi_source")
"""Networks with which a test takes seconds: the quick tests have the small one."""


@pytest.fixture(scope="session", autouse=True)
def settings(tmp_path_factory):
    """The key of patients' hashes, where the tests may write."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("settings")
        patch.setenv("CXR_CONFIG", str(folder))
        yield folder


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were made, to look inside."""
    from cxr_transfer.figures import canvas

    made = []

    class Recorded(canvas.Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(canvas, "Figure", Recorded)
    return made


def pytest_collection_modifyitems(items):
    """Mark what `make test-fast` leaves out by where it stands."""
    for item in items:
        place = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        for start, mark in PLACES.items():
            if place.startswith(start):
                item.add_marker(mark)
        if place.startswith(SLOW):
            item.add_marker("slow")
        networks = getattr(getattr(item, "callspec", None), "params", {}).values()
        if place.startswith(("export/", "inference/", "models/")) and any(
            name in str(value) for value in networks for name in LARGE if isinstance(value, str)
        ):
            item.add_marker("slow")
