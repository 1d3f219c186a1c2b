"""The benchmark of many images: its arithmetic and its page; `benchmarks/scale.py` measures."""

import importlib.util
import json
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("scale", HOME / "benchmarks" / "scale.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured():
    rates = {"list": 1000.0, "read": 500.0, "prepare": 50.0, "infer": 40.0}
    kind = {"images": 8, "megabytes_per_image": 0.5, "per_second_and_core": rates}
    return {
        "kinds": {"jpeg": kind, "dicom": json.loads(json.dumps(kind))},
        "write_rows_per_second": {"csv": 1000.0, "parquet": 2000.0},
        "store": None,
        "ray": {
            "processors": 2,
            "images": [1, 2],
            "seconds": [1.0, 2.0],
            "core_seconds_per_image": 0.0588,
            "start_s": 9.0,
        },
    }


def test_ten_million_images_cost_what_the_stages_and_ray_take(scale):
    """0.001 + 0.002 + 0.02 + 0.025 + 0.001 s for an image, and a fifth more for Ray."""
    results = measured()
    scale.add_costs(results)
    cost = results["kinds"]["jpeg"]["ten_million"]
    assert results["ray"]["overhead"] == pytest.approx(0.2, abs=0.001)
    assert cost["core_seconds_per_image"] == pytest.approx(0.0588, abs=1e-4)
    assert cost["core_hours"] == pytest.approx(163.3, abs=0.2)
    assert cost["hours_by_cores"]["64"] == pytest.approx(163.3 / 64, abs=0.01)
    assert cost["terabytes"] == 5


@pytest.mark.parametrize("load", [0.1, 3.0])
def test_the_page_says_so_where_the_machine_was_busy(scale, load):
    results = measured()
    scale.add_costs(results)
    content = {
        "results": results,
        "load": load,
        "model": "m",
        "machine": {"processor": "p"},
    }
    said = scale.page(content)
    assert ("Measure again" in said) == (load > scale.BUSY)
    assert "| infer | 40.0 | 40.0 |" in said


def test_the_page_is_that_of_the_numbers(scale):
    numbers = HOME / "docs" / "results" / "scale.json"
    content = json.loads(numbers.read_text())
    assert numbers.with_suffix(".md").read_text() == scale.page(content)
