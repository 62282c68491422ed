"""Fetching from the EIA, against a server on loopback that answers as the interface is documented.

The client, the files and the marker are the real ones; two tests start the real command.
"""

from __future__ import annotations

import logging
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pandas as pd
import pytest

from gridcast.errors import EXIT_USAGE, FetchError, UsageError
from gridcast.readings.archive_members import MARKER
from tests.builders.eia_server import KEY, EiaServer, Reply, eia_server, error_body, periods
from tests.builders.pipelines import (
    ROOT,
    SECONDS,
    gridcast,
    on_a_server,
    read_json,
    settings,
    wait_for,
)
from tests.builders.values import make_config
from tests.builders.warm_server import warm_python

pytestmark = pytest.mark.prefect  # tasks.fetch.eia imports it, which takes seconds

SOON = {"backoff_seconds": 0.01, "timeout_seconds": 2.0}
FIRST = "2026-01-01T00"
UNTIL = "2026-01-31T23"
HOURS = periods(FIRST, 31 * 24)
FILE = "AEP_hourly.csv"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EiaServer]:
    with eia_server() as running:
        monkeypatch.setenv("EIA_API_URL", running.address)
        monkeypatch.setenv("EIA_API_KEY", KEY)
        running.loads["AEP"] = {hour: str(14000 + i) for i, hour in enumerate(HOURS)}
        yield running


def fetch(
    folder: Path,
    *,
    region: str = "AEP",
    since: str | None = "2026-01-01",
    until: str = UNTIL,
    seconds_lost: float = 0.0,
    **eia: object,
) -> Any:  # noqa: ANN401
    """One region, as the flow does it, without Prefect's server."""
    from tasks.fetch.eia import fetch_region, held_folder
    from tasks.fetch.eia_plan import plan_fetch

    config = make_config(eia={**SOON, **eia})
    if "requests_per_second" not in eia:  # no setting allows it: this server needs no mercy
        hasty = config.eia.model_copy(update={"requests_per_second": 1000.0})
        config = config.model_copy(update={"eia": hasty})
    plan = plan_fetch(str(folder), since=since, until=until, regions=[region])
    with held_folder(plan):
        return fetch_region.fn(plan, region, config, seconds_lost=seconds_lost).record


def lines(folder: Path, name: str = FILE) -> list[str]:
    return (folder / name).read_text(encoding="ascii").splitlines()


def labels(*hours: str) -> list[str]:
    return [f"{hour.replace('T', ' ')}:00:00" for hour in hours]


def test_all_hours_come_page_by_page_and_are_written_in_the_order_of_time(
    server: EiaServer, tmp_path: Path
) -> None:
    record = fetch(tmp_path / "eia", page_rows=100)
    header, *rows = lines(tmp_path / "eia")
    assert header == "Datetime,AEP_MW"
    assert rows == [f"{label},{14000.0 + i}" for i, label in enumerate(labels(*HOURS))]
    assert [given["offset"] for given in server.asked] == [str(i) for i in range(0, 744, 100)]
    assert (record.hours, record.new, record.revised, record.dropped) == (744, 744, 0, 0)
    assert (record.first, record.last) == ("2026-01-01 00:00:00", "2026-01-31 23:00:00")


def test_the_marker_says_that_labels_are_utc_and_what_is_held_of_each_region(
    server: EiaServer, tmp_path: Path
) -> None:
    server.loads["CE"] = {FIRST: "9000"}
    fetch(tmp_path)
    fetch(tmp_path, region="COMED")
    marker = read_json(tmp_path / MARKER)
    assert (marker["source"], marker["labels"]) == ("eia", "utc")
    assert sorted(marker["regions"]) == ["AEP", "COMED"]
    assert marker["regions"]["COMED"]["hours"] == 1
    assert lines(tmp_path, "COMED_hourly.csv")[0] == "Datetime,COMED_MW"


def test_the_folder_is_read_as_one_of_utc_labels(server: EiaServer, tmp_path: Path) -> None:
    from tasks.fetch.regional_csvs import list_sources

    assert server.loads
    fetch(tmp_path)
    sources = list_sources(tmp_path)
    assert (sources.labels, sources.source, sources.kind) == ("utc", "eia", "real")
    assert [file.region for file in sources.files] == ["AEP"]


