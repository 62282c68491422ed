"""Every record that a run leaves, damaged: taken as it is, made anew, or told in one line."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from gridcast.audit.lineage import Lineage
from gridcast.errors import RecordError
from gridcast.evaluation.backtest_scores import BacktestScores
from gridcast.evaluation.records import Evaluation, KeptModels
from gridcast.features.windows import FeaturesMade
from gridcast.readings.records import DataReport, Ingestion, Snapshot
from gridcast.readings.snapshots import SnapshotChanges
from gridcast.record import SEALED_SINCE, StoredRecord, sealed
from gridcast.serving.model_card import ModelCard
from gridcast.summary import FailedJobs, Opened, Report, StageTime, Summary, Tracking
from tasks.fetch.marker import Origin
from tasks.ingest.pointers import Pointer
from tasks.ingest.publish_data_report import PageNote
from tasks.ingest.region_tables import KnownRegion
from tasks.runs.record_files import read_record
from tasks.track.logged.contestant_runs import TrackedNote
from tasks.track.verify import verify
from tasks.train.build_features import TablesInUse
from tasks.train.records import Features, NetworkJob, Specification, TrainingResult
from tests.builders.pipelines import (
    SMALL_MODEL,
    copy_artifacts,
    first_run,
    on_a_server,
    read_json,
    run_flow,
    settings,
    small_data,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

# Of a run's own folder the files are named by their kinds.
RUN_KINDS = (DataReport, Evaluation, FailedJobs, FeaturesMade, Ingestion, KeptModels, Lineage,
             Opened, Report, SnapshotChanges, Summary)  # fmt: skip
CACHES: dict[str, type[StoredRecord]] = {
    "data-report/*/report.json": PageNote,
    "data/keys/*.json": KnownRegion,
    "data/newest/*.json": KnownRegion,
    "features/*.json": Features,
    "jobs/*/result.json": TrainingResult,
    "jobs/*/mlflow.json": TrackedNote,
    "models/*/model.json": ModelCard,
}
KINDS: dict[str, type[StoredRecord]] = {
    **{f"runs/*/{each.kind}.json": each for each in RUN_KINDS},
    **CACHES,
    "jobs/*/job.json": Specification[NetworkJob],
    "models/*/backtest.json": BacktestScores,  # made with its model.json
    "runs/*/features_in_use.json": TablesInUse,
    "runs/*/timings/*.json": StageTime,
    "runs/*/tracking/*.json": Tracking,
    "data/snapshots/*.changes.json": SnapshotChanges,
    "data/snapshots/*.json": Snapshot,
    "data/*.json": Pointer,
    "csv/*/gridcast-source.json": Origin,
}
READ_BY_THE_NEXT_RUN = (*CACHES.values(), Pointer, Snapshot, Opened)
# Others' own.
OTHERS = ("data-docs", "mlflow", "prefect")

DAMAGES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "digit": lambda record: _one_digit_changed(sealed(record)),
    "field_more": lambda record: _bytes(record | {"more": {"of": [1]}}),
    "field_removed": lambda record: _bytes(dict(list(record.items())[:-1])),
    "first_field_removed": lambda record: _bytes(dict(list(record.items())[2:])),
    "key_renamed": lambda record: _bytes(
        {
            f"{key}s" if number == 1 else key: value
            for number, (key, value) in enumerate(record.items())
        }
    ),
    "list": lambda record: json.dumps([record]).encode(),
    "no_json": lambda record: _bytes(record)[:-3],
    "nested": lambda record: (
        json.dumps(record).encode()[:-1] + b', "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    ),
    "of_before_the_hash": lambda record: json.dumps(record).encode(),
    "empty": lambda _: b"",
    "newer": lambda record: _bytes(record | {"schema_version": 99}),
}


def _bytes(record: dict[str, Any]) -> bytes:
    """As written by who knew no better: with the hash that fits."""
    return sealed(record)


def _one_digit_changed(content: bytes) -> bytes:
    """The last digit of the file: of a figure or a hash, of whatever kind the record is."""
    place = max(content.rfind(b"%d" % digit) for digit in range(10))
    return content[:place] + b"%d" % ((content[place] - 47) % 10) + content[place + 1 :]


def records_in(artifacts: Path) -> dict[Path, type[StoredRecord]]:
    """Every JSON file that is a record, with its class; one of no known kind is an error."""
    found = {}
    for path in sorted(artifacts.rglob("*.json")):
        name = PurePosixPath(path.relative_to(artifacts))
        if name.parts[0] in OTHERS:
            continue
        found[path] = next((kind for form, kind in KINDS.items() if name.match(form)), None)
        assert found[path], f"{name} is a record of no known kind"
    return {path: kind for path, kind in found.items() if kind}


def test_every_record_names_its_version_and_is_read_with_a_field_more_at_every_depth() -> None:
    for path, kind in records_in(first_run().artifacts).items():
        record = read_record(path, kind)
        assert read_json(path)["schema_version"] == kind.newest_schema() >= SEALED_SINCE, path
        assert record.schema_version == kind.newest_schema(), path


# What the fields that were renamed in version 2 were called before.
NAMES_BEFORE_2 = {"quarantined": "set_aside", "seeds_per_pass": "num_together"}


def _as_before_2(tree: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(tree, dict):
        return {NAMES_BEFORE_2.get(key, key): _as_before_2(each) for key, each in tree.items()}
    return [_as_before_2(each) for each in tree] if isinstance(tree, list) else tree


def test_a_record_of_before_its_fields_were_renamed_is_read_as_what_it_is(tmp_path: Path) -> None:
    renamed = set()
    for number, (path, kind) in enumerate(records_in(first_run().artifacts).items()):
        before = _as_before_2(read_json(path))
        if before == read_json(path) or kind is Lineage:  # it keeps names as MLflow has them
            continue
        older = tmp_path / f"{number}.json"
        older.write_text(json.dumps({**before, "schema_version": 1}), encoding="utf-8")
        assert read_record(older, kind) == read_record(path, kind)
        renamed.add(kind)
    assert renamed == {KnownRegion, Snapshot, Ingestion, Evaluation, Summary, TrainingResult}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_kind_damaged_is_read_or_told_in_one_line_that_names_it(
    tmp_path: Path, damage: str
) -> None:
    records = records_in(first_run().artifacts)
    assert len(set(records.values())) == len(set(KINDS.values())) - 1  # no Origin
    for number, (path, kind) in enumerate(records.items()):
        damaged = tmp_path / f"{number}.json"
        damaged.write_bytes(DAMAGES[damage](read_json(path)))
        outcome = outcome_of(damaged, kind)
        if isinstance(outcome, str):
            assert outcome.startswith(f"ERROR {damaged}: found ")
            assert "\n" not in outcome
            assert damage != "field_more"
        else:
            assert damage != "digit"
            assert damage in {"field_more", "field_removed", "first_field_removed", "key_renamed"}
            assert damage != "field_more" or outcome == read_record(path, kind)


def outcome_of(path: Path, kind: type[StoredRecord]) -> StoredRecord | str:
    """The record, or the error in words."""
    try:
        return read_record(path, kind)
    except RecordError as error:
        return str(error)


def test_one_digit_changed_in_each_kind_is_named_by_verify(tmp_path: Path) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    records = records_in(artifacts)
    assert verify("latest", artifacts).broken is None
    for path in records:
        path.write_bytes(_one_digit_changed(path.read_bytes()))
    found = {each.where for each in verify("latest", artifacts).findings if each.state == "broken"}
    assert {str(path) for path in records} <= found


def test_a_run_names_each_record_that_was_changed_and_makes_it_anew(tmp_path: Path) -> None:
    """One digit in the first of each kind, and worse in the others that it reads."""
    artifacts = copy_artifacts(tmp_path / "artifacts")
    names = ("list", "no_json", "nested", "empty", "newer", "first_field_removed")
    damaged = dict[Path, type[StoredRecord]]()
    for path, kind in records_in(artifacts).items():
        if kind not in damaged.values() or kind in CACHES.values():
            is_first = kind not in damaged.values()
            name = "digit" if is_first else names[len(damaged) % len(names)]
            path.write_bytes(DAMAGES[name](read_json(path)))
            damaged[path] = kind
    killed = artifacts / "runs" / "20260101T000000Z-0000"
    killed.mkdir()
    (killed / "opened.json").write_bytes(b"{")
    run = run_flow(
        "run", small_data(), artifacts, *settings(*SMALL_MODEL), environment=on_a_server(),
    )  # fmt: skip
    assert run.result.returncode == 0, run.result.stderr
    assert "Traceback" not in run.result.stderr + run.result.stdout
    for path, kind in damaged.items():
        is_read = (
            kind in (*CACHES.values(), Pointer, Snapshot, Opened) and path.parent.name != "keys"
        )
        assert run.result.stderr.count(f"{path}: found ") >= is_read, path
    assert run.result.stderr.count(f"{killed / 'opened.json'}: found") == 1
    before, after = first_run().summary, run.summary
    assert after.snapshot == before.snapshot
    for name, model in after.models.items():
        assert model.weights_sha256 == before.models[name].weights_sha256
        assert (model.smape, model.cached) == (before.models[name].smape, False)
    of_before = (first_run().folder.name, killed.name)
    for path, kind in records_in(artifacts).items():
        is_of_before = any(name in path.parts for name in of_before)
        assert is_of_before or not isinstance(outcome_of(path, kind), str), path
