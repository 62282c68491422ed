"""What a run tells machines: ``summary.json``, made of the records that its stages left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from gridcast.errors import EXIT_OK, EXIT_PARTIAL
from gridcast.evaluation.measure import SMAPE, MeasureName
from gridcast.evaluation.records import (
    BaselineRecord,
    Evaluation,
    KeptModels,
    MeanRecord,
    ModelRecord,
)
from gridcast.features.windows import FeaturesMade, WindowsRecord
from gridcast.readings.records import DataRecord, DataReport, Ingestion, RegionRecord
from gridcast.record import Record, RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

M = TypeVar("M", ModelRecord, MeanRecord)
Status = Literal["completed", "partial", "failed"]
UNKNOWN = "unknown"

# -- what stages leave, beside what other rooms have of their own ----------------------------------


class Opened(RunRecord):
    """What a run was asked for, and what it decided once: the configuration and the devices.

    Of two runs the one with the higher ``sequence`` is newer; ``flow_run_id`` is Prefect's (null:
    outside of it); ``config`` is the whole configuration as resolved, of which ``config_sha256`` is
    the hash.
    """

    kind: ClassVar[str] = "opened"

    flow: str
    profile: str
    overrides: tuple[str, ...]
    config_sha256: str
    flow_run_id: str | None = None
    sequence: int = 0
    code_version: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    devices: tuple[str, ...] = ()
    num_cores: int = 1


class StageTime(RunRecord):
    """How long a stage took (s); ``number`` counts the run's stages in the order of their end."""

    kind: ClassVar[str] = "timings"

    number: int
    stage: str
    seconds: float

    @property
    def part(self) -> str:
        """The stage."""
        return self.stage


class FailedJobs(RunRecord):
    """Which jobs failed, and why."""

    kind: ClassVar[str] = "jobs"

    failed_jobs: dict[str, str]


class Tracking(RunRecord):
    """What a stage left with MLflow: the run of each model, or why MLflow did not take it.

    ``registered_model`` is the address of a version (see :class:`Summary`).
    """

    kind: ClassVar[str] = "tracking"

    stage: str
    mlflow_run_ids: dict[str, str] = Field(default_factory=dict)
    registered_model: str | None = None
    error: str | None = None

    @property
    def part(self) -> str:
        """The stage."""
        return self.stage


class Report(RunRecord):
    """Where the page for people stands."""

    kind: ClassVar[str] = "report"

    path: str


# -- the summary -----------------------------------------------------------------------------------


class Summary(RunRecord):
    """One run, whole. ``timings`` are seconds a stage, and ``total``.

    ``preferred`` is the contestant with the smallest error on the validation part (null: there is
    no such part); the test part has no say in it. ``measure`` is the error that decided, and
    ``why_measure`` says why, where it is not the sMAPE. ``failed_jobs`` has fitted baselines too.
    ``imputed_hours`` counts by region the hours that models get as inputs filled, not as read.
    ``model_folders`` has the folders that forecast, by the network's or the mean's name.
    ``registered_model`` is the version of MLflow's registry that has the recommended model, such as
    ``models:/gridcast-pjm/3`` (null: there is none).
    ``devices`` and ``precision`` are as the run decided them (null: it was killed before it did).
    """

    advice: ClassVar[str] = "delete the folder of that run"
    kind: ClassVar[str] = "summary"

    # Version 1: see `RegionRecord` and `ModelRecord`.
    run_id: str
    flow: str
    status: Status
    exit_code: int
    profile: str
    overrides: list[str]
    devices: list[str] = Field(default_factory=list)
    precision: str | None = None
    data: DataRecord | None
    regions: dict[str, RegionRecord]
    windows: WindowsRecord | None
    imputed_hours: dict[str, int] = Field(default_factory=dict)
    models: dict[str, ModelRecord]
    means: dict[str, MeanRecord] = Field(default_factory=dict)
    failed_jobs: dict[str, str]
    baselines: dict[str, BaselineRecord]
    preferred: str | None = None
    measure: MeasureName = SMAPE
    why_measure: str = ""
    registered_model: str | None = None
    timings: dict[str, float]
    errors: list[str]
    code_version: str
    config_sha256: str
    report: str | None = None
    data_docs: str | None = None
    snapshot: str | None = None
    data_report: str | None = None
    model_folders: dict[str, str] = Field(default_factory=dict)

    @property
    def forecasters(self) -> dict[str, ModelRecord | MeanRecord]:
        """The networks, then their means."""
        return {**self.models, **self.means}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecords:
    """What the stages of one run left; None or empty where a run did not come to a stage."""

    opened: Opened | None = None
    ingestion: Ingestion | None = None
    data_report: DataReport | None = None
    features: FeaturesMade | None = None
    jobs: FailedJobs | None = None
    evaluation: Evaluation | None = None
    kept: KeptModels | None = None
    tracking: tuple[Tracking, ...] = ()
    report: Report | None = None
    timings: tuple[StageTime, ...] = ()
    unreadable: tuple[str, ...] = ()  # an error for each record that cannot be taken

    @property
    def errors(self) -> list[str]:
        """What of the work failed, by what the stages left."""
        refused = self.ingestion.errors if self.ingestion else ()
        untracked = [each.error for each in self.tracking if each.error]
        failed = self.jobs.failed_jobs.values() if self.jobs else ()
        return [*refused, *untracked, *failed, *self.unreadable]


