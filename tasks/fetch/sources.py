"""The step that finds a run's regional CSVs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.fetch.regional_csvs import sources_of

if TYPE_CHECKING:
    from tasks.fetch.records import Sources
    from tasks.runs.run import Run

KAGGLE_DATASET = "robikscube/hourly-energy-consumption"
_log = logging.getLogger("gridcast.sources")


@task(name="find-sources", cache_policy=NO_CACHE)
def find_sources(run: Run) -> Sources:
    """The run's regional CSVs: of its folder or archive, else of ``data/``, else a synthetic set.

    Raises:
        UsageError: as :func:`tasks.fetch.regional_csvs.sources_of`.
    """
    sources = sources_of(run.data, run.artifacts, run.config)
    for name, reason in sources.skipped.items():
        _log.info("Skipped %s: %s", name, reason)
    for region, name in sources.names.items():
        _log.warning("%s: what the files call %r is this region here", region, name)
    if sources.kind == "synthetic":
        _log.warning(
            "The data are SYNTHETIC (%s): good for a look at gridcast, no statement about a real "
            "load. Real data: `gridcast fetch kaggle` (the data set %s) or `gridcast fetch eia`, "
            "or name a folder or an archive of your own with --data.",
            sources.folder,
            KAGGLE_DATASET,
        )
    _log.info("Found %d regions in %s", len(sources.files), sources.folder)
    return sources
