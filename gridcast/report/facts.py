"""What the report of a run states beside scores and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gridcast.evaluation.contestants import Contestant
from gridcast.evaluation.measure import LABELS, SMAPE, MeasureName
from gridcast.report import article


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFacts:
    """What became of one region's file. ``None``: not known, since it was refused before."""

    region: str
    num_rows: int | None
    num_hours: int | None  # distinct UTC hours
    num_missing_hours: int | None  # between the first and the last
    num_flagged: int | None  # doubtful readings, kept, never a training label
    status: Literal["used", "set aside"]
    reason: str = ""  # of a region set aside


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One trained model and what it cost. Its errors stand in the scores, under ``job``."""

    job: str  # the contestant's name in the scores, such as "gru-seed0"
    cell: str
    seed: int
    device: str
    num_parameters: int
    training_seconds: float
    pass_seconds: Sequence[float]  # training alone
    evaluation_seconds: float
    peak_memory_bytes: int | None  # of the device, on a CPU of the process; None: not measured
    mlflow_run_id: str | None
    weights_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFacts:
    """A mean of models or a fitted baseline, and what it cost: a mean as much as its members."""

    contestant: Contestant
    training_seconds: float | None
    num_parameters: int | None  # None: not counted
    mlflow_run_id: str | None = None  # of a mean


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Everything but scores and pictures that a report states.

    ``validation_error`` (percent, by contestant) is empty, and nobody ``preferred``, where there is
    no validation part. ``num_test_labels`` counts an hour once for each lead.
    """

    run_id: str
    profile: str
    data_kind: Literal["real", "synthetic"]
    data_folder: str
    regions: Sequence[RegionFacts]
    models: Sequence[ModelFacts]
    timings: dict[str, float]  # stage to seconds, in the order of the run
    contestants: Sequence[Contestant]  # in the order of tables
    horizon: int  # steps ahead
    num_test_labels: int
    follows_article: bool  # its protocol: a section sets the run beside its printed output
    others: Sequence[OtherFacts] = ()
    validation_error: Mapping[str, float] = field(default_factory=dict)
    preferred: str | None = None
    measure: MeasureName = SMAPE  # how errors are told
    why_measure: str = ""  # where it is not the sMAPE
    note: str = ""  # what has to be known of the figures

    @property
    def error_label(self) -> str:
        """What errors are called."""
        return LABELS[self.measure]

    @property
    def has_articles_labels(self) -> bool:
        """Whether errors compare with the article's: its regions, its labels, one hour ahead."""
        used = {each.region for each in self.regions if each.status == "used"}
        return (
            self.data_kind == "real"
            and self.measure == SMAPE
            and self.horizon == article.HORIZON
            and self.num_test_labels == article.NUM_TEST_LABELS
            and used == article.REGIONS
        )

    def label_of(self, name: str) -> str:
        """What a reader calls the contestant of this name."""
        return next(each.label for each in self.contestants if each.name == name)
