"""Machines share sets of files: whole, by content, and never over one another."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import (
    ConfigError,
    IntegrityError,
    LockHeldError,
    RecordError,
    StoreError,
    UsageError,
)
from gridcast.record import sealed
from tasks.store import kept_sets
from tasks.store.bucket_store import BucketStore
from tasks.store.kept_sets import bring, bring_published, keep, publish, read_set, set_names
from tasks.store.merged_rows import merge_days
from tasks.store.stores import open_store
from tests.builders.buckets import (
    BUCKET,
    KEYS,
    in_environment,
    make_copy,
    make_store,
    require_s3,
    s3_endpoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.store.kept_sets import WorkingCopy

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[dict[str, str]]:
    require_s3()
    with s3_endpoint() as environment, in_environment(environment):
        yield environment


@pytest.fixture(params=["file", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return make_store(tmp_path / "share")
    request.getfixturevalue("endpoint")
    return f"s3://{BUCKET}/team-{next(NUMBERS)}"


@pytest.fixture
def machines(address: str, tmp_path: Path) -> tuple[WorkingCopy, WorkingCopy]:
    return make_copy(tmp_path / "one", address), make_copy(tmp_path / "two", address)


def write(copy: WorkingCopy, **files: str) -> list[Path]:
    paths = [copy.artifacts / "data" / f"{name}.txt" for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return paths


def read(copy: WorkingCopy, name: str) -> str:
    return (copy.artifacts / "data" / f"{name}.txt").read_text("utf-8")


# -- kept ------------------------------------------------------------------------------------------


def test_a_kept_set_is_on_the_other_machine_as_it_was_and_never_changes(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    keep(one, "jobs/a", write(one, x="weights", y="result"))
    assert bring(two, "jobs/a") is not None
    assert (read(two, "x"), read(two, "y")) == ("weights", "result")
    keep(two, "jobs/a", write(two, x="other", y="result"))
    assert bring(one, "jobs/a") is not None
    assert read(one, "x") == "weights"
    assert set_names(one) == set_names(two, "jobs/") == ["jobs/a"]
    assert bring(two, "jobs/b") is None


def test_a_file_that_was_damaged_here_is_brought_again_and_the_wanted_ones_alone(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    keep(one, "jobs/a", write(one, x="weights", y="result"))
    bring(two, "jobs/a", is_wanted=lambda path: path.endswith("y.txt"))
    assert not (two.artifacts / "data" / "x.txt").exists()
    write(two, y="resulT")
    bring(two, "jobs/a")
    assert (read(two, "x"), read(two, "y")) == ("weights", "result")


def test_the_same_content_is_kept_once(machines: tuple[WorkingCopy, WorkingCopy]) -> None:
    one, _ = machines
    keep(one, "jobs/a", write(one, x="weights", y="weights"))
    keep(one, "models/a", write(one, z="weights"))
    assert len(list(one.store.names("files/"))) == 1


def test_the_set_is_written_after_its_files_and_the_last_file_comes_after_the_others(
    machines: tuple[WorkingCopy, WorkingCopy], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    paths = write(one, **{f"f{number}": str(number) for number in range(20)}, last="pointer")

    def refuse(*_: object, **__: object) -> None:
        raise StoreError(one.address, reason="gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(one.store), "write", refuse)
        with pytest.raises(StoreError, match="gone"):
            keep(one, "jobs/a", paths)
    assert set_names(one) == []
    assert len(list(one.store.names("files/"))) == len(paths)
    keep(one, "jobs/a", paths)
    received, whole = list[str](), type(two.store).receive

    def note(store: Any, name: str, path: Path) -> None:  # noqa: ANN401
        received.append(name)
        whole(store, name, path)

    monkeypatch.setattr(type(two.store), "receive", note)
    bring(two, "jobs/a")
    found = read_set(two, "jobs/a")
    assert found is not None
    assert received[-1].endswith(found[0].files["data/last.txt"].sha256)
    assert len(received) == len(paths)


def test_what_the_store_has_otherwise_than_written_is_refused_and_nothing_takes_its_place(
    tmp_path: Path,
) -> None:
    address = make_store(tmp_path / "share")
    one, two = (make_copy(tmp_path / name, address) for name in ("one", "two"))
    keep(one, "jobs/a", write(one, x="weights"))
    (content,) = (path for path in (tmp_path / "share" / "files").rglob("*") if path.is_file())
    content.write_text("Weights", "utf-8")
    with pytest.raises(IntegrityError, match=r"data/x\.txt"):
        bring(two, "jobs/a")
    assert [path for path in (two.artifacts / "data").rglob("*") if path.is_file()] == []
    path = tmp_path / "share" / "sets" / "jobs" / "a.json"
    path.write_text(path.read_text("utf-8").replace('"size": 7', '"size": 8'), "utf-8")
    with pytest.raises(RecordError, match="changed after it was written"):
        bring(two, "jobs/a")


@pytest.mark.parametrize("path", ["../out.txt", "/etc/out.txt", "a/../../out.txt", ""])
def test_a_set_that_leads_out_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    two = make_copy(tmp_path / "two", make_store(tmp_path / "share"))
    files = {path: {"sha256": "0" * 64, "size": 1}}
    tree = {"schema_version": 3, "name": "jobs/a", "kept_at": "", "kept_by": "", "files": files}
    two.store.write("sets/jobs/a.json", sealed(tree), over=None)
    with pytest.raises(RecordError, match="expected paths below the artifacts"):
        bring(two, "jobs/a")


# -- published -------------------------------------------------------------------------------------


def test_what_is_published_follows_from_machine_to_machine(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    assert publish(one, "data/pjm", write(one, pointer="1"))
    assert not publish(one, "data/pjm", write(one, pointer="1"))
    bring_published(two, "data/pjm")
    assert read(two, "pointer") == "1"
    assert publish(two, "data/pjm", write(two, pointer="2"))
    bring_published(one, "data/pjm")
    assert read(one, "pointer") == "2"


def test_of_two_that_publish_at_once_the_later_one_is_told_who_was_sooner(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    publish(one, "data/pjm", write(one, pointer="1"))
    bring_published(two, "data/pjm")
    publish(one, "data/pjm", write(one, pointer="2"))
    with pytest.raises(LockHeldError, match=r"data/pjm: found it changed by .+@.+ at 20") as told:
        publish(two, "data/pjm", write(two, pointer="3"))
    assert told.value.exit_code == 75
    bring_published(two, "data/pjm")
    assert read(two, "pointer") == "2"
    assert publish(two, "data/pjm", write(two, pointer="3"))


def test_the_same_published_twice_is_no_conflict(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    publish(one, "data/pjm", write(one, pointer="1"))
    assert publish(two, "data/pjm", write(two, pointer="1"))
    assert publish(two, "data/pjm", write(two, pointer="2"))


def test_what_this_folder_changed_since_it_published_is_not_fetched_over(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, _ = machines
    publish(one, "data/pjm", write(one, pointer="1"))
    write(one, pointer="2")
    bring_published(one, "data/pjm")
    assert read(one, "pointer") == "2"
    assert publish(one, "data/pjm", write(one, pointer="2"))


def test_of_many_that_publish_over_the_same_version_one_does(address: str, tmp_path: Path) -> None:
    copies = [make_copy(tmp_path / str(number), address) for number in range(6)]
    publish(copies[0], "champions/pjm", write(copies[0], entry="0"))
    for number, copy in enumerate(copies):
        bring_published(copy, "champions/pjm")
        write(copy, entry=f"by {number}")

    def is_first(copy: WorkingCopy) -> bool:
        try:
            return publish(copy, "champions/pjm", [copy.artifacts / "data" / "entry.txt"])
        except LockHeldError:
            return False

    with ThreadPoolExecutor(len(copies)) as threads:
        won = list(threads.map(is_first, copies))
    assert sum(won) == 1
    last = make_copy(tmp_path / "last", address)
    bring_published(last, "champions/pjm")
    assert read(last, "entry") == f"by {won.index(True)}"


def test_a_folder_that_changes_its_store_publishes_all_of_it_there(tmp_path: Path) -> None:
    one = make_copy(tmp_path / "one", make_store(tmp_path / "share"))
    publish(one, "data/pjm", write(one, pointer="1"))
    other = make_copy(tmp_path / "one", make_store(tmp_path / "other"))
    assert publish(other, "data/pjm", write(one, pointer="1"))
    two = make_copy(tmp_path / "two", other.address)
    bring_published(two, "data/pjm")
    assert read(two, "pointer") == "1"


def issue(copy: WorkingCopy, issued: dict[str, float]) -> Path:
    path = copy.artifacts / "forecasts" / "pjm" / "2018-01-01.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    times = pd.to_datetime(list(issued), utc=True)
    frame = pd.DataFrame({"issue_time": times, "region": "AEP", "lead": 1})
    frame.assign(load_mw=list(issued.values())).to_parquet(path)
    return path


def test_rows_that_both_have_issued_are_merged_and_what_was_published_first_stands(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    ours = issue(one, {"2018-01-01T00": 1.0, "2018-01-01T01": 2.0})
    publish(one, "forecasts/pjm", [ours])
    path = issue(two, {"2018-01-01T01": 20.0, "2018-01-01T02": 30.0})
    bring_published(two, "forecasts/pjm", merge=merge_days)
    assert list(pd.read_parquet(path)["load_mw"]) == [1.0, 2.0, 30.0]
    assert publish(two, "forecasts/pjm", [path])
    bring_published(one, "forecasts/pjm", merge=merge_days)
    assert list(pd.read_parquet(ours)["load_mw"]) == [1.0, 2.0, 30.0]


# -- addresses and endpoints -----------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/mnt/share", "ftp://host/x", "s3://B", "file://host/x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"run\.store"):
        open_store(address)
    with pytest.raises(ConfigError, match=r"run\.store"):
        Config.load(overrides=(f"run.store={address}",))


def test_a_share_that_is_not_mounted_is_not_an_empty_store(tmp_path: Path) -> None:
    copy = make_copy(tmp_path / "one", (tmp_path / "share").as_uri())
    for use in (
        lambda: read_set(copy, "data/pjm"),
        lambda: set_names(copy),
        lambda: publish(copy, "data/pjm", write(copy, pointer="1")),
    ):
        with pytest.raises(StoreError, match="no such folder"):
            use()
    assert not (tmp_path / "share").exists()


def test_an_endpoint_that_does_not_answer_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_s3()
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}).items():
        monkeypatch.setenv(name, value)
    copy = make_copy(tmp_path / "one", f"s3://{BUCKET}/x")
    with pytest.raises(StoreError) as told:
        read_set(copy, "data/pjm")
    assert "\n" not in str(told.value)


def test_an_endpoint_that_passes_over_conditions_is_refused_before_anything_is_published(
    endpoint: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert endpoint
    copy = make_copy(tmp_path / "one", f"s3://{BUCKET}/careless")
    assert isinstance(copy.store, BucketStore)
    put = copy.store._client.put_object

    def careless(**asked: Any) -> Any:  # noqa: ANN401
        return put(**{name: each for name, each in asked.items() if not name.startswith("If")})

    monkeypatch.setattr(copy.store._client, "put_object", careless)
    with pytest.raises(StoreError, match="does not honour If-None-Match"):
        publish(copy, "data/pjm", write(copy, pointer="1"))
    assert set_names(copy) == []


def test_a_large_file_goes_in_parts_and_comes_back(
    endpoint: dict[str, str], tmp_path: Path
) -> None:
    assert endpoint
    one = make_copy(tmp_path / "one", f"s3://{BUCKET}/large")
    path = one.artifacts / "features" / "table.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(range(256)) * (17 * 4096))  # 17 MiB
    keep(one, "features/table", [path])
    two = make_copy(tmp_path / "two", one.address)
    bring(two, "features/table")
    assert (two.artifacts / "features" / "table.parquet").read_bytes() == path.read_bytes()


def test_what_is_remembered_of_a_set_is_a_record_and_made_anew_where_it_is_damaged(
    tmp_path: Path,
) -> None:
    one = make_copy(tmp_path / "one", make_store(tmp_path / "share"))
    publish(one, "data/pjm", write(one, pointer="1"))
    path = one.artifacts / kept_sets.SEEN / "data" / "pjm.json"
    assert json.loads(path.read_bytes())["address"] == one.address
    path.write_text(path.read_text("utf-8").replace("file://", "file:// "), "utf-8")
    assert publish(one, "data/pjm", write(one, pointer="1"))  # the same content: no conflict
    assert not publish(one, "data/pjm", write(one, pointer="1"))
