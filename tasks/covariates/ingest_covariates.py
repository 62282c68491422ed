"""Read the covariates of all regions that passed, and store them beside their loads."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import RegionRefusedError
from tasks.covariates.stored_covariates import read_files, store_covariates
from tasks.ingest.records import Published
from tasks.ingest.region_store import store_of

if TYPE_CHECKING:
    from tasks.fetch.records import Sources
    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.ingest")


class CovariatesIngested(NamedTuple):
    """The regions, each with its covariates, and those whose covariates are refused."""

    published: list[Published]
    refused: list[RegionRefusedError]


@task(name="ingest-covariates", cache_policy=NO_CACHE)
def ingest_covariates(run: Run, sources: Sources, published: list[Published]) -> CovariatesIngested:
    """Files with covariates → tables beside those of loads, not yet published.

    A region whose covariates are not as they should be is refused as a whole: a model that was told
    of the weather would be wrong without it, and nobody would know.
    """
    done = CovariatesIngested([], [])
    for each in published:
        paths = sources.covariates.get(each.region, ())
        if not paths:
            done.published.append(each)
            continue
        try:
            covariates = read_files(paths, each.region, run.config)
        except RegionRefusedError as error:
            done.refused.append(error)
            continue
        record = store_covariates(store_of(run), each.region, covariates, paths)
        _log.info("%s: covariates of %d hours and issues", each.region, record.rows)
        update = {"record": each.record.model_copy(update={"covariates": record})}
        done.published.append(each.model_copy(update=update))
    return done
