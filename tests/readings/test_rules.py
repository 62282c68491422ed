"""Cases 8 to 10 of a run's hard days, by the real command: what the rules flag, refuse, set aside.

Case 11, the gap of 48 hours, is one of windows: see ``test_windows``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridcast.readings.records import RegionRecord
from tests.builders.pipelines import PipelineRun, on_a_server, run_flow, session_folder, settings
from tests.builders.values import make_csv, make_load, make_rows

pytestmark = [pytest.mark.prefect, pytest.mark.slow]  # two ingestions of 13 s

NUM = 3000
WRONG = {1000: 0.0, 1400: 1253.0, 1800: 487.0, 2200: 907.0}
BAD_CELLS = {10: "NaN", 11: "inf", 12: "1e400", 13: "", 14: '"12,5"', 15: "text",
             17: "nan"}  # fmt: skip


def write_region(folder: Path, region: str, load_mw: np.ndarray, **cells: str) -> None:
    rows = make_rows(len(load_mw), load_mw=load_mw)
    for name, cell in cells.items():
        line = int(name[1:])
        rows[line - 2] = (rows[line - 2][0], cell)
    (folder / f"{region}_hourly.csv").write_bytes(make_csv(rows, region=region))


@pytest.fixture(scope="module")
def first() -> PipelineRun:
    """Four regions: dropouts, a flat day, two flat weeks, cells that are no loads."""
    data = session_folder() / "rules" / "grid"
    data.mkdir(parents=True)
    dropouts, flat, stuck = make_load(NUM), make_load(NUM), make_load(NUM)
    for hour, load_mw in WRONG.items():
        dropouts[hour] = load_mw
    flat[1000:1024] = flat[1000]
    stuck[1000:1336] = stuck[1000]
    write_region(data, "DROPOUTS", dropouts)
    write_region(data, "FLAT", flat)
    write_region(data, "STUCK", stuck)
    write_region(data, "BAD", make_load(NUM), **{f"L{n}": cell for n, cell in BAD_CELLS.items()})
    return run_flow("ingest", data, data.parent / "artifacts", environment=on_a_server())


@pytest.fixture(scope="module")
def second(first: PipelineRun) -> PipelineRun:
    """The same files, with one rule for one region, and one for a region that is not there."""
    rules = ("rules.regions.STUCK.required.max_flagged_share=0.2", "rules.regions.STICK={}")
    return run_flow(
        "ingest", first.data, first.artifacts, *settings(*rules), environment=on_a_server()
    )


def rows_of(run: PipelineRun, record: RegionRecord) -> pd.DataFrame:
    return pd.read_parquet(run.artifacts / record.quarantined)


def errors_of(run: PipelineRun, region: str) -> list[str]:
    return [error for error in run.summary.errors if f"/{region}_hourly.csv:" in error]


def test_dropouts_are_published_flagged_counted_and_set_aside_with_time_and_rule(
    first: PipelineRun,
) -> None:
    record = first.summary.regions["DROPOUTS"]
    assert (record.status, record.rows, record.flagged) == ("published", NUM, len(WRONG))
    rows = rows_of(first, record)
    start = pd.Timestamp("2017-03-01 05:00", tz="UTC")
    assert rows["timestamp"].tolist() == [start + pd.Timedelta(hours=hour) for hour in WRONG]
    assert rows["rule"].tolist() == ["zero", "dropout", "dropout", "dropout"]
    assert rows["load_mw"].tolist() == list(WRONG.values())


def test_a_flagged_reading_is_still_readable_as_it_was_read(first: PipelineRun) -> None:
    published = pd.read_parquet(first.place(first.summary.regions["DROPOUTS"].path))
    flagged = published[published["flag"] != ""]
    assert flagged["load_mw"].tolist() == list(WRONG.values())


def test_24_hours_of_one_value_are_flagged_and_the_region_is_published(first: PipelineRun) -> None:
    record = first.summary.regions["FLAT"]
    assert (record.status, record.flagged) == ("published", 24 - 6)
    assert set(rows_of(first, record)["rule"]) == {"flat"}


def test_above_the_share_that_may_be_flagged_the_region_fails_and_its_rows_are_set_aside(
    first: PipelineRun,
) -> None:
    record = first.summary.regions["STUCK"]
    assert record.status == "refused"
    (error,) = errors_of(first, "STUCK")
    assert error.endswith(
        "STUCK_hourly.csv:1:1: found 330 of 3,000 readings (11.000%, 330 flat) flagged, expected "
        "at most 2% of them (rules.default.required.max_flagged_share)"
    )
    assert len(rows_of(first, record)) == 330


def test_cells_that_are_no_loads_give_one_line_a_kind_and_are_set_aside_all(
    first: PipelineRun,
) -> None:
    record = first.summary.regions["BAD"]
    assert record.status == "refused"
    assert len(errors_of(first, "BAD")) == 6
    rows = rows_of(first, record)
    assert rows["source_line"].tolist() == list(BAD_CELLS)
    lines = (first.data / "BAD_hourly.csv").read_text(encoding="utf-8").splitlines()
    assert rows["raw_text"].tolist() == [lines[line - 1] for line in BAD_CELLS]


def test_a_run_with_refused_regions_ends_with_status_1(first: PipelineRun) -> None:
    assert first.result.returncode == 1
    assert list(first.folder.rglob("*.gridcast-tmp")) == []


def test_a_rule_for_one_region_is_asked_of_that_region_alone(second: PipelineRun) -> None:
    regions = second.summary.regions
    assert {name: region.status for name, region in regions.items()} == {
        "BAD": "refused", "DROPOUTS": "published", "FLAT": "published", "STUCK": "published",
    }  # fmt: skip
    assert regions["STUCK"].flagged == 330
    assert [name for name in regions if regions[name].cached] == ["DROPOUTS", "FLAT"]


def test_an_unchanged_region_still_names_the_rows_that_were_set_aside(
    first: PipelineRun, second: PipelineRun
) -> None:
    before, after = (run.summary.regions["DROPOUTS"].quarantined for run in (first, second))
    assert before == after
    assert (second.artifacts / after).is_file()


def test_rules_for_a_region_that_has_no_file_are_told(second: PipelineRun) -> None:
    assert "rules.regions.STICK" in second.result.stderr
    assert "rules.regions.STUCK" not in second.result.stderr.replace("--set", "")
