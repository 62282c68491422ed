"""Files that have grown: one validation of all that was added, which is no weaker than one of all.

What a region's own validation refuses is the oracle of what the one for all regions refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gridcast.config import RequiredRules
from gridcast.errors import RegionRefusedError
from gridcast.readings.appending import rows_to_judge
from gridcast.readings.local_time import RegionLoad
from gridcast.readings.parsing import parse_region
from gridcast.readings.quality import flag_readings
from gridcast.readings.records import RegionRecord
from tasks.fetch.records import SourceFile, Sources
from tasks.ingest.catch_up import catch_up
from tasks.ingest.records import CaughtUp
from tasks.ingest.region import ingest_region
from tasks.machine.devices import Devices
from tasks.runs.run import Run
from tests.builders.values import make_config, make_csv, make_load, make_rows, make_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.ingest.gate.data_docs import DataDocs

pytestmark = pytest.mark.slow  # 15 s, of which 4 import Great Expectations

NUM_HOURS, NUM_ADDED = 1100, 24
NEW = NUM_HOURS - 5  # a row that was added
RULES = make_rules(regions={"DEOK": {"required": {"max_mw": 12_500.0}}})


# -- the two validations -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> DataDocs:
    from tasks.ingest.gate.data_docs import DataDocs

    return DataDocs(tmp_path_factory.mktemp("artifacts") / "data-docs")


def make_region(region: str) -> RegionLoad:
    content = make_csv(make_rows(NUM_HOURS, load_mw=make_load(NUM_HOURS)), region=region)
    config = make_config()
    load = parse_region(content, region=region, file="x.csv", config=config.ingestion)
    load.frame["flag"] = flag_readings(load.frame["load_mw"], config.rules.of(region).flagged)
    return load


def make_record(frame: pd.DataFrame) -> RegionRecord:
    hours = frame["timestamp"].dt.floor("h")
    num_hours = int((hours.max() - hours.min()) / pd.Timedelta(hours=1)) + 1
    return RegionRecord(
        rows=len(frame),
        utc_hours=hours.nunique(),
        missing_hours=num_hours - hours.nunique(),
        flagged=int((frame["flag"] != "").sum()),
        status="published",
    )


def is_refused_as_a_whole(load: RegionLoad, docs: DataDocs) -> bool:
    from tasks.ingest.gate.region_expectations import validate_region

    try:
        validate_region(load.frame, region=load.region, file="x.csv", rules=RULES, docs=docs)
    except RegionRefusedError:
        return True
    return False


def refused_as_added(loads: list[RegionLoad], docs: DataDocs) -> set[str]:
    from tasks.ingest.gate.added_rows import refused_regions

    added = [
        rows_to_judge(
            load,
            make_record(load.frame),
            num_known=len(load.frame) - NUM_ADDED,
            required=RULES.of(load.region).required,
        )
        for load in loads
    ]
    return set(refused_regions(added, docs))


def put(
    column: str, value: float | pd.Timestamp, row: int = NEW
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.copy()
        changed.loc[row, column] = value
        return changed

    return change


def later(row: int, by: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: put("timestamp", frame["timestamp"][row] + pd.Timedelta(by), row)(frame)


def retyped(column: str, dtype: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.astype({column: dtype})


CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "nothing": lambda frame: frame,
    "a load above the bounds": put("load_mw", 200_000.5),
    "a load below the bounds": put("load_mw", -0.5),
    "a load at the bound": put("load_mw", 200_000.0),
    "an infinite load": put("load_mw", np.inf),
    "a load above DEOK's own bound": put("load_mw", 12_600.0),
    "a load above another's own bound": put("load_mw", 12_600.0),
    "no load": put("load_mw", np.nan),
    "no hour": lambda frame: frame.assign(timestamp=frame["timestamp"].mask(frame.index == NEW)),
    "off the hour": later(NEW, "5min"),
    "an hour twice": later(NEW, "-1h"),
    "an hour twice, the first of those added": later(NUM_HOURS - NUM_ADDED, "-1h"),
    "hours in another order": later(NEW, "-2h"),
    "lines of another type": retyped("source_line", "int32"),
    "loads of another type": retyped("load_mw", "float32"),
    "flags of another type": retyped("flag", "object"),
    "no zone": lambda frame: frame.assign(timestamp=frame["timestamp"].dt.tz_localize(None)),
    "a column more": lambda frame: frame.assign(weather=1.0),
    "a column less": lambda frame: frame.drop(columns="local_label"),
    "columns in another order": lambda frame: frame[frame.columns[::-1]],
    "too few rows": lambda frame: frame.iloc[-999:].reset_index(drop=True),
    "many hours missing": later(NUM_HOURS - 1, "24h"),
    "many flags": lambda frame: frame.assign(flag=frame["flag"].mask(frame.index < 23, "zero")),
    "as many flags as may be": lambda frame: frame.assign(
        flag=frame["flag"].mask(frame.index < 22, "zero")
    ),
}
FINE = {
    "nothing", "a load at the bound", "a load above another's own bound", "as many flags as may be",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_validation_of_the_region_refuses_that_of_what_was_added_refuses_too(
    change: str, docs: DataDocs
) -> None:
    region = "DEOK" if "DEOK" in change else "AEP"
    load = make_region(region)
    changed = RegionLoad(region, CHANGES[change](load.frame), load.content_sha256)
    is_refused = is_refused_as_a_whole(changed, docs)
    assert is_refused == (change not in FINE)
    refused = refused_as_added([make_region("COMED"), changed, make_region("DOM")], docs)
    assert (region in refused) == is_refused


def test_a_region_that_fails_takes_no_other_along(docs: DataDocs) -> None:
    loads = [make_region(region) for region in ("AEP", "DEOK", "DOM")]
    loads[1] = RegionLoad("DEOK", put("load_mw", -1.0)(loads[1].frame), "")
    assert refused_as_added(loads, docs) == {"DEOK"}


def test_every_required_rule_is_asked_of_what_was_added() -> None:
    from tasks.ingest.gate.added_rows import added_suite

    asked = " ".join(str(each.description) for each in added_suite().expectations)
    of_the_reader = {"max_level_factor", "may_only_grow"}  # they need the weeks before
    for rule in RequiredRules.model_fields.keys() - of_the_reader:
        assert rule in asked


# -- the task ------------------------------------------------------------------------------------


def make_run(artifacts: Path, *, fresh: bool = False) -> Run:
    run = Run(
        run_id="20260101T000000Z-0000", flow="prepare-data", artifacts=artifacts, data=None,
        profile="base", overrides=(), config=make_config(),
        devices=Devices(("cpu",), 2), fresh=fresh,
    )  # fmt: skip
    run.folder.mkdir(parents=True, exist_ok=True)
    return run


def write_csv(folder: Path, region: str, num_hours: int, **changed: float) -> SourceFile:
    folder.mkdir(parents=True, exist_ok=True)
    load = make_load(2400)[:num_hours]
    load[-1] = changed.get("last_mw", load[-1])
    path = folder / f"{region}_hourly.csv"
    path.write_bytes(make_csv(make_rows(num_hours, load_mw=load), region=region))
    return SourceFile(region=region, path=path)


def sources_of(folder: Path, *files: SourceFile) -> Sources:
    return Sources(folder=folder, kind="real", files=files, skipped={})


def caught_up(run: Run, *files: SourceFile) -> CaughtUp:
    return catch_up.fn(run, sources_of(run.artifacts, *files))


def test_files_that_have_grown_give_what_a_full_reading_gives_and_the_others_are_left(
    tmp_path: Path,
) -> None:
    run, csv = make_run(tmp_path / "artifacts"), tmp_path / "csv"
    for region in ("AEP", "COMED", "DOM"):
        ingest_region.fn(run, region, write_csv(csv, region, 1100).path)
    grown = [write_csv(csv, region, 1124) for region in ("AEP", "COMED")]
    shorter, new = write_csv(csv, "DOM", 1000), write_csv(csv, "EKPC", 1100)
    known = caught_up(run, *grown, shorter, new)
    assert known.left == (shorter, new)
    assert [each.region for each in known.published] == ["AEP", "COMED"]
    other = make_run(tmp_path / "other")
    for file, each in zip(grown, known.published, strict=True):
        whole = ingest_region.fn(other, file.region, file.path).record
        assert each.record.rows == 1124
        assert each.record.model_copy(update={"path": whole.path}) == whole
    again: Any = caught_up(run, *grown)
    assert again.name == "Cached"
    assert all(each.record.cached for each in again.data.published)
    assert caught_up(make_run(run.artifacts, fresh=True), *grown).left == tuple(grown)


def test_a_grown_file_that_breaks_a_rule_is_left_and_refused_where_it_is_read_as_a_whole(
    tmp_path: Path,
) -> None:
    run, csv = make_run(tmp_path / "artifacts"), tmp_path / "csv"
    for region in ("AEP", "DOM"):
        ingest_region.fn(run, region, write_csv(csv, region, 1100).path)
    good = write_csv(csv, "AEP", 1124)
    bad = write_csv(csv, "DOM", 1124, last_mw=200_000.5)
    for _ in range(2):  # nothing of it is remembered
        known = caught_up(run, good, bad)
        assert known.left == (bad,)
        assert [each.region for each in known.published] == ["AEP"]
    with pytest.raises(RegionRefusedError, match=r"DOM_hourly\.csv:1125:21: .*200000\.5 MW"):
        ingest_region.fn(run, "DOM", bad.path)
