"""A run's folder, lock and summary, without Prefect."""

from __future__ import annotations

import shutil
from asyncio import CancelledError
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gridcast.errors import LockHeldError, PartialFailureError, UsageError
from tasks.runs.killed_runs import REASON
from tasks.runs.run import Run, interruption_of, open_run, read_summary


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
        run.leave("jobs", {"failed_jobs": {"gru-seed0": "ERROR gru-seed0: it was killed"}})
    assert read_summary(run.summary_path).status == "partial"


def test_an_error_and_an_interruption_are_in_the_summary_and_go_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), opened(tmp_path) as failed:
        raise RuntimeError("no such thing")  # noqa: TRY003, EM101
    assert read_summary(failed.summary_path).errors == ["no such thing"]
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as interrupted:
        raise KeyboardInterrupt
    (reason,) = read_summary(interrupted.summary_path).errors
    assert "interrupted" in reason


def test_a_second_run_on_the_same_folder_is_refused_while_the_first_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(LockHeldError), opened(tmp_path):
        pass
    with opened(tmp_path):
        pass


def test_a_flow_takes_part_in_the_run_it_is_given_without_a_summary_of_its_own(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as run:
        with opened(tmp_path, run.run_id) as part:
            part.leave("features", {})
        assert not run.summary_path.exists()
    assert run.summary_path.exists()


@pytest.mark.parametrize("run_id", ["../../elsewhere", "20261122T000000Z-abcd", ""])
def test_a_run_id_that_names_no_run_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(UsageError, match="run_id"), opened(tmp_path, run_id):
        pass


class ToldToEnd(BaseException):
    """As Prefect's TerminationSignal: no Exception, and it knows the signal."""

    signal = 15


def raised_while_handling(first: BaseException) -> Exception:
    """An error that came up on the way out, as a client tells it."""
    refused, told = OSError("refused"), ConnectionError("no answer")
    refused.__context__, told.__cause__ = first, refused
    return told


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
        first.leave("timings", {"prepare_data": 1.5})
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
