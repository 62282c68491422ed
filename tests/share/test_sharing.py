"""Two machines with no folder in common: what one has done the other has, and goes on from it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import LockHeldError, StoreError
from gridcast.operation.promotion_log import Promotion, PromotionLog
from gridcast.readings.records import CovariatesRecord, DataRecord
from tasks.forecast.chosen_model import choose_model
from tasks.forecast.forecast_store import stored_issue_times
from tasks.forecast.issue_forecast import end_of_data, issue_forecast
from tasks.ingest.snapshots import publish, read_current
from tasks.promote.promotion_files import promote, read_log
from tasks.runs.keys import file_sha256
from tasks.share.sharing import PARTS, bring_all, bring_parts, keep_parts, shared
from tasks.share.store_status import status_of
from tests.builders.buckets import make_copy, make_store
from tests.builders.pipelines import (
    SMALL_MODEL,
    copy_artifacts,
    first_run,
    gridcast,
    on_a_server,
    read_json,
    run_flow,
    settings,
    small_data,
)
from tests.builders.promotions import make_reference
from tests.builders.snapshots import Names, make_table, publish_loads, stage

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.store.kept_sets import WorkingCopy

SINCE = pd.Timestamp("2018-01-01", tz="UTC")
CONFIG = Config.load(overrides=("forecasting.horizon=4", "forecasting.calibration_origins=40"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store to which one machine gave what a run left."""
    folder = tmp_path_factory.mktemp("store")
    one = make_copy(copy_artifacts(folder / "one"), make_store(folder / "share"))
    keep_parts(one, *PARTS)
    return one.address


def second(tmp_path: Path, address: str) -> WorkingCopy:
    two = make_copy(tmp_path / "two", address)
    bring_parts(two, *PARTS)
    return two


@pytest.mark.prefect
@pytest.mark.slow
def test_the_other_machine_forecasts_with_the_model_of_the_first_on_the_same_data(
    address: str, tmp_path: Path
) -> None:
    two = second(tmp_path, address)
    here = choose_model(two.artifacts)
    there = choose_model(
        first_run().artifacts, run_id=here.reference.run_id
    )  # others run there too
    assert here.reference == there.reference
    current = read_current(two.artifacts / "data")
    assert current is not None
    assert current.snapshot.id == here.snapshot
    issued = issue_forecast(two.artifacts, CONFIG, as_of=end_of_data(two.artifacts))
    assert not issued.missing
    assert (
        list(two.artifacts.rglob("forecasts.parquet")) == []
    )  # rows of the test part, and jobs, are not needed to forecast


@pytest.mark.prefect
@pytest.mark.slow
def test_a_run_on_the_other_machine_trains_nothing_that_the_first_has_trained(
    address: str, tmp_path: Path
) -> None:
    words = settings(*SMALL_MODEL, f"run.store={address}")
    run = run_flow("run", small_data(), tmp_path / "two", *words, environment=on_a_server())
    assert run.result.returncode == 0, run.result.stderr
    assert all(job.cached for job in run.summary.models.values())
    assert "already trained, nothing has changed" in run.result.stderr
    assert ": trained in " not in run.result.stderr
    folders = (run.folder, first_run().folder)
    opened, of_first = (read_json(folder / "opened.json") for folder in folders)
    assert opened["sequence"] == of_first["sequence"] + 1
    third = make_copy(tmp_path / "three", address)
    bring_all(third)
    kept = third.artifacts / "runs" / run.folder.name / "forecasts.parquet"
    assert file_sha256(kept) == file_sha256(run.folder / "forecasts.parquet")
    assert not list(third.artifacts.rglob("life.lock"))


@pytest.mark.prefect
@pytest.mark.slow
def test_rows_that_two_machines_issued_at_once_are_all_kept(address: str, tmp_path: Path) -> None:
    copies = [make_copy(tmp_path / name, address) for name in ("two", "three")]
    end = None
    for copy in copies:
        bring_parts(copy, *PARTS)
    for hours_ago, copy in enumerate(copies):
        end = end_of_data(copy.artifacts)
        issue_forecast(copy.artifacts, CONFIG, as_of=end - pd.Timedelta(hours=hours_ago))
    for copy in copies:
        keep_parts(copy, "operation")
    last = second(tmp_path / "last", address)
    dataset = read_current(last.artifacts / "data").dataset  # type: ignore[union-attr]
    assert end is not None
    times = stored_issue_times(last.artifacts, dataset)
    assert list(times) == [end - pd.Timedelta(hours=1), end]


@pytest.mark.prefect
@pytest.mark.slow
def test_the_commands_push_pull_and_tell_what_is_only_here(tmp_path: Path) -> None:
    share = make_store(tmp_path / "share")
    store = ("--artifacts", copy_artifacts(tmp_path / "one"), "--set", f"run.store={share}")
    before = gridcast("store", "status", "--json", *store)
    told = {each["kind"]: each for each in json.loads(before.stdout)["kinds"]}
    assert told["data"]["num_sets"] == 0
    assert len(told["data"]["only_here"]) == len(told["runs"]["only_here"]) == 1
    pushed = gridcast("store", "push", *store)
    assert pushed.returncode == 0, pushed.stderr
    assert "only here" not in pushed.stdout.splitlines()[-1]
    other = ("--artifacts", tmp_path / "two", "--set", f"run.store={share}")
    pulled = gridcast("store", "pull", *other)
    assert pulled.returncode == 0, pulled.stderr
    shown = gridcast("forecast", *other, "--set", "forecasting.calibration_origins=40")
    assert shown.returncode == 0, shown.stderr
    two = make_copy(tmp_path / "two", share)
    assert {each.kind: each.num_sets for each in status_of(two)}["forecasts"] == 1
    assert gridcast("store", "status", "--artifacts", tmp_path / "two").returncode == 2


