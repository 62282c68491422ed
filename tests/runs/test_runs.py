"""A run's folder, life, order and summary, without Prefect."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from asyncio import CancelledError
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gridcast.errors import LeftTwiceError, LockHeldError, PartialFailureError, UsageError
from gridcast.readings.records import DataReport
from gridcast.summary import FailedJobs, Report, StageTime
from tasks.runs.killed_runs import REASON, interruption_of, killed_flow_runs
from tasks.runs.lives import living_runs, no_run_alive, oldest_first
from tasks.runs.locks import held
from tasks.runs.run import Run, open_run, opened_runs, read_summary
from tests.builders.pipelines import ROOT, SECONDS


def opened(artifacts: Path, run_id: str | None = None) -> AbstractContextManager[Run]:
    return open_run(
        "train-models", data=None, artifacts=str(artifacts), profile="base",
        overrides=["training.device=cpu"], fresh=False, run_id=run_id,
    )  # fmt: skip


def test_a_run_leaves_a_summary_and_latest_points_to_it(tmp_path: Path) -> None:
    with opened(tmp_path) as run, run.timed("prepare_data"):
        pass
    summary = read_summary(tmp_path / "runs" / "latest" / "summary.json")
    assert (summary.run_id, summary.status, summary.exit_code) == (run.run_id, "completed", 0)
    assert set(summary.timings) == {"prepare_data", "total"}


def test_the_newest_run_is_the_latest(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with opened(tmp_path) as second:
        pass
    assert (tmp_path / "runs" / "latest").resolve().name == second.run_id


def test_a_failed_part_makes_the_run_partial_and_raises(tmp_path: Path) -> None:
    with pytest.raises(PartialFailureError, match="ERROR gru"), opened(tmp_path) as run:
        run.leave(FailedJobs(failed_jobs={"gru-seed0": "ERROR gru-seed0: it was killed"}))
    assert read_summary(run.summary_path).status == "partial"


def test_an_error_and_an_interruption_are_in_the_summary_and_go_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), opened(tmp_path) as failed:
        raise RuntimeError("no such thing")  # noqa: TRY003, EM101
    assert read_summary(failed.summary_path).errors == ["no such thing"]
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as interrupted:
        raise KeyboardInterrupt
    (reason,) = read_summary(interrupted.summary_path).errors
    assert "interrupted" in reason


def test_two_runs_work_on_a_folder_at_once_and_the_one_opened_last_is_the_latest(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as first:
        with opened(tmp_path) as second:
            assert living_runs(tmp_path / "runs") == [first.folder, second.folder]
        assert living_runs(tmp_path / "runs") == [first.folder]
        assert not first.summary_path.exists()
    assert read_summary(first.summary_path).status == "completed"
    assert (tmp_path / "runs" / "latest").resolve() == second.folder
    assert not list(tmp_path.rglob("*.lock"))


def test_a_clock_that_was_set_back_makes_no_run_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter(["20300101T000000Z-aaaa", "20200101T000000Z-bbbb", "20100101T000000Z-cccc"])
    monkeypatch.setattr("tasks.runs.run.new_run_id", lambda: next(ids))
    for _ in range(3):
        with opened(tmp_path):
            pass
    assert (tmp_path / "runs" / "latest").resolve().name == "20100101T000000Z-cccc"
    newest_last = [folder.name[:4] for folder in oldest_first(tmp_path / "runs")]
    assert newest_last == ["2030", "2020", "2010"]


def test_runs_keep_their_order_in_a_copy_with_other_file_times(tmp_path: Path) -> None:
    for _ in range(3):
        with opened(tmp_path / "a"):
            pass
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=True, copy_function=shutil.copyfile)
    for age, folder in enumerate(oldest_first(tmp_path / "b" / "runs")):
        os.utime(folder / "opened.json", (1000 - age, 1000 - age))
    with opened(tmp_path / "b") as fourth:
        pass
    own, copied = (
        [folder.name for folder in oldest_first(tmp_path / each / "runs")] for each in "ab"
    )
    assert copied == [*own, fourth.run_id]
    assert (tmp_path / "b" / "runs" / "latest").resolve() == fourth.folder


def test_a_run_that_lives_is_not_closed_by_another_and_one_that_was_killed_is(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, time; from tests.runs.test_runs import opened; from pathlib import Path\n"
        "with opened(Path(sys.argv[1])):\n    print('open', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with opened(tmp_path) as second:
            (first,) = [each for each in living_runs(tmp_path / "runs") if each != second.folder]
        assert not (first / "summary.json").exists()
        with pytest.raises(LockHeldError, match=first.name), no_run_alive(tmp_path):
            pass
        process.kill()
    with opened(tmp_path):
        pass
    assert read_summary(first / "summary.json").errors == [REASON]
    with no_run_alive(tmp_path):
        pass


def test_a_run_keeps_paths_below_the_artifacts_as_seen_from_there(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        run.leave(Report(path=str(run.folder / "report.html")))
        run.leave(DataReport(path="/srv/page.html"))
        assert run.find(Report) == Report(path=f"runs/{run.run_id}/report.html")
        assert run.find(DataReport) == DataReport(path="/srv/page.html")


def test_a_command_hears_of_its_own_runs_alone(tmp_path: Path) -> None:
    with opened(tmp_path), opened_runs() as own, opened(tmp_path) as second:
        pass
    assert own == [second]


def test_a_flow_takes_part_in_the_run_it_is_given_without_a_summary_of_its_own(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as run:
        with opened(tmp_path, run.run_id) as part:
            part.leave(FailedJobs(failed_jobs={}))
        assert not run.summary_path.exists()
    assert run.summary_path.exists()


@pytest.mark.parametrize("run_id", ["../../elsewhere", "20261122T000000Z-abcd", ""])
def test_a_run_id_that_names_no_run_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(UsageError, match="run_id"), opened(tmp_path, run_id):
        pass


def test_a_flow_takes_part_by_what_the_run_decided_whatever_it_is_told(tmp_path: Path) -> None:
    with (
        opened(tmp_path) as run,
        open_run(
            "prepare-data", data=None, artifacts=str(tmp_path), profile="seed",
            overrides=["training.passes=99"], fresh=False, run_id=run.run_id,
        ) as part,
    ):  # fmt: skip
        assert (part.config, part.devices) == (run.config, run.devices)
        assert (part.profile, part.overrides) == (run.profile, run.overrides)
    assert run.config.training.precision == "fp32"  # "auto" on a CPU
    summary = read_summary(run.summary_path)
    assert (summary.devices, summary.precision) == (["cpu"], "fp32")


def test_a_record_is_left_once(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        run.leave(FailedJobs(failed_jobs={}))
        with pytest.raises(LeftTwiceError, match=r"jobs\.json"):
            run.leave(FailedJobs(failed_jobs={"gru-seed0": "ERROR"}))
        assert run.find(FailedJobs) == FailedJobs(failed_jobs={})


def test_where_the_link_to_the_latest_run_would_stand_a_folder_is_refused_before_any_work(
    tmp_path: Path,
) -> None:
    latest = tmp_path / "runs" / "latest"
    latest.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"runs/latest: found a folder"), opened(tmp_path):
        pass
    assert list((tmp_path / "runs").iterdir()) == [latest]


class ToldToEnd(BaseException):
    """As Prefect's TerminationSignal: no Exception, and it knows the signal."""

    signal = 15


