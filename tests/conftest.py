"""What all tests share: how Hypothesis searches, and where the real data lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# `HYPOTHESIS_PROFILE=thorough pytest` searches for longer.
settings.register_profile(
    "quick", max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

NEIGHBOUR = Path(__file__).resolve().parents[2] / "shared" / "data" / "pjm"


@pytest.fixture(scope="session")
def pjm_folder() -> Path:
    """The folder of the 12 real CSVs: ``GRIDCAST_DATA``, or ``../shared/data/pjm``."""
    folder = Path(os.environ.get("GRIDCAST_DATA", NEIGHBOUR))
    if not (folder / "AEP_hourly.csv").is_file():
        pytest.skip(f"no PJM files in {folder}; set GRIDCAST_DATA to their folder")
    return folder