# -- the whole, and what its operator forecasts -------------------------------------------------


def fetch_operator(folder: Path, *, since: str | None = "2026-01-01", until: str = UNTIL) -> int:
    from tasks.fetch.eia import fetch_operator_forecast, held_folder
    from tasks.fetch.eia_plan import plan_fetch

    plan = plan_fetch(str(folder), since=since, until=until, regions=["PJM"])
    with held_folder(plan):
        return fetch_operator_forecast.fn(plan, make_config(eia=SOON))


def test_the_whole_is_a_region_and_its_operators_forecast_is_kept_apart_with_when_it_was_seen(
    server: EiaServer, tmp_path: Path
) -> None:
    from tasks.fetch.operator_forecast import read_operator_forecasts
    from tasks.fetch.regional_csvs import list_sources

    server.loads |= {"D": {FIRST: "90000"}, "DF": dict.fromkeys(periods(FIRST, 24 * 3), "91000")}
    fetch(tmp_path, region="PJM")
    assert fetch_operator(tmp_path, until="2026-01-02T09") == 72  # tomorrow's too
    assert lines(tmp_path, "PJM_hourly.csv") == ["Datetime,PJM_MW", "2026-01-01 00:00:00,90000.0"]
    assert list_sources(tmp_path).skipped == {}
    found = read_operator_forecasts(tmp_path)
    assert set(found["region"]) == {"PJM"}
    assert found["timestamp"].iloc[0] == pd.Timestamp("2025-12-31 23:00", tz="UTC")  # its begin
    assert set(found["operator_mw"]) == {91000.0}
    assert set(found["seen_at"]) == {pd.Timestamp("2026-01-02 09:00", tz="UTC")}


def test_what_an_operator_has_once_said_stays_whatever_is_answered_later(
    server: EiaServer, tmp_path: Path
) -> None:
    from tasks.fetch.operator_forecast import read_operator_forecasts

    server.loads["DF"] = dict.fromkeys(periods(FIRST, 24), "91000")
    assert fetch_operator(tmp_path, until="2026-01-01T12") == 24
    server.loads["DF"] = dict.fromkeys(periods(FIRST, 48), "92000")
    assert fetch_operator(tmp_path, since=None, until="2026-01-02T12") == 24
    found = read_operator_forecasts(tmp_path)
    assert found["operator_mw"].tolist() == [91000.0] * 24 + [92000.0] * 24
    assert fetch_operator(tmp_path, since=None, until="2026-01-02T13") == 0


def test_a_file_of_the_operator_that_no_fetch_wrote_is_refused(tmp_path: Path) -> None:
    from tasks.fetch.operator_forecast import read_operator_forecasts

    assert read_operator_forecasts(tmp_path).empty
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "PJM.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UsageError, match="fetch with --since"):
        read_operator_forecasts(tmp_path)


# -- late, revised and missing hours -------------------------------------------------------------


def test_the_next_fetch_asks_for_the_last_days_again_and_the_newer_answer_wins(
    server: EiaServer, tmp_path: Path
) -> None:
    late = server.loads["AEP"].pop("2026-01-28T10")
    fetch(tmp_path, until="2026-01-30T00")
    assert len(lines(tmp_path)) == 1 + 29 * 24
    server.loads["AEP"].update({"2026-01-28T10": late, "2026-01-29T10": "5", "2026-01-02T10": "6"})
    record = fetch(tmp_path, since=None)
    assert server.asked[-1]["start"] == "2026-01-23T00"
    assert (record.new, record.revised) == (1 + 47, 1)
    rows = dict(line.split(",") for line in lines(tmp_path)[1:])
    assert rows["2026-01-28 10:00:00"] == f"{float(str(late))}"
    assert rows["2026-01-29 10:00:00"] == "5.0"
    assert rows["2026-01-02 10:00:00"] == "14034.0"  # older than what is asked for again
    assert list(rows) == sorted(rows)


def test_a_fetch_that_brings_nothing_new_leaves_the_file_as_it_is(
    server: EiaServer, tmp_path: Path
) -> None:
    assert server.loads
    fetch(tmp_path)
    before = (tmp_path / FILE).stat().st_mtime_ns
    record = fetch(tmp_path, since=None)
    assert (record.new, record.revised) == (0, 0)
    assert (tmp_path / FILE).stat().st_mtime_ns == before


