"""What the evaluation hands on is chosen by the validation part; its files are read as written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gridcast.evaluation.comparison import Comparison, compare_contestants
from gridcast.evaluation.contestants import fitted_baseline
from gridcast.features.splits import TEST, VALIDATION
from tasks.evaluate.evaluation_tables import (
    read_forecast_table,
    read_scores,
    write_forecast_table,
    write_scores,
)
from tasks.evaluate.score_models import evaluation_of
from tasks.train.records import BaselineJob, FittedBaseline
from tests.builders.evaluations import GRU, LSTM, make_job_forecasts, make_table

if TYPE_CHECKING:
    from gridcast.config import Fitted


def compare_baselines(
    table: pd.DataFrame, factors: dict[Fitted, tuple[float, float]]
) -> Comparison:
    """Baselines that are off by such factors in the validation and in the test part."""
    jobs = {
        fitted_baseline(kind): pd.concat(
            [
                make_job_forecasts(table, factor=validation, part=VALIDATION),
                make_job_forecasts(table, factor=test, part=TEST),
            ]
        )
        for kind, (validation, test) in factors.items()
    }
    return compare_contestants(table, jobs, season_length=24)


def fitted(*kinds: Fitted) -> list[FittedBaseline]:
    return [
        FittedBaseline(
            job=BaselineJob(
                name=kind, kind=kind, threads=1, limit_seconds=300, key="", folder="", parts={}
            ),
            train_seconds=2.0,
            evaluation_seconds=1.0,
            files={},
        )
        for kind in kinds
    ]


@pytest.mark.parametrize("test", [(9.0, 1.0), (1.0, 9.0), (9.0, 9.0)])
def test_whom_the_record_prefers_and_what_it_is_held_against_come_from_the_validation_part(
    test: tuple[float, float],
) -> None:
    table = make_table()
    comparison = compare_baselines(
        table, {"linear": (1.001, test[0]), "histogram_boosting": (1.2, test[1])}
    )
    found = evaluation_of(
        comparison, [], fitted("linear", "histogram_boosting"), forecasts_path="f", scores_paths={}
    )
    assert found.preferred == "linear"
    errors = {name: each.validation_smape for name, each in found.baselines.items()}
    assert errors["linear"] == pytest.approx(100 * 0.001 / 1.0005)
    assert errors["histogram_boosting"] == pytest.approx(100 * 0.2 / 1.1)
    assert min(errors, key=lambda name: errors[name] or 0.0) == found.preferred


def test_each_baseline_has_its_kind_its_seconds_and_its_regions() -> None:
    table = make_table(("ALL", "DOM"))
    found = evaluation_of(
        compare_baselines(table, {"linear": (1.1, 1.2)}),
        [],
        fitted("linear"),
        forecasts_path="f",
        scores_paths={},
    )
    assert [each.name for each in found.contestants] == list(found.baselines)
    assert [each.kind for each in found.baselines.values()] == ["fitted", *["naive"] * 3]
    linear = found.baselines["linear"]
    assert linear.train_seconds == 2.0
    assert linear.smape_by_region == pytest.approx(dict.fromkeys(["ALL", "DOM"], 100 * 0.2 / 1.1))
    assert found.baselines["persistence"].train_seconds is None
    assert found.num_test_labels == (table["part"] == TEST).sum()


def compare_networks(horizon: int = 1) -> Comparison:
    table = make_table(("ALL", "DOM"))
    jobs = {each: make_job_forecasts(table, factor=1.1, horizon=horizon) for each in (GRU, LSTM)}
    return compare_contestants(table, jobs, season_length=24)


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_long_table_is_read_as_it_was_written_whole_or_a_contestant_alone(
    horizon: int, tmp_path: Path
) -> None:
    comparison, path = compare_networks(horizon), tmp_path / "forecasts.parquet"
    write_forecast_table(path, comparison.forecasts)
    expected = comparison.forecasts.table()
    names = [each.name for each in comparison.forecasts.contestants]
    pd.testing.assert_frame_equal(read_forecast_table(path, names), expected)
    pd.testing.assert_frame_equal(pd.read_parquet(path), expected)  # as anybody else reads it
    for chosen in (["lstm-seed0"], ["gru-seed0", "persistence"]):
        own = expected[expected["contestant"].isin(chosen)].reset_index(drop=True)
        pd.testing.assert_frame_equal(read_forecast_table(path, chosen), own)


def test_scores_are_read_as_they_were_written_a_file_a_table(tmp_path: Path) -> None:
    scores = compare_networks().scores
    paths = write_scores(tmp_path, scores)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "scores_by_holiday.parquet", "scores_by_hour.parquet", "scores_by_lead.parquet",
        "scores_by_month.parquet", "scores_by_region.parquet", "scores_overall.parquet",
    ]  # fmt: skip
    for name, table in read_scores(paths).tables().items():
        pd.testing.assert_frame_equal(table, scores.tables()[name], check_dtype=False)