def raised_while_handling(first: BaseException) -> Exception:
    """An error that came up on the way out, as a client tells it."""
    refused, later = OSError("refused"), ConnectionError("no answer")
    refused.__context__, later.__cause__ = first, refused
    return later


@pytest.mark.parametrize(
    ("first", "is_one"),
    [
        (KeyboardInterrupt(), True),
        (SystemExit(143), True),
        (ToldToEnd(), True),
        (CancelledError(), False),  # of asyncio: what a timeout is made of
        (ValueError(), False),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_on_the_way_out_of_an_interruption_is_told_from_others(
    first: BaseException, *, is_one: bool
) -> None:
    error = raised_while_handling(first)
    assert interruption_of(error) is (first if is_one else None)
    assert interruption_of(KeyboardInterrupt()) is not None


def test_a_run_that_was_killed_is_closed_by_the_next_one_and_is_not_the_latest(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as first:
        first.leave(StageTime(number=0, stage="prepare_data", seconds=1.5))
        shutil.copytree(first.folder, tmp_path / "kept")
    killed = tmp_path / "runs" / "20260101T000000Z-0000"
    shutil.copytree(tmp_path / "kept", killed)  # as SIGKILL leaves it: without a summary
    unknown = tmp_path / "runs" / "not-ours"
    unknown.mkdir()
    with opened(tmp_path) as second:
        pass
    summary = read_summary(killed / "summary.json")
    assert (summary.run_id, summary.status, summary.exit_code) == (killed.name, "failed", 1)
    assert (summary.flow, summary.profile) == ("train-models", "base")
    assert summary.overrides == ["training.device=cpu"]
    assert summary.errors == [REASON]
    assert summary.timings["prepare_data"] == 1.5
    assert summary.config_sha256 == read_summary(second.summary_path).config_sha256
    assert (tmp_path / "runs" / "latest").resolve().name == second.run_id
    assert list(unknown.iterdir()) == []
    before = (killed / "summary.json").read_bytes()
    with opened(tmp_path):
        pass
    assert (killed / "summary.json").read_bytes() == before


@pytest.mark.parametrize("name", ["opened.json", "ingestion.json", "timings/prepare_data.json"])
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"{", b"[" * 100_000, b'{"schema_version": 99}'],
    ids=["empty", "list", "no_field", "no_json", "nested", "newer"],
)  # fmt: skip
def test_a_malformed_file_of_a_run_that_was_killed_is_named_once_and_later_runs_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: bytes
) -> None:
    with opened(tmp_path) as first:
        shutil.copytree(first.folder, tmp_path / "kept")
    killed = tmp_path / "runs" / "20260101T000000Z-0000"
    shutil.copytree(tmp_path / "kept", killed)
    (killed / name).parent.mkdir(exist_ok=True)
    (killed / name).write_bytes(content)
    for _ in range(2):
        with opened(tmp_path) as run:
            pass
        assert read_summary(run.summary_path).status == "completed"
    told = [line for line in caplog.messages if f"{killed / name}: found" in line]
    assert sum("its run counts as the oldest" not in line for line in told) == 1
    summary = read_summary(killed / "summary.json")
    assert (summary.run_id, summary.status, summary.errors) == (killed.name, "failed", [REASON])


