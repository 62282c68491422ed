"""Records in files: read as what they are, of older and newer versions too, or told in a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from gridcast.errors import RecordError
from gridcast.readings.records import RegionRecord
from gridcast.record import Record, StoredRecord, fault_of_seal, parse_record, sealed
from tasks.ingest.region_tables import KnownRegion
from tasks.runs.import_closure import all_modules
from tasks.runs.record_files import (
    cached_record,
    mended_record,
    read_record,
    write_record,
)

if TYPE_CHECKING:
    from pathlib import Path


class Inner(Record):
    mw: float


class Kept(StoredRecord):
    """A record of which there have been two versions."""

    advice: ClassVar[str] = "delete it to have it made again"

    schema_version: int = 4
    name: str
    inner: Inner
    since_two: int = 7


RECORD = Kept(name="AEP", inner=Inner(mw=1.5))


def content(**changes: object) -> bytes:
    return sealed(RECORD.model_dump(mode="json") | changes)


def test_what_is_written_comes_back_and_names_its_version(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", RECORD)
    assert read_record(tmp_path / "a.json", Kept) == RECORD
    assert json.loads((tmp_path / "a.json").read_bytes())["schema_version"] == 4


def test_a_field_more_is_passed_over_at_any_depth() -> None:
    assert parse_record(content(more=1, inner={"mw": 1.5, "more": []}), Kept, where="f") == RECORD


def test_a_field_that_was_renamed_is_read_under_its_older_name_and_written_under_its_new_one(
    tmp_path: Path,
) -> None:
    record = RegionRecord(
        rows=1, utc_hours=1, missing_hours=0, flagged=1, status="published",
        quarantined="runs/1/set_aside/AEP.parquet",
    )  # fmt: skip
    known = KnownRegion(key="k", region=record)
    write_record(tmp_path / "a.json", known)
    assert b'"quarantined"' in (tmp_path / "a.json").read_bytes()
    older = known.model_dump(mode="json") | {"schema_version": 1}
    older["region"]["set_aside"] = older["region"].pop("quarantined")
    assert parse_record(json.dumps(older).encode(), KnownRegion, where="f") == known


def test_an_older_version_is_read_and_what_it_did_not_write_has_its_default() -> None:
    older = {"name": "AEP", "inner": {"mw": 1.5}}  # before records named their version
    assert parse_record(json.dumps(older).encode(), Kept, where="f") == RECORD


def test_a_newer_version_is_refused_saying_which_one_and_what_to_do() -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(content(schema_version=7, name=None), Kept, where="jobs/x/result.json")
    assert str(caught.value) == (
        "ERROR jobs/x/result.json: found a record that a newer gridcast wrote (schema 7), expected "
        "at most 4; use that version, or delete it to have it made again"
    )


DAMAGES: dict[str, tuple[bytes, str]] = {
    "field_removed": (b'{"name": "AEP"}', "no inner"),
    "key_renamed": (sealed({"schema_version": 4, "nmae": "AEP", "inner": {}}), "no name"),
    "digit": (content().replace(b"1.5", b"1.6"), "changed after it was written"),
    "digit_of_the_hash": (content().replace(b'": "', b'": "0', 1)[:-1], "without the hash"),
    "name_of_the_hash": (content().replace(b"_sha256", b"_sha257"), "without the hash"),
    "blank": (content() + b" ", "changed after it was written"),
    "field_of_another_type": (content(inner={"mw": "much"}), "inner.mw: Input should be"),
    "list": (b"[]", "no object (list)"),
    "word": (b'"AEP"', "no object (str)"),
    "no_json": (b"{", "no JSON (Expecting"),
    "binary": (b"\x80abc", "no JSON ('utf-8' codec"),
    "nested": (b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON of more than 64"),
    "nested_less": (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "JSON of more than 64 levels"),
    "empty": (b"", "an empty file"),
    "nan": (b'{"name": "AEP", "inner": {"mw": NaN}}', "NaN is no finite number"),
    "too_large": (b'{"name": "AEP", "inner": {"mw": 1e400}}', "1e400 is no finite number"),
    "version_of_another_type": (content(schema_version="two"), "schema_version: Input should"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_no_record_is_told_in_one_line_and_a_cache_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    damaged, found = DAMAGES[name]
    path = tmp_path / "record.json"
    path.write_bytes(damaged)
    with pytest.raises(RecordError) as caught:
        read_record(path, Kept)
    line = str(caught.value)
    assert line.startswith(f"ERROR {path}: found ")
    assert found in line
    assert line.endswith("expected a record of gridcast (Kept); delete it to have it made again")
    assert "\n" not in line
    for makes_anew in (cached_record, mended_record):
        caplog.clear()
        assert makes_anew(path, Kept) is None
        (warning,) = caplog.messages
        assert warning.startswith(f"{path}: found ")
        assert warning.endswith("it is made anew")


def test_a_newer_cache_is_made_anew_but_what_is_published_over_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content(schema_version=5))
    assert cached_record(path, Kept) is None
    with pytest.raises(RecordError, match="a newer gridcast wrote"):
        mended_record(path, Kept)


def test_a_file_that_is_not_there_is_nothing_or_an_error_and_a_folder_is_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "missing.json"
    assert read_record(missing, Kept, may_lack=True) is None
    assert cached_record(missing, Kept) is None
    assert caplog.messages == []
    with pytest.raises(RecordError, match="found no file"):
        read_record(missing, Kept)
    with pytest.raises(RecordError, match="Is a directory"):
        read_record(tmp_path, Kept)


def test_a_warning_is_left_out_where_another_reader_tells_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "record.json").write_bytes(b"")
    assert cached_record(tmp_path / "record.json", Kept, is_reported=False) is None
    assert caplog.messages == []


def test_a_record_made_in_code_takes_no_field_that_it_does_not_have() -> None:
    wrong: dict[str, Any] = {"name": "AEP", "inner": Inner(mw=1.0), "more": 1}
    with pytest.raises(ValueError, match="more"):
        Kept(**wrong)


def test_of_what_is_written_no_byte_can_be_changed_without_being_told(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", RECORD)
    written = (tmp_path / "a.json").read_bytes()
    assert fault_of_seal(written) == ""
    for place in range(len(written)):
        changed = bytearray(written)
        changed[place] ^= 1
        assert fault_of_seal(bytes(changed)), place
        with pytest.raises(RecordError):
            parse_record(bytes(changed), Kept, where="f")


# What is no record's file: a part of one that has a hash of its own, printed, or a key in memory.
NO_FILES = {
    "gridcast.training.state", "tasks.train.checkpoints", "flows.command_line.pipeline_commands",
    "gridcast.forecasting.rolling",
}  # fmt: skip


def test_no_record_is_written_but_with_the_hash_of_its_content() -> None:
    sources = {name: path.read_bytes() for name, path in all_modules().items()}
    assert {name for name, code in sources.items() if b"model_dump_json" in code} == NO_FILES
