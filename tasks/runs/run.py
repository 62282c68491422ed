"""A run: its folder, what each stage leaves there, and the summary made of it."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridcast.config import Config
from gridcast.errors import (
    EXIT_OK,
    EXIT_PARTIAL,
    GridcastError,
    PartialFailureError,
    UsageError,
)
from gridcast.record import Record
from gridcast.summary import Status, Summary
from tasks.machine.devices import find_devices
from tasks.runs.keys import key_of
from tasks.runs.killed_runs import REASON, crash_flow_runs, own_flow_run
from tasks.runs.lives import OPENED, declared_dead, next_number, number_of, opening
from tasks.runs.locks import held, held_file
from tasks.runs.places import kept
from tasks.runs.storage import (
    LIFE,
    LIVE,
    check_folder,
    publishing,
    read_json,
    remove_leftovers,
    seal_folder,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
_opened: ContextVar[list[Run] | None] = ContextVar("opened", default=None)
_log = logging.getLogger("gridcast.run")


@dataclass(frozen=True, slots=True)
class Run:
    """What every stage of one run shares: paths, configuration, and where to leave its part."""

    run_id: str
    flow: str
    artifacts: Path
    data: Path | None
    profile: str
    overrides: tuple[str, ...]
    config: Config
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

    def leave(self, part: str, record: Record | dict[str, Any]) -> None:
        """Keep a stage's part of the summary; paths below the artifacts relative to these."""
        content = record.model_dump(mode="json") if isinstance(record, Record) else record
        write_json(self.folder / f"{part}.json", kept(content, self.artifacts))

    def find(self, part: str) -> dict[str, Any]:
        """A stage's part of the summary, empty if the stage did not come to it."""
        return read_json(self.folder / f"{part}.json") or {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the seconds of a stage for the summary's ``timings``."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            seconds = round(time.perf_counter() - begun, 3)
            self.leave("timings", {**self.find("timings"), stage: seconds})


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
    given = tuple(overrides or ())
    device_type = find_devices(profile, given).device_type
    config = Config.load(profile, overrides=given, device_type=device_type)
    run = Run(
        run_id=run_id or _new_run_id(),
        flow=flow,
        artifacts=folder,
        data=None if data is None else Path(data).resolve(),
        profile=profile,
        overrides=given,
        config=config,
        fresh=fresh,
    )
    if run_id is not None:
        _require_open_run(run)
        yield run
        return
    check_folder(folder)
    remove_leftovers(folder)
    _close_killed_runs(run)
    with ExitStack() as life:
        with opening(folder):
            number = next_number(folder / "runs")
            run.folder.mkdir(parents=True)
            life.enter_context(held_file(run.folder / LIFE, f"run {run.run_id}"))
            _leave_opened(run, number)
        if (opened := _opened.get()) is not None:
            opened.append(run)
        yield from _owned(run)


@contextmanager
def opened_runs() -> Iterator[list[Run]]:
    """The runs that are opened inside; those of other processes are not among them."""
    opened: list[Run] = []
    token = _opened.set(opened)
    try:
        yield opened
    finally:
        _opened.reset(token)


def _require_open_run(run: Run) -> None:
    """Take part only in a run that is there: its id is a parameter, so anyone may name any."""
    if not RUN_ID.fullmatch(run.run_id) or not run.folder.is_dir():
        where = f"run_id {run.run_id!r}"
        expected = "none: a flow that is started by itself has a run of its own"
        raise UsageError(where, found="no run of that id", expected=expected)


def _leave_opened(run: Run, number: int) -> None:
    """What closes the run should its process be killed, and which of two runs is newer."""
    opened = {
        "sequence": number,
        "flow": run.flow,
        "profile": run.profile,
        "overrides": list(run.overrides),
        "config_sha256": _config_sha256(run),
        "flow_run_id": own_flow_run(),
    }
    run.leave(Path(OPENED).stem, opened)


def _close_killed_runs(run: Run) -> None:
    """Runs whose process was killed: a summary for each, and a last state of their flow runs."""
    flow_runs = []
    for folder in sorted((run.artifacts / "runs").glob("*")):
        with declared_dead(folder) as is_dead:
            if is_dead:
                flow_runs += _close_killed(replace(run, run_id=folder.name))
    if flow_runs:
        crash_flow_runs(flow_runs)


def _close_killed(killed: Run) -> list[str]:
    """The summary of a run that was killed; the ids of its flow runs."""
    opened = killed.find(Path(OPENED).stem)
    killed = replace(
        killed,
        flow=opened["flow"],
        profile=opened["profile"],
        overrides=tuple(opened["overrides"]),
    )
    seconds = sum(killed.find("timings").values())  # of the stages that it ended
    _summarize(
        killed, seconds, "failed", EXIT_PARTIAL, [REASON], config_sha256=opened["config_sha256"]
    )
    _log.warning("%s: %s", killed.run_id, REASON)
    return [opened["flow_run_id"]] if opened["flow_run_id"] else []


def _config_sha256(run: Run) -> str:
    return key_of(config=run.config.model_dump(mode="json"))


def _owned(run: Run) -> Iterator[Run]:
    begun = time.perf_counter()
    try:
        yield run
    except BaseException as error:
        code = error.exit_code if isinstance(error, GridcastError) else EXIT_PARTIAL
        _close(run, begun, "failed", code, [_told(error)])
        raise
    reasons = _failures(run)
    status: Status = "partial" if reasons else "completed"
    _close(run, begun, status, EXIT_PARTIAL if reasons else EXIT_OK, reasons)
    if reasons:
        raise PartialFailureError(reasons, summary=run.summary_path)


def _told(error: BaseException) -> str:
    """The error as the summary tells it; an interruption has no words of its own."""
    interruption = interruption_of(error)
    if interruption is None:
        return str(error) or type(error).__name__
    return f"The run was interrupted ({type(interruption).__name__}) before it ended"


def interruption_of(error: BaseException) -> BaseException | None:
    """What Ctrl-C or SIGTERM raised: the error itself, or what it came up in the handling of.

    Who ends a service tells all of its processes, Prefect's embedded server too. A run that is on
    its way out then stumbles on the server that it still has to report to.
    """
    if not isinstance(error, Exception):
        return error
    each: BaseException | None = error
    while each is not None and not _is_interruption(each):
        each = each.__cause__ or each.__context__
    return each


def _is_interruption(error: BaseException) -> bool:
    """Not all that is no Exception: a timeout is raised in the handling of a cancelled task."""
    is_prefects = not isinstance(error, Exception) and hasattr(error, "signal")
    return is_prefects or isinstance(error, KeyboardInterrupt | SystemExit)


def _failures(run: Run) -> list[str]:
    errors = [*run.find("ingestion").get("errors", []), *run.find("tracking").get("errors", [])]
    return errors + list(run.find("jobs").get("failed_jobs", {}).values())


def _close(run: Run, begun: float, status: Status, exit_code: int, errors: list[str]) -> None:
    seconds = time.perf_counter() - begun
    _summarize(run, seconds, status, exit_code, errors, config_sha256=_config_sha256(run))
    _point_latest(run)
    _log.info("Summary: %s", run.summary_path)


def _point_latest(run: Run) -> None:
    """Let ``runs/latest`` lead to the newest run of those that have ended."""
    latest = run.artifacts / "runs" / "latest"
    with held(run.artifacts, "latest-run"):
        if number_of(run.folder) >= number_of(latest):
            with publishing(latest) as link:
                link.symlink_to(run.run_id)


def _summarize(
    run: Run,
    seconds: float,
    status: Status,
    exit_code: int,
    errors: list[str],
    *,
    config_sha256: str,
) -> None:
    """What the stages left becomes the summary, and the folder is sealed."""
    ingestion, jobs, evaluation = (run.find(part) for part in ("ingestion", "jobs", "evaluation"))
    summary = Summary(
        run_id=run.run_id,
        flow=run.flow,
        status=status,
        exit_code=exit_code,
        profile=run.profile,
        overrides=list(run.overrides),
        data=ingestion.get("data"),
        regions=ingestion.get("regions", {}),
        windows=run.find("features").get("windows"),
        imputed_hours=run.find("features").get("imputed_hours", {}),
        models=evaluation.get("models", {}),
        means=evaluation.get("means", {}),
        failed_jobs=jobs.get("failed_jobs", {}),
        baselines=evaluation.get("baselines", {}),
        preferred=evaluation.get("preferred"),
        timings={**run.find("timings"), "total": round(seconds, 3)},
        errors=errors,
        code_version=version("gridcast"),
        config_sha256=config_sha256,
        report=evaluation.get("report"),
        data_docs=ingestion.get("data_docs"),
        snapshot=ingestion.get("snapshot"),
        data_report=ingestion.get("data_report"),
    )
    run.leave("summary", summary)
    seal_folder(run.folder)


def _new_run_id() -> str:
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def read_summary(path: Path) -> Summary:
    """The summary of a run that has ended."""
    return Summary.model_validate(json.loads(path.read_bytes()))
