"""Weather is fetched from a server that answers as Open-Meteo's is documented to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.covariates.reading import asked_of_weather, read_covariates
from gridcast.errors import FetchError, RegionRefusedError, UsageError
from gridcast.layouts.reading import File
from tasks.covariates.fetch_weather import fetch_weather
from tasks.covariates.open_meteo_client import ADDRESS_VARIABLE
from tests.builders.open_meteo_server import OpenMeteoServer, open_meteo_server, refusal

if TYPE_CHECKING:
    from gridcast.covariates.open_meteo import Kind

PLACES = (
    "open_meteo.places={VIC: [{latitude: -37, longitude: 145, weight: 3}, {latitude: -33, "
    "longitude: 144}]}"
)
QUICK = (
    "open_meteo.backoff_seconds=0.01", "open_meteo.requests_per_second=10.0",
    "open_meteo.give_up_seconds=0.5", "open_meteo.span_days=2",
)  # fmt: skip
MEAN = (3 * -37 - 33) / 4


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenMeteoServer]:
    with open_meteo_server() as state:
        monkeypatch.setenv(ADDRESS_VARIABLE, state.address)
        yield state


def fetch(
    folder: Path, *overrides: str, kinds: Sequence[Kind] = ("archive",), until: str = "2024-01-03"
) -> pd.DataFrame:
    config = Config.load(overrides=(PLACES, *QUICK, *overrides))
    paths = fetch_weather(folder, config, since="2024-01-01", until=until, kinds=kinds)
    assert paths == {"VIC": folder / "VIC_weather.csv"}
    asked = asked_of_weather(
        "VIC", Config.load(overrides=("covariates.columns={temperature: {}}",)).covariates,
        config.ingestion,
    )  # fmt: skip
    return read_covariates([File("x", "x", paths["VIC"].read_bytes())], asked).frame


def test_the_archive_is_asked_for_piece_by_piece_and_weighted_by_place(
    server: OpenMeteoServer, tmp_path: Path
) -> None:
    frame = fetch(tmp_path)
    assert len(frame) == 72
    assert frame["issued"].isna().all()
    assert frame["temperature"].tolist() == [MEAN + hour for _ in range(3) for hour in range(24)]
    spans = [(each["start_date"], each["end_date"]) for each in server.asked]
    assert spans == [("2024-01-01", "2024-01-02"), ("2024-01-03", "2024-01-03")] * 2
    assert {each["path"] for each in server.asked} == {"/archive"}
    assert {each["timezone"] for each in server.asked} == {"GMT"}


def test_forecasts_come_with_the_time_at_which_they_were_there(
    server: OpenMeteoServer, tmp_path: Path
) -> None:
    frame = fetch(tmp_path, kinds=("issued",), until="2024-01-01")
    lead = (frame["timestamp"] - frame["issued"]).dt.total_seconds() / 3600
    assert sorted(set(lead)) == [18.0, 42.0]  # a day and two days before, and six hours to make it
    one = frame[lead == 18.0]["temperature"]
    assert one.tolist() == pytest.approx([MEAN + hour + 0.1 for hour in range(24)])
    assert server.asked[0]["hourly"] == "temperature_2m_previous_day1,temperature_2m_previous_day2"


def test_the_hours_to_come_are_issued_now(server: OpenMeteoServer, tmp_path: Path) -> None:
    frame = fetch(tmp_path, kinds=("live",))
    now = pd.Timestamp.now("UTC")
    assert "start_date" not in server.asked[0]
    assert len(set(frame["issued"])) == 1
    assert abs(frame["issued"].iloc[0] - now) < pd.Timedelta(minutes=10)
    assert (frame["timestamp"] >= now.floor("h") - pd.Timedelta(hours=1)).all()


def test_a_day_that_is_not_over_is_completed_by_the_next_fetch(
    server: OpenMeteoServer, tmp_path: Path
) -> None:
    server.end = "2024-01-02T13:00"
    assert len(fetch(tmp_path)) == 37
    server.end = "2100"
    frame = fetch(tmp_path, kinds=("archive", "issued"))
    assert len(frame) == 72 * 3
    assert len(frame[frame["issued"].isna()]) == 72


def test_what_passes_is_asked_again_and_what_does_not_is_told(
    server: OpenMeteoServer, tmp_path: Path
) -> None:
    limit = refusal("Minutely API request limit exceeded. Please try again in one minute.")
    server.replies = [(429, limit), (503, b"<html>")]
    assert len(fetch(tmp_path)) == 72
    before = (tmp_path / "VIC_weather.csv").read_bytes()
    server.replies = [(429, limit)] * 50
    with pytest.raises(FetchError, match="Minutely API request limit"):
        fetch(tmp_path)
    server.replies = []
    with pytest.raises(UsageError, match="Cannot initialize variable from sunshine"):
        fetch(tmp_path, "open_meteo.variables={temperature: sunshine}")
    for body in (b'{"hourly": {"time": []}}', b"[]", b"{"):
        server.replies = [(200, body)]
        with pytest.raises(FetchError, match=r"an answer as https://open-meteo\.com"):
            fetch(tmp_path)
    assert (tmp_path / "VIC_weather.csv").read_bytes() == before


def test_a_file_that_is_not_as_it_should_be_is_not_written_over(
    server: OpenMeteoServer, tmp_path: Path
) -> None:
    path = tmp_path / "VIC_weather.csv"
    path.write_text("timestamp,temperature\n2024-01-01T00:00Z,warm\n", encoding="utf-8")
    with pytest.raises(RegionRefusedError, match="found 'warm'"):
        fetch(tmp_path)
    assert "warm" in path.read_text(encoding="utf-8")
    assert not server.asked


def test_without_places_nobody_is_asked(server: OpenMeteoServer, tmp_path: Path) -> None:
    config = Config.load()
    with pytest.raises(UsageError, match=r"open_meteo\.places"):
        fetch_weather(tmp_path, config, since="2024-01-01", until=None, kinds=("archive",))
    assert not server.asked
