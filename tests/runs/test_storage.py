"""A file is whole or absent, and is read only if it is the one that was written."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from gridcast.errors import EXIT_USAGE, IntegrityError, UsageError
from tasks.runs.keys import has_sha256, key_of, require_sha256, sha256_of
from tasks.runs.record_files import read_json
from tasks.runs.storage import (
    check_folder,
    publishing,
    remove_leftovers,
    set_aside_if_broken,
    write_bytes,
    write_json,
)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


# -- publishing ----------------------------------------------------------------------------------


def test_a_file_appears_under_its_name_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "data.bin"
    with publishing(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent == path.parent
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["data.bin", "new"]


@pytest.mark.parametrize(
    "error", [OSError("no space"), KeyboardInterrupt(), SystemExit(1)], ids=repr
)
def test_an_error_while_writing_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "data.bin"
    write_bytes(path, b"old")

    def fail_midway() -> None:
        with publishing(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise error

    with pytest.raises(type(error)):
        fail_midway()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["data.bin"]


def test_a_writer_that_wrote_nothing_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), publishing(tmp_path / "data.bin"):
        pass
    assert names(tmp_path) == []


def test_a_reader_with_the_old_file_open_reads_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    write_bytes(path, b"old")
    with path.open("rb") as reader:
        write_bytes(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


_KILLED_WHILE_IT_WRITES = """
import os, signal, sys
from pathlib import Path
from tasks.runs.storage import publishing
with publishing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "data" / "AEP.parquet"
    write_bytes(path, b"whole")
    (tmp_path / ".hidden").write_bytes(b"mine")
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_IT_WRITES, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 5  # what it wrote, and its lock
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", "AEP.parquet", "data"]
    assert path.read_bytes() == b"whole"


def test_what_a_living_process_writes_is_no_leftover(tmp_path: Path) -> None:
    path = tmp_path / "data" / "AEP.parquet"
    with publishing(path) as temporary:
        temporary.write_bytes(b"half of the")
        _remove_leftovers_elsewhere(tmp_path)
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["AEP.parquet", "data"]


def test_leftovers_of_an_earlier_version_are_removed(tmp_path: Path) -> None:
    (tmp_path / f".AEP.parquet.{os.getpid()}.gridcast-tmp").write_bytes(b"half")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def _remove_leftovers_elsewhere(folder: Path) -> None:
    code = "import sys, pathlib; from tasks.runs.storage import remove_leftovers as r; "
    subprocess.run(
        [sys.executable, "-c", f"{code}r(pathlib.Path(sys.argv[1]))", folder], check=True
    )


# -- JSON ----------------------------------------------------------------------------------------


def test_a_record_comes_back(tmp_path: Path) -> None:
    record = {"a": 1, "b": [1.5, None, "é"], "c": {"d": True}}
    write_json(tmp_path / "record.json", record)
    assert read_json(tmp_path / "record.json") == record


def test_nan_is_no_json_and_leaves_the_old_record(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "record.json", {"a": float("nan")})
    assert read_json(tmp_path / "record.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"3"], ids=repr)
def test_what_is_no_record_reads_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert read_json(path) is None
    assert read_json(tmp_path / "none.json") is None
    assert read_json(tmp_path) is None


# -- hashes --------------------------------------------------------------------------------------


def test_a_changed_file_is_refused_naming_it_and_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    write_bytes(path, b"model")
    expected = hashlib.sha256(b"model").hexdigest()
    require_sha256(path, expected)
    assert has_sha256(path, expected)
    path.write_bytes(b"modem")
    assert not has_sha256(path, expected)
    found = hashlib.sha256(b"modem").hexdigest()
    with pytest.raises(IntegrityError) as refused:
        require_sha256(path, expected)
    for part in (str(path), found[:16], expected[:16], "--fresh"):
        assert part in str(refused.value)


def test_a_file_that_is_not_there_has_no_hash_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"none: found SHA-256 \(no file\)"):
        require_sha256(tmp_path / "none", sha256_of(b""))
    assert not has_sha256(tmp_path / "none", sha256_of(b""))
    assert not has_sha256(tmp_path, sha256_of(b""))


def test_text_is_hashed_as_utf_8() -> None:
    assert sha256_of("é") == sha256_of("é".encode()) == hashlib.sha256("é".encode()).hexdigest()


def test_a_key_depends_on_names_and_values_and_not_on_their_order() -> None:
    key = key_of(a=1, b={"x": [1, 2], "y": None})
    assert key == key_of(b={"y": None, "x": [1, 2]}, a=1)
    others = [key_of(a=2, b={}), key_of(a="1", b={}), key_of(b=1, a={}), key_of(a=1), key_of()]
    assert len({key, *others}) == 6


# -- the artifacts folder ------------------------------------------------------------------------


def test_the_folder_is_made_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("below", ["", "sub"], ids=["itself", "on_the_way"])
def test_a_file_in_the_place_of_the_folder_is_refused_and_left_alone(
    tmp_path: Path, below: str
) -> None:
    file = tmp_path / "artifacts"
    file.write_bytes(b"mine")
    with pytest.raises(UsageError, match="a folder that cannot be written") as refused:
        check_folder(file / below)
    assert refused.value.exit_code == EXIT_USAGE
    assert file.read_bytes() == b"mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        check_folder(tmp_path)


def test_a_disk_as_good_as_full_is_refused_naming_what_is_free_and_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tasks.runs.storage.shutil.disk_usage", lambda _: Usage(10**12, 10**12, 5 * 10**6)
    )
    with pytest.raises(UsageError, match="found 5 MB free on its disk, expected at least 500 MB"):
        check_folder(tmp_path)
    assert names(tmp_path) == []


# -- databases -------------------------------------------------------------------------------------


def make_database(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE numbers (value INTEGER)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(5000)])
        connection.commit()
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "zeros", "no_database"])
def test_a_broken_database_is_set_aside_with_its_name_and_a_whole_one_stays(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "some.db"
    assert set_aside_if_broken(path) == ""
    content = make_database(path)
    assert set_aside_if_broken(path) == ""
    broken = {
        "cut": content[: len(content) // 2],
        "zeros": content[:8192] + bytes(4096) + content[12288:],
        "no_database": b"x" * 5000,
    }[damage]
    path.write_bytes(broken)
    assert set_aside_if_broken(path)
    assert not path.exists()
    assert (tmp_path / "some.db.damaged-1").read_bytes() == broken


def test_a_database_that_somebody_has_locked_stays(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    make_database(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert set_aside_if_broken(path) == ""
    assert path.exists()


@pytest.mark.parametrize("name", ["a?b", "100%", "a%20b", "x#1"])
def test_a_folder_that_no_databases_address_can_hold_is_refused_by_name(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="which addresses of databases cannot hold"):
        check_folder(tmp_path / name / "artifacts")
    assert not (tmp_path / name).exists()
