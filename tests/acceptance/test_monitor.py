"""Answers that were kept are watched: drift by whole weeks, the promise by outcomes."""

import csv
import json
from datetime import date, timedelta

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cxr_transfer.acceptance.local_images import LocalData
from cxr_transfer.acceptance.monitor import Watch, watch_answers
from cxr_transfer.acceptance.record import content_hash
from cxr_transfer.acceptance.run import AcceptanceTest, run_acceptance
from cxr_transfer.errors import CxrError
from made_acceptance import write_criteria, write_scores

START = date(2026, 3, 2)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The record of an accepted model, and the scores of its images."""
    folder = tmp_path_factory.mktemp("reference")
    scores = write_scores(folder / "scores.csv", 400)
    asked = AcceptanceTest(str(scores), write_criteria(folder / "c.toml"), LocalData(None))
    (folder / "out").mkdir()
    run_acceptance(asked, folder / "out")
    return folder / "out"


def write_answers(folder, weeks, *, shift=0.0, seed=1, images=60, unsure=0.0):
    """Write a table of answers for each week; return what the images are."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    outcomes = []
    for week in range(weeks):
        day = START + timedelta(days=7 * week)
        scores = write_scores(folder / "scores.tmp", images, shift=shift, seed=seed + 7 * week)
        with scores.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        lines = ["file,status,code,message,label,score_well,score_ill,model"]
        for row in rows:
            name = f"{day}/{row['file']}"
            status = "cannot_assess,not_sure" if rng.random() < unsure else "ok,"
            lines.append(f"{name},{status},,,{row['score_well']},{row['score_ill']},net 123")
            outcomes.append(f"{name},{row['label']},{day}")
        (folder / f"{day}.csv").write_text("\n".join(lines) + "\n")
    return outcomes


def watched(tmp_path, reference, **words):
    out = tmp_path / "watch"
    out.mkdir(exist_ok=True)
    words = {"until": START + timedelta(days=70)} | words
    watch = Watch((tmp_path / "answers",), reference, **words)
    return watch_answers(watch, out), out


def refusal(tmp_path, reference, **words):
    with pytest.raises(CxrError) as error:
        watched(tmp_path, reference, **words)
    return error.value.code


@pytest.mark.slow
def test_where_nothing_changes_nothing_alarms(tmp_path, reference):
    outcomes = write_answers(tmp_path / "answers", 4)
    table = tmp_path / "outcomes.csv"
    table.write_text("file,label,date\n" + "\n".join(outcomes) + "\n")
    content, out = watched(tmp_path, reference, outcomes=table)
    assert content["alarms"] == []
    assert [week["images"] for week in content["weeks"]] == [60] * 4
    assert content["performance"]["sensitivity"]["images"] == 120
    assert not content["performance"]["sensitivity"]["alarm"]
    page = (out / "monitor.html").read_text()
    assert "0 alarms" in page
    assert "http" not in page.partition("<body>")[0]
    assert json.loads((out / "monitor.json").read_text()) == content


def test_other_scores_and_more_abstentions_alarm_in_their_week(tmp_path, reference):
    write_answers(tmp_path / "answers", 2, shift=-4.0, unsure=0.4)
    content, out = watched(tmp_path, reference)
    assert content["weeks"][0]["alarms"] == ["scores", "without_answer"]
    assert content["weeks"][0]["stability_index"] > 0.25
    metrics = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families((out / "metrics.prom").read_text())
        for sample in family.samples
    }
    assert metrics["cxr_monitor_alarms",] == len(content["alarms"]) == 4
    assert metrics["cxr_monitor_p_value", "scores"] == content["weeks"][1]["p"]["scores"]


def test_the_first_weeks_may_be_what_later_ones_are_compared_with(tmp_path, reference):
    write_answers(tmp_path / "answers", 4, shift=-4.0, images=80)
    content, out = watched(tmp_path, reference, baseline_weeks=2)
    assert content["alarms"] == []
    assert [week["is_baseline"] for week in content["weeks"]] == [True, True, False, False]
    assert (
        "the first 2 weeks; what is promised is of the acceptance test"
        in (out / "monitor.html").read_text()
    )
    assert refusal(tmp_path, reference, since=START - timedelta(30), baseline_weeks=1) == (
        "no_answers"
    )


def test_outcomes_show_that_the_promise_is_broken(tmp_path, reference):
    outcomes = write_answers(tmp_path / "answers", 3, shift=-3.0)
    table = tmp_path / "outcomes.csv"
    more = ["other.png,ill,", f"{outcomes[0].split(',')[0]}x,ill,"]
    labels = [*outcomes, *more, outcomes[1].replace("well", "unknown")]
    table.write_text("file,label,date\n" + "\n".join(labels) + "\n")
    content, _ = watched(tmp_path, reference, outcomes=table)
    figure = content["performance"]["sensitivity"]
    assert figure["alarm"]
    assert figure["evidence"] >= figure["limit"] == 40
    assert any("the sensitivity lies below 80.0 %" in line for line in content["alarms"])
    left = {"unknown": 2, "ambiguous": 0, "other_labels": 1}
    assert content["performance"]["left_out"] == left


