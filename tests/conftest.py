"""What all tests share: how Hypothesis searches, where the real data lie, one folder, an order."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# `HYPOTHESIS_PROFILE=thorough pytest` searches for longer.
settings.register_profile(
    "quick", max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# The longest files first; one of the first two makes what the others need, the other needs nothing.
LONGEST = (
    "test_lineage", "test_engine", "test_state", "test_many_runs", "test_jobs", "test_deployments",
    "test_unlogged", "test_replay", "test_inspected_files", "test_run_plan",
)  # fmt: skip
NEIGHBOUR = Path(__file__).resolve().parents[2] / "shared" / "data" / "pjm"
# Read now: tests that start commands take such variables out of their process.
DATA = Path(os.environ.get("GRIDCAST_DATA", NEIGHBOUR))

# A shell starts what runs in the background with SIGINT ignored, and its children: tests that
# interrupt a run would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of what the tests share; it goes with the process that starts the others."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="gridcast-tests-")
        config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
        config.add_cleanup(partial(_end_servers, Path(folder)))  # first: the last one added
        os.environ["TESTS_FOLDER"] = folder


def _end_servers(folder: Path) -> None:
    """End Prefect's server and the one that forks, which the processes of this session shared."""
    for told in ("prefect-server.json", "warm.json"):
        with suppress(FileNotFoundError, ProcessLookupError):
            os.killpg(json.loads((folder / told).read_bytes())["process_id"], signal.SIGKILL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On several cores begin with the longest files, then with those that start commands.

    A file goes to one worker as a whole: the quick ones fill up the end.
    """
    if hasattr(config, "workerinput"):
        long = {item.path for item in items if item.get_closest_marker("prefect")}
        turns = {stem: turn for turn, stem in enumerate(LONGEST)}
        items.sort(key=lambda item: (turns.get(item.path.stem, len(turns)), item.path not in long))


@pytest.fixture(scope="session")
def pjm_folder() -> Path:
    """The folder of the 12 real CSVs: ``GRIDCAST_DATA``, or ``../shared/data/pjm``."""
    if not (DATA / "AEP_hourly.csv").is_file():
        pytest.skip(f"no PJM files in {DATA}; set GRIDCAST_DATA to their folder")
    return DATA
