"""A few days lived through on a small set: the same hour by hour, nothing ahead, gone on with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.operation.comparison import training_days
from gridcast.operation.replay_report import ReplayReport
from tasks.forecast.chosen_model import choose_model
from tasks.forecast.forecast_store import read_issued
from tasks.forecast.issue_forecast import end_of_data, issue_forecast
from tasks.operate.plain_retraining import live_until_plain_training, plain_rows
from tasks.operate.replay import Replay, ReplayRequest, live_until_training, open_replay
from tasks.promote.promotion_files import read_log
from tasks.runs.record_files import read_record
from tests.builders.pipelines import (
    NUM_REGIONS,
    SMALL_MODEL,
    copy_artifacts,
    gridcast,
    on_a_server,
    settings,
)
from tests.builders.snapshots import Names, publish_tables

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

DAY = pd.Timedelta(days=1)
HORIZON = 4
OVERRIDES = (
    *SMALL_MODEL, f"forecasting.horizon={HORIZON}", "forecasting.bands.learn_days=7",
    "operation.retraining.every_days=3", "operation.retraining.settings=[]",
    "operation.monitoring.window_days=2", "operation.monitoring.min_hours=24",
)  # fmt: skip


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReplayRequest, Path]:
    """Five days by the real command: trained at their begin and after three; a feed that dies."""
    artifacts = copy_artifacts(tmp_path_factory.mktemp("replay") / "artifacts")
    end = end_of_data(artifacts).floor("D")
    first = end - 5 * DAY
    dead = f"DOM dead from {(end - 2 * DAY).isoformat()} to {(end - DAY).isoformat()}"
    asked = ReplayRequest(
        data=None, artifacts=str(artifacts), profile="base",
        overrides=(*OVERRIDES, "training.confirm_above_hours=null"),
        first=f"{first:%Y-%m-%d}", end=f"{end:%Y-%m-%d}", plants=(dead,),
    )  # fmt: skip
    done = gridcast(
        "replay", "--from", asked.first, "--to", asked.end, "--artifacts", artifacts, "--plant",
        dead, "--compare", "never", "--compare", "weekly", *settings(*OVERRIDES),
        environment=on_a_server(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return asked, open_replay(asked).root


def test_all_hours_are_forecast_by_who_was_in_charge_and_the_report_says_so(
    lived: tuple[ReplayRequest, Path],
) -> None:
    asked, root = lived
    report = read_record(root / "report.json", ReplayReport)
    assert (report.first, report.end) == (asked.first, asked.end)
    rows = read_issued(root, report.dataset)
    assert rows["issue_time"].nunique() == 5 * 24
    assert len(rows) == 5 * 24 * NUM_REGIONS * HORIZON
    assert [each.reason for each in report.trainings] == [
        "nobody is in charge", "3 days since the last training",
    ]  # fmt: skip
    assert report.seconds > sum(each.seconds for each in report.trainings) > 0
    log = read_log(root, report.dataset)
    for time, own in rows.groupby("issue_time"):
        champion = log.champion_at(pd.Timestamp(str(time)))
        assert champion is not None
        assert set(own["model_sha256"]) == {champion.sha256}
    (fault,) = report.noticed
    assert fault.alarm is not None
    assert fault.alarm.kind == "late"
    assert fault.days is not None
    assert fault.days <= 1.0
    assert "DOM dead" in (root / "report.md").read_text("utf-8")


def test_a_replayed_day_is_the_same_day_lived_hour_by_hour(
    lived: tuple[ReplayRequest, Path], tmp_path: Path
) -> None:
    asked, root = lived
    replay = open_replay(asked)
    config = Config.load(overrides=OVERRIDES)
    rows = read_issued(root, replay.state.dataset)
    day = pd.Timestamp(asked.first, tz="UTC") + 3 * DAY  # on which the feed dies
    for hour in (0, 1, 6, 7, 13, 23):
        time = day + pd.Timedelta(hours=hour)
        own = rows[rows["issue_time"] == time].reset_index(drop=True)
        live = _live(replay, config, tmp_path / f"{hour}", time)
        exact = ["region", "issue_time", "timestamp", "lead", "fallback", "fallback_reason",
                 "model", "model_sha256", "run_id", "is_backfilled"]  # fmt: skip
        pd.testing.assert_frame_equal(own[exact], live[exact], check_dtype=False)
        for name in ("load_mw", "q05", "q25", "q75", "q95"):
            np.testing.assert_allclose(own[name], live[name], rtol=1e-4)


def _live(replay: Replay, config: Config, folder: Path, time: pd.Timestamp) -> pd.DataFrame:
    """What `gridcast forecast` says at that time who has ingested what was there by then."""
    folder.mkdir()
    for name in ("champions", "models", "runs"):
        (folder / name).symlink_to(replay.root / name)
    known = {n: each[each["timestamp"] < time] for n, each in replay.tables.items()}
    publish_tables(folder / "data", known, names=Names(replay.state.dataset))
    rows = issue_forecast(folder, config, as_of=time).rows
    return rows.sort_values(["region", "lead"], kind="stable").reset_index(drop=True)


def test_plain_retraining_is_lived_through_beside_it_by_its_own_trainings_where_they_are_the_same(
    lived: tuple[ReplayRequest, Path],
) -> None:
    asked, root = lived
    replay, report = open_replay(asked), read_record(root / "report.json", ReplayReport)
    first, end = (pd.Timestamp(each, tz="UTC") for each in (asked.first, asked.end))
    own = {pd.Timestamp(each.at): each.run_id for each in replay.state.trainings}
    num_runs = len(set(own) | set(training_days("weekly", first, end)))
    assert len(list((root / "runs").glob("*Z-*"))) == num_runs  # none was trained twice
    rows = read_issued(root, report.dataset)
    for each in report.compared:
        days = training_days(each.plain, first, end)
        assert each.num_trainings == len(days)
        plain = plain_rows(replay, each.plain)
        assert len(plain) == len(rows)
        for begin, stop in pairwise((*days, end)):
            of_days = plain[(plain["issue_time"] >= begin) & (plain["issue_time"] < stop)]
            (run_id,) = set(of_days["run_id"])
            assert run_id == own.get(begin, run_id)
            (trained,) = {each.trained_to for each in [choose_model(root, run_id=str(run_id))]}
            assert trained <= begin.to_datetime64()
    never = plain_rows(replay, "never")
    until = sorted(own)[1]  # from when on another may be in charge
    both = [each[each["issue_time"] < until].reset_index(drop=True) for each in (never, rows)]
    np.testing.assert_allclose(both[0]["load_mw"], both[1]["load_mw"], rtol=1e-4)
    assert [each.plain for each in report.compared] == ["never", "weekly"]
    assert "| weekly | " in (root / "report.md").read_text("utf-8")
    assert (root / "comparison.svg").read_text("utf-8").count("<svg") == 1


def test_what_was_lived_through_is_not_lived_again(lived: tuple[ReplayRequest, Path]) -> None:
    asked, root = lived
    before = {p: p.stat().st_mtime_ns for p in root.rglob("forecasts/*/*.parquet")}
    assert live_until_training(open_replay(asked)) is None
    assert live_until_plain_training(open_replay(asked), "weekly") is None
    assert {p: p.stat().st_mtime_ns for p in root.rglob("forecasts/*/*.parquet")} == before
    assert len({path.parent.parent.parent for path in before}) == 3  # itself, and two ways


def test_what_comes_after_a_day_has_no_say_in_it(lived: tuple[ReplayRequest, Path]) -> None:
    asked, root = lived
    replay = open_replay(asked)
    day = pd.Timestamp(asked.first, tz="UTC") + DAY
    was = read_issued(root, replay.state.dataset, first=day, end=day + DAY)
    cut = {
        name: each.assign(load_mw=each["load_mw"].where(each["timestamp"] < day + DAY, 1.0))
        for name, each in replay.tables.items()
    }
    replay.tables = cut
    replay.state = replay.state.model_copy(update={
        "next_day": day.isoformat(), "end": (day + DAY).isoformat(), "alarms": (),
    })  # fmt: skip
    assert live_until_training(replay) is None
    again = read_issued(root, replay.state.dataset, first=day, end=day + DAY)
    for name in ("load_mw", "q05", "q95"):
        np.testing.assert_allclose(again[name], was[name], rtol=1e-4)


def test_a_span_or_a_fault_that_is_none_is_refused(lived: tuple[ReplayRequest, Path]) -> None:
    asked, _ = lived
    where = ("--artifacts", Path(asked.artifacts))
    same = gridcast("replay", "--from", asked.end, "--to", asked.end, *where,
                    environment=on_a_server())  # fmt: skip
    assert same.returncode == 2
    assert "expected a span of at least a day" in same.stderr
    span = ("--from", asked.first, "--to", asked.end)
    for words, told in (
        (("--compare", "hourly"), "--compare: found hourly, expected never, yearly"),
        (("--region", "XX"), "--region: found XX, expected some of AEP"),
    ):
        done = gridcast("replay", *span, *words, *where, environment=on_a_server())
        assert done.returncode == 2
        assert told in done.stderr


def test_only_the_regions_that_are_asked_for_are_lived_through(
    lived: tuple[ReplayRequest, Path],
) -> None:
    asked, root = lived
    some = open_replay(asked.model_copy(update={"regions": ("AEP", "FE"), "plants": ()}))
    assert sorted(some.tables) == ["AEP", "FE"]
    assert some.root != root
