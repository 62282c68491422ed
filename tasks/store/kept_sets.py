"""Sets of files: what a store keeps of a folder of artifacts, each file by its content.

``files/<SHA-256>`` holds each content once; ``sets/<name>.json`` says which files a set has, below
which paths of the artifacts, and is written last: who finds it finds all of them. A set that is
*kept* never changes (a job, a model, a run); one that is *published* is changed by a conditional
write over the version that this folder has seen (a data set's pointer, the log of promotions).
Of a published set ``store/seen/<name>.json`` in the artifacts remembers that version.
"""

from __future__ import annotations

import getpass
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, TypeVar

from gridcast.errors import IntegrityError, LockHeldError, RecordError
from gridcast.record import Record, StoredRecord, parse_record, sealed
from tasks.runs.keys import file_sha256, has_sha256
from tasks.runs.locks import held
from tasks.runs.record_files import cached_record, write_record
from tasks.runs.storage import publishing
from tasks.store.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tasks.store.stores import Store

T = TypeVar("T")
SEEN = "store/seen"
_SETS, _FILES = "sets", "files"
_AT_ONCE = 8  # files on their way: a round trip costs more than most of them
_log = logging.getLogger("gridcast.store")


class KeptFile(Record):
    """A file of a set: its hash, and its size (bytes)."""

    sha256: str
    size: int


class KeptSet(StoredRecord):
    """The files of a set by their paths below the artifacts; the last one makes them believed."""

    advice: ClassVar[str] = "delete it from the store: the next run that has it keeps it again"

    name: str
    kept_at: str
    kept_by: str
    files: dict[str, KeptFile]

    @property
    def size(self) -> int:
        """Of all its files (bytes)."""
        return sum(each.size for each in self.files.values())


class SeenSet(StoredRecord):
    """The version of a published set that this folder has, and the hashes of its files."""

    address: str
    version: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class WorkingCopy:
    """A folder of artifacts and the store that it shares with other machines."""

    artifacts: Path
    store: Store

    @property
    def address(self) -> str:
        """Of the store."""
        return self.store.address


def working_copy(artifacts: Path, address: str) -> WorkingCopy | None:
    """The folder as one of that store; None where no store is named.

    Raises:
        UsageError: it is no address, or what speaks S3 is not installed.
        StoreError: the endpoint cannot be named.
    """
    return WorkingCopy(artifacts.resolve(), open_store(address)) if address else None


# -- keeping ---------------------------------------------------------------------------------------


def keep(copy: WorkingCopy, name: str, paths: Sequence[Path]) -> None:
    """Keep a set that never changes; who keeps it again changes nothing.

    ``paths`` are files below the artifacts, that which makes the others believed last.

    Raises:
        StoreError: the store does not answer.
    """
    if copy.store.has(_set_name(name)):
        return
    made = _described(copy, name, paths)
    _send(copy, made.files)
    if copy.store.write(_set_name(name), _content_of(made), over=None) is not None:
        _log.info("Kept in %s: %s (%.1f MB)", copy.address, name, made.size / 1e6)


def publish(copy: WorkingCopy, name: str, paths: Sequence[Path]) -> bool:
    """Let a set be as it is here, over the version that this folder has seen; whether it changed.

    Raises:
        LockHeldError: another machine has published it since.
        StoreError: the store does not answer.
    """
    with _alone(copy, name):
        made, seen = _described(copy, name, paths), _seen(copy, name)
        if seen is not None and seen.files == _hashes(made):
            return False
        known = set(seen.files.values()) if seen else set()
        _send(copy, {p: each for p, each in made.files.items() if each.sha256 not in known})
        over = seen.version if seen else None
        version = copy.store.write(_set_name(name), _content_of(made), over=over)
        if version is None:
            version = _version_if_same(copy, made)
        _see(copy, made, version)
    _log.info("Published in %s: %s", copy.address, name)
    return True


def _version_if_same(copy: WorkingCopy, made: KeptSet) -> str:
    """Of a set that somebody else has published meanwhile, if it has the same files."""
    found = read_set(copy, made.name)
    if found is not None and _hashes(found[0]) == _hashes(made):
        return found[1]
    by = f"by {found[0].kept_by} at {found[0].kept_at}" if found else "away"
    where = f"{copy.address} {made.name}"
    raise LockHeldError(
        where, found=f"it changed {by}, after this folder had seen it",
        expected="no other machine to publish meanwhile; run again: it begins with what is there",
    )  # fmt: skip


def _described(copy: WorkingCopy, name: str, paths: Sequence[Path]) -> KeptSet:
    files = {
        path.relative_to(copy.artifacts).as_posix(): KeptFile(
            sha256=file_sha256(path), size=path.stat().st_size
        )
        for path in paths
    }
    return KeptSet(
        name=name, kept_at=datetime.now(UTC).isoformat(timespec="seconds"),
        kept_by=f"{getpass.getuser()}@{socket.gethostname()}", files=files,
    )  # fmt: skip


def _send(copy: WorkingCopy, files: Mapping[str, KeptFile]) -> None:
    """All files that the store lacks; the set is written after the last of them."""
    by_content = {each.sha256: path for path, each in files.items()}

    def send(sha256: str) -> None:
        if not copy.store.has(_file_name(sha256)):
            copy.store.send(copy.artifacts / by_content[sha256], _file_name(sha256))

    _at_once(send, by_content)


# -- bringing --------------------------------------------------------------------------------------


