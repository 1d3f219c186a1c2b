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
    "acceptance/test_monitor.py",
    "acceptance/test_run.py",
    "audits/test_html_page.py",
    "audits/test_retraining.py",
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
    "serving/test_asked_as_subject.py",
    "serving/test_audit_trail.py",
    "serving/test_changed_images.py",
    "serving/test_client",
    "serving/test_findings.py",
    "serving/test_guide.py",
    "serving/test_image_samples.py",
    "serving/test_jobs.py",
    "serving/test_kept_answers.py",
    "serving/test_lifecycle.py",
    "serving/test_limits.py",
    "serving/test_openapi.py",
    "serving/test_replicas.py",
    "serving/test_service.py",
    "serving/test_uploaded_images.py",
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

LONG = (
    "studies/test_device_check.py::test_every_path",
    "export/test_openvino.py::test_a_conversion_is_compared_again_on_a_processor_of_other_abilities[resnet50",
    "export/test_openvino.py::test_int8_needs_training_images_and_stays_close[resnet50",
    "inference/test_ray_backend.py::test_processes_a_driver_and_a_machine_are_lost_and_no_row_is[1-",
    "inference/test_ray_backend.py::test_two_workers_give_the_rows_of_one_process_also_after_a_kill",
    "journeys/test_light_install.py::test_a_node_needs_pacs_alone",
    "journeys/test_light_install.py::test_the_source_archive_installs_to_the_same_package",
    "journeys/test_next_hospital.py::test_an_entry_is_run_kept_and_comes_out_the_same",
    "journeys/test_study.py::test_a_model_may_be_added_and_the_report_keeps_the_others",
    "journeys/test_study.py::test_model_3_is_trained_from_imagenet_in_two_stages",
    "journeys/test_tutorials.py::test_a_tutorial_runs[choosing-a-recipe]",
    "laws/test_interruption.py::test_a_run_killed_behind_a_fitted_head_ends_bit_equal",
    "laws/test_interruption.py::test_a_run_killed_in_a_stage_that_goes_back_ends_bit_equal",
    "laws/test_one_decode_law.py::test_a_study_decodes_each_image_of_its_two_data_sets_once[clean]",
    "laws/test_one_decode_law.py::test_an_audit_of_crops_reads_each_image_once[retrained]",
    "laws/test_training_laws.py::test_training_on_kept_activations_is_training_through_the_whole_network[resnet50",
    "serving/test_limits.py::test_large_uploads_that_stand_still_keep_no_small_one_out_and_are_ended",
    "serving/test_limits.py::test_who_reads_slowly_is_waited_for",
    "serving/test_limits.py::test_who_sends_slowly_but_evenly_is_waited_for",
    "statistics/test_auroc.py::test_the_jackknife_by_patient_finds_the_same_covariance",
    "statistics/test_auroc.py::test_the_variance_of_normal_scores_is_that_of_many_data_sets",
    "statistics/test_coverage.py",
)
"""Starts of tests that try once more, at length or in another case, what shorter ones hold."""

OF_NETWORKS = ("export/", "inference/", "models/")
"""Folders of tests of each network; the whole ResNet-50 is for `make test-long` alone."""


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
    """Mark what `make test-fast` and `make test` leave out by where it stands."""
    for item in items:
        place = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        for start, mark in PLACES.items():
            if place.startswith(start):
                item.add_marker(mark)
        if place.startswith(SLOW):
            item.add_marker("slow")
        parameters = getattr(getattr(item, "callspec", None), "params", {}).values()
        networks = [value for value in parameters if isinstance(value, str)]
        name = f"{place}::{item.nodeid.partition('::')[2]}"
        of_networks = place.startswith(OF_NETWORKS)
        if name.startswith(LONG) or (of_networks and "resnet50" in networks):
            item.add_marker("long")
        if of_networks and any(large in value for value in networks for large in LARGE):
            item.add_marker("slow")
