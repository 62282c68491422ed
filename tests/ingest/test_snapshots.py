"""Snapshots: named by content, published in one step, compared, gone back to, pruned."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flows.command_line.app import app
from gridcast.errors import IntegrityError, RecordError, UsageError
from gridcast.readings.records import DataRecord, Ingestion, Snapshot
from gridcast.readings.snapshots import SnapshotChanges, compare_tables, table_sha256
from gridcast.record import SEALED_SINCE
from gridcast.summary import Ending, RunRecords, summarize
from tasks.ingest.pruning import prune, used_snapshots
from tasks.ingest.region_tables import find_table
from tasks.ingest.snapshots import (
    compare,
    current_ids,
    last_two,
    list_snapshots,
    read_current,
    read_pointer,
    read_snapshot,
    use_snapshot,
)
from tasks.runs.keys import has_sha256
from tasks.runs.record_files import write_record
from tests.builders.pipelines import read_json, sha256_by_file
from tests.builders.records import write_tree
from tests.builders.snapshots import Names, make_table, publish_loads, publish_tables, stage

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B, C = [100.0, 200.0, 300.0], [100.0, 250.0, 300.0], [1.0, 2.0]


def is_whole(store: Path, snapshot: Snapshot) -> bool:
    return all(
        has_sha256(store / each.path, each.file_sha256) for each in snapshot.regions.values()
    )


def current(store: Path, folder: str | None = None) -> Snapshot:
    found = read_current(store, folder=None if folder is None else Path(folder))
    assert found is not None
    return found.snapshot


# -- identity ------------------------------------------------------------------------------------


def test_shuffled_source_lines_make_the_same_table_and_another_load_another() -> None:
    table = make_table(A)
    shuffled = table.assign(source_line=[4, 2, 3])
    assert table_sha256(shuffled) == table_sha256(table)
    for name, value in (("load_mw", 1.0), ("flag", "spike")):
        changed = table.copy()
        changed.loc[1, name] = value
        assert table_sha256(changed) != table_sha256(table)


def test_neither_the_resolution_of_times_nor_the_order_of_columns_changes_a_tables_hash() -> None:
    table = make_table(A)
    coarse = table.assign(timestamp=table["timestamp"].astype("datetime64[s, UTC]"))
    assert table_sha256(coarse[coarse.columns[::-1]]) == table_sha256(table)


def test_flags_that_read_alike_when_joined_are_not_the_same_table() -> None:
    table = make_table(A)
    one, other = table.assign(flag=["a", "ab", ""]), table.assign(flag=["aa", "b", ""])
    assert table_sha256(one) != table_sha256(other)


def test_the_same_content_has_the_same_id_in_another_store(tmp_path: Path) -> None:
    one = publish_loads(tmp_path / "one", AEP=A, DOM=C)
    other = publish_loads(tmp_path / "other", Names("elsewhere", "/elsewhere"), DOM=C, AEP=A)
    assert other.id == one.id
    assert len(one.id) == 16


def test_publishing_the_same_again_writes_nothing_and_makes_no_new_snapshot(tmp_path: Path) -> None:
    publish_loads(tmp_path, AEP=A)
    before = {
        path: path.stat().st_ino
        for path in tmp_path.rglob("*.*")
        if path.parent.name not in {"keys", "newest"}
    }
    shuffled = {"AEP": make_table(A).assign(source_line=[4, 2, 3])}
    publication = publish_tables(tmp_path, shuffled)
    after = {
        path: path.stat().st_ino
        for path in tmp_path.rglob("*.*")
        if path.parent.name not in {"keys", "newest"}
    }
    assert after == before
    assert publication.changes is not None
    assert publication.changes.changed == {}


# -- publication and reading ---------------------------------------------------------------------


def test_a_staged_table_is_not_seen_until_it_is_published(tmp_path: Path) -> None:
    old = publish_loads(tmp_path, AEP=A)
    stage(tmp_path, "AEP", make_table(B))
    assert current(tmp_path) == old


def test_revised_history_makes_a_new_snapshot_and_the_old_one_stays_readable(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    loads = (10_000 + rng.integers(0, 999, 5000)).astype(float)
    revised = loads.copy()
    rows = np.sort(rng.choice(5000, 100, replace=False))
    revised[rows] += np.linspace(1, 100, 100)
    old = publish_loads(tmp_path, AEP=loads.tolist(), DOM=C)
    before = sha256_by_file(tmp_path / "objects")
    new = publish_loads(tmp_path, AEP=revised.tolist(), DOM=C)
    assert (new.parent, old.parent) == (old.id, None)
    assert before.items() <= sha256_by_file(tmp_path / "objects").items()
    assert is_whole(tmp_path, read_snapshot(tmp_path, old.id))
    report = tmp_path / "snapshots" / f"{new.id}.changes.json"
    changes = SnapshotChanges.model_validate_json(report.read_bytes())
    assert changes == compare(tmp_path, old, new)
    aep = changes.regions["AEP"]
    hours = make_table(loads.tolist())["timestamp"]
    assert (aep.revised.count, aep.largest_change_mw) == (100, 100.0)
    assert (aep.revised.first, aep.revised.last) == (hours[rows[0]], hours[rows[-1]])
    assert (aep.added.count, aep.removed.count, aep.reflagged.count) == (0, 0, 0)
    assert aep.examples[0].timestamp == hours[rows[-1]]
    assert changes.regions["DOM"].status == "unchanged"


def test_a_refused_region_keeps_what_was_published_and_readers_are_told(tmp_path: Path) -> None:
    old = publish_loads(tmp_path, AEP=A, DOM=C)
    new = publish_tables(tmp_path, {"AEP": make_table(B)}, refused=["DOM"]).snapshot
    assert new.regions["DOM"] == old.regions["DOM"]
    assert new.regions["AEP"] != old.regions["AEP"]
    found = read_current(tmp_path)
    assert found is not None
    assert set(found.refused) == {"DOM"}
    publish_loads(tmp_path, AEP=B, DOM=C)
    found = read_current(tmp_path)
    assert found is not None
    assert found.refused == {}


def test_where_all_regions_are_refused_nothing_new_is_published(tmp_path: Path) -> None:
    old = publish_loads(tmp_path, AEP=A)
    assert publish_tables(tmp_path, {}, refused=["AEP"]).snapshot == old
    assert len(list_snapshots(tmp_path)) == 1


def test_a_region_without_a_file_is_not_in_the_new_snapshot(tmp_path: Path) -> None:
    publish_loads(tmp_path, AEP=A, DOM=C)
    publication = publish_tables(tmp_path, {"AEP": make_table(A)})
    assert set(publication.snapshot.regions) == {"AEP"}
    assert publication.changes is not None
    assert publication.changes.regions["DOM"].status == "removed"


def test_two_folders_of_one_name_have_one_history_and_each_its_own_snapshot(tmp_path: Path) -> None:
    mine, yours = Names(folder="/mine/load"), Names(folder="/yours/load")
    first = publish_loads(tmp_path, mine, AEP=A)
    second = publish_loads(tmp_path, yours, AEP=B)
    assert second.parent == first.id
    assert current(tmp_path) == second
    assert current(tmp_path, "/mine/load") == first
    assert current(tmp_path, "/yours/load") == second
    publish_loads(tmp_path, mine, AEP=A)
    assert current(tmp_path) == first


def test_the_data_set_that_was_ingested_last_is_read_also_if_it_was_unchanged(
    tmp_path: Path,
) -> None:
    first = publish_loads(tmp_path, Names("a", "/a"), AEP=A)
    second = publish_loads(tmp_path, Names("b", "/b"), AEP=B)
    assert current(tmp_path) == second
    publish_loads(tmp_path, Names("a", "/a"), AEP=A)
    assert current(tmp_path) == first


def test_nothing_is_current_where_nothing_was_published(tmp_path: Path) -> None:
    assert read_current(tmp_path) is None
    with pytest.raises(UsageError, match="no two snapshots"):
        last_two(tmp_path)


def test_a_damaged_pointer_is_named_to_readers_and_made_anew_by_the_next_publication(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = publish_loads(tmp_path, AEP=A)
    publish_loads(tmp_path, Names("other", "/other"), AEP=B)
    pointer = tmp_path / "load.json"
    pointer.write_text("{", encoding="utf-8")
    for reads in (read_current, current_ids, last_two):
        with pytest.raises(RecordError, match=r"load\.json: found no JSON .*ingest again"):
            reads(tmp_path)
    assert current(tmp_path, "/other") is not None
    assert publish_loads(tmp_path, AEP=A).id == snapshot.id
    assert f"{pointer}: found no JSON" in caplog.text
    assert current(tmp_path) == read_snapshot(tmp_path, snapshot.id)


def test_after_a_damaged_pointer_history_goes_on_from_the_newest_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish_loads(tmp_path, AEP=A, DOM=C)
    newest = publish_loads(tmp_path, AEP=B, DOM=C)
    (tmp_path / "load.json").write_bytes(b"{")
    publication = publish_tables(tmp_path, {"AEP": make_table(A)}, refused=["DOM"])
    snapshot = publication.snapshot
    assert f"load: history goes on from snapshot {newest.id}" in caplog.text
    assert snapshot.regions["DOM"] == newest.regions["DOM"]  # refused: as it was published before
    pointer = read_pointer(tmp_path, "load")
    assert pointer is not None
    assert pointer.previous == newest.id
    assert publication.changes is not None
    assert publication.changes.before == newest.id


def test_after_a_damaged_pointer_numbers_go_on_from_those_of_the_snapshots(tmp_path: Path) -> None:
    publish_loads(tmp_path, AEP=A)
    newest = publish_loads(tmp_path, AEP=B)
    (tmp_path / "load.json").write_bytes(b"{")
    assert publish_loads(tmp_path, AEP=C).sequence > newest.sequence


def test_what_a_newer_version_points_at_is_not_published_over(tmp_path: Path) -> None:
    publish_loads(tmp_path, AEP=A)
    pointer = tmp_path / "load.json"
    write_tree(pointer, read_json(pointer) | {"schema_version": SEALED_SINCE + 1})
    newer = pointer.read_bytes()
    with pytest.raises(RecordError, match="a newer gridcast wrote"):
        publish_loads(tmp_path, AEP=B)
    assert pointer.read_bytes() == newer


def test_a_damaged_table_is_made_anew_and_its_snapshot_is_whole_again(tmp_path: Path) -> None:
    snapshot = publish_loads(tmp_path, AEP=A)
    path = tmp_path / snapshot.regions["AEP"].path
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert find_table(tmp_path, "AEP", snapshot.regions["AEP"].table_sha256) is None
    shuffled = {"AEP": make_table(A).assign(source_line=[4, 2, 3])}
    again = publish_tables(tmp_path, shuffled).snapshot
    assert again.id == snapshot.id
    assert is_whole(tmp_path, current(tmp_path))


def test_without_keys_a_table_that_is_there_is_known_by_its_content(tmp_path: Path) -> None:
    snapshot = publish_loads(tmp_path, AEP=A, DOM=C)
    shutil.rmtree(tmp_path / "keys")
    broken = tmp_path / snapshot.regions["DOM"].path
    broken.write_bytes(b"PAR1")
    before = sha256_by_file(tmp_path / "objects")
    tables = {"AEP": make_table(A).assign(source_line=[4, 2, 3]), "DOM": make_table(C)}
    assert publish_tables(tmp_path, tables).snapshot == snapshot
    changed = {
        name for name, sha in sha256_by_file(tmp_path / "objects").items() if before[name] != sha
    }
    assert changed == {broken.name}
    assert is_whole(tmp_path, snapshot)


def test_going_back_gives_readers_the_older_snapshot_until_the_next_ingestion(
    tmp_path: Path,
) -> None:
    old = publish_loads(tmp_path, AEP=A)
    new = publish_loads(tmp_path, AEP=B)
    use_snapshot(tmp_path, old)
    assert current(tmp_path) == current(tmp_path, "/csv/load") == old
    assert last_two(tmp_path) == (new, old)
    publish_loads(tmp_path, AEP=B)
    assert current(tmp_path) == new


def test_going_back_to_a_snapshot_with_a_changed_file_is_refused(tmp_path: Path) -> None:
    old = publish_loads(tmp_path, AEP=A)
    new = publish_loads(tmp_path, AEP=B)
    (tmp_path / old.regions["AEP"].path).write_bytes(b"other")
    with pytest.raises(IntegrityError, match="SHA-256"):
        use_snapshot(tmp_path, old)
    assert current(tmp_path) == new


def test_damage_to_the_snapshot_before_does_not_keep_a_new_one_from_being_published(
    tmp_path: Path,
) -> None:
    old = publish_loads(tmp_path, AEP=A)
    (tmp_path / old.regions["AEP"].path).write_bytes(b"other")
    publication = publish_tables(tmp_path, {"AEP": make_table(B)})
    assert publication.changes is None
    assert current(tmp_path) == publication.snapshot


# -- comparison ----------------------------------------------------------------------------------


@st.composite
def two_tables(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables of up to 12 of the same hours."""
    hours = pd.date_range("2017-01-01", periods=12, freq="h", tz="UTC")
    tables = []
    for _ in range(2):
        kept = draw(st.lists(st.integers(0, 11), unique=True).map(sorted))
        loads = draw(st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=12, max_size=12))
        flags = draw(st.lists(st.sampled_from(["", "spike"]), min_size=12, max_size=12))
        frame = pd.DataFrame({"timestamp": hours, "load_mw": loads}).assign(
            flag=pd.Series(flags, dtype="str")
        )
        tables.append(frame.loc[kept].reset_index(drop=True))
    return tables[0], tables[1]


