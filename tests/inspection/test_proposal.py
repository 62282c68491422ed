"""What `gridcast inspect` finds in files of an unknown layout, and what it leaves to people."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from flows.command_line.starting import with_covariates
from gridcast.config import Config, parse_overrides
from gridcast.inspection.load_columns import pattern_of
from gridcast.inspection.proposal import NothingFoundError, Proposal, propose
from gridcast.inspection.zone_table import changes_of, countries, hinted, holidays_of
from gridcast.layouts.reading import File
from gridcast.layouts.tables import FileRefusedError
from tests.builders.layouts import LAYOUTS, Truth, Written, make_truth, make_workbook, whole_days
from tests.builders.values import make_csv, make_rows

# What no reader of the file could know, given as a person would.
KNOWN: dict[str, dict[str, object]] = {"warehouse": {"ingestion": {"label": "clock_at_end"}}}


def propose_for(content: str | bytes, name: str = "load.csv", **known: object) -> Proposal:
    text = content.encode() if isinstance(content, str) else content
    return propose([File(name, name, text)], known or None)


def found_in(proposal: Proposal, about: str) -> tuple[str, str]:
    (one,) = [each for each in proposal.findings if each.about == about]
    return one.sureness, one.found


def hours_of(proposal: Proposal, region: str) -> Truth:
    one = proposal.laid_out.regions[region]
    assert one.load is not None, one.refusal
    times: list[datetime] = [each.to_pydatetime() for each in one.load.frame["timestamp"]]
    return dict(zip(times, one.load.frame["load_mw"].tolist(), strict=True))


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_file_of_a_publisher_is_understood_without_its_preset(name: str) -> None:
    written: Written = LAYOUTS[name]()
    file = File(written.name, f"{name}/{written.name}", written.content)
    proposal = propose([file], KNOWN.get(name))
    assert len(proposal.laid_out.regions) == len(written.regions)
    truths = [make_truth(number) for number in range(len(written.regions))]
    if name == "elexon":
        truths = [whole_days(truths[0], ZoneInfo("Europe/London"))]
    by_mean = sorted(proposal.laid_out.regions, key=lambda region: np.mean(
        list(hours_of(proposal, region).values())))  # fmt: skip
    for region, truth in zip(by_mean, truths, strict=True):
        assert hours_of(proposal, region) == pytest.approx(truth, abs=1e-6)
    assert proposal.clocks
    preset = Config.load(overrides=(f"layout_file={name}",))
    if name != "entsoe":  # whose preset is Germany's
        assert str(preset.features.holidays)[:2] == proposal.settings["features"]["holidays"][:2]


def test_a_proposal_says_what_to_check_and_what_else_would_fit() -> None:
    proposal = propose_for(LAYOUTS["warehouse"]().content, "lastgang.csv")
    assert found_in(proposal, "label")[0] == "check"
    label = next(each for each in proposal.questions if each.about == "label")
    assert "ingestion.label=clock_at_end" in label.others
    assert found_in(proposal, "encoding") == ("check", "cp1252")
    assert found_in(proposal, "unit") == ("certain", "kW")


def test_day_or_month_first_is_told_by_the_steps_between_rows_or_asked() -> None:
    hours = pd.date_range("2024-01-01", periods=24 * 40, freq="h")
    text = "time,load\n" + "".join(
        f"{hour:%d/%m/%Y %H:%M},{5 + n}\n" for n, hour in enumerate(hours)
    )
    assert found_in(propose_for(text), "time") == ("certain", "'time' as %d/%m/%Y %H:%M")
    few = "time,load\n" + "".join(
        f"{hour:%d/%m/%Y %H:%M},{5 + n}\n" for n, hour in enumerate(hours[:20])
    )
    sureness, found = found_in(propose_for(few.replace("01/01/2024", "02/01/2024")), "time")
    assert (sureness, found[:6]) == ("check", "'time'")


def test_a_unit_that_no_name_tells_is_asked() -> None:
    proposal = propose_for(LAYOUTS["elexon"]().content)
    unit = next(each for each in proposal.questions if each.about == "unit")
    assert unit.others == ("ingestion.layout.unit=kW", "ingestion.layout.unit=MWh")
    assert "the mean is 12,7" in unit.why


def test_marks_of_missing_readings_are_found() -> None:
    proposal = propose_for(LAYOUTS["entsoe"]().content, "AT_2024.csv")
    assert proposal.settings["ingestion"]["layout"]["missing"] == ["n/e"]
    assert found_in(proposal, "zone") == ("check", "Europe/Vienna")


def test_labels_without_a_change_of_clocks_are_utc_until_somebody_says_so() -> None:
    hours = pd.date_range("2024-02-01", "2024-04-20", freq="h")
    text = "when,load\n" + "".join(f"{hour},{5 + n % 77}\n" for n, hour in enumerate(hours))
    proposal = propose_for(text)
    assert found_in(proposal, "labels") == ("check", "UTC")
    assert found_in(proposal, "zone") == ("check", "UTC")
    assert proposal.settings["features"] == {"holidays": None}


def test_pjms_own_files_are_known_for_what_they_are() -> None:
    content = make_csv(make_rows(24 * 400, first="2017-02-01 05:00"))
    proposal = propose_for(content, "AEP_hourly.csv", ingestion={"timezone": "America/New_York"})
    assert found_in(proposal, "label") == ("likely", "the end of its interval")
    assert len(hours_of(proposal, "AEP")) == 24 * 400


def test_what_is_no_table_of_loads_is_refused_with_what_was_seen() -> None:
    with pytest.raises(NothingFoundError, match=r"no column \(nor two\) with times"):
        propose_for("a,b\nx,1\ny,2\n")
    with pytest.raises(NothingFoundError, match="no column with numbers"):
        propose_for("time,b\n2024-01-01 00:00,x\n2024-01-01 01:00,yy\n2024-01-01 02:00,z\n"
                    "2024-01-01 03:00,w\n")  # fmt: skip
    with pytest.raises(FileRefusedError, match="found an empty file"):
        propose_for(b"")
    with pytest.raises(FileRefusedError, match="found a gzip file"):
        propose_for(b"\x1f\x8b\x08")


def test_a_workbook_is_looked_at_as_a_csv_is() -> None:
    rows: list[list[str | float]] = [["Time", "Load (kW)"]]
    rows += [[45292.0 + hour / 24, 100.0 + hour] for hour in range(48)]
    proposal = propose_for(make_workbook(rows), "plant.xlsx")
    assert found_in(proposal, "kind") == ("certain", "workbook, sheet Sheet1")
    assert len(hours_of(proposal, "plant")) == 48


def test_the_files_of_a_folder_are_read_together_by_what_their_names_share() -> None:
    texts = [
        "time,load\n" + "".join(f"{hour},{5 + n}\n" for n, hour in enumerate(
            pd.date_range(f"{year}-01-01", periods=48, freq="h"))) for year in (2023, 2024)
    ]  # fmt: skip
    files = [File(f"load_{year}.csv", f"load_{year}.csv", text.encode())
             for year, text in zip((2023, 2024), texts, strict=True)]  # fmt: skip
    proposal = propose(files)
    assert proposal.settings["ingestion"]["layout"]["files"] == "load_{region}.csv"
    regions = next(each for each in proposal.questions if each.about == "regions")
    assert regions.others == ("ingestion.layout.files='load_*.csv'",)


@pytest.mark.parametrize(
    ("names", "pattern", "regions"),
    [
        (["Nord (kW)", "Süd (kW)"], "{region} (kW)", ["Nord", "Süd"]),
        (["load_A", "load_B"], "load_{region}", ["A", "B"]),
        (["DE_load_x", "DE_50hertz_load_x"], "{region}_load_x", ["DE", "DE_50hertz"]),
        (["COAST", "EAST"], "{region}", ["COAST", "EAST"]),
    ],
)
def test_columns_named_alike_are_a_pattern(
    names: list[str], pattern: str, regions: list[str]
) -> None:
    assert pattern_of(names) == (pattern, regions)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_changes_of_clocks_are_where_the_zones_offset_changes(zone: str) -> None:
    first, last = np.datetime64("2010-01-01T00:00:00"), np.datetime64("2020-01-01T00:00:00")
    changes = changes_of(zone, first, last)
    assert len(changes) == 20
    for change in changes:
        for seconds, offset in ((-1, change.before), (0, change.after)):
            moment = pd.Timestamp(change.instant, tz="UTC") + pd.Timedelta(seconds=seconds)
            local = moment.to_pydatetime().astimezone(ZoneInfo(zone)).utcoffset()
            assert local is not None
            assert local.total_seconds() == offset


def test_words_hint_at_zones_and_zones_have_holidays() -> None:
    assert hinted(["vic_electricity"]) == ["Australia/Melbourne"]
    assert hinted(["FR_demand"]) == ["Europe/Paris"]
    assert hinted(["load in MW", "a.csv"]) == []
    assert holidays_of("Australia/Melbourne") == "AU-VIC"
    assert holidays_of("Europe/Oslo") == "NO"
    assert countries()["Asia/Kolkata"] == "IN"


def test_a_column_that_may_have_a_say_in_the_load_is_listed_with_what_names_it() -> None:
    rows = (
        f"2024-01-{1 + hour // 24:02d}T{hour % 24:02d}:00Z,{4000 + 7 * hour},{hour / 10:.1f}"
        for hour in range(72)
    )
    content = "\n".join(["time,load_mw,Air temp", *rows, ""])
    proposal = propose_for(content)
    (one,) = [each for each in proposal.findings if each.about == "covariates"]
    assert one.found == "'Air temp'"
    assert "--covariate air_temp='Air temp'" in one.why
    asked = with_covariates(["covariates.as_known=observed"], ["warmth=Air temp"])
    settings = propose([File("load.csv", "load.csv", content.encode())], parse_overrides(asked))
    assert settings.settings["covariates"] == {
        "columns": {"warmth": {"column": "Air temp", "source": "load_file"}},
        "as_known": "observed",
    }
