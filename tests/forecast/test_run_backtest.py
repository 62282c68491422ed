"""``gridcast backtest`` on what a run left: a leaderboard, tables, a picture, refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tasks.forecast.run_backtest import BacktestRecord
from tasks.runs.record_files import read_record
from tests.builders.pipelines import (
    NUM_REGIONS,
    ROOT,
    copy_artifacts,
    first_run,
    gridcast,
    on_a_server,
)

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

SETTINGS = ("--set", "forecasting.bands.learn_days=7", "--horizon", "4")


def folder_of(artifacts: Path) -> Path:
    (folder,) = (artifacts / "backtests").iterdir()
    return folder


def test_the_command_shows_a_leaderboard_and_keeps_tables_forecasts_and_a_picture(
    tmp_path: Path,
) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    span = ("--from", "2018-07-30", "--to", "2018-08-02")
    result = gridcast("backtest", "--artifacts", artifacts, *span, *SETTINGS)
    assert result.returncode == 0, result.stderr
    record = read_record(folder_of(artifacts) / "backtest.json", BacktestRecord)
    for name in record.error:
        assert name.replace("_", " ") in result.stdout
    assert record.run_id == first_run().folder.name
    assert (record.first, record.end, record.horizon) == ("2018-07-30", "2018-08-02", 4)
    rows = pd.read_parquet(folder_of(artifacts) / "forecasts.parquet")
    own = rows[rows["contestant"] == record.model]
    assert own["region"].nunique() == NUM_REGIONS
    assert len(own) == record.num_forecasts == NUM_REGIONS * 72 * 4
    assert len(pd.read_csv(folder_of(artifacts) / "by_lead.csv")) == 3 * 4
    picture = (folder_of(artifacts) / "backtest.svg").read_text(encoding="utf-8")
    assert picture.count("<svg") == 1


def test_the_flow_keeps_the_same(tmp_path: Path) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    overrides = ["forecasting.bands.learn_days=7", "forecasting.horizon=4"]
    code = (
        "from flows.backtest_forecasts import backtest_forecasts\n"
        f"print(backtest_forecasts(artifacts={str(artifacts)!r}, overrides={overrides!r}, "
        "first='2018-07-30', end='2018-07-31'))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=on_a_server(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip().splitlines()[-1]) == folder_of(artifacts)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (("--from", "2018-07-12", "--to", "2018-07-12"), "expected a span of at least a day"),
        (("--from", "1999-07-12", "--to", "1999-08-12"), "found no reading from"),
    ],
)
def test_a_span_without_a_forecast_is_refused_with_what_was_expected(
    span: tuple[str, ...], message: str
) -> None:
    result = gridcast("backtest", "--artifacts", first_run().artifacts, *span, *SETTINGS)
    assert result.returncode == 2
    assert message in result.stderr
