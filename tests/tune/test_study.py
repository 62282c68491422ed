"""A study alone, on its real SQLite file, without Prefect and training: what it asks, is told."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gridcast.config import Config
from gridcast.errors import ConfigError
from gridcast.evaluation.search import TrialRecord, best_first, best_of
from gridcast.features.windows import WindowsRecord
from tasks.machine.devices import Devices, resolve_precision
from tasks.machine.progress import ProgressWriter
from tasks.runs.run import Run
from tasks.train.job_owner import stop_file_of
from tasks.train.records import Features, NetworkJob
from tasks.tune.study import Outcome, Study, Trial, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CPU = Devices(("cpu",), 2)
SPACE = ("tuning.space.windows=null", "tuning.space.training.batch_size=null",
         "tuning.space.training.weight_decay=null", "tuning.random_trials=2")  # fmt: skip
FEATURES = Features(path="features/a.parquet", file_sha256="", key="", scales={}, feature_names=[],
                    windows=WindowsRecord(train=1, validation=1, test=1), imputed_hours={},
                    parts={})  # fmt: skip


def make_run(folder: Path, *overrides: str, devices: Devices = CPU) -> Run:
    config = resolve_precision(Config.load(overrides=(*SPACE, *overrides)), devices.device_type)
    return Run(run_id="r", flow="tune-models", artifacts=folder, data=None, profile="base",
               overrides=(), config=config, devices=devices, fresh=False)  # fmt: skip


@contextmanager
def study_of(
    folder: Path, *overrides: str, devices: Devices = CPU, name: str = "data-1"
) -> Iterator[Study]:
    with opened(make_run(folder, *overrides, devices=devices), name, devices) as study:
        yield study


def asked(study: Study) -> Trial:
    trial = study.ask()
    assert trial is not None
    return trial


def search(study: Study, smapes: list[float]) -> list[dict[str, Any]]:
    """Ask and tell, one after another; the settings that were asked for."""
    tried = []
    for smape in smapes:
        trial = asked(study)
        tried.append(trial.settings)
        study.tell(trial, Outcome(smape, 1.0))
    return tried


def make_jobs(*names: str) -> list[NetworkJob]:
    more: dict[str, Any] = {
        "threads": 1,
        "limit_seconds": 300,
        "key": "",
        "folder": "",
        "parts": {},
    }
    return [NetworkJob(name=name, cell="gru", seed=0, **more) for name in names]


def progress(step: int, smape: float | None) -> dict[str, Any]:
    return {"pass_number": step, "num_passes": 10, "step": step, "num_steps": 10, "loss": 0.1,
            "steps_per_second": 1.0, "seconds_left": 0.0, "validation_smape": smape}  # fmt: skip


# -- what is searched ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ("scaling.fit_on=all",),
            "base: scaling.fit_on: found 'all', expected train: no trial may",
        ),
        (("split.validation_share=0",), "split.validation_share: found 0.0, expected above 0: tri"),
        (
            ("tuning.space.model=null", "tuning.space.training=null"),
            "expected at least one setting",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(
    tmp_path: Path, overrides: tuple[str, ...], expected: str
) -> None:
    from tasks.tune.trials import require_search

    with pytest.raises(ConfigError) as refused:
        require_search(make_run(tmp_path, *overrides))
    assert expected in str(refused.value)


# -- asking --------------------------------------------------------------------------------------


def test_the_first_trial_has_the_settings_as_they_are(tmp_path: Path) -> None:
    with study_of(tmp_path, "model.hidden_size=40") as study:
        trial = asked(study)
    assert trial.settings == study.place.unchanged
    assert trial.settings["model.hidden_size"] == 40
    assert trial.run.config == make_run(tmp_path, "model.hidden_size=40").config


def test_settings_outside_of_the_space_are_not_tried(tmp_path: Path) -> None:
    with study_of(tmp_path, "model.hidden_size=7") as study:
        assert asked(study).settings["model.hidden_size"] >= 32


def test_a_trials_settings_are_laid_over_the_runs_configuration(tmp_path: Path) -> None:
    with study_of(tmp_path, "tuning.space.features.lags_hours=[[24, 168], [24]]") as study:
        search(study, [3.0])
        trial = asked(study)
    config = trial.run.config
    assert config.model.hidden_size == trial.settings["model.hidden_size"]
    assert config.training.learning_rate == trial.settings["training.learning_rate"]
    assert config.features.lags_hours == trial.settings["features.lags_hours"]


def test_the_same_seed_and_results_give_the_same_trials(tmp_path: Path) -> None:
    smapes = [3.0, 2.0, 1.0, 2.5, 1.5]
    tried: list[list[dict[str, Any]]] = []
    for seed in (0, 0, 1):
        folder = tmp_path / str(len(tried))
        with study_of(folder, f"tuning.seed={seed}") as study:
            tried.append(search(study, smapes))
    assert tried[0] == tried[1]
    assert tried[0][0] == tried[2][0]  # the settings as they are
    assert tried[0][1:] != tried[2][1:]


def test_a_study_that_goes_on_does_not_begin_with_the_same_trials_again(tmp_path: Path) -> None:
    with study_of(tmp_path) as study:
        before = search(study, [3.0, 2.0, 2.0])
    with study_of(tmp_path) as study:
        after = search(study, [2.0, 2.0, 2.0])
        assert [each.number for each in study.records()] == list(range(6))
    assert all(each not in before for each in after)


def test_there_are_no_more_trials_than_asked_for_those_of_earlier_runs_counted(
    tmp_path: Path,
) -> None:
    with study_of(tmp_path, "tuning.trials=3") as study:
        search(study, [3.0, 2.0])
    with study_of(tmp_path, "tuning.trials=3", "tuning.at_once=2") as study:
        trial = asked(study)
        assert study.ask() is None
        study.tell(trial, Outcome(None, reason="out of memory"))
        assert study.ask() is None


def test_no_trial_begins_after_the_hours_given(tmp_path: Path) -> None:
    with study_of(tmp_path, "tuning.hours=1e-9") as study:
        assert study.ask() is None


def test_there_is_one_trial_a_device_at_a_time_each_on_its_own(tmp_path: Path) -> None:
    devices = Devices(("cuda:0", "cuda:1"), 8)
    with study_of(tmp_path, devices=devices) as study:
        first, second = asked(study), asked(study)
        assert study.ask() is None
        assert {first.device, second.device} == {"cuda:0", "cuda:1"}
        study.tell(first, Outcome(1.0, 1.0))
        assert asked(study).device == first.device


def test_a_trials_own_values_choose_its_device_and_precision(tmp_path: Path) -> None:
    space = "tuning.space.training={precision: [auto], split_over: [2]}"
    devices = Devices(("cuda:0", "cuda:1", "cuda:2", "cuda:3"), 8)
    with study_of(tmp_path, space, "tuning.at_once=2", devices=devices) as study:
        first, second = asked(study), asked(study)
        assert {first.device, second.device} == {"cuda:0", "cuda:2"}  # each leads one more
        assert first.run.config.training.precision == "bf16"  # as "auto" is on a GPU


def test_no_two_trials_that_run_have_the_same_settings(tmp_path: Path) -> None:
    two = ("tuning.space.training=null", "tuning.space.model={hidden_size: null}")
    with study_of(tmp_path, *two, "tuning.at_once=3") as study:
        first, second = asked(study), asked(study)
        assert {each.settings["model.num_layers"] for each in (first, second)} == {1, 2}
        assert study.ask() is None
        study.tell(first, Outcome(1.0, 1.0))
        assert asked(study).settings == first.settings
        assert {each.state for each in study.records()} == {"trained", "refused"}


def test_settings_that_do_not_go_together_are_not_tried_and_not_counted(tmp_path: Path) -> None:
    overrides = ("tuning.space.windows.lookback=[24, 168]", "tuning.trials=4")
    with study_of(tmp_path, *overrides) as study:
        tried = search(study, [1.0, 1.0, 1.0, 1.0])
        refused = [each for each in study.records() if each.state == "refused"]
    assert all(each["windows.lookback"] == 168 for each in tried)
    assert all("warmup below lookback (24)" in each.reason for each in refused)
    assert refused


def test_a_space_without_settings_that_go_together_is_refused(tmp_path: Path) -> None:
    with (
        study_of(tmp_path, "tuning.space.windows.lookback=[24]") as study,
        pytest.raises(ConfigError, match=r"trial \d+: windows: found .* warmup below lookback"),
    ):
        study.ask()


# -- telling -------------------------------------------------------------------------------------


def test_what_came_of_each_trial_is_kept_best_first(tmp_path: Path) -> None:
    with study_of(tmp_path) as study:
        search(study, [3.0, 1.0])
        study.tell(asked(study), Outcome(float("nan"), 1.0))
        study.tell(asked(study), Outcome(None, reason="killed"))
    with study_of(tmp_path) as study:
        records = study.records()
    assert [(each.number, each.state) for each in best_first(records)] == [
        (1, "trained"), (0, "trained"), (2, "failed"), (3, "failed"),
    ]  # fmt: skip
    assert [each.reason for each in records[2:]] == ["its validation error is nan", "killed"]
    best = best_of(records)
    assert best is not None
    assert (best.number, best.validation_error, best.train_seconds) == (1, 1.0, 1.0)
    assert best_of(records[2:]) is None


def test_a_trial_that_a_killed_run_left_is_closed_and_its_settings_are_tried_first(
    tmp_path: Path,
) -> None:
    with study_of(tmp_path) as study:
        search(study, [3.0])
        left = asked(study)
    with study_of(tmp_path) as study:
        assert [each.state for each in study.records()] == ["trained", "interrupted"]
        again = asked(study)
        assert (again.number, again.settings) == (2, left.settings)
        study.tell(again, Outcome(1.0, 1.0))
        assert asked(study).settings != left.settings
        assert sum(each.counts for each in study.records()) == 2


def test_another_study_knows_nothing_of_the_first(tmp_path: Path) -> None:
    with study_of(tmp_path) as study:
        search(study, [3.0])
    with study_of(tmp_path, name="data-2") as study:
        assert study.records() == []


# -- giving up -----------------------------------------------------------------------------------


def run_trial(study: Study, folder: Path, smape: float) -> TrialRecord:
    """A trial of two jobs that both tell ``smape`` ten times, or until they are to stop."""
    trial = asked(study)
    jobs = study.begin(trial, FEATURES, make_jobs("gru-seed0", "lstm-seed0"))
    live = make_run(folder).live
    writers = [ProgressWriter(live, job.name) for job in jobs]
    outcome = Outcome(smape, 1.0)
    for step in range(1, 11):
        for writer in writers:
            writer.write(progress(step, None))
            writer.write(progress(step, smape))
        study.read_progress()
        if reasons := [stop_file_of(live, job) for job in jobs if stop_file_of(live, job).exists()]:
            assert len(reasons) == len(jobs)
            outcome = Outcome(None, reason=reasons[0].read_text("utf-8"))
            assert outcome.reason.startswith(
                f"given up at {step * 10}%, with a validation sMAPE of"
            )
            break
    for writer in writers:
        writer.close()
    study.tell(trial, outcome)
    return study.records()[-1]


def test_a_trial_that_is_worse_than_most_is_given_up_at_the_share_of_its_training(
    tmp_path: Path,
) -> None:
    with study_of(tmp_path, "tuning.prune_from=0.5") as study:
        states = [run_trial(study, tmp_path, smape).state for smape in (9.0, 2.0, 1.0)]
        worse = run_trial(study, tmp_path, 5.0)
        stored = study._handle.get_trials()[worse.number].intermediate_values
    assert states == ["trained", "trained", "trained"]
    assert (worse.state, worse.validation_error, worse.counts) == ("given up", 5.0, True)
    assert list(stored) == [1, 2, 3, 4, 5]


def test_a_trial_that_came_to_its_end_before_it_was_ended_counts_as_trained(
    tmp_path: Path,
) -> None:
    with study_of(tmp_path, "tuning.prune_from=0.5") as study:
        for smape in (9.0, 2.0, 1.0):
            run_trial(study, tmp_path, smape)
        trial = asked(study)
        (job,) = study.begin(trial, FEATURES, make_jobs("gru-seed0"))
        writer = ProgressWriter(make_run(tmp_path).live, job.name)
        for step in range(1, 10):
            writer.write(progress(step, 5.0))
        study.read_progress()
        assert stop_file_of(make_run(tmp_path).live, job).exists()
        study.tell(trial, Outcome(4.5, 1.0))
        assert (study.records()[-1].state, study.records()[-1].validation_error) == ("trained", 4.5)


def test_no_trial_is_given_up_where_it_is_not_wanted(tmp_path: Path) -> None:
    with study_of(tmp_path, "tuning.prune_from=null") as study:
        assert [run_trial(study, tmp_path, smape).state for smape in (1.0, 2.0, 3.0, 9.0)] == [
            "trained"
        ] * 4


def test_the_tables_of_trials_that_run_are_in_use(tmp_path: Path) -> None:
    with study_of(tmp_path, "tuning.at_once=2") as study:
        first, second = asked(study), asked(study)
        study.begin(first, FEATURES, [])
        study.begin(second, FEATURES.model_copy(update={"path": "features/b.parquet"}), [])
        assert study.tables == ["features/a.parquet", "features/b.parquet"]
        study.tell(first, Outcome(1.0, 1.0))
        assert study.tables == ["features/b.parquet"]
    assert replace(first.run, config=second.run.config) == second.run
