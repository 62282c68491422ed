"""The main job: from CSVs to a comparison of models."""

from __future__ import annotations

from prefect import flow

from flows.prepare_data import prepare_data
from flows.train_models import train_models
from tasks.machine.run_names import run_name
from tasks.operate.flow_run_history import forget_old_flow_runs
from tasks.runs.run import open_run
from tasks.share.share_tasks import shared_in_store


@flow(name="run-pipeline", flow_run_name=run_name)
def run_pipeline(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    fresh: bool = False,  # noqa: FBT001, FBT002 - Prefect's pages make a form of these
) -> str:
    """Prepare the data, train and evaluate the models; the path of the run's ``summary.json``.

    Runs nightly in deployment. Safe to run again: regions and jobs whose inputs are unchanged are
    not done again. If a region or a job fails, the others go on and the flow fails at the end.
    Ad hoc: ``gridcast run --data folder``.

    Args:
        data: folder of the CSVs; none: ``data/``, else a synthetic set.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["training.passes=10"]``.
        fresh: do everything again, whatever is unchanged.
    """
    with (
        shared_in_store(artifacts, profile, overrides, "runs"),
        open_run("run-pipeline", data=data, artifacts=artifacts, profile=profile,
                 overrides=overrides, fresh=fresh, run_id=None) as run,
    ):  # fmt: skip
        prepare_data(**run.parameters)
        train_models(**run.parameters)
        if (days := run.config.run.keep_prefect_days) is not None:
            forget_old_flow_runs(days)
    return str(run.summary_path)
