"""Several runs in one artifacts folder, killed ones, and a folder that is copied or moved."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import psutil
import pytest

from gridcast.summary import Summary
from tasks.track.verify import verify
from tests.builders.pipelines import (
    GRIDCAST,
    SMALL_MODEL,
    Command,
    PipelineRun,
    Started,
    command_of,
    copy_artifacts,
    first_run,
    kill_tree,
    on_a_server,
    read_json,
    run_flow,
    settings,
    sha256_by_file,
    small_data,
    started,
    temporary_files,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.soak]

PATIENCE = 300  # s, for whatever a loaded machine takes
# Trains for as long as a test needs to kill it, were it not killed, in passes of half a second.
LONG = (
    "training.passes=3000", "model.hidden_size=128", "windows.lookback=168", "model.cells=[gru]",
)  # fmt: skip


@pytest.fixture(scope="module")
def few_regions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three regions: what is tested here does not grow with them."""
    folder = tmp_path_factory.mktemp("many") / "load"
    folder.mkdir()
    for path in sorted(small_data().glob("*_hourly.csv"))[:3]:
        shutil.copy(path, folder)
    return folder


def summaries(artifacts: Path) -> list[Summary]:
    """Of all runs, the oldest first."""
    paths = (artifacts / "runs").glob("*Z-*/summary.json")
    found = {path: Summary.model_validate_json(path.read_bytes()) for path in paths}
    return [found[path] for path in sorted(found, key=number_of)]


def number_of(summary: Path) -> int:
    return int(read_json(summary.with_name("opened.json"))["sequence"])


def trained_by_whom(artifacts: Path) -> Counter[str]:
    """How many runs say of a model that they trained it."""
    return Counter(
        name
        for summary in summaries(artifacts)
        for name, model in summary.models.items()
        if not model.cached
    )


def training_processes(parent: Started) -> list[psutil.Process]:
    try:
        children = parent.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [each for each in children if "tasks.train.training_process" in command_of(each)]


def is_whole(target: str, artifacts: Path) -> bool:
    """Whether no link of the chain to a run or a model is broken, gone or replaced."""
    return {each.state for each in verify(target, artifacts).findings} == {"ok"}


def num_mlflow_runs(artifacts: Path) -> Counter[str]:
    with sqlite3.connect(artifacts / "mlflow" / "mlflow.db") as database:
        return Counter(status for (status,) in database.execute("SELECT status FROM runs"))


# -- at once -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at_once(few_regions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of two runs and an ingestion that were started together in an empty folder."""
    artifacts = tmp_path_factory.mktemp("at-once") / "artifacts"
    where: Command = ("--data", few_regions, "--artifacts", artifacts)
    commands: list[Command] = [
        (GRIDCAST, "run", *where, *settings(*SMALL_MODEL)),
        (GRIDCAST, "run", *where, *settings(*SMALL_MODEL)),
        (GRIDCAST, "ingest", *where),
    ]
    with ExitStack() as running:
        logs = [artifacts.with_name(f"log{number}.txt") for number in range(3)]
        servers = [on_a_server(), None, None]  # two begin one of their own, on one database
        processes = [
            running.enter_context(started(*command, log=log, environment=server))
            for command, log, server in zip(commands, logs, servers, strict=True)
        ]
        codes = [process.wait(2 * PATIENCE) for process in processes]
    assert codes == [0, 0, 0], "\n".join(log.read_text("utf-8") for log in logs)
    return artifacts


def test_two_runs_and_an_ingestion_at_once_all_end_well(at_once: Path) -> None:
    assert [each.status for each in summaries(at_once)] == ["completed"] * 3
    flows = sorted(each.flow for each in summaries(at_once))
    assert flows == ["prepare-data", "run-pipeline", "run-pipeline"]
    assert temporary_files(at_once) == []
    locks = [path for path in at_once.rglob("*.lock") if "places" not in path.parts]
    assert locks == []


def test_runs_at_once_train_each_job_once_and_tell_the_same_scores(at_once: Path) -> None:
    assert trained_by_whom(at_once) == {"gru-seed0": 1, "lstm-seed0": 1}
    assert len(list((at_once / "jobs").iterdir())) == 2
    first, second = (each for each in summaries(at_once) if each.models)
    for name, model in first.models.items():
        assert second.models[name].smape == model.smape
        assert second.models[name].weights_sha256 == model.weights_sha256


