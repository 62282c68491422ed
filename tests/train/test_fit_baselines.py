"""Fitted baselines in a run: beside the networks, once only, and each for itself when it fails."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import psutil
import pytest

from gridcast.config import Config
from gridcast.errors import ConfigError
from gridcast.evaluation.metrics import smape
from gridcast.summary import Summary
from tests.builders.pipelines import (
    GRIDCAST,
    SECONDS,
    SMALL_MODEL,
    Command,
    command_of,
    copy_artifacts,
    first_run,
    on_a_server,
    read_json,
    session_folder,
    settings,
    started,
    wait_for,
)
from tests.builders.warm_python import HELD

if TYPE_CHECKING:
    from tasks.runs.run import Run
    from tasks.train.records import BaselineJob, Features

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

WANTED = (*SMALL_MODEL, "baselines.fitted=[linear, histogram_boosting]")


class Done(NamedTuple):
    """One run of two baselines beside the first run's models, one of which was killed."""

    artifacts: Path
    folder: Path
    status: int
    shown: str

    @property
    def summary(self) -> Summary:
        return Summary.model_validate_json((self.folder / "summary.json").read_bytes())


@cache
def done() -> Done:
    """``gridcast train``: the models are there, linear is fitted, boosting is killed."""
    artifacts, log = copy_artifacts(session_folder() / "baselines"), session_folder() / "fits.txt"
    command: Command = (GRIDCAST, "train", "--artifacts", artifacts, *settings(*WANTED))
    environment = {**on_a_server(), HELD: "/histogram_boosting-"}
    with started(*command, log=log, environment=environment) as run:

        def boosting() -> list[psutil.Process]:
            return [each for each in run.children(recursive=True) if is_boosting(command_of(each))]

        (process,) = wait_for("the process that boosts", boosting)
        process.kill()
        status = run.wait(SECONDS)
    folder = (artifacts / "runs" / "latest").resolve()
    return Done(artifacts, folder, status, log.read_text(encoding="utf-8"))


def is_boosting(command: list[str]) -> bool:
    return "tasks.train.fitting_process" in command and "/histogram_boosting-" in command[-1]


def test_a_fitted_baseline_and_the_mean_are_scored_on_the_labels_of_the_models() -> None:
    summary = done().summary
    forecasts = pd.read_parquet(done().folder / "forecasts.parquet")
    assert list(forecasts["contestant"].cat.categories[:5]) == [
        "gru-seed0", "lstm-seed0", "mean-seed0", "blend", "linear",
    ]  # fmt: skip
    own = {
        str(name): rows.reset_index(drop=True)
        for name, rows in forecasts.groupby("contestant", observed=True)
    }
    pd.testing.assert_series_equal(
        own["mean-seed0"]["y_pred"],
        (own["gru-seed0"]["y_pred"] + own["lstm-seed0"]["y_pred"]) / 2,
    )
    results = {
        name: (each.smape, each.smape_by_region)
        for part in (summary.means, summary.baselines)
        for name, each in part.items()
    }
    for name, (overall, found) in results.items():
        by_region = {
            str(region): smape(rows["y_true"].to_numpy(), rows["y_pred"].to_numpy())
            for region, rows in own[name].groupby("region", observed=True)
        }
        assert found == pytest.approx(by_region)
        assert overall == pytest.approx(sum(by_region.values()) / len(by_region))
    others = pd.read_parquet(first_run().folder / "forecasts.parquet")
    assert len(own["gru-seed0"]) == (others["contestant"] == "gru-seed0").sum()


def test_the_summary_tells_what_each_took_and_whom_the_validation_part_prefers() -> None:
    summary = done().summary
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
    run = done()
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
    summary, shown = done().summary, done().shown
    assert f"The validation part prefers {summary.preferred} (sMAPE" in shown
    assert "mean-seed0" in shown
    page = (done().artifacts / (summary.report or "")).read_text(encoding="utf-8")
    assert "Mean, validation" in page
    assert ">mean of seed 0</th>" in page
    assert ">linear</th>" in page


def test_its_chain_can_be_verified() -> None:
    from tasks.track.verify import verify

    run = done()
    verdict = verify(run.folder.name, run.artifacts)
    names = {finding.name for finding in verdict.findings}
    assert {"job linear", "predictions linear"} <= names
    assert [each for each in verdict.findings if each.state != "ok"] == []
    own = verify("linear", run.artifacts)
    assert own.findings[-1].name == "predictions linear"


