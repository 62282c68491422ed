"""Jobs wait for a place on a device, and take the freest; a place ends with its owner."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from gridcast.errors import ConfigError
from tasks.machine.device_places import Places, held_place, jobs_per_device, lock_name
from tasks.machine.devices import Devices, devices_sharing, leading_devices, spread_over_devices
from tests.builders.pipelines import ROOT, SECONDS, wait_for
from tests.builders.values import make_config

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

DEVICES = ("cuda:0", "cuda:1")


class FullError(Exception):
    """No place: raised instead of waiting for one."""


def refuse() -> None:
    raise FullError


def place(
    folder: Path, at_once: int, devices: tuple[str, ...] = DEVICES
) -> AbstractContextManager[str]:
    return held_place(
        Places(folder=folder, devices=devices, jobs_per_device=at_once), on_full=refuse
    )


def test_the_next_job_goes_where_there_are_the_fewest_until_all_places_are_held(
    tmp_path: Path,
) -> None:
    with ExitStack() as held:
        given = [held.enter_context(place(tmp_path, 2)) for _ in range(4)]
        assert given == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
        with pytest.raises(FullError):
            held.enter_context(place(tmp_path, 2))
    with place(tmp_path, 1) as again:
        assert again == "cuda:0"


def test_the_next_job_begins_where_one_has_ended_also_where_it_failed(tmp_path: Path) -> None:
    with place(tmp_path, 1) as first:
        with suppress(ZeroDivisionError), place(tmp_path, 1) as second:
            _ = 1 / 0
        assert {first, second} == set(DEVICES)
        with place(tmp_path, 1) as third:
            assert third == second


def test_a_run_that_allows_fewer_jobs_counts_those_of_the_one_that_allows_more(
    tmp_path: Path,
) -> None:
    with ExitStack() as held:
        others = [held.enter_context(place(tmp_path, 3, ("cuda:0",))) for _ in range(2)]
        with pytest.raises(FullError), place(tmp_path, 2, ("cuda:0",)):
            pass
        assert len(others) == 2
        with place(tmp_path, 2) as free:
            assert free == "cuda:1"


def test_a_waiting_job_begins_when_another_thread_leaves_its_place(tmp_path: Path) -> None:
    waits, given = threading.Event(), list[str]()
    places = Places(folder=tmp_path, devices=("cpu",), jobs_per_device=1)

    def wait() -> None:
        with held_place(places, on_full=waits.set) as device:
            given.append(device)

    thread = threading.Thread(target=wait)
    with place(tmp_path, 1, ("cpu",)):
        thread.start()
        assert waits.wait(SECONDS)
        assert given == []
    thread.join(SECONDS)
    assert given == ["cpu"]


HOLDER = """
import sys, time
from pathlib import Path
from tasks.machine.device_places import Places, held_place
places = Places(folder=Path(sys.argv[1]), devices=("cuda:0",), jobs_per_device=1)
with held_place(places, on_full=lambda: None):
    print("held", flush=True)
    time.sleep(3600)
"""


def test_a_place_of_another_process_is_held_and_free_again_once_that_is_killed(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FullError), place(tmp_path, 1, ("cuda:0",)):
            pass
        other.send_signal(signal.SIGKILL)
    with place(tmp_path, 1, ("cuda:0",)) as device:
        assert device == "cuda:0"


def test_no_device_ever_has_more_jobs_than_it_may_and_all_of_them_run(tmp_path: Path) -> None:
    places = Places(folder=tmp_path, devices=DEVICES, jobs_per_device=2)
    lock, now, most, done = threading.Lock(), dict.fromkeys(DEVICES, 0), list[int](), list[str]()

    def job() -> None:
        with held_place(places, on_full=lambda: None) as device:
            with lock:
                now[device] += 1
                most.append(now[device])
            with lock:
                now[device] -= 1
                done.append(device)

    threads = [threading.Thread(target=job) for _ in range(12)]
    for thread in threads:
        thread.start()
    wait_for("all jobs", lambda: len(done) == 12)
    assert max(most) <= 2


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
    groups = [[first, *devices_sharing(first, split_over=split_over)] for first in found]
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
    found = spread_over_devices(num_seeds, 2, [str(number) for number in range(num_gpus)])
    assert "".join(found) == expected


@pytest.mark.parametrize("names", [("cpu",), ("cuda:0",), ("cuda:0", "cuda:1")], ids=len)
def test_more_gpus_to_a_job_than_there_are_is_refused(names: tuple[str, ...]) -> None:
    number = 0 if names == ("cpu",) else len(names)
    with pytest.raises(ConfigError, match=rf"training\.split_over: found 3, .* here {number}"):
        leading_devices(Devices(names, num_cores=8), split_over=3)


def test_a_cpu_leads_nothing() -> None:
    assert leading_devices(Devices(("cpu",), num_cores=8), split_over=1) == ("cpu",)
    assert devices_sharing("cpu", split_over=1) == []


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        ("cpu", "", "cpu"),
        ("cuda:1", None, "cuda-1"),
        ("cuda:0", "", "cuda-0"),
        ("cuda:0", "3", "cuda-3"),
        ("cuda:1", "3, 5", "cuda-5"),
        ("cuda:0", "MIG-GPU-1/2/0", "cuda-MIG-GPU-1_2_0"),
    ],
)
def test_a_gpu_has_one_lock_whatever_number_a_process_sees_it_by(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, expected: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert lock_name(device) == expected
