"""What a run tells machines: the shape of ``summary.json``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gridcast.evaluation.records import BaselineRecord, MeanRecord, ModelRecord
from gridcast.features.windows import WindowsRecord
from gridcast.readings.records import DataRecord, RegionRecord
from gridcast.record import Record

Status = Literal["completed", "partial", "failed"]


class Summary(Record):
    """One run, whole. ``timings`` are seconds a stage, and ``total``.

    ``preferred`` is the contestant with the smallest error on the validation part (null: there is
    no such part); the test part has no say in it. ``failed_jobs`` has fitted baselines too.
    ``imputed_hours`` counts by region the hours that models get as inputs filled, not as read.
    """

    run_id: str
    flow: str
    status: Status
    exit_code: int
    profile: str
    overrides: list[str]
    data: DataRecord | None
    regions: dict[str, RegionRecord]
    windows: WindowsRecord | None
    imputed_hours: dict[str, int] = Field(default_factory=dict)
    models: dict[str, ModelRecord]
    means: dict[str, MeanRecord] = Field(default_factory=dict)
    failed_jobs: dict[str, str]
    baselines: dict[str, BaselineRecord]
    preferred: str | None = None
    timings: dict[str, float]
    errors: list[str]
    code_version: str
    config_sha256: str
    report: str | None = None
    data_docs: str | None = None
    snapshot: str | None = None
    data_report: str | None = None