def by_hour(frame: pd.DataFrame) -> dict[datetime, tuple[float, str]]:
    readings = zip(frame["load_mw"].tolist(), frame["flag"].tolist(), strict=True)
    return dict(zip(frame["timestamp"].dt.to_pydatetime(), readings, strict=True))


@given(tables=two_tables())
def test_what_differs_is_what_a_look_at_every_hour_finds(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    before, after = map(by_hour, tables)
    change = compare_tables(*tables, num_examples=3)
    both = before.keys() & after.keys()
    revised = {hour for hour in both if before[hour][0] != after[hour][0]}
    reflagged = {h for h in both - revised if before[h] != after[h]}
    expected = {
        "added": after.keys() - before.keys(), "removed": before.keys() - after.keys(),
        "revised": revised, "reflagged": reflagged,
    }  # fmt: skip
    for name, hours in expected.items():
        found = getattr(change, name)
        bounds = (min(hours), max(hours)) if hours else (None, None)
        assert (found.count, found.first, found.last) == (len(hours), *bounds), name
    largest = max((abs(before[h][0] - after[h][0]) for h in both), default=0.0)
    assert change.largest_change_mw == largest
    assert len(change.examples) == min(3, sum(map(len, expected.values())))
    for each in change.examples:
        pair = before.get(each.timestamp), after.get(each.timestamp)
        assert pair == tuple(
            None if flag is None else (load, flag)
            for load, flag in ((each.before_mw, each.before_flag), (each.after_mw, each.after_flag))
        )


# -- pruning -------------------------------------------------------------------------------------


def publish_many(store: Path, num: int) -> list[str]:
    """As many snapshots, of AEP as it goes on and a DOM that stays."""
    return [publish_loads(store, AEP=[1.0] * (i + 2), DOM=C).id for i in range(num)]


def test_pruning_keeps_the_newest_and_deletes_what_nothing_names(tmp_path: Path) -> None:
    names = publish_many(tmp_path, 4)
    stage(tmp_path, "AEP", make_table([7.0, 8.0]))
    pruned = prune(tmp_path, keep=2)
    assert (pruned.snapshots, pruned.kept) == (tuple(names[:2]), tuple(names[2:]))
    assert pruned.num_objects == 3  # of the two snapshots, and the staged one
    assert {each.id for each in list_snapshots(tmp_path)} == set(names[2:])
    assert all(is_whole(tmp_path, each) for each in list_snapshots(tmp_path))
    for folder in ("objects", "keys"):
        assert len(list((tmp_path / folder).iterdir())) == 3
    assert len(list((tmp_path / "snapshots").glob("*.changes.json"))) == 2


def test_pruning_never_takes_the_current_snapshot(tmp_path: Path) -> None:
    names = publish_many(tmp_path, 3)
    use_snapshot(tmp_path, read_snapshot(tmp_path, names[0]))
    assert prune(tmp_path, keep=0).kept == (names[0],)
    assert is_whole(tmp_path, current(tmp_path))


def test_a_dry_run_tells_what_would_go_and_deletes_nothing(tmp_path: Path) -> None:
    names = publish_many(tmp_path, 3)
    before = sha256_by_file(tmp_path)
    dry = prune(tmp_path, keep=1, is_dry_run=True)
    assert sha256_by_file(tmp_path) == before
    assert prune(tmp_path, keep=1) == dry
    assert dry.snapshots == tuple(names[:2])
    assert dry.freed_bytes > 0


def test_pruning_spares_what_the_summary_of_a_run_refers_to(tmp_path: Path) -> None:
    store, run = tmp_path / "data", tmp_path / "runs" / "20260101T000000Z-0000"
    names = publish_many(store, 3)
    run.mkdir(parents=True)
    opened = Ingestion(
        dataset="load", data=DataRecord(folder="load", kind="real"), regions={}, snapshot=names[0]
    )
    summary = summarize(run.name, RunRecords(ingestion=opened), Ending(seconds=0.0))
    write_record(run / "summary.json", summary)
    assert used_snapshots(tmp_path / "runs") == {names[0]: [run.name]}
    assert prune(store, keep=1, used=used_snapshots(tmp_path / "runs")).snapshots == (names[1],)
    assert prune(store, keep=1).snapshots == (names[0],)


def test_pruning_stops_at_a_manifest_that_it_cannot_read(tmp_path: Path) -> None:
    publish_many(tmp_path, 2)
    manifest = next((tmp_path / "snapshots").glob("*[0-9a-f].json"))
    manifest.write_text("{", encoding="utf-8")
    before = sha256_by_file(tmp_path)
    with pytest.raises(RecordError, match=f"{manifest.name}: found no JSON"):
        prune(tmp_path, keep=0)
    assert sha256_by_file(tmp_path) == before


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(["a", "b"]), st.integers(0, 3)),
        st.tuples(st.just("refuse"), st.sampled_from(["a", "b"]), st.integers(0, 3)),
        st.tuples(st.just("prune"), st.just(""), st.integers(0, 2)),
        st.tuples(st.just("use"), st.just(""), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=12,
)


