"""A file that gridcast has never seen: inspected, then the printed command, as it stands."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import pytest

from tests.builders.pipelines import SMALL_MODEL, gridcast, on_a_server, read_json, settings

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


def read_victoria(path: Path) -> pd.Series:
    """MW of each hour by its start in UTC, as pandas reads it: half hours, the mean of two."""
    frame = pd.read_csv(path, index_col="Time", parse_dates=["Time"])
    return frame["Demand"].resample("h").mean()


def read_france(path: Path) -> pd.Series:
    """MW of each hour by its start in UTC, as pandas reads it: hours 1 to 24 name their end."""
    frame = pd.read_csv(path)
    days = pd.to_datetime(frame[["year", "month", "day"]], utc=True)
    hours = days + pd.to_timedelta(frame["hour"] - 1, unit="h")
    return pd.Series(frame["demand (MW)"].to_numpy(dtype=float), index=pd.DatetimeIndex(hours))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "region", "read"),
    [("vic_electricity.csv", "VIC", read_victoria), ("FR_demand.csv", "FR", read_france)],
)
def test_a_public_file_is_inspected_and_the_printed_command_runs(
    tmp_path: Path, pjm_folder: Path, name: str, region: str, read: object
) -> None:
    file = pjm_folder.parent / "public" / name
    if not file.is_file():
        pytest.skip(f"no {file}")
    seen = gridcast("inspect", file, cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    (line,) = [line for line in seen.stdout.splitlines() if line.startswith("Then:")]
    command = shlex.split(line.removeprefix("Then:"))
    assert command[:2] == ["gridcast", "run"]
    small = settings(*SMALL_MODEL, "training.max_steps=20")
    result = gridcast(*command[1:], *small, cwd=tmp_path, environment=on_a_server())
    assert result.returncode == 0, result.stderr
    summary = read_json(Path(result.stdout.splitlines()[-1]))
    table = pd.read_parquet(tmp_path / "artifacts" / summary["regions"][region]["path"])
    expected = read(file)  # type: ignore[operator]
    found = table.set_index("timestamp")["load_mw"]
    assert len(found) == len(expected)
    pd.testing.assert_series_equal(
        found, expected, check_names=False, check_freq=False, check_index_type=False, rtol=1e-12
    )