def test_one_day_of_answers_is_shown_and_not_tested(tmp_path, reference):
    write_answers(tmp_path / "answers", 1, shift=-4.0)
    content, out = watched(tmp_path, reference, until=START)
    assert content["alarms"] == []
    assert [week["is_over"] for week in content["weeks"]] == [False]
    assert content["weeks"][0]["p"]["scores"] < 1e-3
    assert "No week is over yet" in (out / "monitor.html").read_text()


def test_a_table_that_was_kept_twice_counts_once(tmp_path, reference):
    write_answers(tmp_path / "answers", 1)
    content = (tmp_path / "answers" / f"{START}.csv").read_text()
    (tmp_path / "answers" / f"{START + timedelta(days=20)}-again.csv").write_text(content)
    found, _ = watched(tmp_path, reference)
    assert (found["answers"], found["repeated_rows"]) == (60, 60)


def test_lines_of_json_and_of_the_server_are_read(tmp_path, reference):
    folder = tmp_path / "answers"
    folder.mkdir()
    answer = {"file": "a.png", "status": "ok", "code": "", "label": "ill", "model": "net 123"}
    answer |= {"probabilities": {"well": 0.3, "ill": 0.7}, "time": f"{START}T10:00:00+00:00"}
    refused = answer | {"file": "b.png", "status": "cannot_assess", "code": "blank"}
    error = {"file": "c.png", "status": "error", "code": "not_an_image", "probabilities": {}}
    lines = [json.dumps(answer), json.dumps({"answers": [refused | {"probabilities": {}}, error]})]
    (folder / f"{START}.jsonl").write_text("\n".join(lines))
    content, _ = watched(tmp_path, reference)
    week = content["weeks"][0]
    assert (week["images"], week["unreadable"], week["scored"]) == (2, 1, 1)
    assert week["refused"]["images"] == 1


def test_what_are_no_answers_is_refused(tmp_path, reference):
    folder = tmp_path / "answers"
    folder.mkdir()
    assert refusal(tmp_path, reference) == "no_answers"
    write_answers(folder, 1)
    assert refusal(tmp_path, reference, since=START + timedelta(days=9)) == "no_answers"
    days = {"since": START + timedelta(days=9), "until": START}
    assert refusal(tmp_path, reference, **days) == "bad_days"
    assert refusal(tmp_path, reference, false_alarms=0) == "bad_rate"
    assert refusal(tmp_path, reference, positive=("ill",)) == "unused_option"
    (tmp_path / "outcomes.csv").write_text("file,label\nx.png,ill\n")
    assert refusal(tmp_path, reference, outcomes=tmp_path / "outcomes.csv") == "no_common_images"
    path = folder / f"{START}.csv"
    text = path.read_text()
    for other in (
        text.replace("score_ill", "score_sick"),
        text.replace("status", "state"),
        text.replace(",0.", ",nan", 1),
        "\0\0",
    ):
        path.write_text(other)
        assert refusal(tmp_path, reference) == "bad_answers"


@pytest.mark.parametrize("line", ['{"answers": 5}', '{"answers": [5]}', "[]", "5", '{"a": NaN}'])
def test_json_of_something_else_is_refused(tmp_path, reference, line):
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / f"{START}.jsonl").write_text(line)
    assert refusal(tmp_path, reference) == "bad_answers"


def test_a_day_that_cannot_be_meant_is_refused(tmp_path, reference):
    write_answers(tmp_path / "answers", 1)
    path = tmp_path / "answers" / f"{START}.csv"
    path.rename(path.with_name("9999-12-31.csv"))
    assert refusal(tmp_path, reference, since=START, until=date.max) == "bad_days"


def test_a_record_without_its_parts_is_refused(tmp_path, reference):
    write_answers(tmp_path / "answers", 1)
    record = json.loads((reference / "acceptance.json").read_text())
    del record["watch"]
    record["sha256"] = content_hash(record)
    (tmp_path / "acceptance.json").write_text(json.dumps(record))
    assert refusal(tmp_path, tmp_path / "acceptance.json") == "bad_record"


def test_a_record_that_was_changed_is_no_reference(tmp_path, reference):
    write_answers(tmp_path / "answers", 1)
    record = json.loads((reference / "acceptance.json").read_text())
    record["criteria"]["sensitivity"]["minimum"] = 0.5
    (tmp_path / "acceptance.json").write_text(json.dumps(record))
    assert refusal(tmp_path, tmp_path / "acceptance.json") == "changed_record"