def test_missing_hours_stay_missing_and_those_without_a_load_are_counted(
    server: EiaServer, tmp_path: Path
) -> None:
    del server.loads["AEP"]["2026-01-05T05"]
    server.loads["AEP"].update({"2026-01-06T06": None, "2026-01-07T07": "-3"})
    record = fetch(tmp_path)
    assert (record.hours, record.dropped) == (744 - 3, 2)
    text = "\n".join(lines(tmp_path))
    for label in labels("2026-01-05T05", "2026-01-06T06", "2026-01-07T07"):
        assert label not in text


def test_an_hour_that_is_taken_back_stays_as_it_was_held(server: EiaServer, tmp_path: Path) -> None:
    fetch(tmp_path)
    server.loads["AEP"]["2026-01-30T10"] = None
    record = fetch(tmp_path, since=None)
    assert (record.dropped, record.hours) == (1, 744)


def test_an_earlier_since_fills_what_came_before(server: EiaServer, tmp_path: Path) -> None:
    assert server.loads
    fetch(tmp_path, since="2026-01-20")
    record = fetch(tmp_path, since="2026-01-01")
    assert (record.hours, record.new) == (744, 19 * 24)


def test_since_is_an_hour_in_utc_whatever_zone_it_is_written_in(
    server: EiaServer, tmp_path: Path
) -> None:
    fetch(tmp_path, since="2026-01-01T00:00-05:00")
    assert server.asked[0]["start"] == "2026-01-01T05"


# -- what passes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(500), id="500"),
        pytest.param(Reply(503, b"<html>busy</html>"), id="503_html"),
        pytest.param(Reply(429, error_body("OVER_RATE_LIMIT")), id="429"),
        pytest.param(Reply(200, ordinary=True, cut=100), id="a_body_that_is_cut_off"),
        pytest.param(Reply(200, b'{"response": {"total": "744", "da'), id="cut_before_its_length"),
        pytest.param(Reply(200, b"<html>"), id="no_json"),
    ],
)
def test_what_passes_is_asked_again_and_nothing_is_lost(
    server: EiaServer, tmp_path: Path, reply: Reply
) -> None:
    server.replies = [reply, reply]
    assert fetch(tmp_path).hours == 744
    assert len(server.asked) == 3
    assert server.asked[0] == server.asked[2]


def test_a_page_in_the_middle_that_fails_is_asked_again_alone(
    server: EiaServer, tmp_path: Path
) -> None:
    server.replies = [Reply(200, ordinary=True), Reply(200, ordinary=True), Reply(502)]
    assert fetch(tmp_path, page_rows=300).hours == 744
    assert [given["offset"] for given in server.asked] == ["0", "300", "600", "600"]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(server: EiaServer, tmp_path: Path, form: str) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    wait = "1" if form == "seconds" else soon
    server.replies = [Reply(429, error_body("OVER_RATE_LIMIT"), {"Retry-After": wait})]
    begun = time.monotonic()
    fetch(tmp_path)
    assert time.monotonic() - begun >= 1


def test_a_wait_longer_than_the_limit_is_not_begun(server: EiaServer, tmp_path: Path) -> None:
    server.replies = [Reply(429, error_body("OVER_RATE_LIMIT"), {"Retry-After": "3600"})]
    with pytest.raises(FetchError, match=r"429 OVER_RATE_LIMIT.*eia\.give_up_seconds") as failed:
        fetch(tmp_path)
    assert "1 times" in str(failed.value)


def test_waits_grow_and_end_within_the_limit(server: EiaServer, tmp_path: Path) -> None:
    server.broken["AEP"] = Reply(500)
    with pytest.raises(FetchError, match="found 500"):
        fetch(tmp_path, backoff_seconds=0.2, give_up_seconds=2.0)
    assert 1 <= len(server.asked) <= 6  # without growing waits 10, on a machine that is not busy
    assert not (tmp_path / FILE).exists()


