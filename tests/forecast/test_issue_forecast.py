"""``gridcast forecast`` on what a run left: rows, bands, stand-ins, refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import ForecastDoubtError, IntegrityError, UsageError
from tasks.forecast.forecast_store import (
    export,
    read_issued,
    safe_for_spreadsheets,
    stored_issue_times,
)
from tasks.forecast.issue_forecast import Issued, end_of_data, ended_regions, issue_forecast
from tasks.show.show_forecast import instant_of, sparkline
from tests.builders.pipelines import (
    NUM_REGIONS,
    ROOT,
    copy_artifacts,
    first_run,
    gridcast,
    on_a_server,
)

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

HORIZON = 24
CONFIG = Config.load(
    overrides=(f"forecasting.horizon={HORIZON}", "forecasting.calibration_origins=40")
)
SETTINGS = ("--set", "forecasting.calibration_origins=40")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_artifacts(tmp_path_factory.mktemp("forecast") / "artifacts")


def issue(artifacts: Path, hours_late: int = 0, regions: tuple[str, ...] = ()) -> Issued:
    as_of = end_of_data(artifacts) + pd.Timedelta(hours=hours_late)
    return issue_forecast(artifacts, CONFIG, as_of=as_of, regions=regions)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network forecasts: two passes of eight units lose to the same hour of yesterday."""
    monkeypatch.setattr(
        "gridcast.forecasting.makers._best_change", lambda network_K, *_: (0.0, len(network_K))
    )


def test_each_region_has_a_row_a_lead_with_ordered_bands_and_its_origin(artifacts: Path) -> None:
    issued = issue(artifacts)
    rows = issued.rows
    assert len(rows) == NUM_REGIONS * HORIZON
    for _, own in rows.groupby("region"):
        assert own["lead"].tolist() == list(range(1, HORIZON + 1))
    ahead = pd.to_timedelta(rows["lead"] - 1, unit="h")
    assert (rows["timestamp"] == rows["issue_time"] + ahead).all()
    assert (rows["issue_time"] == end_of_data(artifacts)).all()
    assert ((rows["q05"] <= rows["q25"]) & (rows["q25"] <= rows["q75"])).all()
    assert (rows["q75"] <= rows["q95"]).all()
    assert rows[["model", "model_sha256", "run_id", "snapshot"]].notna().all().all()
    assert set(rows["run_id"]) == {first_run().folder.name}
    assert issued.missing == issued.doubts == {}


def test_the_same_issue_again_is_the_same_rows_and_one_file(artifacts: Path) -> None:
    first, again = issue(artifacts), issue(artifacts)
    pd.testing.assert_frame_equal(first.rows, again.rows)
    stored = read_issued(artifacts, first.dataset)
    own = stored[stored["issue_time"] == first.issue_time]
    assert len(own) == NUM_REGIONS * HORIZON


@pytest.mark.usefixtures("trusted")
def test_an_hour_more_is_known_to_the_forecast_that_is_issued_an_hour_later(
    artifacts: Path,
) -> None:
    earlier = issue(artifacts, hours_late=-12)
    assert earlier.doubts == {}
    assert earlier.issue_time == end_of_data(artifacts) - pd.Timedelta(hours=12)
    late = issue(artifacts, hours_late=-11)
    both = earlier.rows.merge(late.rows, on=["region", "timestamp"])
    assert (both["lead_x"] == both["lead_y"] + 1).all()
    assert set(both["fallback_x"]) == set(both["fallback_y"]) == {""}
    assert (both["load_mw_x"] != both["load_mw_y"]).all()


def test_regions_that_are_asked_for_later_leave_the_rows_of_others_in_the_store(
    tmp_path: Path,
) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    first = issue(artifacts)
    issue(artifacts, regions=("AEP",))
    issue(artifacts, hours_late=-1)
    stored = read_issued(artifacts, first.dataset, first=first.issue_time)
    assert len(stored) == NUM_REGIONS * HORIZON
    assert not stored.duplicated(["issue_time", "region", "lead"]).any()
    assert len(stored_issue_times(artifacts, first.dataset)) == 2


def test_a_network_that_loses_to_yesterday_gives_way_and_it_is_said(artifacts: Path) -> None:
    issued = issue(artifacts)
    assert issued.fallbacks
    for each in issued.fallbacks.values():
        assert each.startswith("same hour")
        assert "it is better than the network on the validation part" in each


@pytest.mark.usefixtures("trusted")
def test_a_late_region_is_forecast_from_its_last_hour_on(
    artifacts: Path,
) -> None:
    now, late = issue(artifacts), issue(artifacts, hours_late=CONFIG.forecasting.max_stale_hours)
    assert late.doubts == {}
    both = now.rows.merge(late.rows, on=["region", "timestamp"])
    assert set(both["fallback_x"]) == set(both["fallback_y"]) == {""}
    assert both["load_mw_x"].to_numpy() == pytest.approx(both["load_mw_y"].to_numpy())


def test_a_forecast_by_a_named_run_is_for_a_look_and_not_kept(tmp_path: Path) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    run_id, as_of = first_run().folder.name, end_of_data(artifacts)
    looked = issue_forecast(artifacts, CONFIG, as_of=as_of, run_id=run_id)
    assert looked.stored is None
    assert read_issued(artifacts, looked.dataset).empty
    kept = issue_forecast(artifacts, CONFIG, as_of=as_of)
    assert kept.stored is not None
    pd.testing.assert_frame_equal(looked.rows, kept.rows)
    assert looked.timezone == "America/New_York"