def test_one_that_is_killed_fails_alone_and_the_run_is_partial() -> None:
    summary = done().summary
    assert (done().status, summary.status, summary.exit_code) == (1, "partial", 1)
    assert summary.failed_jobs.keys() == {"histogram_boosting"}
    (reason,) = summary.failed_jobs.values()
    assert "killed by signal 9 (SIGKILL)" in reason
    assert reason in done().shown
    assert tuple(summary.models) == ("gru-seed0", "lstm-seed0")
    assert "histogram_boosting" not in summary.baselines


def planned(*overrides: str, num_concurrent: int = 2) -> tuple[Run, Features, BaselineJob]:
    """What a run with these settings would do of the linear baseline, on the same features."""
    from tasks.machine.devices import find_devices
    from tasks.runs.run import Run
    from tasks.train.plan_jobs import plan_baselines
    from tasks.train.records import Features

    path = next((done().artifacts / "features").glob("*.json"))
    table = {"path": str(path.with_suffix(".parquet"))}
    features = Features.model_validate(read_json(path) | table)
    wanted = (*WANTED, "baselines.fitted=[linear]", "training.threads=null", *overrides)
    config = Config.load(overrides=wanted)
    devices = find_devices(config, where="base")
    run = Run("", "", done().artifacts, None, "base", wanted, config, devices, fresh=False)
    (job,) = plan_baselines.fn(run, features, num_concurrent=num_concurrent)
    return run, features, job


@pytest.mark.parametrize(
    ("overrides", "num_windows", "num_regions", "expected"),
    [
        pytest.param((), 1, 2, ("linear", "linear_neighbours"), id="cheap"),
        pytest.param((), 1, 1, ("linear",), id="one_region_has_no_neighbours"),
        pytest.param((), 930_363, 12, ("linear", "linear_neighbours"), id="the_articles_regions"),
        pytest.param((), 1_000_001, 12, (), id="more_are_not_cheap"),
        pytest.param(
            ("windows.horizon=2",), 1, 2, ("linear", "linear_neighbours"), id="two_hours_ahead"
        ),
        pytest.param(("features.kind=article",), 1, 2, (), id="article"),
        pytest.param(("baselines.fitted=[]",), 1, 2, (), id="unwanted"),
        pytest.param(("baselines.fitted=[linear]",), 930_363, 2, ("linear",), id="asked_for"),
    ],
)
def test_where_nothing_is_said_the_linear_ones_are_fitted_if_they_are_cheap(
    overrides: tuple[str, ...], num_windows: int, num_regions: int, expected: tuple[str, ...]
) -> None:
    from tasks.train.plan_jobs import kinds_to_fit

    config = Config.load(overrides=overrides)
    assert kinds_to_fit(config, num_windows=num_windows, num_regions=num_regions) == expected


def test_what_is_unchanged_is_not_fitted_again() -> None:
    from prefect.client.schemas.objects import State

    from tasks.train.jobs import fit_baseline
    from tasks.train.records import FittedBaseline

    run, features, job = planned()
    state: object = fit_baseline.fn(run, features, job)
    assert isinstance(state, State)  # no process: the state in which the task ends
    assert state.name == "Cached"
    assert isinstance(state.data, FittedBaseline)
    assert state.data.cached
    assert state.data.train_seconds == done().summary.baselines["linear"].train_seconds


def test_neither_threads_nor_the_networks_size_are_part_of_its_key_but_its_labels_are() -> None:
    _, _, job = planned()
    _, _, other = planned("training.threads=3", "model.hidden_size=99")
    assert (other.key, other.threads) == (job.key, 3)
    assert planned("windows.warmup=47")[2].key != job.key


def test_on_a_cpu_baselines_share_the_cores_with_the_networks() -> None:
    assert planned(num_concurrent=10_000)[2].threads == 1
    run, _, alone = planned(num_concurrent=0)
    assert alone.threads == run.devices.num_cores


def test_forecasts_that_were_changed_are_not_taken_for_those_that_were_written() -> None:
    from tasks.train.job_owner import found_result
    from tasks.train.records import FittedBaseline

    _, _, job = planned()
    path = Path(job.folder) / "forecasts.parquet"
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    assert found_result(job, FittedBaseline) is None
    path.write_bytes(content)
    assert found_result(job, FittedBaseline) is not None


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
    from tasks.train.plan_jobs import require_fittable

    monkeypatch.setitem(sys.modules, "lightgbm", None)  # as if it were not installed
    config = Config.load("baselines", overrides=(override,))
    with pytest.raises(ConfigError, match=expected) as caught:
        require_fittable(config, profile="baselines")
    assert caught.value.exit_code == 2
    assert caught.value.key == "baselines.fitted"