@given(steps=STEPS)
def test_any_order_of_publishing_and_pruning_leaves_every_snapshot_whole(
    steps: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = tmp_path_factory.mktemp("store")
    for action, dataset, number in steps:
        names, table = Names(dataset, f"/{dataset}"), make_table([1.0 + number, 2.0])
        if action == "publish":
            publish_tables(store, {"AEP": table, "DOM": make_table(C)}, names=names)
        elif action == "refuse":
            publish_tables(store, {"AEP": table}, refused=["DOM"], names=names)
        elif action == "prune":
            prune(store, keep=number)
        elif kept := list_snapshots(store):
            use_snapshot(store, kept[number % len(kept)])
        kept = list_snapshots(store)
        assert all(is_whole(store, each) for each in kept)
        assert set(current_ids(store).values()) <= {each.id for each in kept}


# -- the command ---------------------------------------------------------------------------------


def command(artifacts: Path, *arguments: str) -> tuple[int, str]:
    words = ["snapshots", *arguments, "--artifacts", str(artifacts)]
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.output


def json_of(artifacts: Path, *arguments: str) -> Any:  # noqa: ANN401
    status, output = command(artifacts, *arguments, "--json")
    assert status == 0, output
    return json.loads(output)


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder of artifacts with three snapshots, and their ids."""
    return tmp_path, publish_many(tmp_path / "data", 3)


def test_list_shows_every_snapshot_and_marks_the_current_one(
    published: tuple[Path, list[str]],
) -> None:
    artifacts, names = published
    rows = json_of(artifacts, "list")
    assert [row["id"] for row in rows] == names
    assert [row["current_of"] for row in rows] == [[], [], ["load"]]
    _, output = command(artifacts, "list")
    assert f"{names[2]} (current)" in output
    assert all(name in output for name in names)


def test_show_takes_the_first_digits_and_gives_the_manifest(
    published: tuple[Path, list[str]],
) -> None:
    artifacts, names = published
    manifest = artifacts / "data" / "snapshots" / f"{names[1]}.json"
    assert json_of(artifacts, "show", names[1][:6]) == read_json(manifest)
    status, output = command(artifacts, "show", names[1])
    assert (status, names[0] in output, "/csv/load" in output) == (0, True, True)


def test_compare_without_names_takes_the_last_two(published: tuple[Path, list[str]]) -> None:
    artifacts, names = published
    changes = json_of(artifacts, "compare")
    assert (changes["before"], changes["after"]) == (names[1], names[2])
    assert changes["regions"]["AEP"]["added"]["count"] == 1
    assert (
        json_of(artifacts, "compare", names[0], names[2])["regions"]["AEP"]["added"]["count"] == 2
    )
    _, output = command(artifacts, "compare")
    assert "no row → 1.0 MW" in output


def test_use_and_prune_do_what_they_say(published: tuple[Path, list[str]]) -> None:
    artifacts, names = published
    assert command(artifacts, "use", names[0])[0] == 0
    assert current(artifacts / "data").id == names[0]
    dry = json_of(artifacts, "prune", "--keep", "1", "--dry-run")
    assert dry["snapshots"] == [names[1]]
    assert json_of(artifacts, "prune", "--keep", "1") == dry
    assert [row["id"] for row in json_of(artifacts, "list")] == [names[0], names[2]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["show", "ffff"], "found 0", id="unknown"),
        pytest.param(["show", ""], "found 3", id="ambiguous"),
        pytest.param(["show", "../../etc/x"], "found 0", id="a_path"),
        pytest.param(["compare", "ffff"], "found one snapshot", id="one_of_two"),
    ],
)
def test_a_snapshot_that_is_not_there_is_wrong_usage(
    published: tuple[Path, list[str]], arguments: Sequence[str], words: str
) -> None:
    status, output = command(published[0], *arguments)
    assert status == 2
    assert words in output


def test_without_anything_published_the_command_says_what_to_do(tmp_path: Path) -> None:
    status, output = command(tmp_path, "list")
    assert status == 2
    assert "gridcast ingest" in output


def test_the_pointer_is_one_small_file_that_names_the_snapshot(tmp_path: Path) -> None:
    snapshot = publish_loads(tmp_path, AEP=A)
    pointer = read_pointer(tmp_path, "load")
    assert pointer is not None
    assert json.loads((tmp_path / "load.json").read_bytes())["snapshot"] == snapshot.id