def test_a_server_that_never_answers_ends_within_the_limit(
    server: EiaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_late(*_: object) -> Reply:
        has_given_up.wait(SECONDS)
        return Reply(200)

    has_given_up = threading.Event()
    monkeypatch.setattr(server, "answer", answer_late)
    with pytest.raises(FetchError, match="no whole answer"):
        fetch(tmp_path, timeout_seconds=0.3, give_up_seconds=1.0)
    has_given_up.set()


def test_nobody_there_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIA_API_KEY", KEY)
    monkeypatch.setenv("EIA_API_URL", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"no whole answer \(ConnectError"):
        fetch(tmp_path, give_up_seconds=0.1)


def test_requests_keep_to_the_rate(server: EiaServer, tmp_path: Path) -> None:
    begun = time.monotonic()
    fetch(tmp_path, page_rows=100, requests_per_second=5.0)
    # The last one's turn too: another task that asks next knows nothing of it.
    assert time.monotonic() - begun >= len(server.asked) / 5


def test_what_regions_before_have_lost_counts(server: EiaServer, tmp_path: Path) -> None:
    server.replies = [Reply(500), Reply(500)]
    with pytest.raises(FetchError, match=r"found 500.*1 times") as failed:
        fetch(tmp_path, seconds_lost=299.999)
    assert failed.value.seconds_lost > 300
    fetch(tmp_path)


# -- what does not -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"), [("API_KEY_INVALID", 403), ("API_KEY_MISSING", 403), ("", 401)]
)
def test_a_key_that_is_not_taken_is_wrong_usage_and_is_asked_once(
    server: EiaServer, tmp_path: Path, code: str, status: int
) -> None:
    server.replies = [Reply(status, error_body(code) if code else b"")]
    with pytest.raises(UsageError, match=rf"found {status}.*{code}.*EIA_API_KEY") as refused:
        fetch(tmp_path)
    assert refused.value.exit_code == EXIT_USAGE
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 301])
def test_any_other_status_fails_at_once_in_the_servers_words(
    server: EiaServer, tmp_path: Path, status: int
) -> None:
    elsewhere = {"Location": "http://127.0.0.1:9/"}  # where the key must not go
    server.replies = [Reply(status, b'{"error": "Invalid facet.", "code": 400}', elsewhere)]
    with pytest.raises(FetchError, match=f"EIA AEP: found {status} Invalid facet."):
        fetch(tmp_path)
    assert len(server.asked) == 1


def test_an_answer_that_ends_early_is_refused(server: EiaServer, tmp_path: Path) -> None:
    empty = b'{"response": {"total": "744", "data": []}}'
    server.replies = [Reply(200, ordinary=True), Reply(200, empty)]
    with pytest.raises(FetchError, match="found 100 rows of 744"):
        fetch(tmp_path, page_rows=100)
    assert not (tmp_path / FILE).exists()


def test_an_answer_without_end_is_refused(server: EiaServer, tmp_path: Path) -> None:
    server.replies = [Reply(200, b'{"response": {"total": "999999999", "data": []}}')]
    with pytest.raises(FetchError, match="0 rows of 999999999"):
        fetch(tmp_path)


def test_a_region_without_any_hour_fails_where_it_was_named(
    server: EiaServer, tmp_path: Path
) -> None:
    assert server.loads
    with pytest.raises(FetchError, match="EIA DOM: found no load from 2026-01-01"):
        fetch(tmp_path, region="DOM")


def test_a_failed_fetch_leaves_the_file_as_it_was(server: EiaServer, tmp_path: Path) -> None:
    fetch(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    server.broken["AEP"] = Reply(400)
    with pytest.raises(FetchError):
        fetch(tmp_path, since=None)
    assert (tmp_path / FILE).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, MARKER]


# -- before anything is asked --------------------------------------------------------------------


def refused(folder: Path, **options: Any) -> str:  # noqa: ANN401
    with pytest.raises(UsageError) as error:
        fetch(folder, **options)
    assert error.value.exit_code == EXIT_USAGE
    return str(error.value)


