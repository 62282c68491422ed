"""A run: its folder, what each stage leaves there, and the summary made of it."""

from __future__ import annotations

import logging
import re
import time
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gridcast.config import Config
from gridcast.errors import (
    EXIT_PARTIAL,
    GridcastError,
    PartialFailureError,
    RecordError,
    UsageError,
)
from gridcast.evaluation.records import Evaluation, KeptModels
from gridcast.features.windows import FeaturesMade
from gridcast.readings.records import DataReport, Ingestion
from gridcast.record import RunRecord, fault_of_seal
from gridcast.summary import (
    Ending,
    FailedJobs,
    Opened,
    Report,
    RunRecords,
    StageTime,
    Summary,
    Tracking,
    summarize,
)
from tasks.machine.devices import Devices, resolve
from tasks.runs.keys import key_of
from tasks.runs.killed_runs import (
    REASON,
    crash_flow_runs,
    hold_flow_run,
    killed_flow_runs,
    message_of,
    own_flow_run,
)
from tasks.runs.lives import (
    OPENED,
    check_latest,
    claimed_dead,
    has_ended,
    new_run_id,
    next_number,
    number_of,
    opening,
)
from tasks.runs.locks import held, held_file
from tasks.runs.record_files import (
    files_of,
    find_all,
    find_record,
    leave_record,
    read_record,
)
from tasks.runs.storage import LIFE, LIVE, check_folder, publishing, remove_leftovers, seal_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

R = TypeVar("R", bound=RunRecord)
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
_opened: ContextVar[list[Run] | None] = ContextVar("opened", default=None)
_log = logging.getLogger("gridcast.run")


