"""Jobs wait for a place on a device, and take the freest."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from gridcast.errors import ConfigError
from tasks.machine.devices import Devices, dealt, devices_beside, leading_devices
from tasks.machine.slots import Slots, jobs_per_device
from tests.builders.values import make_config

SECONDS = 20
DEVICES = ["cuda:0", "cuda:1"]


def test_no_device_ever_has_more_jobs_than_it_may_and_all_of_them_run() -> None:
    slots, lock, now = Slots(), threading.Lock(), Counter[str]()
    most, total = Counter[str](), Counter[str]()
    both_full = threading.Barrier(4)  # two devices with two jobs each: passed in fours

    def job(_: int) -> None:
        with slots.held(DEVICES, jobs_per_device=2) as device:
            with lock:
                now[device] += 1
                total[device] += 1
                most[device] = max(most[device], now[device])
            both_full.wait(SECONDS)
            with lock:
                now[device] -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(job, range(12), timeout=SECONDS))
    assert most == {"cuda:0": 2, "cuda:1": 2}
    assert total.total() == 12


def test_the_next_job_begins_where_one_has_ended_also_where_it_failed() -> None:
    slots = Slots()
    with slots.held(DEVICES, jobs_per_device=1) as first:
        with suppress(ZeroDivisionError), slots.held(DEVICES, jobs_per_device=1) as second:
            _ = 1 / 0
        assert {first, second} == {"cuda:0", "cuda:1"}
        with slots.held(DEVICES, jobs_per_device=1) as third:
            assert third == second


@pytest.mark.parametrize(
    ("setting", "names", "expected"),
    [(None, ("cpu",), 6), (None, ("cuda:0",), 2), (5, ("cuda:0",), 5), (1, ("cpu",), 1)],
)
def test_a_gpu_takes_two_jobs_and_a_cpu_one_a_core_unless_set(
    setting: int | None, names: tuple[str, ...], expected: int
) -> None:
    training = make_config(training={"jobs_per_device": setting}).training
    assert jobs_per_device(training, Devices(names, num_cores=6)) == expected


@pytest.mark.parametrize(
    ("num_gpus", "split_over", "leading"),
    [(4, 1, [0, 1, 2, 3]), (4, 2, [0, 2]), (5, 2, [0, 2]), (4, 3, [0]), (4, 4, [0])],
)
def test_jobs_that_share_gpus_are_given_to_the_first_of_each_group(
    num_gpus: int, split_over: int, leading: list[int]
) -> None:
    devices = Devices(tuple(f"cuda:{number}" for number in range(num_gpus)), num_cores=8)
    found = leading_devices(devices, split_over=split_over)
    assert found == tuple(f"cuda:{number}" for number in leading)
    groups = [[first, *devices_beside(first, split_over=split_over)] for first in found]
    used = [each for group in groups for each in group]
    assert len(used) == len(set(used)) == len(leading) * split_over
    assert set(used) <= set(devices.names)


@pytest.mark.parametrize(
    ("num_seeds", "num_gpus", "expected"),
    [
        pytest.param(4, 2, "00110011", id="both_cells_of_a_seed_share_a_gpu"),
        pytest.param(4, 4, "00112233", id="a_seed_a_gpu"),
        pytest.param(1, 2, "01", id="one_seed_takes_both_gpus"),
        pytest.param(3, 2, "010101", id="seeds_that_do_not_come_out_even"),
        pytest.param(2, 1, "0000", id="one_gpu"),
    ],
)
def test_jobs_are_dealt_out_evenly(num_seeds: int, num_gpus: int, expected: str) -> None:
    found = dealt(num_seeds, 2, [str(number) for number in range(num_gpus)])
    assert "".join(found) == expected


@pytest.mark.parametrize("names", [("cpu",), ("cuda:0",), ("cuda:0", "cuda:1")], ids=len)
def test_more_gpus_to_a_job_than_there_are_is_refused(names: tuple[str, ...]) -> None:
    number = 0 if names == ("cpu",) else len(names)
    with pytest.raises(ConfigError, match=rf"training\.split_over: found 3, .* here {number}"):
        leading_devices(Devices(names, num_cores=8), split_over=3)


def test_a_cpu_leads_nothing() -> None:
    assert leading_devices(Devices(("cpu",), num_cores=8), split_over=1) == ("cpu",)
    assert devices_beside("cpu", split_over=1) == []
