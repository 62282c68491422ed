"""Fetch the hourly load of PJM's sub-regions from the EIA, and merge it with what is held."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import FetchError, UsageError
from gridcast.readings.eia import Merged, Readings, csv_text, first_hour_to_ask, merge
from gridcast.readings.parsing import parse_region
from tasks.fetch.eia_client import KEY_VARIABLE, eia_client, require_address_and_key
from tasks.fetch.eia_plan import FetchPlan
from tasks.fetch.marker import FetchedRegion, Origin, now, read_origin, write_origin
from tasks.fetch.operator_forecast import fetch_operator
from tasks.runs.locks import held_file
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridcast.config import Config
    from tasks.fetch.eia_client import Answer

KEY_BLOCK = "eia-api-key"
_log = logging.getLogger("gridcast.eia")


class RegionFetch(NamedTuple):
    """What came of one region, and the seconds that the whole fetch has lost by then."""

    record: FetchedRegion | None
    seconds_lost: float


@contextmanager
def held_folder(plan: FetchPlan) -> Iterator[None]:
    """This fetch alone writes to the folder meanwhile; another one is waited for.

    Raises:
        UsageError: no key, or no address, that could work.
    """
    require_address_and_key(_key())
    plan.folder.mkdir(parents=True, exist_ok=True)
    with held_file(plan.folder / ".lock", f"the fetch to {plan.folder}"):
        # Before the first file: a folder of these must never be read as one of local labels.
        if read_origin(plan.folder).source != "eia":
            write_origin(plan.folder, Origin(source="eia", name="EIA PJM", labels="utc"))
        yield


@task(name="fetch-region", task_run_name="fetch-{region}", cache_policy=NO_CACHE)
def fetch_region(
    plan: FetchPlan, region: str, config: Config, *, seconds_lost: float = 0.0
) -> RegionFetch:
    """Ask for what is new and for the last days again; write the region's file whole, then the log.

    Nothing is lost by a failure: the file stays as it was. No record where the interface has no
    hours of a region that nobody named. ``seconds_lost`` to failures and waits before count.

    Raises:
        FetchError: no whole answer, or none where there should be one.
        UsageError: the key is not taken, or the held file is not what a fetch wrote.
    """
    held = _read_held(plan.folder, region, config)
    first = first_hour_to_ask(
        held, since=plan.since, revised_days=config.eia.revised_days, region=region
    )
    with eia_client(_key(), config.eia, seconds_lost=seconds_lost) as client:
        answer = client.readings(region, first=min(first, plan.until), last=plan.until)
    lost = client.seconds_lost
    if not answer.readings:
        where, found = f"EIA {region}", f"no load from {first} to {plan.until}"
        if held or plan.named:
            expected = "at least one hour; look at EIA's status"
            raise FetchError(where, found=found, expected=expected, seconds_lost=lost)
        _log.warning("%s: found %s; left out", where, found)
        return RegionFetch(None, lost)
    merged = merge(held, answer.readings)
    if merged.readings != held:
        content = csv_text(merged.readings, region=region).encode()
        write_bytes(plan.folder / f"{region}_hourly.csv", content)
    return RegionFetch(_record(plan.folder, region, merged, answer), lost)


@task(name="fetch-operator-forecast", cache_policy=NO_CACHE)
def fetch_operator_forecast(plan: FetchPlan, config: Config, *, seconds_lost: float = 0.0) -> int:
    """Ask for what PJM has forecast of itself, and keep what is new; how many hours that is.

    Raises:
        FetchError: no whole answer; what is held stays as it is.
        UsageError: the key is not taken, or the held file is not what a fetch wrote.
    """
    with eia_client(_key(), config.eia, seconds_lost=seconds_lost) as client:
        return fetch_operator(client, plan, config.eia)


def _record(folder: Path, region: str, merged: Merged, answer: Answer) -> FetchedRegion:
    record = FetchedRegion(
        first=str(min(merged.readings)),
        last=str(max(merged.readings)),
        hours=len(merged.readings),
        new=merged.num_new,
        revised=merged.num_revised,
        dropped=len(answer.dropped),
        fetched_at=now(),
    )
    origin = read_origin(folder)
    regions = dict(sorted({**origin.regions, region: record}.items()))
    write_origin(
        folder, origin.model_copy(update={"regions": regions, "fetched_at": record.fetched_at})
    )
    _log.info(
        "%s: %d hours to %s; %d new, %d revised, %d without a load",
        region, record.hours, record.last, record.new, record.revised, record.dropped,
    )  # fmt: skip
    for hour, value in list(answer.dropped.items())[:5]:
        _log.info("%s: %s holds no load (%s)", region, hour, value)
    return record


def _read_held(folder: Path, region: str, config: Config) -> Readings:
    path = folder / f"{region}_hourly.csv"
    if path.is_symlink():
        raise UsageError(path, found="a link", expected="a file of the folder's own")
    if not path.exists():
        return {}
    reading = config.ingestion.reading("utc")
    load = parse_region(path.read_bytes(), region=region, file=str(path), config=reading)
    hours = load.frame["local_label"].dt.to_pydatetime()
    return dict(zip(map(_plain, hours), map(float, load.frame["load_mw"]), strict=True))


def _plain(hour: datetime) -> datetime:
    return datetime(hour.year, hour.month, hour.day, hour.hour)  # noqa: DTZ001 - UTC, as labelled


def _key() -> str:
    """The key from the environment, else from Prefect's block.

    Raises:
        UsageError: there is neither.
    """
    if key := os.environ.get(KEY_VARIABLE, "").strip():
        return key
    from prefect.blocks.system import Secret

    try:
        return str(cast("Secret[str]", Secret.load(KEY_BLOCK)).get()).strip()
    except ValueError:
        expected = (
            f"a key in the environment, or in the Prefect Secret block {KEY_BLOCK} "
            "(free: https://www.eia.gov/opendata/register.php)"
        )
        raise UsageError(KEY_VARIABLE, found="nothing", expected=expected) from None
