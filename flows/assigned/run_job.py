"""Run a job of another machine's run: train a network, or fit a baseline."""

from __future__ import annotations

from prefect import flow

from tasks.dispatch.assignments import JobAssignment, taking_part
from tasks.train.jobs import fit_baseline, train_model
from tasks.train.records import NetworkJob


@flow(name="run-job")
def run_job(artifacts: str, run_id: str, assignment: str) -> None:
    """Do the job as the run's own machine would; its result lies in the job's folder.

    Started by a run with ``execution.executor: workers`` alone. Safe to run again: the job's lock
    lets one do it at a time, what is done is taken, what was killed goes on from its checkpoint.

    Args:
        artifacts: the folder that the machines share.
        run_id: of the run that gave it out.
        assignment: the job's name in that run.
    """
    with taking_part(artifacts, run_id, assignment, JobAssignment) as (run, given):
        if isinstance(given.job, NetworkJob):
            train_model(run, given.features, given.job)
        else:
            fit_baseline(run, given.features, given.job)