@dataclass(frozen=True, slots=True)
class Run:
    """What every stage of one run shares: paths, what the run decided, and where to leave records.

    ``config`` is as resolved for ``devices``; no stage reads either of them anew.
    """

    run_id: str
    flow: str
    artifacts: Path
    data: Path | None
    profile: str
    overrides: tuple[str, ...]
    config: Config
    devices: Devices
    fresh: bool

    @property
    def folder(self) -> Path:
        """``artifacts/runs/<run id>``."""
        return self.artifacts / "runs" / self.run_id

    @property
    def summary_path(self) -> Path:
        """Where the summary stands once the run has ended."""
        return self.folder / "summary.json"

    @property
    def live(self) -> Path:
        """What tasks tell one another while the run lives: progress, and that something is to end.

        Paths and files, no objects: a task may run in another process, or on another machine.
        """
        return self.folder / LIVE

    @property
    def stop_file(self) -> Path:
        """The file whose presence ends all processes of the run."""
        return self.live / "stop"

    @property
    def parameters(self) -> dict[str, Any]:
        """What a flow needs to take part in this run."""
        return {
            "data": None if self.data is None else str(self.data),
            "artifacts": str(self.artifacts),
            "profile": self.profile,
            "overrides": list(self.overrides),
            "fresh": self.fresh,
            "run_id": self.run_id,
        }

    def leave(self, record: RunRecord) -> None:
        """Keep what a stage has to tell of this run, for later stages and for the summary.

        Paths below the artifacts stand in the file relative to these.

        Raises:
            LeftTwiceError: a stage of this run has left it before.
        """
        leave_record(self.folder, record)

    def find(self, kind: type[R]) -> R | None:
        """What a stage left; None if the run did not come to it.

        Raises:
            RecordError: the file holds no such record.
        """
        return find_record(self.folder, kind)

    def find_all(self, kind: type[R]) -> list[R]:
        """All that stages left of a kind that has one of each part.

        Raises:
            RecordError: a file holds no such record.
        """
        return find_all(self.folder, kind)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by stage, of those that have ended."""
        times = sorted(self.find_all(StageTime), key=lambda each: each.number)
        return {each.stage: each.seconds for each in times}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the seconds of a stage for the summary's ``timings``."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            seconds = round(time.perf_counter() - begun, 3)
            self.leave(StageTime(number=len(self.timings), stage=stage, seconds=seconds))


@contextmanager
def open_run(
    flow: str,
    *,
    data: str | None,
    artifacts: str,
    profile: str,
    overrides: list[str] | None,
    fresh: bool,
    run_id: str | None,
) -> Iterator[Run]:
    """Open a run, or take part in the one named ``run_id``.

    The one who opens it closes runs that were killed in the folder, holds the lock that tells that
    this one lives, and on the way out writes the summary, whatever happened, and fails if part of
    the work did. Other runs may work on the folder at the same time.

    Raises:
        ConfigError, UsageError: before anything is done.
        PartialFailureError: a region or a job failed; all else is done.
    """
    folder = Path(artifacts).resolve()
    if run_id is not None:
        yield part_of(run_id, flow, folder, data=data, fresh=fresh)
        return
    given = tuple(overrides or ())
    config, devices = resolve(profile, given)
    run = Run(
        run_id=new_run_id(),
        flow=flow,
        artifacts=folder,
        data=None if data is None else Path(data).resolve(),
        profile=profile,
        overrides=given,
        config=config,
        devices=devices,
        fresh=fresh,
    )
    _make_ready(folder)
    with ExitStack() as life:
        with opening(folder):
            number = next_number(folder / "runs")
            run.folder.mkdir(parents=True)
            life.enter_context(held_file(run.folder / LIFE, f"run {run.run_id}"))
            run.leave(_opened_by(run, number))
        if (opened := _opened.get()) is not None:
            opened.append(run)
        yield from _owned(run)


def _make_ready(artifacts: Path) -> None:
    """Nothing in the way of a run, and nothing left of those that were killed."""
    hold_flow_run(artifacts)
    check_folder(artifacts)
    check_latest(artifacts)
    remove_leftovers(artifacts)
    _close_killed_runs(artifacts)


@contextmanager
def opened_runs() -> Iterator[list[Run]]:
    """The runs that are opened inside; those of other processes are not among them."""
    opened: list[Run] = []
    token = _opened.set(opened)
    try:
        yield opened
    finally:
        _opened.reset(token)


def part_of(
    run_id: str, flow: str, artifacts: Path, *, data: str | None = None, fresh: bool = False
) -> Run:
    """Take part in a run that is there, by what it has decided.

    Its id is a parameter, so anyone may name any.

    Raises:
        RecordError, UsageError: it is not there, or cannot be believed.
    """
    folder = artifacts / "runs" / run_id
    opened = find_record(folder, Opened) if RUN_ID.fullmatch(run_id) else None
    if opened is None:
        where = f"run_id {run_id!r}"
        expected = "none: a flow that is started by itself has a run of its own"
        raise UsageError(where, found="no run of that id", expected=expected)
    return Run(
        run_id=run_id,
        flow=flow,
        artifacts=artifacts,
        data=None if data is None else Path(data).resolve(),
        profile=opened.profile,
        overrides=opened.overrides,
        config=Config.model_validate(opened.config),
        devices=Devices(opened.devices, opened.num_cores),
        fresh=fresh,
    )


def _opened_by(run: Run, number: int) -> Opened:
    """What closes the run should its process be killed, and what its parts work by."""
    config = run.config.model_dump(mode="json")
    return Opened(
        sequence=number,
        flow=run.flow,
        profile=run.profile,
        overrides=run.overrides,
        config_sha256=key_of(config=config),
        flow_run_id=own_flow_run(),
        code_version=version("gridcast"),
        config=config,
        devices=run.devices.names,
        num_cores=run.devices.num_cores,
    )


def _close_killed_runs(artifacts: Path) -> None:
    """Runs whose process was killed: a summary for each, and a last state of their flow runs.

    Whatever stands in their folders, it keeps no later run from its work.
    """
    flow_runs = killed_flow_runs(artifacts)
    for folder in sorted((artifacts / "runs").glob("*")):
        with claimed_dead(folder) as is_dead:
            _tell_if_changed(folder)
            if is_dead and (opened := _close_killed(folder)) is not None and opened.flow_run_id:
                flow_runs.append(opened.flow_run_id)
    if flow_runs:
        crash_flow_runs(flow_runs)


def _tell_if_changed(folder: Path) -> None:
    """Of a run that has ended: its number tells which run is the newest, so it must be its own."""
    path = folder / OPENED
    if has_ended(folder) and path.is_file() and (fault := fault_of_seal(path.read_bytes())):
        _log.warning("%s: found %s; its run counts as the oldest", path, fault)


def _owned(run: Run) -> Iterator[Run]:
    begun = time.perf_counter()
    try:
        yield run
    except BaseException as error:
        code = error.exit_code if isinstance(error, GridcastError) else EXIT_PARTIAL
        seconds = time.perf_counter() - begun
        _close(run, Ending(seconds=seconds, error=message_of(error), exit_code=code))
        raise
    summary = _close(run, Ending(seconds=time.perf_counter() - begun))
    if summary.errors:
        raise PartialFailureError(summary.errors, summary=run.summary_path)


def _close(run: Run, ending: Ending) -> Summary:
    """What the stages left becomes the summary, the folder is sealed, and is the latest."""
    summary = summarize(run.run_id, _records_of(run.folder), ending)
    _seal(run.folder, summary)
    _point_latest(run)
    _log.info("Summary: %s", run.summary_path)
    return summary


def _close_killed(folder: Path) -> Opened | None:
    """The same of a run that was killed, and what it was; None where that cannot be read."""
    records = _records_of(folder)
    for unreadable in records.unreadable:
        _log.warning("%s", unreadable)
    seconds = sum(each.seconds for each in records.timings)  # of the stages that it ended
    _seal(folder, summarize(folder.name, records, Ending(seconds=seconds, error=REASON)))
    _log.warning("%s: %s", folder.name, REASON)
    return records.opened


def _records_of(folder: Path) -> RunRecords:
    """Whatever a run left for its summary, and an error for each file that cannot be taken."""
    unreadable: list[str] = []

    def one(kind: type[R]) -> R | None:
        try:
            return find_record(folder, kind)
        except RecordError as error:
            unreadable.append(str(error))
            return None

    def several(kind: type[R]) -> tuple[R, ...]:
        found = []
        for path in files_of(folder, kind):
            try:
                found.append(read_record(path, kind))
            except RecordError as error:
                unreadable.append(str(error))
        return tuple(found)

    return RunRecords(
        opened=one(Opened),
        ingestion=one(Ingestion),
        data_report=one(DataReport),
        features=one(FeaturesMade),
        jobs=one(FailedJobs),
        evaluation=one(Evaluation),
        kept=one(KeptModels),
        tracking=several(Tracking),
        report=one(Report),
        timings=several(StageTime),
        unreadable=tuple(unreadable),
    )


def _seal(folder: Path, summary: Summary) -> None:
    leave_record(folder, summary)
    seal_folder(folder)


def _point_latest(run: Run) -> None:
    """Let ``runs/latest`` lead to the newest run of those that have ended."""
    latest = run.artifacts / "runs" / "latest"
    with held(run.artifacts, "latest-run"):
        if number_of(run.folder) >= number_of(latest):
            with publishing(latest) as link:
                link.symlink_to(run.run_id)


def read_summary(path: Path) -> Summary:
    """The summary of a run that has ended.

    Raises:
        RecordError: there is none, or it is one of a newer version.
    """
    return read_record(path, Summary)