def test_runs_at_once_publish_once_and_read_each_region_into_one_table(at_once: Path) -> None:
    assert len({each.snapshot for each in summaries(at_once)}) == 1
    manifests = [p for p in (at_once / "data" / "snapshots").iterdir() if "changes" not in p.name]
    assert len(manifests) == 1
    assert read_json(at_once / "data" / "load.json")["sequence"] == 1
    assert len(list((at_once / "data" / "objects").iterdir())) == 3


def test_runs_at_once_log_each_model_once(at_once: Path) -> None:
    assert num_mlflow_runs(at_once) == {"FINISHED": 3}
    ids = {
        (name, model.mlflow_run_id)
        for each in summaries(at_once)
        for name, model in each.forecasters.items()
    }
    assert len(ids) == 3


def test_what_runs_at_once_left_passes_its_audit(at_once: Path) -> None:
    for each in summaries(at_once):
        if each.models:
            assert is_whole(each.run_id, at_once)


# -- killed --------------------------------------------------------------------------------------


def begin(data: Path, artifacts: Path, log: Path, stack: ExitStack) -> Started:
    """A run that trains for a long time."""
    where: Command = ("--data", data, "--artifacts", artifacts)
    command: Command = (GRIDCAST, "run", *where, *settings(*SMALL_MODEL, *LONG))
    return stack.enter_context(started(*command, log=log, environment=on_a_server()))


def begin_training(data: Path, artifacts: Path, log: Path, stack: ExitStack) -> Started:
    """Such a run, from when its models train on."""
    process = begin(data, artifacts, log, stack)

    def trains() -> list[psutil.Process]:
        assert process.poll() is None, log.read_text("utf-8")
        return training_processes(process)

    wait_for("a training", trains)
    return process


def test_who_waits_for_a_job_whose_trainer_is_killed_trains_it(
    few_regions: Path, at_once: Path, tmp_path: Path
) -> None:
    artifacts, log = tmp_path / "artifacts", tmp_path / "second.txt"
    shutil.copytree(at_once, artifacts, symlinks=True)  # where the regions are ingested
    with ExitStack() as stack:
        first = begin_training(few_regions, artifacts, tmp_path / "first.txt", stack)
        second = begin(few_regions, artifacts, log, stack)
        waits = "Waiting for job-gru-seed0"
        wait_for("the second to wait", lambda: waits in log.read_text("utf-8"))
        assert training_processes(second) == []
        kill_tree(first)
        wait_for("it to take over", lambda: training_processes(second))
        assert second.poll() is None
        os.killpg(second.pid, signal.SIGINT)
        wait_for("its end", lambda: second.poll() is not None)
    assert temporary_files(artifacts / "runs") == []


class Killed(NamedTuple):
    """Artifacts of a run that was killed between two jobs, and of the next one."""

    artifacts: Path
    done: list[str]  # jobs of the first run


