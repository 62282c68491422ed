"""What the evaluation hands on."""

from __future__ import annotations

from gridcast.evaluation.records import BaselineRecord, MeanRecord, ModelRecord
from gridcast.record import Record


class Evaluation(Record):
    """How all contestants did; ``mlflow_run_id`` and ``report`` come later in the run."""

    forecasts_path: str
    scores_path: str
    models: dict[str, ModelRecord]
    means: dict[str, MeanRecord]
    baselines: dict[str, BaselineRecord]
    preferred: str | None
    report: str | None = None
