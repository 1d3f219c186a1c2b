"""Criteria of a test on tables of scores."""

import pytest

from made_acceptance import write_criteria


@pytest.fixture
def criteria(tmp_path):
    return write_criteria(tmp_path / "criteria.toml")
