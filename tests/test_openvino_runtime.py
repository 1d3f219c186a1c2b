"""First use by one thread, any number of threads after it, and what decides the arithmetic."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino
import pytest
from openvino import opset13

from cxr_transfer import openvino_runtime
from cxr_transfer.openvino_runtime import Network, abilities, exclusive
from cxr_transfer.radiograph import lung_network

THREADS = 8


def graph(inputs=1):
    given = [
        opset13.parameter([-1, 3, -1], np.float32, name=f"given{number}")
        for number in range(inputs)
    ]
    total = given[0]
    for each in given[1:]:
        total = opset13.add(total, each)
    outputs = [opset13.multiply(total, np.float32(2)), opset13.exp(total)]
    for output, name in zip(outputs, ("twice", "exp"), strict=True):
        output.output(0).get_tensor().set_names({name})
    return openvino.Model(outputs, given, "small")


def values(seed):
    return np.random.default_rng(seed).normal(size=(2, 3, 5)).astype(np.float32)


def at_once(work, number=THREADS):
    """What ``work`` returns in threads that begin together."""
    start = threading.Barrier(number)

    def begun(item):
        start.wait()
        return work(item)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begun, range(number)))


@pytest.mark.parametrize("streams", [None, 1, 3])
def test_many_threads_get_what_one_gets(streams):
    network = Network(graph(), streams=streams)
    assert network.outputs == [{"twice"}, {"exp"}]
    expected = [network(values(seed)) for seed in range(THREADS)]
    assert np.array_equal(expected[3][0], 2 * values(3))
    for _ in range(20):
        found = at_once(lambda seed: network(values(seed)))
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one[0], other[0])
            assert np.array_equal(one[1], other[1])


def test_a_network_that_fails_once_answers_the_next():
    network = Network(graph())
    for _ in range(3):
        with pytest.raises(Exception, match="shape"):
            network(np.zeros((2, 2), np.float32))
    assert np.array_equal(network(values(1))[0], 2 * values(1))


def test_only_a_network_of_one_input_is_taken():
    with pytest.raises(RuntimeError, match="2 inputs"):
        Network(graph(inputs=2))


def test_what_is_not_an_inference_is_done_by_one_thread_at_a_time():
    inside, order = threading.Event(), []

    def first():
        with exclusive(), exclusive():  # also within itself
            inside.set()
            order.extend("first" for _ in range(100_000))

    def second():
        inside.wait()
        with exclusive():
            order.append("second")

    threads = [threading.Thread(target=each) for each in (second, first)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert order[-1] == "second"
    assert len(order) == 100_001


def test_threads_that_look_for_lungs_first_make_one_network(monkeypatch):
    made = []

    def counted():
        made.append(threading.get_ident())
        return compiled()

    compiled = lung_network._compiled
    monkeypatch.setattr(lung_network, "_network", None)
    monkeypatch.setattr(lung_network, "_compiled", counted)
    ranked = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    found = at_once(lambda _: lung_network.shares(ranked))
    assert len(made) == 1
    assert all(np.array_equal(found[0], each) for each in found)


def test_nobody_has_a_network_that_has_not_answered(monkeypatch):
    asked = []
    answer = Network._answer

    def seen(self, request, images):
        asked.append(images.shape)
        return answer(self, request, images)

    monkeypatch.setattr(Network, "_answer", seen)
    Network(graph(), streams=2)
    assert asked == [(1, 3, 1)] * 2  # each of its requests


@pytest.mark.slow
def test_openvino_is_imported_with_its_reports_switched_off_and_not_before():
    script = (
        "import sys\n"
        "from cxr_transfer.inference.predictor import Predictor\n"
        "before = set(sys.modules)\n"
        "print('openvino' in before, 'openvino_telemetry' in before)\n"
        "from cxr_transfer.openvino_runtime import exclusive\n"
        "with exclusive() as library: print(library.__name__, sys.modules['openvino_telemetry'])\n"
        "print('openvino_telemetry' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["False False", "openvino None", "False"], done.stderr


def test_abilities_name_version_processor_and_limits(monkeypatch):
    for name in openvino_runtime._LIMITS:
        monkeypatch.delenv(name, raising=False)
    plain = abilities()
    assert plain[-1] == f"openvino {openvino.get_version()}"
    assert len(plain) > 1
    assert len(set(plain)) == len(plain)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "ONEDNN_MAX_CPU_ISA AVX2" in abilities()
    assert set(plain) < set(abilities())
