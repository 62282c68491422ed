"""The owner of jobs: what was done is taken, anything else is done by a process, and checked.

Networks and baselines have the same owner. It knows no orchestrator.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gridcast.errors import StoreError, TrainingJobError
from tasks.machine.device_places import Places, held_place, jobs_per_device
from tasks.machine.devices import devices_of_kind, leading_devices
from tasks.machine.owned_process import Work, require_going, run_owned, stop_reason
from tasks.runs.keys import has_sha256
from tasks.runs.locks import held as lock_held
from tasks.runs.record_files import cached_record, write_record
from tasks.store.job_exchange import fetch_finished_job, keep_job
from tasks.store.kept_sets import working_copy
from tasks.train.checkpoints import forget_training
from tasks.train.records import Done, FeaturesFile, Job, Specification

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tasks.machine.owned_process import OnEvent
    from tasks.runs.run import Run
    from tasks.train.records import Features

PYTORCH_TRAINS = "PyTorch's own layers train instead (on a CPU up to 25 times as long)"
D = TypeVar("D", bound=Done[Any])
_log = logging.getLogger("gridcast.train")


@contextmanager
def held(run: Run, jobs: Sequence[Job]) -> Iterator[None]:
    """From the look for a job's result to the check of the one that its process left.

    Another run that needs one of the jobs waits, and takes what came of it.

    Raises:
        TrainingJobError, WaitEndedError: the run was interrupted.
    """
    work = _work(run, jobs)
    require_going(work)
    with ExitStack() as locks:
        for subject in sorted(f"job-{job.file('').name}" for job in jobs):
            is_cancelled = partial(_is_stopped, work)
            locks.enter_context(lock_held(run.artifacts, subject, is_cancelled=is_cancelled))
        yield


def _is_stopped(work: Work) -> bool:
    return bool(stop_reason(work))


def found_result(job: Job, kind: type[D], *, is_reported: bool = True) -> D | None:
    """What the job's folder holds, if its files are those that were written.

    A record that can't be taken is told in a warning, unless ``is_reported`` says not to.
    """
    result = cached_record(job.file("result.json"), kind.result, is_reported=is_reported)
    if result is None:
        return None
    done = kind(**dict(result), job=job, cached=True)
    is_whole = all(has_sha256(done.file(name), sha) for name, sha in done.files.items())
    if not is_whole or not job.leaves <= done.files.keys():
        return None
    return done


def known_result(run: Run, job: Job, kind: type[D], *, is_reported: bool = True) -> D | None:
    """What the job's folder holds, or another machine has kept in the store; None of a fresh run.

    Its caller holds the job, or is followed by who does.
    """
    if run.fresh:
        return None
    found = found_result(job, kind, is_reported=is_reported)
    copy = working_copy(run.artifacts, run.config.run.store)
    if found is not None or copy is None or not fetch_finished_job(copy, job.file("")):
        return found
    return found_result(job, kind)


def keep_results(run: Run, jobs: Sequence[Job]) -> None:
    """Let other machines have those that are finished; a run's end does what fails here."""
    copy = working_copy(run.artifacts, run.config.run.store)
    for job in jobs if copy else ():
        try:
            if copy and job.file("result.json").is_file():
                keep_job(copy, job.file(""))
        except StoreError as error:
            _log.warning("%s", str(error).removeprefix("ERROR "))
            return


def result_of(
    run: Run,
    features: Features,
    job: Job,
    kind: type[D],
    *,
    places: Places | None,
    on_event: OnEvent,
) -> D:
    """The job's result: the one that is there, or what its process leaves.

    Raises:
        TrainingJobError: the process failed, was killed, ran past its limit or left no result.
    """
    with held(run, [job]):
        if (found := known_result(run, job, kind)) is not None:
            forget_training(job.file(""))  # its process may have been killed before it did
            _log.info("%s: already %s, nothing has changed", job.name, job.verb[1])
            return found
        (job,) = run_process(run, features, [job], places=places, on_event=on_event)
        result = found_result(job, kind)
    if result is None:
        raise TrainingJobError(job.name, reason="it left no whole result", log=job.file("log.txt"))
    keep_results(run, [job])
    return new(result)


def new(result: D) -> D:
    """The result as one of this run."""
    job = result.job
    _log.info("%s: %s in %.1f s", job.name, job.verb[1], result.train_seconds)
    return result.model_copy(update={"cached": False})


def run_process(
    run: Run, features: Features, jobs: Sequence[Job], *, places: Places | None, on_event: OnEvent
) -> list[Job]:
    """One process for all ``jobs``, which are of one kind; the caller holds them.

    It waits for one of ``places`` (None: needs none); gives the jobs as they were done there.

    Raises:
        TrainingJobError: the process failed, was killed, or ran past its limit.
    """
    on_full = partial(require_going, _work(run, jobs))
    placing = held_place(places, on_full=on_full) if places else nullcontext(jobs[0].device)
    with placing as device:
        placed = [job.model_copy(update={"device": device}) for job in jobs]
        work = _work(run, placed)
        _log.info("%s: %s on %s, CPU threads: %d", work.name, jobs[0].verb[0], device, work.threads)
        for job in placed:
            _prepare(run, features, job)
        with _apart_if_it_fails(work, placed):
            run_owned(work, on_event=on_event)
    return placed


@contextmanager
def _apart_if_it_fails(work: Work, jobs: Sequence[Job]) -> Iterator[None]:
    """Jobs of a process that dies by itself are not to be in the same company again.

    It may have been too large for the device's memory. After an interruption they are.
    """
    try:
        yield
    except TrainingJobError:
        if len(jobs) > 1 and not stop_reason(work):
            for job in jobs:
                forget_training(job.file(""))
        raise


def begin_anew(run: Run, job: Job) -> None:
    """Nothing of the job is there any more that could be taken, or gone on from."""
    with held(run, [job]):
        job.file("result.json").unlink(missing_ok=True)
        forget_training(job.file(""))


def places_of(run: Run, devices: tuple[str, ...] | None = None) -> Places:
    """Those of the run's devices (or of these) that lead the ones that share a batch with them.

    Of a run that gives its jobs to other machines they are those of the machine that asks.

    Raises:
        ConfigError: this machine has no such device.
    """
    training, found = run.config.training, run.devices
    if run.config.execution.executor != "local":
        found = devices_of_kind(run.config, found.device_type)
    return Places(
        folder=run.artifacts / "places",
        devices=devices or leading_devices(found, split_over=training.split_over),
        jobs_per_device=jobs_per_device(training, found),
    )


def _prepare(run: Run, features: Features, job: Job) -> None:
    """The folder as its process wants it: the job's specification, and no result of before."""
    job.file("result.json").unlink(missing_ok=True)
    if run.fresh:
        forget_training(job.file(""))
    file = FeaturesFile.of(features)
    specification = Specification(job=job, features=file, config=run.config)
    write_record(job.file("job.json"), specification, artifacts=run.artifacts)


def _work(run: Run, jobs: Sequence[Job]) -> Work:
    first, *others = jobs
    return Work(
        name=", ".join(job.name for job in jobs),
        module=first.process,
        folder=first.file(""),
        other_folders=tuple(job.file("") for job in others),
        threads=first.threads,
        limit_seconds=sum(job.limit_seconds for job in jobs),
        limit_setting="training.time_limit_seconds",
        stops=(run.stop_file, *(() if others else (stop_file_of(run.live, first),))),
    )


def stop_file_of(live: Path, job: Job) -> Path:
    """The file whose presence ends the job's process alone."""
    return live / f"{job.name}.stop"
