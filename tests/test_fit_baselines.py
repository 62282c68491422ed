"""Fitted baselines in a run: beside the networks, once only, and each for itself when it fails."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import ConfigError
from gridcast.metrics import smape
from tests.pipelines import (
    SMALL_MODEL,
    PipelineRun,
    copy_artifacts,
    first_run,
    run_flow,
    session_folder,
    settings,
    small_data,
)

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

# Above what reading the table takes, below what 600 rounds of boosting do.
LIMIT_SECONDS = 1.0


@cache
def run_with_linear() -> PipelineRun:
    """The first run's models, which are there, and a linear baseline beside them."""
    artifacts = copy_artifacts(session_folder() / "baselines")
    wanted = settings(*SMALL_MODEL, "baselines.fitted=[linear]")
    run = run_flow("train", small_data(), artifacts, *wanted)
    assert run.result.returncode == 0, run.result.stderr
    return run


@cache
def run_with_a_failure() -> PipelineRun:
    """The same again with a second baseline that comes to its limit."""
    wanted = settings(
        *SMALL_MODEL,
        "baselines.fitted=[linear, histogram_boosting]",
        f"training.time_limit_seconds={LIMIT_SECONDS}",
    )
    return run_flow("train", small_data(), run_with_linear().artifacts, *wanted)


def test_a_fitted_baseline_and_the_mean_are_scored_on_the_labels_of_the_models() -> None:
    summary, folder = run_with_linear().summary, run_with_linear().folder
    forecasts = pd.read_parquet(folder / "forecasts.parquet")
    assert list(forecasts.columns[5:9]) == ["gru-seed0", "lstm-seed0", "mean-seed0", "linear"]
    pd.testing.assert_series_equal(
        forecasts["mean-seed0"],
        (forecasts["gru-seed0"] + forecasts["lstm-seed0"]) / 2,
        check_names=False,
    )
    told = {
        name: (each.smape, each.smape_by_region)
        for part in (summary.means, summary.baselines)
        for name, each in part.items()
    }
    for name, (overall, found) in told.items():
        by_region = {
            str(region): smape(own["y_true"].to_numpy(), own[name].to_numpy())
            for region, own in forecasts.groupby("region", observed=True)
        }
        assert found == pytest.approx(by_region)
        assert overall == pytest.approx(sum(by_region.values()) / len(by_region))
    assert len(forecasts) == len(pd.read_parquet(first_run().folder / "forecasts.parquet"))


def test_the_summary_tells_what_each_took_and_whom_the_validation_part_prefers() -> None:
    summary = run_with_linear().summary
    linear, mean = summary.baselines["linear"], summary.means["mean-seed0"]
    assert (linear.kind, linear.cached) == ("fitted", False)
    assert linear.train_seconds is not None
    assert linear.train_seconds > 0
    assert summary.baselines["persistence"].train_seconds is None
    assert mean.members == ("gru-seed0", "lstm-seed0")
    members = [summary.models[name] for name in mean.members]
    assert mean.train_seconds == pytest.approx(sum(each.train_seconds for each in members))
    assert mean.num_parameters == sum(each.num_parameters for each in members)
    errors = {
        name: each.validation_smape or 200.0
        for part in (summary.models, summary.means, summary.baselines)
        for name, each in part.items()
    }
    assert summary.preferred == min(errors, key=lambda name: errors[name])


def test_the_models_error_on_the_validation_part_is_the_one_of_their_training() -> None:
    run = run_with_linear()
    for name, model in run.summary.models.items():
        (path,) = run.artifacts.glob(f"jobs/{name}-*/forecasts.parquet")
        own = pd.read_parquet(path)
        own = own[own["part"] == "validation"].set_index("step")
        (table_path,) = run.artifacts.glob("features/*.parquet")
        table = pd.read_parquet(table_path, columns=["region", "load_mw"]).loc[own.index]
        errors = [
            smape(each["load_mw"].to_numpy(), own.loc[each.index, "y_pred"].to_numpy())
            for _, each in table.groupby("region", observed=True)
        ]
        assert model.validation_smape == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_terminal_and_report_name_the_mean_the_baseline_and_the_choice() -> None:
    run = run_with_linear()
    summary, shown = run.summary, run.result.stdout
    assert f"The validation part prefers {summary.preferred} (sMAPE" in shown
    assert "mean-seed0" in shown
    page = Path(summary.report or "").read_text(encoding="utf-8")
    assert "Mean, validation" in page
    assert ">mean of seed 0</th>" in page
    assert ">linear</th>" in page


def test_its_chain_can_be_verified() -> None:
    from tasks.lineage import verify

    run = run_with_linear()
    verdict = verify(run.folder.name, run.artifacts)
    names = {finding.name for finding in verdict.findings}
    assert {"job linear", "predictions linear"} <= names
    assert [each for each in verdict.findings if each.state != "ok"] == []
    own = verify("linear", run.artifacts)
    assert own.findings[-1].name == "predictions linear"


def test_one_that_fails_fails_alone_and_what_is_unchanged_is_not_fitted_again() -> None:
    run = run_with_a_failure()
    summary = run.summary
    assert run.result.returncode == 1, run.result.stderr
    assert (summary.status, summary.exit_code) == ("partial", 1)
    assert summary.failed_jobs.keys() == {"histogram_boosting"}
    (reason,) = summary.failed_jobs.values()
    assert "histogram_boosting: stopped at its limit of 1 s (training.time_limit" in reason
    before, after = run_with_linear().summary.baselines, summary.baselines
    assert after.keys() == before.keys()
    assert after["linear"].cached
    assert after["linear"].model_dump(exclude={"cached"}) == before["linear"].model_dump(
        exclude={"cached"}
    )
    assert "linear: already fitted" in run.result.stderr


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        pytest.param("baselines.fitted=[lightgbm]", r"'gridcast\[boosting\]'", id="not_installed"),
        pytest.param("windows.horizon=2", "they forecast one hour", id="two_hours_ahead"),
        pytest.param("features.kind=article", "they need its calendar", id="article"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, override: str, expected: str
) -> None:
    from tasks.fit_baselines import require_fittable

    monkeypatch.setitem(sys.modules, "lightgbm", None)  # as if it were not installed
    config = Config.load("baselines", overrides=(override,))
    with pytest.raises(ConfigError, match=expected) as caught:
        require_fittable(config, profile="baselines")
    assert caught.value.exit_code == 2
    assert caught.value.key == "baselines.fitted"