def read_set(copy: WorkingCopy, name: str) -> tuple[KeptSet, str] | None:
    """A set and its version as the store has them now; None without one.

    Raises:
        RecordError: it is damaged, of a newer version, or leads out of the folder.
        StoreError: the store does not answer.
    """
    where, found = f"{copy.address}/{_set_name(name)}", copy.store.read(_set_name(name))
    if found is None:
        return None
    kept = parse_record(found[0], KeptSet, where=where)
    for path in kept.files:
        parts = PurePosixPath(path).parts
        if not parts or parts[0] == "/" or ".." in parts:
            expected = "paths below the artifacts"
            raise RecordError(where, found=f"the path {path}", expected=expected,
                              advice=KeptSet.advice)  # fmt: skip
    return kept, found[1]


def bring(
    copy: WorkingCopy, name: str, *, is_wanted: Callable[[str], bool] = lambda _: True
) -> KeptSet | None:
    """Let the files of a kept set be here as the store has them; None where it has no such set.

    Each is held against its hash before it takes its place, the last one when all others are there.

    Raises:
        IntegrityError: the store has another content under the name of a file.
        RecordError: the set is damaged, or of a newer version.
        StoreError: the store does not answer.
    """
    found = read_set(copy, name)
    if found is None:
        return None
    kept, _ = found
    with _alone(copy, name):
        lacking = {
            path: each.sha256
            for path, each in kept.files.items()
            if is_wanted(path) and not has_sha256(copy.artifacts / path, each.sha256)
        }
        _receive_all(copy, name, lacking, partial(_receive, copy))
    return kept


def bring_published(
    copy: WorkingCopy, name: str, *, merge: Callable[[Path, Path], None] | None = None
) -> KeptSet | None:
    """The same of a published set, unless this folder is ahead of it.

    What this folder has changed since it saw the newest version stays, and is published later.
    Where another machine has published meanwhile, ``merge`` makes one file of theirs and ours, into
    theirs; without it theirs is taken.

    Raises:
        IntegrityError, RecordError, StoreError: as :func:`bring`.
    """
    found = read_set(copy, name)
    if found is None:
        return None
    kept, version = found
    with _alone(copy, name):
        seen = _seen(copy, name)
        is_ahead = seen is not None and seen.version == version
        lacking = {
            path: each.sha256
            for path, each in kept.files.items()
            if not _is_here(copy.artifacts / path, each.sha256, is_ahead=is_ahead)
        }
        ours = seen.files if seen else {}
        _receive_all(copy, name, lacking, partial(_receive, copy, ours=ours, merge=merge))
        if not is_ahead:
            _see(copy, kept, version)
    return kept


def see(copy: WorkingCopy, name: str) -> None:
    """Take note of what is published, so as to publish over it whatever it is.

    Raises:
        RecordError: it is damaged, or of a newer version.
        StoreError: the store does not answer.
    """
    if (found := read_set(copy, name)) is not None:
        _see(copy, *found)


def _is_here(path: Path, sha256: str, *, is_ahead: bool) -> bool:
    return path.is_file() if is_ahead else has_sha256(path, sha256)


def _receive_all(
    copy: WorkingCopy, name: str, files: Mapping[str, str], receive: Callable[[str, str], None]
) -> None:
    """The last one, which makes the others believed, after them."""
    *others, last = list(files.items()) or [("", "")]
    _at_once(lambda each: receive(*each), others)
    if last[0]:
        receive(*last)
        _log.info("Brought from %s: %s, %d files", copy.address, name, len(files))


def _receive(
    copy: WorkingCopy,
    path: str,
    sha256: str,
    *,
    ours: Mapping[str, str] | None = None,
    merge: Callable[[Path, Path], None] | None = None,
) -> None:
    here = copy.artifacts / path
    with publishing(here) as temporary:
        copy.store.receive(_file_name(sha256), temporary)
        if (found := file_sha256(temporary)) != sha256:
            where = f"{copy.address} {path}"
            raise IntegrityError(where, found=found, expected=sha256)
        if merge is not None and here.is_file() and file_sha256(here) != (ours or {}).get(path):
            merge(temporary, here)


def set_names(copy: WorkingCopy, prefix: str = "") -> list[str]:
    """The names of all sets that begin so, in order.

    Raises:
        StoreError: the store does not answer.
    """
    found = copy.store.names(f"{_SETS}/{prefix}")
    return [each.removeprefix(f"{_SETS}/").removesuffix(".json") for each in found]


# -- what this folder has seen ---------------------------------------------------------------------


def _seen(copy: WorkingCopy, name: str) -> SeenSet | None:
    """None also where it was seen in another store."""
    seen = cached_record(_seen_path(copy, name), SeenSet)
    return seen if seen is not None and seen.address == copy.address else None


def _see(copy: WorkingCopy, kept: KeptSet, version: str) -> None:
    seen = SeenSet(address=copy.address, version=version, files=_hashes(kept))
    write_record(_seen_path(copy, kept.name), seen)


def _hashes(kept: KeptSet) -> dict[str, str]:
    return {path: each.sha256 for path, each in kept.files.items()}


def _seen_path(copy: WorkingCopy, name: str) -> Path:
    return copy.artifacts / SEEN / f"{name}.json"


def _alone(copy: WorkingCopy, name: str) -> AbstractContextManager[None]:
    return held(copy.artifacts, f"store-{name.replace('/', '-')}")


def _set_name(name: str) -> str:
    return f"{_SETS}/{name}.json"


def _file_name(sha256: str) -> str:
    return f"{_FILES}/{sha256[:2]}/{sha256}"


def _content_of(kept: KeptSet) -> bytes:
    return sealed(kept.model_dump(mode="json"))


def _at_once(work: Callable[[T], None], items: Iterable[T]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for done in [threads.submit(work, each) for each in items]:
            done.result()
