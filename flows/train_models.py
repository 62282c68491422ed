"""Train the models: published regions to trained, evaluated and logged forecasters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from gridcast.errors import PartialFailureError, TrackingError
from tasks.dispatch.executors import submitting
from tasks.evaluate.keep_models import keep_models
from tasks.evaluate.publish_report import publish_report
from tasks.evaluate.score_models import evaluate_models
from tasks.ingest.region import load_ingestion
from tasks.machine.owned_process import owned_processes
from tasks.machine.progress import shown_progress
from tasks.machine.run_names import run_name
from tasks.runs.cached_state import Results
from tasks.runs.run import Run, open_run
from tasks.share.share_tasks import shared_in_store
from tasks.share.sharing import Part
from tasks.track.log_models import prepare_tracking, track_models
from tasks.track.logged.interrupted import logged_if_interrupted
from tasks.track.record_lineage import record_lineage
from tasks.track.register_model import register_model
from tasks.train.build_features import make_features
from tasks.train.jobs import (
    fit_baseline,
    outcomes_of,
    record_jobs,
    share_devices,
    train_group,
    train_model,
)
from tasks.train.plan_jobs import plan_baselines, plan_jobs
from tasks.train.records import Features, FittedBaseline, TrainedJob

# A thread only waits for its job's process; each job has its own.
_THREADS = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=32))
_SHARED: tuple[Part, ...] = ("data", "runs")


@flow(name="train-models", flow_run_name=run_name, task_runner=_THREADS)
def train_models(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    fresh: bool = False,  # noqa: FBT001, FBT002 - Prefect's pages make a form of these
    run_id: str | None = None,
) -> str:
    """Train GRU and LSTM side by side on what is published, score and log them; the report's path.

    Runs weekly in deployment. Each model is trained in a process of its own, and so is each
    baseline of ``baselines.fitted``. Safe to run again: a job whose data, configuration and code
    are unchanged is not trained again.
    Ad hoc: ``gridcast train --data folder`` after ``gridcast ingest --data folder``.

    Args:
        data: the folder that was prepared; none: the one prepared last.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["training.passes=10"]``.
        fresh: do everything again, whatever is unchanged.
        run_id: of the run that this is part of; none: a run of its own.
    """
    with (
        shared_in_store(artifacts, profile, overrides, *_SHARED if run_id is None else ()),
        open_run("train-models", data=data, artifacts=artifacts, profile=profile,
                 overrides=overrides, fresh=fresh, run_id=run_id) as run,
    ):  # fmt: skip
        ingestion = load_ingestion(run)
        if not ingestion.published:
            raise PartialFailureError(ingestion.errors, summary=run.summary_path)
        with run.timed("build_features"):
            features = make_features(run, ingestion.published)
        with run.timed("train_models"), _owned(run), shown_progress(run.live):
            trained, fitted, failed = _train_all(run, features)
        if not trained:
            raise PartialFailureError(failed.values(), summary=run.summary_path)
        with run.timed("evaluate_models"):
            evaluation = evaluate_models(run, features, trained, fitted)
        with run.timed("keep_models"):
            kept = keep_models(run, features, trained, fitted, evaluation, ingestion)
        with run.timed("track_models"):
            tracked = track_models(run, features, trained, evaluation, kept, return_state=True)
            run_ids = _run_ids(tracked)
            register_model(run, evaluation, kept, run_ids)
        with run.timed("report"):
            report = publish_report(run, ingestion, evaluation, kept, run_ids)
        with run.timed("record_lineage"):
            record_lineage(run, ingestion, features, [*trained, *fitted], evaluation, kept, run_ids)
        return report


def _train_all(
    run: Run, features: Features
) -> tuple[list[TrainedJob], list[FittedBaseline], dict[str, str]]:
    """All models and baselines side by side: what was trained, what was fitted, what failed."""
    jobs = plan_jobs(run, features)
    prepared = prepare_tracking.submit(run)
    baselines = plan_baselines(run, features, num_concurrent=len(jobs))
    with submitting(run) as submit:
        futures = {job.name: submit(fit_baseline, features, job) for job in baselines}
        shared = [train_group.submit(run, features, group) for group in share_devices(run, jobs)]
        tried = outcomes_of(shared)
        futures |= {job.name: submit(train_model, features, job, tried) for job in jobs}
        waited: list[PrefectFuture[Any]] = [prepared, *futures.values()]
        wait(waited)
    results = Results.of({name: each.state for name, each in futures.items()})
    trained, fitted = results.all_of(TrainedJob), results.all_of(FittedBaseline)
    failed = {n: str(each) for n, each in results.not_of(TrainedJob, FittedBaseline).items()}
    record_jobs(run, failed)
    return trained, fitted, failed


@contextmanager
def _owned(run: Run) -> Iterator[None]:
    with logged_if_interrupted(run), owned_processes(run.stop_file):
        yield


def _run_ids(tracked: State[dict[str, str]]) -> dict[str, str]:
    """The MLflow run of each model; none where the server was down, which fails the run alone."""
    untracked = tracked.result(raise_on_failure=False)
    return {} if isinstance(untracked, TrackingError) else tracked.result()
