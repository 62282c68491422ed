"""Check for leaks: nothing that is learned or fed to a model may know what comes later."""

from __future__ import annotations

from prefect import flow

from flows.prepare_data import prepare_data
from gridcast.errors import PartialFailureError
from tasks.evaluate.check_leaks import check_control, check_future, check_test_part, record_leaks
from tasks.machine.run_names import run_name
from tasks.runs.run import open_run


@flow(name="check-leaks", flow_run_name=run_name)
def check_leaks(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    fresh: bool = False,  # noqa: FBT001, FBT002 - Prefect's pages make a form of these
) -> str:
    """Replace the test part, then the future, and show that nothing before moves; ``leaks.json``.

    Run it after a change of rules, features, scaling or splits. Safe to run again: it publishes the
    regions as ``prepare-data`` does, and trains for a few steps without keeping the models.
    Ad hoc: ``gridcast check-leaks --data folder``.

    Args:
        data: folder of the CSVs; none: ``data/``, else a synthetic set.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["features.lags_hours=[1, 24]"]``.
        fresh: read every CSV again, whatever is unchanged.
    """
    with open_run("check-leaks", data=data, artifacts=artifacts, profile=profile,
                  overrides=overrides, fresh=fresh, run_id=None) as run:  # fmt: skip
        ingestion = prepare_data(**run.parameters)
        regions = ingestion.published
        if not regions:
            raise PartialFailureError(ingestion.errors, summary=run.summary_path)
        with run.timed("check_leaks"):
            checks = [
                *check_test_part(run, regions),
                *check_future(run, regions),
                *check_control(run, regions),
            ]
            return record_leaks(run, checks)
