"""A real search by the real command: killed, gone on with, and its best settings run."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from gridcast.config import Config
from gridcast.evaluation.search import StudyRecord, best_of
from gridcast.features.splits import TEST, VALIDATION
from tasks.machine.devices import Devices
from tasks.runs.run import Run
from tasks.train.build_features import make_features
from tasks.train.records import NetworkJob, TrainedJob
from tests.builders.pipelines import (
    GRIDCAST,
    PipelineRun,
    copy_artifacts,
    kill_tree,
    on_a_server,
    read_json,
    run_flow,
    session_folder,
    settings,
    small_data,
    started,
    wait_for,
)
from tests.builders.warm_python import HELD

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

SMALL = (
    "model.cells=[gru]", "model.hidden_size=8",
    "training.device=cpu", "training.passes=2", "training.threads=1",
    "tuning.space.windows.lookback=[48, 72]", "tuning.space.model=null",
    "tuning.space.training={batch_size: null, weight_decay: null}", "tuning.random_trials=1",
    "tuning.objective=mean_forecast", "tuning.prune_from=null",
)  # fmt: skip
NUM_TRIALS = 2


@dataclass(frozen=True)
class Search:
    """A search that was killed in its second trial, then gone on with to its end."""

    killed_log: str
    run: PipelineRun

    @property
    def study(self) -> StudyRecord:
        return StudyRecord.model_validate(read_json(self.run.folder / "study.json"))

    def jobs(self) -> list[TrainedJob]:
        """The jobs of trials that have ended."""
        results = sorted((self.run.artifacts / "jobs").glob("*/result.json"))
        jobs = {path: read_json(path.with_name("job.json"))["job"] for path in results}
        return [
            TrainedJob.model_validate(
                read_json(path)
                | {
                    "job": {name: job[name] for name in NetworkJob.model_fields}
                    | {"folder": str(path.parent)}
                }
            )
            for path, job in jobs.items()
            if "test" not in job["scored"]
        ]


@pytest.fixture(scope="module")
def searched() -> Search:
    artifacts = copy_artifacts(session_folder() / "searched")
    log = session_folder() / "killed-search.txt"
    options = (*settings(*SMALL), "--trials", str(NUM_TRIALS))
    folders = ("--data", small_data(), "--artifacts", artifacts)
    environment = {**on_a_server(), HELD: "/trial1-"}
    with started(GRIDCAST, "tune", *folders, *options, log=log, environment=environment) as process:

        def is_in_its_second_trial() -> bool:
            assert process.poll() is None, log.read_text("utf-8")
            return "trial1-gru-seed0: training on" in log.read_text("utf-8")

        wait_for("the second trial", is_in_its_second_trial)
        kill_tree(process)
    run = run_flow("tune", small_data(), artifacts, *options, environment=on_a_server())
    return Search(log.read_text("utf-8"), run)


def test_a_killed_search_goes_on_with_the_same_study_and_tries_again_what_it_was_at(
    searched: Search,
) -> None:
    assert searched.run.result.returncode == 0, searched.run.result.stderr
    text = searched.run.result.stderr
    assert f"Study {searched.study.name} begins" in searched.killed_log
    assert f"Study {searched.study.name}: 1 of {NUM_TRIALS} trials so far" in text
    assert "Trial 1 was interrupted; its values are tried again" in text
    states = [each.state for each in searched.study.trials]
    assert states == ["trained", "interrupted", "trained"]
    assert searched.study.trials[1].settings == searched.study.trials[2].settings


def test_no_trial_forecasts_a_label_of_the_test_part(searched: Search) -> None:
    assert searched.jobs()
    for trained in searched.jobs():
        assert set(trained.files) == {"forecasts.parquet"}
        spec = read_json(trained.file("job.json"))
        part_T = pd.read_parquet(searched.run.place(spec["features"]["path"]), columns=["part"])[
            "part"
        ].to_numpy()
        forecasts = pd.read_parquet(trained.file("forecasts.parquet"))
        assert set(forecasts["part"]) == {"validation"}
        assert set(part_T[forecasts["step"]]) == {VALIDATION}
        assert (part_T == TEST).any()


def test_the_objective_of_one_job_is_the_validation_error_that_it_told_itself(
    searched: Search,
) -> None:
    text = {job.history[-1]["validation_smape"] for job in searched.jobs()}
    found = [each for each in searched.study.trials if each.state == "trained"]
    for trial in found:  # by its mean forecast, and in the process: not the same sums
        assert any(trial.validation_error == pytest.approx(each) for each in text)


def test_the_best_trial_is_shown_first_with_the_command_that_runs_it(searched: Search) -> None:
    study, shown = searched.study, searched.run.result.stdout
    best = best_of(study.trials)
    assert best is not None
    assert best.number == study.best
    assert best.validation_error == min(
        each.validation_error for each in study.trials if each.validation_error is not None
    )
    assert f"gridcast run --profile {searched.run.place(study.profile)}" in shown
    first = next(line for line in shown.splitlines() if f"{best.validation_error:.3f}" in line)
    assert first.split()[0] == str(best.number)
    assert shown.splitlines()[-1] == str(searched.run.folder / "summary.json")


def test_the_study_leaves_a_picture_and_its_own_database(searched: Search) -> None:
    study = searched.study
    assert searched.run.place(study.picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with sqlite3.connect(
        f"file:{searched.run.place(study.folder)}/study.db?mode=ro", uri=True
    ) as connection:
        assert connection.execute("SELECT study_name FROM studies").fetchall() == [(study.name,)]


def test_the_best_settings_are_a_profile_that_says_where_it_comes_from_and_runs(
    searched: Search,
) -> None:
    study = searched.study
    profile = str(searched.run.place(study.profile))
    text = Path(profile).read_text(encoding="utf-8")
    best = best_of(study.trials)
    assert best is not None
    for fact in (
        study.name,
        f"{best.validation_error:.3f} %",
        f"best of {NUM_TRIALS} trials",
        "cpu",
    ):
        assert fact in text
    config = Config.load(profile, device_type="cuda")
    assert config.training.learning_rate == best.settings["training.learning_rate"]
    assert config.windows.lookback == best.settings["windows.lookback"]
    assert yaml.safe_load(text)["model"]["cells"] == ["gru"]
    run = run_flow(
        "train", small_data(), searched.run.artifacts, "--profile", profile,
        environment=on_a_server(),
    )  # fmt: skip
    assert run.result.returncode == 0, run.result.stderr
    model = run.summary.models["gru-seed0"]
    assert model.validation_smape == pytest.approx(best.validation_error)
    assert run.summary.models.keys() == {"gru-seed0"}


def test_tables_that_trials_read_stay_when_others_are_made(
    searched: Search, tmp_path: Path
) -> None:
    found = searched.run.summary.regions["FE"]
    region = found.model_copy(update={"path": str(searched.run.place(found.path))})
    run = Run(run_id="r", flow="tune-models", artifacts=tmp_path, data=None, profile="base",
              overrides=(), config=Config.load(), devices=Devices(("cpu",), 2),
              fresh=False)  # fmt: skip
    made: list[str] = []
    for lookback in (60, 61, 62, 63, 64, 65):
        config = run.config.with_values({"windows.lookback": lookback}, where="trial")
        features = make_features.fn(
            replace(run, config=config), {"FE": region}, in_use=made[:1], of_trial=True
        )
        made.append(features.path)
    assert [Path(path).is_file() for path in made] == [True, False, True, True, True, True]
