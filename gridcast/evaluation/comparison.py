"""Who is to be run: contestants are chosen by the validation part, and told by the test part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridcast.evaluation.blending import add_blend, blend_weights
from gridcast.evaluation.forecasts import Forecasts, collect_forecasts
from gridcast.evaluation.measure import (
    NMAE,
    SMAPE,
    MeasureName,
    measure_of_run,
    near_zero_share,
)
from gridcast.evaluation.scores import (
    Scores,
    mean_errors,
    mean_loads,
    naive_maes,
    score_forecasts,
)
from gridcast.features.splits import TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd

    from gridcast.evaluation.contestants import Contestant


@dataclass(frozen=True, slots=True)
class Comparison:
    """All contestants on the labels of the test part, and what the validation part says of them.

    ``validation_smape`` and ``validation_nmae`` (percent, the mean over the regions, by contestant)
    are empty, and nobody ``preferred``, where there is no validation part.
    """

    forecasts: Forecasts  # of the test part
    scores: Scores  # of these
    validation_smape: dict[str, float]
    validation_nmae: dict[str, float]
    preferred: str | None
    blend_K: np.ndarray  # weights of the linear models in the blend, by lead; empty: there is none


def compare_contestants(
    table: pd.DataFrame,
    jobs: Mapping[Contestant, pd.DataFrame],
    *,
    season_length: int,
    calendars: Mapping[str, tuple[str, str | None]] | None = None,
    measure: MeasureName = SMAPE,
) -> Comparison:
    """Jobs' forecasts → all contestants', their scores, and who has the smallest validation error.

    Whatever the test part holds moves neither validation errors nor ``preferred``.

    Args:
        table: ``forecasts.TABLE_COLUMNS`` of ``FeatureTable.frame``.
        jobs: a model or fitted baseline to its forecasts of both parts, see
            :func:`gridcast.evaluation.forecasts.collect_forecasts`.
        season_length: of the scale of MASE (steps).
        calendars: of scores by month and holiday, see :func:`gridcast.features.label_days`.
        measure: by which of the two errors is chosen.
    """
    means = mean_loads(table)
    validation, test, blend_K = all_forecasts(table, jobs, measure=measure)
    smapes, nmaes = (mean_errors(validation, norms) for norms in ({}, means))
    deciding = nmaes if measure == NMAE else smapes
    scales = naive_maes(table, season_length=season_length)
    return Comparison(
        forecasts=test,
        scores=score_forecasts(
            test.tables(), test.contestants, naive_mae=scales, mean_mw=means, calendars=calendars
        ),
        validation_smape=smapes,
        validation_nmae=nmaes,
        preferred=min(deciding, key=lambda name: deciding[name], default=None),
        blend_K=blend_K,
    )


def measure_of_table(table: pd.DataFrame) -> MeasureName:
    """By which a run with this table chooses: as its regions' training loads have it."""
    training = table[table["part"] == TRAIN]
    by_region = training.groupby("region", observed=True)["load_mw"]
    return measure_of_run(near_zero_share(own.to_numpy()) for _, own in by_region)


def all_forecasts(
    table: pd.DataFrame, jobs: Mapping[Contestant, pd.DataFrame], *, measure: MeasureName = SMAPE
) -> tuple[Forecasts, Forecasts, np.ndarray]:
    """Those of the validation and of the test part, the blend's too, and its weights by lead.

    The weights are chosen on the validation part, by the measure of the run.
    """
    validation, test = (collect_forecasts(table, jobs, part=part) for part in (VALIDATION, TEST))
    weight_K = blend_weights(validation, mean_loads(table) if measure == NMAE else {})
    return add_blend(validation, weight_K), add_blend(test, weight_K), weight_K
