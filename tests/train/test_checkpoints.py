"""A training that is killed at any moment goes on where it stood, and ends as though it had not."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch

from gridcast.engine import Engine
from gridcast.errors import TrainingJobError
from tasks.machine.devices import Devices
from tasks.machine.owned_process import stop
from tasks.runs.record_files import read_record
from tasks.runs.run import Run
from tasks.train.checkpoints import (
    CheckpointNote,
    Company,
    newest_state,
    plan_stacks,
    write_checkpoint,
)
from tasks.train.job_owner import run_process
from tasks.train.records import NetworkJob, Specification
from tests.builders.jobs import make_features_record, make_jobs
from tests.builders.pipelines import ROOT, SECONDS, clean_environment, kill_tree, wait_for
from tests.builders.trainings import LONG_LOADS, tiny, tiny_by_lead
from tests.builders.warm_server import warm_python
from tests.training.test_state import Trainer, advance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gridcast.config import Cell, Config
    from gridcast.training.state import TrainingState

Models = tuple[tuple["Cell", int], ...]
OFTEN = {"checkpoint_seconds": 0.01}
# A training of some seconds each: its configuration, its models.
KINDS: dict[str, tuple[Config, Models]] = {
    "compiled": (tiny(training={**OFTEN, "passes": 150}), (("gru", 3),)),
    "library": (tiny(training={**OFTEN, "passes": 30, "recurrence": "library"}), (("lstm", 3),)),
    "by_lead": (tiny_by_lead(training={**OFTEN, "passes": 15}), (("gru", 3),)),
    "seeds": (tiny(training={**OFTEN, "passes": 100}), (("lstm", 3), ("lstm", 5))),
}
NOTE = CheckpointNote(key="own", layers="cpu-loops", adam="cpu-loops", num_devices=1)
GPU = Engine(layers="gpu-kernels", adam="gpu-kernels", reason="a test")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@contextmanager
def process_of(folders: Sequence[Path]) -> Iterator[psutil.Popen]:
    process = psutil.Popen(
        [warm_python(), "-m", NetworkJob.process, *map(str, folders)], cwd=ROOT,
        env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        kill_tree(process)
        process.stdin.close()
        process.stdout.close()


def run_to_the_end(folders: Sequence[Path]) -> list[str]:
    """Train to the end; what the process had to say."""
    with process_of(folders) as process:
        events = [json.loads(line) for line in process.stdout]
        assert process.wait(SECONDS) == 0, events
    return [each["text"] for each in events if each["event"] == "notice"]


def checkpoints_of(folders: Sequence[Path]) -> list[Path]:
    return sorted(path for folder in folders for path in folder.glob("checkpoints/*.checkpoint"))


def end_after_a_checkpoint(folders: Sequence[Path], number: signal.Signals) -> int:
    """Start the training, and end it at a random instant after it has kept a state once more."""
    before = checkpoints_of(folders)
    with process_of(folders) as process:
        wait_for(
            "a checkpoint, or its end",
            lambda: process.poll() is not None or set(checkpoints_of(folders)) - set(before),
        )
        time.sleep(random.uniform(0.0, 0.05))  # noqa: S311
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        return int(process.wait(SECONDS))


def results_of(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """All that is the same however often a training was interrupted."""
    results = [json.loads((folder / "result.json").read_bytes()) for folder in folders]
    history = [
        [(each["loss"], each["validation_smape"]) for each in result["history"]]
        for result in results
    ]
    kept = ("weights_sha256", "num_steps", "files")
    return [
        {name: result[name] for name in kept} | {"history": own}
        for result, own in zip(results, history, strict=True)
    ]


def check_killed_at_random_instants(
    tmp_path: Path, config: Config, models: Models, *, device: str = "cpu", num_kills: int = 2
) -> None:
    """Trains once in peace, and once with so many kills."""
    peaceful = make_jobs(
        tmp_path / "peaceful", config, models=models, device=device, loads=LONG_LOADS
    )
    assert run_to_the_end(peaceful) == []
    folders = make_jobs(tmp_path / "killed", config, models=models, device=device, loads=LONG_LOADS)
    assert end_after_a_checkpoint(folders, signal.SIGKILL) == -signal.SIGKILL
    assert checkpoints_of(folders)
    for _ in range(num_kills - 1):
        end_after_a_checkpoint(folders, signal.SIGKILL)  # or it comes to its end before
    notices = run_to_the_end(folders)
    assert all(" goes on from step " in each for each in notices), notices
    assert results_of(folders) == results_of(peaceful)
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert names == {"job.json", "result.json", "forecasts.parquet", "weights.npz"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_killed_at_random_instants_ends_with_the_weights_of_one_that_was_not(
    tmp_path: Path, kind: str
) -> None:
    check_killed_at_random_instants(tmp_path, *KINDS[kind])


@gpu
@pytest.mark.gpu
@pytest.mark.slow
def test_on_a_gpu_too_where_seeds_share_a_pass_it_ends_with_the_same_weights(
    tmp_path: Path,
) -> None:
    config = tiny(
        training={**OFTEN, "passes": 600, "precision": "bf16"}, model={"hidden_size": 64}
    )  # fmt: skip
    models: Models = (("gru", 3), ("gru", 5), ("lstm", 3), ("lstm", 5))
    check_killed_at_random_instants(tmp_path, config, models, device="cuda:0")


@pytest.mark.slow
def test_sigterm_keeps_a_last_state_and_ends_with_143(tmp_path: Path) -> None:
    config, models = tiny(training={"checkpoint_seconds": 3600.0, "passes": 150}), KINDS["seeds"][1]
    peaceful = make_jobs(tmp_path / "peaceful", config, models=models)
    run_to_the_end(peaceful)
    folders = make_jobs(tmp_path / "ended", config, models=models)
    with process_of(folders) as process:
        next(line for line in process.stdout if '"progress"' in line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert len(checkpoints_of(folders)) == 1  # the second one had not begun
    assert len(run_to_the_end(folders)) == 1
    assert results_of(folders) == results_of(peaceful)


# -- the files -------------------------------------------------------------------------------------


@pytest.fixture(name="states", scope="module")
def some_states() -> list[TrainingState]:
    """Of one training, a step apart."""
    training = Trainer("compiled", "gru").begin()
    return [advance(training, 1).take_state() for _ in range(4)]


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    return [str(json.loads(line)["text"]) for line in lines]


def test_the_last_two_are_kept_and_the_newest_is_given(
    tmp_path: Path, states: list[TrainingState], capsys: pytest.CaptureFixture[str]
) -> None:
    assert newest_state(tmp_path, NOTE) is None
    for state in states:
        write_checkpoint(tmp_path, NOTE, state)
    assert [path.name for path in checkpoints_of([tmp_path])] == [
        "00000003.checkpoint", "00000004.checkpoint"
    ]  # fmt: skip
    found = newest_state(tmp_path, NOTE)
    assert found is not None
    assert found.record == states[-1].record
    assert all(torch.equal(found.tensors[name], each) for name, each in states[-1].tensors.items())
    assert told(capsys) == []


@pytest.mark.parametrize("place", [0, 70, 200, -1])
def test_one_that_was_changed_is_named_and_the_one_before_is_used(
    tmp_path: Path, states: list[TrainingState], place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for state in states:
        write_checkpoint(tmp_path, NOTE, state)
    before, newest = checkpoints_of([tmp_path])
    content = bytearray(newest.read_bytes())
    content[place] ^= 1
    newest.write_bytes(content)
    found = newest_state(tmp_path, NOTE)
    assert found is not None
    assert found.record == states[-2].record
    (line,) = told(capsys)
    assert line.startswith(f"{newest}: found a checkpoint that was changed")
    before.write_bytes(before.read_bytes()[:-9])
    assert newest_state(tmp_path, NOTE) is None
    assert len(told(capsys)) == 2


def test_after_a_damaged_one_the_next_is_newer(tmp_path: Path, states: list[TrainingState]) -> None:
    write_checkpoint(tmp_path, NOTE, states[0])
    checkpoints_of([tmp_path])[0].write_bytes(b"")
    write_checkpoint(tmp_path, NOTE, states[1])
    found = newest_state(tmp_path, NOTE)
    assert found is not None
    assert found.record == states[1].record


@pytest.mark.parametrize(
    "other",
    [{"key": "another"}, {"layers": "pytorch"}, {"adam": "gpu-kernels"}, {"num_devices": 2}],
)
def test_that_of_another_key_engine_or_number_of_devices_is_passed_over(
    tmp_path: Path,
    states: list[TrainingState],
    other: dict[str, object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_checkpoint(tmp_path, NOTE.model_copy(update=other), states[0])
    assert newest_state(tmp_path, NOTE) is None
    (line,) = told(capsys)
    assert line.endswith(
        f"found the state of another training ({next(iter(other))}); it is passed over"
    )


# -- companies -------------------------------------------------------------------------------------


def jobs_in(folders: Sequence[Path]) -> list[NetworkJob]:
    asked = [read_record(each / "job.json", Specification[NetworkJob]) for each in folders]
    return [
        each.job.model_copy(update={"folder": str(folder)})
        for each, folder in zip(asked, folders, strict=True)
    ]


def test_seeds_that_shared_a_pass_when_they_were_killed_share_it_again(tmp_path: Path) -> None:
    """On a GPU a seed comes out the same, byte for byte, in the same company alone."""
    models: Models = (("gru", 3), ("gru", 5), ("gru", 7), ("lstm", 3))
    folders = make_jobs(tmp_path, tiny(), models=models)
    first = plan_stacks(jobs_in(folders), folders, GPU)
    assert [(each.cell, each.seeds) for each in first] == [("gru", (3, 5, 7)), ("lstm", (3,))]
    assert first[0].folder == folders[2]  # the last to have a result
    left = folders[1:3]
    (again,) = plan_stacks(jobs_in(left), left, GPU)
    assert again == first[0]
    company = read_record(folders[0] / "company.json", Company)
    assert [*company.keys] == [folder.name for folder in folders[:3]]


def test_a_damaged_company_is_named_and_the_seed_is_trained_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = make_jobs(tmp_path, tiny(), models=(("gru", 3), ("gru", 5)))
    plan_stacks(jobs_in(folders), folders, GPU)
    (folders[0] / "company.json").write_bytes(b"{")
    stacks = plan_stacks(jobs_in(folders[:1]), folders[:1], GPU)
    assert [each.seeds for each in stacks] == [(3,)]
    (line,) = told(capsys)
    assert line.startswith(f"{folders[0] / 'company.json'}: found no JSON")


@pytest.mark.slow
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_jobs_of_a_process_that_dies_by_itself_are_not_in_that_company_again(
    tmp_path: Path, *, is_interrupted: bool
) -> None:
    """It may have been too large for the memory of the device."""
    config = tiny(training={"passes": 400})
    folders = make_jobs(tmp_path, config, models=(("gru", 3), ("gru", 5)))
    jobs = jobs_in(folders)
    plan_stacks(jobs, folders, GPU)
    run = Run(
        run_id="20260101T000000Z-0000", flow="", artifacts=tmp_path, data=None, profile="base",
        overrides=(), config=config, devices=Devices(("cpu",), 1), fresh=False,
    )  # fmt: skip
    features = make_features_record(tmp_path, config)
    if not is_interrupted:
        features = features.model_copy(update={"file_sha256": "0" * 64})

    def interrupt(_: object) -> None:
        stop(run.stop_file, "stopped, for the run was interrupted")

    with pytest.raises(TrainingJobError, match=r"SHA-256|interrupted"):
        run_process(run, features, jobs, places=None, on_event=interrupt)
    assert [(each / "company.json").exists() for each in folders] == [is_interrupted] * 2
