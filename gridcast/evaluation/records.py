"""How contestants did: what an evaluation leaves of each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import AliasChoices, Field

from gridcast.evaluation.contestants import Contestant
from gridcast.evaluation.measure import NMAE, SMAPE, MeasureName
from gridcast.record import Record, RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Errors(Record):
    """How a contestant did: sMAPE and nMAE in percent, MAE and RMSE in MW, means over the regions.

    On the test part, where nothing else is said; null: not known. By which of the two percentages a
    run judges, :mod:`gridcast.evaluation.measure` says.
    """

    smape: float
    smape_by_region: dict[str, float]
    nmae: float | None = None
    nmae_by_region: dict[str, float] = Field(default_factory=dict)
    validation_smape: float | None = None
    validation_nmae: float | None = None

    def error(self, measure: MeasureName) -> float:
        """Percent; NaN where it is not known."""
        found = self.nmae if measure == NMAE else self.smape
        return float("nan") if found is None else found

    def by_region(self, measure: MeasureName) -> dict[str, float]:
        """The same by region."""
        return self.nmae_by_region if measure == NMAE else self.smape_by_region

    def validation_error(self, measure: MeasureName) -> float | None:
        """On the validation part."""
        return self.validation_nmae if measure == NMAE else self.validation_smape


class ModelRecord(Errors):
    """One trained job and how it did."""

    cell: str
    seed: int
    device: str
    num_parameters: int
    mae: float
    rmse: float
    mase: float
    validation_smape: float | None
    train_seconds: float
    seeds_per_pass: int = Field(  # that shared this time
        default=1, validation_alias=AliasChoices("seeds_per_pass", "num_together")
    )
    pass_seconds: list[float]
    evaluation_seconds: float
    peak_memory_bytes: int
    mlflow_run_id: str | None
    weights_sha256: str
    cached: bool


def total_train_seconds(models: Sequence[ModelRecord]) -> float:
    """What models took (s), the time of a pass that several of them shared counted once.

    >>> alone = ModelRecord.model_construct(cell="gru", train_seconds=10.0, seeds_per_pass=1)
    >>> shared = ModelRecord.model_construct(cell="lstm", train_seconds=12.0, seeds_per_pass=4)
    >>> total_train_seconds([alone, alone, shared]), total_train_seconds([shared] * 4)
    (32.0, 12.0)
    """
    num_of_cell = Counter(each.cell for each in models)
    return sum(
        each.train_seconds / min(each.seeds_per_pass, num_of_cell[each.cell]) for each in models
    )


class MeanRecord(Errors):
    """The mean of several models' forecasts (``members``) on the same labels.

    Of a blend ``linear`` names the linear models, ``linear_sha256`` tells them apart, and
    ``weights`` has how much of the forecast is theirs, by lead. It costs what they cost together, a
    time that seeds share once.
    """

    members: tuple[str, ...]
    linear: str | None = None
    linear_sha256: str = ""
    weights: tuple[float, ...] = ()
    num_parameters: int
    mae: float
    rmse: float
    mase: float
    validation_smape: float | None
    train_seconds: float
    mlflow_run_id: str | None = None


def recommended_model(
    preferred: str | None,
    models: Mapping[str, ModelRecord],
    means: Mapping[str, MeanRecord],
    measure: MeasureName,
) -> str:
    """The network or mean that the validation part prefers; where that is a baseline, their best.

    The first of them where there is no validation part.
    """
    errors = {name: each.validation_error(measure) for name, each in models.items()}
    errors |= {name: each.validation_error(measure) for name, each in means.items()}
    if preferred in errors:
        return preferred
    known = {name: error for name, error in errors.items() if error is not None}
    return min(known, key=lambda name: known[name], default=next(iter(errors)))


class BaselineRecord(Errors):
    """One naive forecast or fitted baseline on the same labels; a naive one has no seconds."""

    kind: Literal["naive", "fitted"] = "naive"
    mae: float | None = None
    rmse: float | None = None
    mase: float | None = None
    train_seconds: float | None = None
    cached: bool = False


class Evaluation(RunRecord):
    """How all contestants did, and whom the validation part prefers (null: there is none).

    ``forecasts_path`` is the long table of the test part, ``scores_paths`` the tables of scores by
    their name (see :class:`gridcast.evaluation.scores.Scores`). ``measure`` is the error that was
    decided by, and ``why_measure`` says why, where it is not the sMAPE; ``norms`` (MW) is what
    errors of each region are then told in percent of.
    """

    kind: ClassVar[str] = "evaluation"

    # Version 1 called `seeds_per_pass` `num_together`.
    forecasts_path: str
    scores_paths: dict[str, str]
    num_test_labels: int
    contestants: tuple[Contestant, ...]
    models: dict[str, ModelRecord]
    means: dict[str, MeanRecord]
    baselines: dict[str, BaselineRecord]
    preferred: str | None
    measure: MeasureName = SMAPE
    why_measure: str = ""
    norms: dict[str, float] = Field(default_factory=dict)


class KeptModels(RunRecord):
    """The folders that forecast, by the network's or the mean's name."""

    kind: ClassVar[str] = "models"

    folders: dict[str, str]
