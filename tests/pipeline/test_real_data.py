"""The PJM files, counted: the table of ``data/pjm/README.md`` is the oracle.

Legend: ``T`` steps.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.features.splits import TEST, VALIDATION
from gridcast.features.table import FeatureTable, build_features
from gridcast.features.windows import cut_pass, scored_origins, steps_of, train_starts
from gridcast.readings.parsing import parse_region, region_of
from gridcast.readings.quality import NO_FLAG, flag_readings
from tests.builders.values import EASTERN, HOUR

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


ROOT = Path(__file__).resolve().parents[2]


class Counted(NamedTuple):
    rows: int
    first_label: str
    last_label: str
    missing_hours: int


ORACLE = {
    "AEP": Counted(121_273, "2004-10-01 01:00", "2018-08-03 00:00", 23),
    "COMED": Counted(66_497, "2011-01-01 01:00", "2018-08-03 00:00", 6),
    "DAYTON": Counted(121_275, "2004-10-01 01:00", "2018-08-03 00:00", 21),
    "DEOK": Counted(57_739, "2012-01-01 01:00", "2018-08-03 00:00", 4),
    "DOM": Counted(116_189, "2005-05-01 01:00", "2018-08-03 00:00", 19),
    "DUQ": Counted(119_068, "2005-01-01 01:00", "2018-08-03 00:00", 19),
    "EKPC": Counted(45_334, "2013-06-01 01:00", "2018-08-03 00:00", 2),
    "FE": Counted(62_874, "2011-06-01 01:00", "2018-08-03 00:00", 6),
    "NI": Counted(58_450, "2004-05-01 01:00", "2011-01-01 00:00", 15),
    "PJME": Counted(145_366, "2002-01-01 01:00", "2018-08-03 00:00", 25),
    "PJMW": Counted(143_206, "2002-04-01 01:00", "2018-08-03 00:00", 25),
    "PJM_Load": Counted(32_896, "1998-04-01 01:00", "2002-01-01 00:00", 8),
}
ALL_ROWS, ALL_MISSING = 1_090_167, 173
TRAIN_WINDOWS, TEST_WINDOWS, STEPS_A_PASS = 980_185, 108_902, 957
AUTUMN_CHANGES = ("2014-11-02", "2015-11-01", "2016-11-06", "2017-11-05")
# The four sensor dropouts (DEOK's lasted five hours): the rules flag these and no other reading.
FLAGGED = {
    ("DEOK", "2018-04-22 02:00:00", "dropout", 958.0),
    ("DEOK", "2018-04-22 03:00:00", "dropout", 921.0),
    ("DEOK", "2018-04-22 04:00:00", "dropout", 912.0),
    ("DEOK", "2018-04-22 05:00:00", "dropout", 907.0),
    ("DEOK", "2018-04-22 06:00:00", "dropout", 937.0),
    ("DOM", "2009-12-12 00:00:00", "dropout", 1253.0),
    ("FE", "2011-06-01 01:00:00", "zero", 0.0),
    ("PJMW", "2003-05-29 00:00:00", "dropout", 487.0),
}


@cache
def readings(folder: Path) -> dict[str, pd.DataFrame]:
    """Each region, parsed and flagged as ingestion does it."""
    config, frames = Config.load(), {}
    for path in sorted(folder.iterdir()):
        if (region := region_of(path.name)) is not None:
            content = path.read_bytes()
            load = parse_region(content, region=region, file=path.name, config=config.ingestion)
            flag = flag_readings(load.frame["load_mw"], config.rules.of(region).flagged)
            frames[region] = load.frame.assign(flag=flag)
    return frames


@cache
def features(folder: Path, profile: str) -> FeatureTable:
    return build_features(readings(folder), Config.load(profile))


def test_the_regions_are_the_twelve_and_the_two_other_files_are_none(pjm_folder: Path) -> None:
    assert set(readings(pjm_folder)) == set(ORACLE)
    names = {path.name for path in pjm_folder.iterdir() if region_of(path.name) is None}
    assert names >= {"est_hourly.paruqet", "pjm_hourly_est.csv"}


@pytest.mark.parametrize("region", ORACLE)
def test_rows_labels_and_missing_hours_are_as_counted(pjm_folder: Path, region: str) -> None:
    frame = readings(pjm_folder)[region]
    stamps, labels = frame["timestamp"], frame["local_label"].dt.strftime("%Y-%m-%d %H:%M")
    assert stamps.is_unique
    assert stamps.is_monotonic_increasing
    span = int((stamps.iloc[-1] - stamps.iloc[0]) / HOUR) + 1
    found = Counted(len(frame), labels.min(), labels.max(), span - len(frame))
    assert found == ORACLE[region]


def test_there_are_1_090_167_distinct_utc_hours_and_173_are_missing(pjm_folder: Path) -> None:
    frames = readings(pjm_folder).values()
    assert sum(frame["timestamp"].nunique() for frame in frames) == ALL_ROWS
    assert sum(counted.rows for counted in ORACLE.values()) == ALL_ROWS
    assert sum(counted.missing_hours for counted in ORACLE.values()) == ALL_MISSING


@pytest.mark.parametrize("region", ["AEP", "PJME"])
def test_utc_hours_are_those_of_zoneinfo_row_by_row(pjm_folder: Path, region: str) -> None:
    # All hours of the days of a clock change, and every 97th other one.
    frame = readings(pjm_folder)[region]
    near_change = frame["timestamp"].dt.month.isin([3, 4, 10, 11]) & (
        frame["timestamp"].dt.day_of_week == 6
    )
    chosen = frame[near_change | (np.arange(len(frame)) % 97 == 0)]
    assert len(chosen) > 5000
    for stamp, label in zip(chosen["timestamp"], chosen["local_label"], strict=True):
        shown = stamp.to_pydatetime().astimezone(EASTERN).replace(tzinfo=None)
        assert shown + HOUR == label.to_pydatetime()


def test_both_readings_of_an_autumn_hour_are_there_one_hour_apart(pjm_folder: Path) -> None:
    num_pairs = 0
    for frame in readings(pjm_folder).values():
        twice = frame[frame["local_label"].duplicated(keep=False)]
        assert set(twice["local_label"].astype(str)) <= {f"{d} 02:00:00" for d in AUTUMN_CHANGES}
        for _, pair in twice.groupby("local_label"):
            assert pair["timestamp"].diff().iloc[1] == HOUR
            num_pairs += 1
    assert num_pairs == 40
    aep = readings(pjm_folder)["AEP"].set_index("timestamp")["load_mw"]
    night = aep[pd.date_range("2014-11-02 04:00", periods=4, freq="h", tz="UTC")]
    assert sorted(night.iloc[1:3]) == [12_994, 13_190]
    assert night.is_monotonic_decreasing


def test_the_four_dropouts_and_nothing_else_are_flagged_and_still_readable(
    pjm_folder: Path,
) -> None:
    found = set()
    for region, frame in readings(pjm_folder).items():
        for row in frame[frame["flag"] != NO_FLAG].itertuples():
            found.add((region, str(row.local_label), row.flag, row.load_mw))
    assert found == FLAGGED


def test_the_data_card_lists_every_flag_with_its_hour_value_and_distance(
    pjm_folder: Path,
) -> None:
    card = (ROOT / "docs" / "data-card.md").read_text(encoding="utf-8")
    table = card.partition("## Doubtful readings")[2].partition("They stay readable")[0]
    rows = []
    for region, frame in readings(pjm_folder).items():
        before = frame["load_mw"].rolling(168, min_periods=24, closed="left").median()
        share = (frame["load_mw"] / before).map("{:.3f}".format).replace("nan", "none before")
        rows += [
            f"| {region} | {row.local_label:%Y-%m-%d %H:%M} | {row.timestamp:%Y-%m-%d %H:%M} "
            f"| {row.load_mw:g} MW | `{row.flag}` | {row.share} |"
            for row in frame.assign(share=share)[frame["flag"] != NO_FLAG].itertuples()
        ]
    assert table.splitlines()[-len(rows) - 1 : -1] == rows


def dropouts(folder: Path, ratio: float) -> dict[str, pd.DataFrame]:
    rules = Config.load().rules.default.flagged.model_copy(update={"dropout_ratio": ratio})
    return {
        region: frame[flag_readings(frame["load_mw"], rules) == "dropout"]
        for region, frame in readings(folder).items()
    }


@pytest.mark.parametrize(
    ("ratio", "in_april", "wrong", "others"),
    [(0.35, 5, 2, 0), (0.40, 8, 3, 0), (0.45, 13, 3, 8), (0.50, 18, 3, 32), (0.60, 18, 3, 212)],
)
def test_the_data_card_counts_what_lies_below_each_share(
    pjm_folder: Path, ratio: float, in_april: int, wrong: int, others: int
) -> None:
    by_region = dropouts(pjm_folder, ratio)
    day = (by_region["DEOK"]["local_label"] - HOUR).dt.strftime("%Y-%m-%d")
    assert day.isin(["2018-04-22", "2018-04-24"]).sum() == in_april
    known = {("DOM", 1253.0), ("PJMW", 487.0), ("DEOK", 1044.0)}
    found = [(region, load) for region, each in by_region.items() for load in each["load_mw"]]
    assert len(known & set(found)) == wrong
    assert len(found) - in_april - wrong == others
    card = (ROOT / "docs" / "data-card.md").read_text(encoding="utf-8")
    row = rf"\| {ratio:.2f}[^|]* \| {in_april}[^|]* \| {wrong} \| {others} \|"
    assert re.search(row, card)


def test_the_dropouts_train_nothing_in_base_and_are_bridged_as_inputs(pjm_folder: Path) -> None:
    frame = features(pjm_folder, "base").frame
    as_read = set()
    for region, label, _, load_mw in FLAGGED:
        start = pd.Timestamp(label) - HOUR
        own = frame[frame["region"] == region].set_index("timestamp")
        step = own.loc[[start.tz_localize("America/New_York").tz_convert("UTC")]].iloc[0]
        assert step["load_mw"] == load_mw
        # DEOK's lies in the test part, where every reading is scored.
        assert step["part"] == (TEST if region == "DEOK" else 0)
        if step["input_mw"] == load_mw:
            as_read.add((region, label))
    # FE's is its region's first reading, with no past to bridge it from; of DEOK's five hours the
    # first three are bridged (rules.default.repaired.max_fill_hours).
    assert as_read == {
        ("FE", "2011-06-01 01:00:00"),
        ("DEOK", "2018-04-22 05:00:00"),
        ("DEOK", "2018-04-22 06:00:00"),
    }


def test_178_hours_are_imputed_the_missing_ones_and_five_wrong_ones(pjm_folder: Path) -> None:
    frame = features(pjm_folder, "base").frame
    imputed = frame[frame["is_imputed"]]
    assert imputed["load_mw"].isna().sum() == ALL_MISSING
    wrong = imputed[imputed["load_mw"].notna()]
    assert wrong["region"].tolist() == ["DEOK"] * 3 + ["DOM", "PJMW"]
    assert wrong["load_mw"].tolist() == [958, 921, 912, 1253, 487]
    assert wrong["input_mw"].round().tolist()[:3] == [916, 863, 815]  # as the data card says
    assert frame["is_input"].all()
    assert not features(pjm_folder, "seed").frame["is_imputed"].any()


def test_the_articles_windows_are_980_185_and_108_902_in_957_steps_a_pass(
    pjm_folder: Path,
) -> None:
    config, steps = Config.load("seed"), steps_of(features(pjm_folder, "seed").frame)
    starts = train_starts(steps, config.windows)
    assert len(starts) == TRAIN_WINDOWS
    assert len(scored_origins(steps, TEST, config.windows)) == TEST_WINDOWS
    assert len(scored_origins(steps, VALIDATION, config.windows)) == 0
    one_pass = cut_pass(starts, config.windows, pass_number=1, seed=0)
    assert len(one_pass) // config.training.batch_size == STEPS_A_PASS
    assert config.training.drop_last


def test_base_scores_the_same_108_902_labels_and_leaves_none_out(pjm_folder: Path) -> None:
    windows = Config.load().windows
    table, article = (features(pjm_folder, profile).frame for profile in ("base", "seed"))
    origins = scored_origins(steps_of(table), TEST, windows)
    assert len(origins) == TEST_WINDOWS == (table["part"] == TEST).sum()
    columns = ["region", "timestamp", "load_mw"]
    scored = table.loc[origins + 1, columns].reset_index(drop=True)
    expected = article.loc[article["part"] == TEST, columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(scored, expected)