# -- data sets and promotions, without a run -------------------------------------------------------


@pytest.fixture
def machines(tmp_path: Path) -> tuple[WorkingCopy, WorkingCopy]:
    address = make_store(tmp_path / "share")
    return make_copy(tmp_path / "one", address), make_copy(tmp_path / "two", address)


def test_a_snapshot_follows_whole_with_its_history(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    old = publish_loads(one.artifacts / "data", AEP=[1.0, 2.0], DOM=[1.0])
    keep_parts(one, "data")
    new = publish_loads(one.artifacts / "data", AEP=[1.0, 3.0], DOM=[1.0])
    keep_parts(one, "data")
    bring_parts(two, "data")
    current = read_current(two.artifacts / "data")
    assert current is not None
    assert current.snapshot == new
    assert (two.artifacts / "data" / "snapshots" / f"{old.id}.json").is_file()
    keys = sorted(path.name for path in (two.artifacts / "data" / "keys").glob("*.json"))
    assert keys == sorted(path.name for path in (one.artifacts / "data" / "keys").glob("*.json"))


def test_the_covariates_of_a_region_follow_with_it(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    store = one.artifacts / "data"
    region = stage(store, "AEP", make_table([1.0, 2.0]))
    path = store / "objects" / "AEP-covariates.parquet"
    path.write_bytes(b"temperatures")
    own = CovariatesRecord(
        rows=1, path=str(path), file_sha256=file_sha256(path), table_sha256="0" * 64
    )
    published = {"AEP": region.model_copy(update={"covariates": own})}
    data = DataRecord(folder="/csv/load", kind="real")
    publish(store, "load", data=data, published=published, refused={}, rules_sha256="1" * 64)
    keep_parts(one, "data")
    bring_parts(two, "data")
    assert (two.artifacts / "data" / "objects" / path.name).read_bytes() == b"temperatures"


def test_of_two_machines_that_publish_a_data_set_the_later_one_has_status_75_and_loses_nothing(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    for copy, load in zip(machines, (1.0, 2.0), strict=True):
        publish_loads(copy.artifacts / "data", AEP=[load, load])
    keep_parts(machines[0], "data")
    with pytest.raises(LockHeldError) as told:
        keep_parts(machines[1], "data")
    assert told.value.exit_code == 75
    bring_parts(machines[1], "data")
    first = read_current(machines[0].artifacts / "data")
    assert first == read_current(machines[1].artifacts / "data")
    publish_loads(machines[1].artifacts / "data", AEP=[2.0, 2.0])
    keep_parts(machines[1], "data")
    bring_parts(machines[0], "data")
    both = [read_current(copy.artifacts / "data") for copy in machines]
    assert both[0] == both[1] != first


def test_data_sets_do_not_stand_in_the_way_of_one_another(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    for copy, name in zip(machines, ("pjm", "france"), strict=True):
        publish_loads(copy.artifacts / "data", Names(name, f"/csv/{name}"), AEP=[1.0, 1.0])
        keep_parts(copy, "data")
    for copy in machines:
        bring_parts(copy, "data")
        assert {path.stem for path in (copy.artifacts / "data").glob("*.json")} == {"pjm", "france"}


def put_in_charge(copy: WorkingCopy, digit: str, read: PromotionLog) -> Promotion:
    return promote(
        copy.artifacts, "pjm", make_reference(digit=digit), read=read, since=SINCE, reason="so",
        store=copy.address,
    )  # fmt: skip


def test_of_two_machines_that_promote_at_once_one_does_and_the_other_keeps_no_entry(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    put_in_charge(machines[0], "a", PromotionLog())
    keep_parts(machines[0], "operation")
    read, together = read_log(machines[0].artifacts, "pjm"), Barrier(2)

    def one(copy: WorkingCopy) -> Promotion | LockHeldError:
        together.wait()
        try:
            return put_in_charge(copy, "b" if copy is machines[0] else "c", read)
        except LockHeldError as error:
            return error

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(one, machines))
    (won,) = (each for each in outcomes if isinstance(each, Promotion))
    (lost,) = (each for each in outcomes if isinstance(each, LockHeldError))
    assert lost.exit_code == 75
    third = make_copy(machines[0].artifacts.parent / "three", machines[0].address)
    with pytest.raises(LockHeldError, match="found promotion 2 of"):
        put_in_charge(third, "d", read)
    for copy in (*machines, third):
        with pytest.raises(LockHeldError):
            put_in_charge(copy, "e", PromotionLog())
        assert read_log(copy.artifacts, "pjm").newest == won


def test_a_promotion_that_the_store_does_not_take_never_was(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, _ = machines
    nowhere = (one.artifacts.parent / "gone").as_uri()
    with pytest.raises(StoreError):
        promote(one.artifacts, "pjm", make_reference(), read=PromotionLog(), since=SINCE,
                reason="so", store=nowhere)  # fmt: skip
    assert read_log(one.artifacts, "pjm").entries == ()


def test_work_without_a_store_is_left_alone_and_with_one_is_shared_also_where_it_failed(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    with shared(one.artifacts, "base", ()):
        publish_loads(one.artifacts / "data", AEP=[1.0, 1.0])
    assert status_of(one)[0].only_here == ("data/load",)
    store = (f"run.store={one.address}",)
    error = LockHeldError("x", found="something", expected="else")
    with pytest.raises(LockHeldError, match="something"), shared(one.artifacts, "base", store):
        raise error
    with shared(two.artifacts, "base", store):
        assert read_current(two.artifacts / "data") == read_current(one.artifacts / "data")