class Ending(Record):
    """How a run ended: its seconds, and the error that it ended with (null: none)."""

    seconds: float
    error: str | None = None
    exit_code: int = EXIT_PARTIAL  # of that error


def summarize(run_id: str, records: RunRecords, ending: Ending) -> Summary:
    """The summary of a run, from what its stages left and how it ended, and from nothing else.

    A run that no error ended is partial where part of the work failed, and else completed.
    """
    opened, ingestion, features = records.opened, records.ingestion, records.features
    evaluation, jobs = records.evaluation, records.jobs
    errors = records.errors if ending.error is None else [ending.error]
    status: Status = "failed" if ending.error is not None else "partial" if errors else "completed"
    exit_codes = {"failed": ending.exit_code, "partial": EXIT_PARTIAL, "completed": EXIT_OK}
    return Summary(
        run_id=run_id,
        flow=opened.flow if opened else UNKNOWN,
        status=status,
        exit_code=exit_codes[status],
        profile=opened.profile if opened else UNKNOWN,
        overrides=list(opened.overrides) if opened else [],
        devices=list(opened.devices) if opened else [],
        precision=_precision(opened),
        data=ingestion.data if ingestion else None,
        regions=ingestion.regions if ingestion else {},
        windows=features.windows if features else None,
        imputed_hours=features.imputed_hours if features else {},
        models=_with_runs(evaluation.models if evaluation else {}, records),
        means=_with_runs(evaluation.means if evaluation else {}, records),
        failed_jobs=jobs.failed_jobs if jobs else {},
        baselines=evaluation.baselines if evaluation else {},
        preferred=evaluation.preferred if evaluation else None,
        measure=evaluation.measure if evaluation else SMAPE,
        why_measure=evaluation.why_measure if evaluation else "",
        registered_model=next(filter(None, (e.registered_model for e in records.tracking)), None),
        timings=_timings(records, ending),
        errors=errors,
        code_version=opened.code_version if opened else UNKNOWN,
        config_sha256=opened.config_sha256 if opened else "",
        report=records.report.path if records.report else None,
        data_docs=ingestion.data_docs if ingestion else None,
        snapshot=ingestion.snapshot if ingestion else None,
        data_report=records.data_report.path if records.data_report else None,
        model_folders=records.kept.folders if records.kept else {},
    )


def _with_runs(scored: Mapping[str, M], records: RunRecords) -> dict[str, M]:
    """With their MLflow runs, which came to be after they were scored."""
    ids = {name: each for stage in records.tracking for name, each in stage.mlflow_run_ids.items()}
    return {
        name: each.model_copy(update={"mlflow_run_id": ids.get(name)})
        for name, each in scored.items()
    }


def _timings(records: RunRecords, ending: Ending) -> dict[str, float]:
    in_order = sorted(records.timings, key=lambda each: each.number)
    stages = {each.stage: each.seconds for each in in_order}
    return {**stages, "total": round(ending.seconds, 3)}


def _precision(opened: Opened | None) -> str | None:
    training = opened.config.get("training") if opened else None
    return str(training["precision"]) if isinstance(training, dict) else None