def test_a_stale_region_gets_a_stand_in(artifacts: Path) -> None:
    stale = issue(artifacts, hours_late=CONFIG.forecasting.max_stale_hours + 1)
    assert len(stale.doubts) == NUM_REGIONS
    assert set(stale.rows["fallback"]) <= {"same_hour_yesterday", "same_hour_last_week"}
    assert stale.rows["fallback_reason"].str.contains("before the issue time").all()


def test_where_nothing_is_known_for_two_weeks_nothing_is_forecast(artifacts: Path) -> None:
    with pytest.raises(UsageError, match="too long ago for any forecast"):
        issue(artifacts, hours_late=15 * 24)


def test_a_region_that_was_over_before_the_training_is_no_missing_one() -> None:
    hours = pd.date_range("2018-01-01", periods=48, freq="h", tz="UTC")
    readings = {
        "NI": pd.DataFrame({"timestamp": hours}),
        "DEAD": pd.DataFrame({"timestamp": hours}),
    }
    readings["DEAD"]["timestamp"] += pd.Timedelta(days=10)
    found = ended_regions(
        readings, {"NI", "DEAD", "GONE"}, trained_to=np.datetime64("2018-01-20")
    )  # fmt: skip
    assert found == {"NI": pd.Timestamp("2018-01-02 23:00", tz="UTC")}


def test_an_unknown_region_names_those_that_are_known(artifacts: Path) -> None:
    with pytest.raises(UsageError, match=r"--region: found NOWHERE, expected of AEP"):
        issue(artifacts, regions=("NOWHERE",))
    assert set(issue(artifacts, regions=("AEP", "DOM")).rows["region"]) == {"AEP", "DOM"}


def test_a_model_with_another_byte_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    for weights in artifacts.glob("models/*/*-seed0.npz"):
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"seed0\.npz: found SHA-256"):
        issue(artifacts)


def test_without_a_model_the_command_says_how_to_get_one(tmp_path: Path) -> None:
    result = gridcast("forecast", "--artifacts", tmp_path, "--as-of", "2018-01-01")
    assert result.returncode == 2
    assert "gridcast run --data FOLDER makes one, and a model" in result.stderr


def test_the_command_shows_each_region_and_writes_rows_and_a_picture(tmp_path: Path) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    out, picture = tmp_path / "tomorrow.csv", tmp_path / "tomorrow.svg"
    result = gridcast(
        "forecast", "--artifacts", artifacts, "--horizon", "24", "--out", out, "--picture", picture,
        *SETTINGS,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = pd.read_csv(out)
    assert len(rows) == NUM_REGIONS * 24
    assert rows["timestamp"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:00:00Z").all()
    for region in rows["region"].unique():
        assert region in result.stdout
    assert picture.read_text(encoding="utf-8").count("<svg") == 1
    stale = gridcast("forecast", "--artifacts", artifacts, "--as-of", "2030-01-01", *SETTINGS)
    assert stale.returncode == 2
    assert "too long ago" in stale.stderr


def test_the_flow_keeps_the_rows_that_the_command_does(tmp_path: Path, artifacts: Path) -> None:
    own = copy_artifacts(tmp_path / "artifacts")
    as_of = str(end_of_data(own))
    overrides = [f"forecasting.horizon={HORIZON}", "forecasting.calibration_origins=40"]
    code = (
        "from flows.forecast_load import forecast_load\n"
        f"print(forecast_load(artifacts={str(own)!r}, overrides={overrides!r}, as_of={as_of!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=on_a_server(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    path = Path(result.stdout.strip().splitlines()[-1])
    pd.testing.assert_frame_equal(pd.read_parquet(path), issue(artifacts).rows, check_dtype=False)


def test_quantiles_between_percents_make_bands_on_the_screen_and_in_the_picture(
    tmp_path: Path,
) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    picture, levels = tmp_path / "tomorrow.svg", "forecasting.quantiles=[0.025, 0.5, 0.975]"
    result = gridcast("forecast", "--artifacts", artifacts, "--picture", picture,
                      "--horizon", "3", "--set", levels)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "95 % band" in result.stdout
    assert picture.read_text(encoding="utf-8").count("<svg") == 1


def test_a_text_that_a_spreadsheet_would_run_is_neutralised(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"region": ["=HYPERLINK(1)", "+1", "-1", "@x", "AEP"], "load_mw": [-1.0] * 5}
    )
    export(rows, tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert lines == ["'=HYPERLINK(1),-1.0", "'+1,-1.0", "'-1,-1.0", "'@x,-1.0", "AEP,-1.0"]
    assert safe_for_spreadsheets(rows)["load_mw"].tolist() == [-1.0] * 5
    with pytest.raises(UsageError, match=r"found the ending '.txt'"):
        export(rows, tmp_path / "x.txt")


def test_an_instant_is_in_utc_and_nonsense_is_refused() -> None:
    assert instant_of("2018-07-01T09:00") == pd.Timestamp("2018-07-01 09:00", tz="UTC")
    assert instant_of("2018-07-01T09:00+02:00") == pd.Timestamp("2018-07-01 07:00", tz="UTC")
    with pytest.raises(UsageError, match="--as-of: found 'tomorrow'"):
        instant_of("tomorrow")
    assert sparkline(pd.Series([5.0, 5.0]).to_numpy()) == "▁▁"


def test_doubts_are_one_line_a_region() -> None:
    message = str(ForecastDoubtError({"AEP": "late", "DOM": "gone"}, stored="x.parquet"))
    assert message.splitlines()[:2] == ["ERROR AEP: late", "ERROR DOM: gone"]
