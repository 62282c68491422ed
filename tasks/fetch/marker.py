"""What a folder of CSVs says of itself: the marker ``gridcast-source.json`` beside them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gridcast.config import Labels
from gridcast.errors import RecordError, UsageError
from gridcast.readings.archive_members import MARKER
from gridcast.readings.parsing import region_of
from gridcast.readings.records import SourceKind
from gridcast.record import Record, StoredRecord, sealed
from tasks.runs.keys import file_sha256
from tasks.runs.record_files import read_record
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

OPERATOR_FOLDER = "operator"  # what a system operator has forecast of its own regions
# Folders that an earlier version made.
_OLD_MARKER = "synthetic.json"


class FetchedRegion(Record):
    """What is held of one region, and what the newest fetch changed in it.

    ``first`` and ``last`` are labels; ``dropped`` counts hours of that fetch that held no load.
    """

    first: str
    last: str
    hours: int
    new: int
    revised: int
    dropped: int
    fetched_at: str


class Origin(StoredRecord):
    """Where the CSVs of a folder came from, and which hours their labels name.

    ``utc``: the end of an hour in UTC. ``local``: as ``ingestion.timezone`` and
    ``ingestion.label`` say. ``settings`` and ``code_sha256`` are what a synthetic set was made by.
    ``files`` has the SHA-256 of each CSV of a folder that is gridcast's own.
    """

    advice: ClassVar[str] = "fetch the folder again"

    source: SourceKind
    name: str
    labels: Labels = "local"
    fetched_at: str | None = None
    sha256: str | None = None
    settings: dict[str, int] = Field(default_factory=dict)
    code_sha256: str = ""
    skipped: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    regions: dict[str, FetchedRegion] = Field(default_factory=dict)


def now() -> str:
    """The time of a fetch, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_origin(folder: Path) -> Origin:
    """What the folder's marker says; without one it is an ordinary folder.

    Raises:
        UsageError: the marker cannot be read: it would be wrong to guess which hours labels name.
    """
    path = folder / MARKER
    if not path.exists():
        is_old = (folder / _OLD_MARKER).is_file()
        return Origin(source="synthetic" if is_old else "folder", name=folder.name)
    try:
        return read_record(path, Origin)
    except RecordError as error:
        expected = "what `gridcast fetch` writes; fetch the folder again"
        raise UsageError(path, found=error.found, expected=expected) from None


def write_origin(folder: Path, origin: Origin) -> None:
    """Publish the folder's marker."""
    fields = origin.model_dump(mode="json", exclude_defaults=True)
    tree = {"schema_version": origin.schema_version, **fields}
    write_bytes(folder / MARKER, sealed(tree))


def files_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each regional CSV in the folder, by its name."""
    return {name: file_sha256(folder / name) for name in regional_names(folder)}


def why_not_as_made(folder: Path) -> str:
    """What differs in a folder of gridcast's own from what was put there; empty if nothing does."""
    try:
        origin = read_origin(folder)
    except UsageError as error:
        return str(error).removeprefix("ERROR ")
    found = files_of(folder)
    changed = [name for name, sha256 in origin.files.items() if found.get(name) != sha256]
    changed += sorted(found.keys() - origin.files.keys())
    return f"{folder / changed[0]}: found other bytes than were put there" if changed else ""


def regional_names(folder: Path) -> list[str]:
    """Names of the regional CSVs in ``folder``, links and folders of that name too."""
    return sorted(path.name for path in folder.iterdir() if region_of(path.name))


def require_own(folder: Path, source: SourceKind) -> None:
    """Refuse a folder that holds regional CSVs of another source: nothing is ever mixed.

    Raises:
        UsageError: naming what is there.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(folder, found="a file", expected="a folder, or nothing of that name")
    found = read_origin(folder).source
    if regional_names(folder) and found != source:
        what = "that gridcast did not make" if found == "folder" else f"from the source {found}"
        raise UsageError(folder, found=f"regional CSVs {what}", expected="an empty folder")


def file_names(folder: Path) -> list[str]:
    """The names of a folder's files and folders in order, without hidden ones."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def shown_name(name: str) -> str:
    r"""A name that can be printed: bytes that are not UTF-8 as ``\xd6``.

    >>> shown_name("Österreich.csv"), shown_name("\udcd6sterreich.csv")
    ('Österreich.csv', '\\xd6sterreich.csv')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
