"""Fetch live load: the EIA's hourly figures, merged into a folder of regional CSVs."""

from __future__ import annotations

from prefect import flow

from gridcast.config import Config
from gridcast.errors import FetchError, PartialFailureError, RegionRefusedError
from tasks.fetch.eia import fetch_operator_forecast, fetch_region, held_folder
from tasks.fetch.eia_plan import plan_fetch
from tasks.machine.run_names import run_name


@flow(name="fetch-data", flow_run_name=run_name)
def fetch_data(
    folder: str = "data/eia",
    since: str | None = None,
    until: str | None = None,
    regions: list[str] | None = None,
    profile: str = "base",
    overrides: list[str] | None = None,
) -> str:
    """Ask the EIA for PJM's sub-regions and the whole, one by one; the path of the folder's marker.

    And for what PJM has forecast of the whole, the day before.

    Runs hourly in deployment, before ``prepare-data``. Safe to run again: what is held is kept, the
    last days are asked for again, and the newer answer wins. A region that fails leaves its file as
    it was, and the others go on. Ad hoc: ``gridcast fetch eia --since 2026-01-01``.

    Args:
        folder: where the CSVs are; made on the first fetch.
        since: first hour (UTC); needed on the first fetch of a region only.
        until: last hour (UTC); none: now.
        regions: names or EIA's codes; none: all of PJM.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["eia.revised_days=14"]``.
    """
    config = Config.load(profile, overrides=tuple(overrides or ()))
    plan = plan_fetch(folder, since=since, until=until, regions=regions)
    failed, lost = [], 0.0
    with held_folder(plan):
        for region in plan.regions:
            state = fetch_region(plan, region, config, seconds_lost=lost, return_state=True)
            failed += _refusals(result := state.result(raise_on_failure=False))
            lost = max(lost, getattr(result, "seconds_lost", 0.0))
        if plan.has_operator:
            told = fetch_operator_forecast(plan, config, seconds_lost=lost, return_state=True)
            failed += _refusals(told.result(raise_on_failure=False))
    if failed:
        raise PartialFailureError(failed, summary=plan.marker)
    return str(plan.marker)


def _refusals(result: object) -> list[str]:
    """What failed by itself, so that the others go on; what nobody expects is raised."""
    if isinstance(result, FetchError | RegionRefusedError):
        return [str(result)]
    if isinstance(result, Exception):
        raise result
    return []