def test_a_region_that_leads_out_of_the_folder_is_refused_before_any_write(
    server: EiaServer, tmp_path: Path
) -> None:
    assert "no region of PJM" in refused(tmp_path / "eia", region="../../etc/x")
    assert list(tmp_path.iterdir()) == []
    assert server.asked == []


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"since": "yesterday"}, "'yesterday'"),
        ({"since": "2026-01-01T05:30"}, "expected a full hour"),
        ({"since": "2026-02-01T00", "until": "2026-01-01"}, "2026-02-01 00:00:00 after 2026-01-01"),
    ],
)
def test_a_wrong_hour_is_refused_before_any_write(
    server: EiaServer, tmp_path: Path, options: dict[str, str], found: str
) -> None:
    assert found in refused(tmp_path / "eia", **options)
    assert list(tmp_path.iterdir()) == []
    assert server.asked == []


def test_a_folder_of_other_csvs_is_never_mixed_with_the_eias(
    server: EiaServer, tmp_path: Path
) -> None:
    (tmp_path / "DOM_hourly.csv").write_text("Datetime,DOM_MW\n", encoding="utf-8")
    assert "regional CSVs that gridcast did not make" in refused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["DOM_hourly.csv"]
    assert server.asked == []


def test_a_file_that_is_a_link_is_not_followed(server: EiaServer, tmp_path: Path) -> None:
    fetch(tmp_path / "eia")
    (tmp_path / "eia" / FILE).rename(tmp_path / "elsewhere.csv")
    (tmp_path / "eia" / FILE).symlink_to(tmp_path / "elsewhere.csv")
    num_asked = len(server.asked)
    assert "found a link" in refused(tmp_path / "eia")
    assert len(server.asked) == num_asked


def test_a_marker_that_cannot_be_read_is_refused_rather_than_guessed(
    server: EiaServer, tmp_path: Path
) -> None:
    from tasks.fetch.regional_csvs import list_sources

    assert server.loads
    fetch(tmp_path)
    (tmp_path / MARKER).write_text('{"source": "eia", "labels": "cet"}', encoding="utf-8")
    with pytest.raises(UsageError, match=f"{MARKER}: found no name"):
        list_sources(tmp_path)


def test_two_fetches_into_one_folder_take_turns(server: EiaServer, tmp_path: Path) -> None:
    from tasks.runs.locks import held_file

    fetching = Thread(target=fetch, args=(tmp_path,))
    with held_file(tmp_path / ".lock", "the fetch of this test"):
        fetching.start()
        time.sleep(0.5)
        assert server.asked == []
    fetching.join(300)
    assert (tmp_path / FILE).is_file()


def test_the_key_is_only_sent_over_https_or_to_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EIA_API_KEY", KEY)
    monkeypatch.setenv("EIA_API_URL", "http://eia.example/v2")
    assert "expected https" in refused(tmp_path)


def test_a_key_of_several_lines_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EIA_API_KEY", f"{KEY}\nX-Other: 1")
    assert KEY not in refused(tmp_path)


# -- the key is a secret -------------------------------------------------------------------------


