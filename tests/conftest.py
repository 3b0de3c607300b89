"""Settings of the whole suite."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from wengert import nn

# a loaded machine is slow, which is no failure; in continuous integration the same examples are drawn every time
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# compiled programs of this run are kept beside, and thrown away with it
_kept = tempfile.TemporaryDirectory(prefix="wengert-tests-", ignore_cleanup_errors=True)
os.environ["WENGERT_CACHE_DIR"] = _kept.name


@pytest.fixture(autouse=True)
def _initial_values() -> None:
    """Every test draws its layers' weights from the same place, in whatever order tests run."""
    nn.manual_seed(0)