@pytest.fixture(scope="module")
def killed(few_regions: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    artifacts, log = folder / "artifacts", folder / "first.txt"
    arguments = settings(*SMALL_MODEL, "training.jobs_per_device=1")
    where: Command = ("--data", few_regions, "--artifacts", artifacts)
    command: Command = (GRIDCAST, "run", *where, *arguments)
    with started(*command, log=log, environment=on_a_server()) as process:

        def results() -> list[Path]:
            assert process.poll() is None, log.read_text("utf-8")
            return list((artifacts / "jobs").glob("*/result.json"))

        wait_for("the first job", results)
        kill_tree(process)
    done = [path.parent.name.rpartition("-")[0] for path in artifacts.glob("jobs/*/result.json")]
    assert summaries(artifacts) == []
    again = run_flow("run", few_regions, artifacts, *arguments, environment=on_a_server())
    assert again.result.returncode == 0, again.result.stderr
    return Killed(artifacts, done)


def test_a_run_that_was_killed_is_ended_by_the_next_one(killed: Killed) -> None:
    first, again = summaries(killed.artifacts)
    assert (first.status, first.exit_code) == ("failed", 1)
    assert again.status == "completed"
    assert (killed.artifacts / "runs" / "latest").resolve().name == again.run_id
    assert list(killed.artifacts.rglob("*.gridcast-tmp*")) == []


def test_after_a_kill_finished_regions_and_jobs_are_not_done_again(killed: Killed) -> None:
    _, again = summaries(killed.artifacts)
    assert all(region.cached for region in again.regions.values())
    assert {name for name, model in again.models.items() if model.cached} == set(killed.done)
    assert read_json(killed.artifacts / "data" / "load.json")["sequence"] == 1
    assert num_mlflow_runs(killed.artifacts) == {"FINISHED": 3}


# -- copied and moved ----------------------------------------------------------------------------


class Elsewhere(NamedTuple):
    """A folder with everything in it, then its copy with a seed more, then itself moved."""

    at_first: Summary
    copy: PipelineRun
    moved: PipelineRun
    original: Path
    changed_by_copy: dict[str, str]  # of the original's files


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    folder = tmp_path_factory.mktemp("elsewhere")
    original = copied(folder / "original")
    # MLflow's database leads to where the first run was; after this one it leads here.
    first = again_in(original)
    assert first.result.returncode == 0, first.result.stderr
    summary, before = first.summary, sha256_by_file(original)
    copy = Path(
        shutil.copytree(original, folder / "copy", symlinks=True, copy_function=shutil.copyfile)
    )
    in_copy = again_in(copy, "training.seeds=[0, 1]", "model.cells=[gru]")
    after = sha256_by_file(original)
    changed = dict(after.items() ^ before.items())
    moved = Path(shutil.move(original, folder / "moved"))
    return Elsewhere(summary, in_copy, again_in(moved), original, changed)


def copied(destination: Path) -> Path:
    """As `cp -r`: other file times, the oldest for what was made last."""
    artifacts = copy_artifacts(destination)
    for age, path in enumerate(newest_last(artifacts)):
        os.utime(path, (10**9 - age, 10**9 - age), follow_symlinks=False)
    return artifacts


def newest_last(folder: Path) -> Iterable[Path]:
    return sorted(folder.rglob("*"), key=lambda path: path.lstat().st_mtime_ns)


def again_in(artifacts: Path, *more: str) -> PipelineRun:
    arguments = settings(*SMALL_MODEL, *more)
    return run_flow("run", small_data(), artifacts, *arguments, environment=on_a_server())


def mlflow_ids(summary: Summary) -> dict[str, str | None]:
    return {name: each.mlflow_run_id for name, each in summary.forecasters.items()}


@pytest.mark.parametrize("where", ["copy", "moved"])
def test_a_folder_elsewhere_goes_on_with_all_that_is_there_cached(
    elsewhere: Elsewhere, where: Literal["copy", "moved"]
) -> None:
    before, run = elsewhere.at_first, getattr(elsewhere, where)
    assert run.result.returncode == 0, run.result.stderr
    told, ids = run.summary, mlflow_ids(before)
    for each in (before, told):
        assert all(region.cached for region in each.regions.values())
        assert all(model.cached == (name in ids) for name, model in each.models.items())
    assert told.snapshot == before.snapshot
    assert mlflow_ids(told).items() >= {"gru-seed0": ids["gru-seed0"]}.items()
    assert num_mlflow_runs(run.artifacts) == {"FINISHED": len(ids.keys() | mlflow_ids(told).keys())}
    assert is_whole("latest", run.artifacts)


def test_a_folder_that_was_moved_has_the_models_that_it_had(elsewhere: Elsewhere) -> None:
    assert mlflow_ids(elsewhere.moved.summary) == mlflow_ids(elsewhere.at_first)
    assert num_mlflow_runs(elsewhere.moved.artifacts) == {"FINISHED": 3}


def test_what_is_done_in_a_copy_or_a_moved_folder_leaves_the_original_alone(
    elsewhere: Elsewhere,
) -> None:
    assert elsewhere.changed_by_copy == {}
    assert not elsewhere.original.exists()


def test_a_new_model_in_a_copy_is_kept_in_the_copy_alone(elsewhere: Elsewhere) -> None:
    run = elsewhere.copy
    model = run.summary.models["gru-seed1"]
    assert not model.cached
    assert (
        len(list((run.artifacts / "mlflow" / "artifacts").rglob("model.json"))) == 5
    )  # and its mean
    assert is_whole(str(model.mlflow_run_id), run.artifacts)


def test_no_record_has_the_place_of_the_artifacts_in_it(elsewhere: Elsewhere) -> None:
    artifacts = elsewhere.moved.artifacts
    records = [path for path in artifacts.rglob("*.json") if "gx" not in path.parts]
    texts = {path: path.read_text("utf-8") for path in records if not path.is_symlink()}
    places = (str(artifacts), str(elsewhere.original), str(first_run().artifacts))
    assert [path for path, text in texts.items() if any(place in text for place in places)] == []
