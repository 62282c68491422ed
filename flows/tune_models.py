"""Search for better settings: trials on the validation part, and a profile of the best."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, cast

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.prepare_data import prepare_data
from gridcast.errors import PartialFailureError
from tasks.ingest.records import Ingestion
from tasks.machine.owned_process import owned_processes
from tasks.machine.progress import shown_progress
from tasks.machine.run_names import run_name
from tasks.runs.run import Run, open_run
from tasks.train.build_features import make_features
from tasks.train.jobs import train_model
from tasks.train.plan_jobs import plan_trial
from tasks.train.records import Features, TrainedJob
from tasks.tune.study import Study, Trial
from tasks.tune.trials import (
    open_study,
    publish_study,
    record_trial,
    require_search,
    score_trial,
)

Trying = dict[Trial, tuple[Features, list[PrefectFuture[TrainedJob]]]]

_POLL_SECONDS = 0.25
# A thread only waits for its job's process; each job has its own.
_THREADS = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=64))


@flow(name="tune-models", flow_run_name=run_name, task_runner=_THREADS)
def tune_models(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    fresh: bool = False,  # noqa: FBT001, FBT002 - Prefect's pages make a form of these
) -> str:
    """Try settings of ``tuning.space`` on the validation part; the path of the best one's profile.

    Run it when the data or the models have changed, or for the first time on data of your own. Safe
    to run again: a study of the same data, settings and space goes on, up to ``tuning.trials``.
    Ad hoc: ``gridcast tune --data folder``.

    Args:
        data: folder of the CSVs; none: ``data/``, else a synthetic set.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["tuning.trials=100"]``.
        fresh: read every CSV again, and train what a trial has in common with an earlier one again.
    """
    with open_run("tune-models", data=data, artifacts=artifacts, profile=profile,
                  overrides=overrides, fresh=fresh, run_id=None) as run:  # fmt: skip
        require_search(run)
        ingestion = prepare_data(**run.parameters)
        if not ingestion.published:
            raise PartialFailureError(ingestion.errors, summary=run.summary_path)
        with run.timed("build_features"):  # a cached task gives its state, not what the state holds
            features = make_features(run, ingestion.published, return_state=True).result()
        jobs = plan_trial(run, features)
        with (
            run.timed("tune_models"),
            owned_processes(run.stop_file),
            shown_progress(run.live),
            open_study(run, ingestion, jobs) as study,
        ):
            _search(run, study, ingestion, features)
            return publish_study(run, study.place, study.records()).profile


def _search(run: Run, study: Study, ingestion: Ingestion, base: Features) -> None:
    """Keep as many trials going as there is place for, until there are enough."""
    trying: Trying = {}
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    left: dict[PrefectFuture[Any], Trial] = {}
    while True:
        while (trial := study.ask()) is not None:
            in_use = [base.path, *study.tables]
            made = make_features(
                trial.run, ingestion.published, in_use=in_use, of_trial=True, return_state=True
            )
            features = made.result()
            jobs = plan_trial(trial.run, features, device=trial.device, at_once=study.at_once)
            named = study.begin(trial, features, jobs)
            futures = [train_model.submit(trial.run, features, job) for job in named]
            trying[trial] = features, futures
            for future in futures:
                left[future] = trial
                future.add_done_callback(ended.put)
        if not trying:
            return
        trial = _first_ended(study, ended, left)
        features, futures = trying.pop(trial)
        results = [each.result(raise_on_failure=False) for each in futures]
        study.tell(trial, score_trial(run, trial.number, features, results))
        record_trial(run, study.place, study.records(), trial.number)


def _first_ended(
    study: Study, ended: SimpleQueue[PrefectFuture[Any]], left: dict[PrefectFuture[Any], Trial]
) -> Trial:
    """Wait for the end of all jobs of one trial; meanwhile the study hears how trials do."""
    while True:
        study.read_progress()
        with suppress(Empty):
            trial = left.pop(ended.get(timeout=_POLL_SECONDS))
            if trial not in left.values():
                return trial
