"""What the evaluation hands on."""

from __future__ import annotations

from gridcast.evaluation.contestants import Contestant
from gridcast.evaluation.records import BaselineRecord, MeanRecord, ModelRecord
from gridcast.record import Record


class Evaluation(Record):
    """How all contestants did; ``mlflow_run_id`` and ``report`` come later in the run.

    ``forecasts_path`` is the long table of the test part, ``scores_paths`` the tables of scores by
    their name (see :class:`gridcast.evaluation.scores.Scores`).
    """

    forecasts_path: str
    scores_paths: dict[str, str]
    num_test_labels: int
    contestants: tuple[Contestant, ...]
    models: dict[str, ModelRecord]
    means: dict[str, MeanRecord]
    baselines: dict[str, BaselineRecord]
    preferred: str | None
    report: str | None = None
