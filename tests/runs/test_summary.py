"""The summary as a function of what the stages of a run left, and of how it ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gridcast.errors import EXIT_LOCKED
from gridcast.evaluation.records import BaselineRecord, Evaluation, MeanRecord, ModelRecord
from gridcast.features.windows import FeaturesMade, WindowsRecord
from gridcast.readings.records import DataRecord, DataReport, Ingestion, RegionRecord
from gridcast.record import RunRecord
from gridcast.summary import (
    Ending,
    FailedJobs,
    Opened,
    Report,
    RunRecords,
    StageTime,
    Summary,
    Tracking,
    summarize,
)

REGION = RegionRecord(rows=3, utc_hours=3, missing_hours=0, flagged=0, status="published", path="p")
GRU = ModelRecord(
    cell="gru", seed=0, device="cpu", num_parameters=9, smape=1.0, smape_by_region={"AEP": 1.0},
    mae=1.0, rmse=1.0, mase=1.0, validation_smape=0.9, train_seconds=2.0, pass_seconds=[2.0],
    evaluation_seconds=0.1, peak_memory_bytes=1, mlflow_run_id=None, weights_sha256="w",
    cached=False,
)  # fmt: skip
WINDOWS = WindowsRecord(train=5, validation=2, test=2)
WHOLE = RunRecords(
    opened=Opened(
        flow="run-pipeline", profile="base", overrides=("training.passes=1",), config_sha256="c",
        code_version="9", config={"training": {"precision": "fp32"}}, devices=("cpu",),
        num_cores=2,
    ),
    ingestion=Ingestion(
        dataset="load", data=DataRecord(folder="load", kind="real"), regions={"AEP": REGION},
        data_docs="docs", snapshot="s",
    ),
    data_report=DataReport(path="data.html"),
    features=FeaturesMade(
        path="f", key="k", windows=WINDOWS, imputed_hours={"AEP": 1}, cached=False
    ),
    jobs=FailedJobs(failed_jobs={}),
    evaluation=Evaluation(
        forecasts_path="f", scores_paths={}, num_test_labels=2, contestants=(), means={},
        models={"gru-seed0": GRU},
        baselines={"persistence": BaselineRecord(smape=2.0, smape_by_region={"AEP": 2.0})},
        preferred="gru-seed0",
    ),
    tracking=(Tracking(stage="track_models", mlflow_run_ids={"gru-seed0": "m"}),),
    report=Report(path="report.html"),
    timings=(
        StageTime(number=1, stage="build_features", seconds=2.0),
        StageTime(number=0, stage="prepare_data", seconds=1.0),
    ),
)  # fmt: skip
DONE = Ending(seconds=3.00049)


def test_a_whole_run_is_completed_and_each_part_comes_from_the_record_of_its_stage() -> None:
    summary = summarize("r", WHOLE, DONE)
    assert (summary.run_id, summary.flow, summary.profile) == ("r", "run-pipeline", "base")
    assert (summary.status, summary.exit_code, summary.errors) == ("completed", 0, [])
    assert (summary.devices, summary.precision, summary.code_version) == (["cpu"], "fp32", "9")
    assert (summary.overrides, summary.config_sha256) == (["training.passes=1"], "c")
    assert (summary.regions, summary.snapshot, summary.data_docs) == ({"AEP": REGION}, "s", "docs")
    assert (summary.report, summary.data_report) == ("report.html", "data.html")
    assert (summary.windows, summary.imputed_hours) == (WINDOWS, {"AEP": 1})
    assert (summary.preferred, set(summary.baselines)) == ("gru-seed0", {"persistence"})
    assert list(summary.timings.items()) == [
        ("prepare_data", 1.0), ("build_features", 2.0), ("total", 3.0),
    ]  # fmt: skip


def test_a_models_mlflow_run_comes_from_the_stage_that_logged_it() -> None:
    assert summarize("r", WHOLE, DONE).models["gru-seed0"].mlflow_run_id == "m"
    untracked = replace(WHOLE, tracking=(Tracking(stage="track_models", error="ERROR down"),))
    assert summarize("r", untracked, DONE).models["gru-seed0"].mlflow_run_id is None


def test_a_mean_has_its_mlflow_run_and_the_registered_model_comes_from_its_stage() -> None:
    mean = MeanRecord(
        members=("gru-seed0",), num_parameters=9, smape=1.0, smape_by_region={"AEP": 1.0}, mae=1.0,
        rmse=1.0, mase=1.0, validation_smape=0.9, train_seconds=2.0,
    )  # fmt: skip
    assert WHOLE.evaluation is not None
    evaluation = WHOLE.evaluation.model_copy(update={"means": {"mean-seed0": mean}})
    logged = Tracking(stage="track_models", mlflow_run_ids={"mean-seed0": "n"})
    registered = Tracking(stage="register_model", registered_model="models:/gridcast-load/2")
    summary = summarize(
        "r", replace(WHOLE, evaluation=evaluation, tracking=(logged, registered)), DONE
    )
    assert summary.means["mean-seed0"].mlflow_run_id == "n"
    assert summary.registered_model == "models:/gridcast-load/2"
    assert summarize("r", WHOLE, DONE).registered_model is None


@pytest.mark.parametrize(
    "failing",
    [
        replace(WHOLE, jobs=FailedJobs(failed_jobs={"lstm-seed0": "ERROR killed"})),
        replace(WHOLE, tracking=(Tracking(stage="record_lineage", error="ERROR down"),)),
        replace(WHOLE, unreadable=("ERROR features.json: found an empty file",)),
        replace(
            WHOLE,
            ingestion=Ingestion(
                dataset="load", data=DataRecord(folder="load", kind="real"), regions={},
                errors=("ERROR DOM_hourly.csv:1:1: found no rows",),
            ),
        ),
    ],
    ids=["job", "tracking", "unreadable", "region"],
)  # fmt: skip
def test_where_part_of_the_work_failed_the_run_is_partial(failing: RunRecords) -> None:
    summary = summarize("r", failing, DONE)
    assert (summary.status, summary.exit_code) == ("partial", 1)
    assert summary.errors == failing.errors != []


def test_an_error_that_ended_the_run_is_the_one_that_is_told() -> None:
    failing = replace(WHOLE, jobs=FailedJobs(failed_jobs={"gru-seed0": "ERROR killed"}))
    ending = Ending(seconds=1.0, error="ERROR full", exit_code=EXIT_LOCKED)
    summary = summarize("r", failing, ending)
    assert (summary.status, summary.exit_code) == ("failed", EXIT_LOCKED)
    assert summary.errors == ["ERROR full"]
    assert summary.failed_jobs == {"gru-seed0": "ERROR killed"}


def test_a_run_of_which_nothing_can_be_read_has_a_summary_too() -> None:
    summary = summarize("r", RunRecords(), Ending(seconds=0.0, error="killed"))
    assert (summary.status, summary.flow, summary.profile) == ("failed", "unknown", "unknown")
    assert (summary.models, summary.regions, summary.windows) == ({}, {}, None)
    assert Summary.model_validate_json(summary.model_dump_json()) == summary


def test_each_kind_of_record_has_a_file_of_its_own() -> None:
    import tasks.evaluate.check_leaks
    import tasks.track.record_lineage
    import tasks.tune.trials  # noqa: F401 - all rooms that have records of their own

    kinds = [each.kind for each in RunRecord.__subclasses__()]
    assert len(kinds) > 12
    assert sorted(set(kinds)) == sorted(kinds)
