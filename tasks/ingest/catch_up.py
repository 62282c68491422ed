"""Catch up with the files that are as they were, or have only grown: all of them in one task."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.ingest.gate.validation import refused_of_added
from tasks.ingest.reading import read_grown
from tasks.ingest.records import CaughtUp, Published
from tasks.ingest.region_store import (
    find_region,
    log_region,
    read_source,
    remember_region,
    store_of,
)
from tasks.ingest.region_tables import newest_tables
from tasks.runs.cached_state import unchanged

if TYPE_CHECKING:
    import pandas as pd

    from gridcast.config import Labels
    from gridcast.readings.records import RegionRecord
    from tasks.fetch.records import SourceFile, Sources
    from tasks.runs.run import Run

_AT_ONCE = 2  # files looked at: their tables are in memory


class _Known(NamedTuple):
    """A region whose file is as it was, or (with the rows to judge) has grown."""

    region: str
    record: RegionRecord
    added: pd.DataFrame | None = None


@task(name="catch-up", cache_policy=NO_CACHE)
def catch_up(run: Run, sources: Sources) -> CaughtUp:
    """Take all files that are as they were, and of those that have grown read the new rows.

    One task and one validation for all: of one day more, either takes longer than to read it. What
    is new, was changed otherwise or does not pass is left to be read as a whole, file by file, and
    is refused there if it must be.
    """
    if run.fresh:
        return CaughtUp(published=(), left=sources.files)
    last, labels = newest_tables(store_of(run)), sources.labels
    files = [file for file in sources.files if file.region in last]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        looked_at = threads.map(lambda file: _look(run, file, last[file.region], labels), files)
        known = [each for each in looked_at if each is not None]
        refused = refused_of_added(run, [each.added for each in known if each.added is not None])
        passed = [each for each in known if each.region not in refused]
        list(threads.map(lambda each: _remember(run, each, labels), passed))
    for each in passed:
        log_region(each.region, each.record)
    names = {each.region for each in passed}
    caught_up = CaughtUp(
        published=tuple(Published(region=each.region, record=each.record) for each in passed),
        left=tuple(file for file in sources.files if file.region not in names),
    )
    is_unchanged = not caught_up.left and all(each.added is None for each in passed)
    return unchanged(caught_up) if is_unchanged else caught_up


def _look(run: Run, file: SourceFile, last: RegionRecord, labels: Labels) -> _Known | None:
    """The region as it is known, or has grown; None: its file is to be read as a whole."""
    source = read_source(file.path)
    record = find_region(run, file.region, source_sha256=source.sha256, labels=labels)
    if record is not None:
        return _Known(file.region, record)
    grown = read_grown(run, file, source, last, labels)
    return None if grown is None else _Known(file.region, *grown)


def _remember(run: Run, known: _Known, labels: Labels) -> None:
    if known.added is not None:
        remember_region(run, known.region, known.record, labels)
