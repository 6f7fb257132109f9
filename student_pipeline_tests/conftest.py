"""Fixtures that every test may use."""

from pathlib import Path

import pytest

from student_pipeline_tests.pipeline import School


@pytest.fixture
def school(tmp_path: Path) -> School:
    """An empty landing folder and a warehouse that is not there yet."""
    return School(tmp_path)
