"""The node's figures for Prometheus: what is counted, and that nobody is named."""

import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pacs.orthanc import free_port
from pacs.program import Program
from pacs.sending import ACCESSION, NAME, NUMBER, image, send, uid

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def own_address():
    """An address of this machine that is not loopback; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


def read(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return text, values


def test_figures_of_a_node_whose_archive_is_away(tmp_path):
    port = free_port()
    away = {"name": "away", "ae": "AWAY", "address": "127.0.0.1", "port": free_port()}
    node = Program(tmp_path, destinations=[away], metrics_port=port)
    node.start()
    try:
        file = image(4001)
        assert send(node.port, file, file, image(4001, PatientID="other")) == [0, 0, 0x0111]
        node.wait_for("not_sent", 2)
        text, values = read(port)
        for outcome in ("accepted", "already_here", "other_bytes"):
            assert values["cxr_pacs_received_total", outcome] == 1
        judged = [value for key, value in values.items() if key[0] == "cxr_pacs_judged_total"]
        assert judged == [1]
        assert values["cxr_pacs_objects", "judged"] == 1
        assert values["cxr_pacs_unsent", "away"] == 2
        assert values["cxr_pacs_send_failures_total", "away"] >= 2
        assert values["cxr_pacs_oldest_seconds", "judged"] > 0
        assert values["cxr_pacs_oldest_seconds", "received"] == 0
        assert values["cxr_pacs_dead_letters_total",] == 0
        assert values["cxr_pacs_free_bytes",] > 0
        assert values["cxr_pacs_queue_readable",] == 1
        for step in ("read", "network", "answer", "write"):
            assert values["cxr_pacs_step_seconds_count", step] == 1
        for secret in (*NAME.split("^"), NUMBER, ACCESSION, uid("image", 4001), "MODALITY"):
            assert secret not in text
        if address := own_address():
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((address, port), timeout=10).close()
    finally:
        assert node.stop() == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()


def test_a_port_for_figures_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node = Program(tmp_path, metrics_port=taken.getsockname()[1])
        refused = node.ask("run", expect=5)
    assert "--metrics-port" in refused.stderr
    assert "Traceback" not in refused.stderr
