"""To which shard a region belongs, when an assignment is lost, and on what devices it is done."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.config import Config
from gridcast.errors import ConfigError, Fault
from tasks.dispatch.assignments import RefusedRegion, ShardResult
from tasks.dispatch.shards import shard_of, shards_of
from tasks.dispatch.signs_of_life import Silence, Verdict, last_sign, signs_of_life, verdict
from tasks.fetch.records import SourceFile
from tasks.machine.devices import Devices, devices_elsewhere, devices_of_kind, num_cuda_devices
from tests.builders.pipelines import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = st.lists(st.from_regex(r"[A-Z][A-Z0-9_]{0,9}", fullmatch=True), min_size=1, unique=True)


def files_of(names: Sequence[str]) -> list[SourceFile]:
    return [SourceFile(region=name, path=Path(f"{name}_hourly.csv")) for name in names]


# -- shards ----------------------------------------------------------------------------------------


@given(names=NAMES, num_shards=st.integers(1, 50), more=st.text("ABC", min_size=11))
def test_a_region_more_moves_no_other_to_another_shard(
    names: list[str], num_shards: int, more: str
) -> None:
    before = shards_of(files_of(names), num_shards)
    after = shards_of(files_of([more, *names]), num_shards)
    without = {
        number: tuple(file for file in files if file.region != more)
        for number, files in after.items()
    }
    assert {number: files for number, files in without.items() if files} == before
    assert sorted(f.region for files in before.values() for f in files) == sorted(names)


def test_the_shard_of_a_region_is_the_same_in_every_process_and_version() -> None:
    assert [shard_of(name, 8) for name in ("AEP", "COMED", "DAYTON", "PJME")] == [3, 6, 3, 4]


def test_shards_are_of_about_the_same_size() -> None:
    sizes = Counter(shard_of(f"REGION_{number}", 8) for number in range(8000))
    assert len(sizes) == 8
    assert min(sizes.values()) > 900


# -- signs of life ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "silent_seconds", "expected"),
    [
        ("SCHEDULED", 1e6, "wait"),
        ("PAUSED", 1e6, "wait"),
        (None, 1e6, "wait"),
        ("PENDING", 59.0, "wait"),
        ("PENDING", 60.0, "lost"),
        ("RUNNING", 59.0, "wait"),
        ("RUNNING", 60.0, "lost"),
        ("CANCELLING", 60.0, "lost"),
        ("CRASHED", 0.0, "lost"),
        ("FAILED", 0.0, "failed"),
        ("CANCELLED", 0.0, "failed"),
        ("COMPLETED", 59.0, "wait"),
        ("COMPLETED", 60.0, "failed"),
    ],
)
def test_a_part_is_lost_when_it_crashed_or_is_under_way_and_silent(
    state: str | None, silent_seconds: float, expected: Verdict
) -> None:
    assert verdict(state, silent_seconds=silent_seconds, lost_seconds=60.0) == expected


def test_silence_lasts_since_something_else_was_seen_by_the_lookers_own_clock() -> None:
    now = 5.0
    silence = Silence(clock=lambda: now)
    assert silence.seconds("1") == 0.0
    now = 9.0
    assert silence.seconds("1") == 4.0
    assert silence.seconds("2") == 0.0
    now = 10.0
    assert silence.seconds("2") == 1.0


def test_signs_change_while_a_part_is_done_and_stay_as_they_are_when_it_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "assigned" / "1.sign"
    assert last_sign(path) == ""
    with signs_of_life(path, lost_seconds=0.1):
        first = wait_for("a sign", lambda: last_sign(path))
        wait_for("another", lambda: last_sign(path) not in {"", first})
    last = last_sign(path)
    assert int(last) > int(first)


# -- what is handed on -----------------------------------------------------------------------------


def test_refused_regions_of_a_shard_are_the_errors_that_they_would_be_here() -> None:
    fault = Fault(file="AEP_hourly.csv", line=3, column=1, kind="label", reason="found 25:00")
    refused = RefusedRegion(region="AEP", faults=(fault,))
    result = ShardResult(published=(), refused=(refused,))
    (error,) = ShardResult.model_validate_json(result.model_dump_json()).errors
    assert (error.region, error.reason) == ("AEP", "AEP_hourly.csv:3:1: found 25:00")


# -- devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "split_over", "expected"),
    [
        ("auto", 1, Devices(("cpu",), 4)),
        ("cpu", 1, Devices(("cpu",), 4)),
        ("cuda", 1, Devices(("cuda:0",), 4)),
        ("cuda", 2, Devices(("cuda:0", "cuda:1"), 4)),
    ],
)
def test_a_run_plans_for_the_devices_of_others_whatever_this_machine_has(
    device: str, split_over: int, expected: Devices
) -> None:
    config = Config.load(
        overrides=(
            f"training.device={device}",
            f"training.split_over={split_over}",
            "training.seeds=[0, 1]",
            "execution.executor=workers",
        )
    )
    assert devices_elsewhere(config) == expected


def test_a_job_finds_the_devices_of_its_machine_or_says_that_there_are_none() -> None:
    config = Config.load(overrides=("training.device=auto",))
    assert devices_of_kind(config, "cpu").names == ("cpu",)
    if num_cuda_devices():
        assert devices_of_kind(config, "cuda").names[0] == "cuda:0"
    else:
        with pytest.raises(ConfigError, match=r"this machine: training\.device: found 'cuda'"):
            devices_of_kind(config, "cuda")