def test_the_key_is_in_no_address_log_line_error_or_file(
    server: EiaServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.replies = [Reply(500), Reply(429, error_body("OVER_RATE_LIMIT"))]
    fetch(tmp_path)
    server.replies = [Reply(403, error_body("API_KEY_INVALID"))]
    with pytest.raises(UsageError) as error:
        fetch(tmp_path, since=None)
    assert KEY not in str(error.value)
    assert KEY not in caplog.text
    assert all(KEY not in address for address in server.addresses)
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


# -- the command ---------------------------------------------------------------------------------


def fetched(
    server: EiaServer,
    tmp_path: Path,
    *arguments: str,
    key: str | None = KEY,
) -> Any:  # noqa: ANN401
    environment = {**on_a_server(), "EIA_API_URL": server.address}
    environment.pop("EIA_API_KEY", None)
    if key is not None:
        environment["EIA_API_KEY"] = key
    return gridcast(
        "fetch", "eia", "--to", tmp_path / "eia", "--artifacts", tmp_path / "artifacts", "--until",
        UNTIL, *arguments, *settings("eia.backoff_seconds=0.01", "eia.requests_per_second=5"),
        environment=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_a_region_that_fails_leaves_the_others_and_the_status_is_1(
    server: EiaServer, tmp_path: Path
) -> None:
    server.loads["DOM"] = dict.fromkeys(HOURS, "9")
    server.broken["CE"] = Reply(400, b'{"error": "No such facet."}')
    regions = ("--region", "AEP", "--region", "COMED", "--region", "DOM")
    result = fetched(server, tmp_path, "--since", "2026-01-01", *regions)
    assert result.returncode == 1, result.stderr
    (line, last) = (each for each in result.stderr.splitlines() if each.startswith("ERROR"))
    assert line.startswith("ERROR EIA COMED: found 400 No such facet.")
    assert last.startswith(f"ERROR {tmp_path / 'eia' / MARKER}: part of the work failed")
    assert sorted(path.name for path in (tmp_path / "eia").glob("*.csv")) == [
        FILE,
        "DOM_hourly.csv",
    ]
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(KEY.encode() not in path.read_bytes() for path in everything)
    assert KEY not in result.stdout + result.stderr


@pytest.mark.slow
def test_what_was_fetched_is_ingested_hour_by_hour_over_the_autumn_change(
    server: EiaServer, tmp_path: Path
) -> None:
    hours = periods("2025-10-01T05", 1200)
    server.loads["AEP"] = {hour: str(14000 + i % 24) for i, hour in enumerate(hours)}
    fetch(tmp_path / "eia", since="2025-10-01", until="2025-12-31")
    result = gridcast(
        "ingest", "--data", tmp_path / "eia", "--artifacts", tmp_path / "a",
        environment=on_a_server(),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = read_json(tmp_path / "a" / "runs" / "latest" / "summary.json")
    assert (summary["data"]["labels"], summary["data"]["source"]) == ("utc", "eia")
    frame = pd.read_parquet(tmp_path / "a" / summary["regions"]["AEP"]["path"])
    wanted = pd.date_range("2025-10-01 04:00", periods=1200, freq="h", tz="UTC")
    assert list(frame["timestamp"]) == list(wanted)
    assert list(frame["load_mw"]) == [14000.0 + i % 24 for i in range(1200)]
    local = frame["timestamp"].dt.tz_convert("America/New_York")
    assert (local.dt.date == datetime(2025, 11, 2, tzinfo=UTC).date()).sum() == 25


@pytest.mark.slow
def test_without_a_key_the_command_says_where_it_looks_for_one(
    server: EiaServer, tmp_path: Path
) -> None:
    result = fetched(server, tmp_path, "--since", "2026-01-01", key=None)
    assert result.returncode == 2
    assert "ERROR EIA_API_KEY: found nothing, expected a key in the environment" in result.stderr
    assert "Prefect Secret block eia-api-key" in result.stderr
    assert server.asked == []
    assert not (tmp_path / "eia").exists()


@pytest.fixture
def secret() -> Iterator[None]:
    """The key in Prefect's Secret block, stored as the runbook says, while a test lasts."""
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python -c '(from prefect.blocks.*)'$", runbook, re.MULTILINE)
    subprocess.run(
        [warm_python(), "-c", command], input=KEY, text=True, check=True, capture_output=True,
        env=on_a_server(), timeout=SECONDS,
    )  # fmt: skip
    api = on_a_server()["PREFECT_API_URL"]
    stored = httpx.get(f"{api}/block_types/slug/secret/block_documents/name/eia-api-key")
    own = f"{api}/block_documents/{stored.json()['id']}"
    try:
        yield
    finally:  # a server with much to do says 503
        wait_for("the block to be gone", lambda: httpx.delete(own).status_code in {204, 404})


@pytest.mark.slow
@pytest.mark.usefixtures("secret")
def test_the_key_may_lie_in_a_secret_block_of_prefect(server: EiaServer, tmp_path: Path) -> None:
    command = ("--since", "2026-01-30", "--region", "AEP")
    result = fetched(server, tmp_path, *command, key=None)
    assert result.returncode == 0, result.stderr
    assert len(lines(tmp_path / "eia")) == 1 + 48
    assert KEY not in result.stdout + result.stderr


@pytest.mark.slow
def test_an_unknown_region_ends_the_command_with_status_2_before_any_write(
    server: EiaServer, tmp_path: Path
) -> None:
    result = fetched(server, tmp_path, "--since", "2026-01-01", "--region", "../../etc/x")
    assert result.returncode == 2
    assert "ERROR --region '../../etc/x': found no region of PJM, expected AE, AEP" in result.stderr
    assert list(tmp_path.iterdir()) == []