def test_a_flow_run_that_was_killed_before_it_had_a_folder_is_found_once(tmp_path: Path) -> None:
    with held(tmp_path, "flow-run-lives"):
        lock = tmp_path / ".locks" / "flow-run-0b5d.lock"
        lock.touch()  # as its process leaves it
        assert killed_flow_runs(tmp_path) == ["0b5d"]
        assert killed_flow_runs(tmp_path) == []
    assert list(lock.parent.iterdir()) == []


HOLDER = """
import os, signal, sys
from pathlib import Path
from tasks.runs import killed_runs
killed_runs.own_flow_run = lambda: "0b5d"
for _ in range(2):  # two runs of one flow run
    killed_runs.hold_flow_run(Path(sys.argv[1]))
assert killed_runs.killed_flow_runs(Path(sys.argv[1])) == []
if sys.argv[2] == "is_killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "found"), [("is_killed", ["0b5d"]), ("ends", [])])
def test_a_flow_run_counts_as_killed_if_its_process_was_whenever_that_was(
    tmp_path: Path, how: str, found: list[str]
) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path), how]
    subprocess.run(command, cwd=ROOT, check=how == "ends", timeout=SECONDS)
    assert killed_flow_runs(tmp_path) == found
    assert list((tmp_path / ".locks").iterdir()) == []
