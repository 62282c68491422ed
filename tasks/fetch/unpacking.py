"""Unpack the regional CSVs of a zip or tar: checked first, bounded throughout, all or nothing.

Python's own readers believe what an archive says of itself. So the list of members is judged before
anything is written (``gridcast/readings/archive_members.py``), no read is larger than a header
needs to be, and what is copied is counted, whatever size was declared.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from gridcast.errors import ArchiveRefusedError, UsageError
from gridcast.readings.archive_members import Member, Unpacking, is_regional, plan_unpacking
from tasks.fetch.marker import Origin, files_of, now, read_origin, write_origin
from tasks.runs.keys import file_sha256
from tasks.runs.storage import publishing_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gridcast.config import ArchivesConfig

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_XZ_MAGIC = b"\xfd7zXZ\x00"
_CHUNK = 64 * 1024
# The list of a zip's members is read at once; a tar's longest header is far below a chunk.
_LONGEST_ZIP_LIST = 4 * 1024 * 1024
_XZ_MEMORY = 128 * 1024 * 1024  # of its decoder; `xz -9` needs 65 MiB
_UNREADABLE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError,
    ValueError, OSError,
)  # fmt: skip


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file with the name of an archive."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def check_archive(
    path: Path,
    *,
    limits: ArchivesConfig,
    name: str | None = None,
    is_wanted: Callable[[str], bool] = is_regional,
) -> Unpacking:
    """What would be taken from the archive, by file names; nothing is written.

    Raises:
        UsageError: it is unsafe, too large or broken, or has no regional CSV.
    """
    packed_bytes = path.stat().st_size
    shown = name or str(path)
    if packed_bytes > limits.max_bytes:
        expected = f"at most {limits.max_bytes / 1e6:,.0f} MB (archives.max_bytes)"
        raise ArchiveRefusedError(
            shown, found=f"a file of {packed_bytes / 1e6:,.0f} MB", expected=expected
        )
    with _opened(path, limits=limits, name=shown) as archive:
        return plan_unpacking(
            archive.members(), archive=shown, packed_bytes=packed_bytes, limits=limits,
            is_wanted=is_wanted,
        )  # fmt: skip


def unpack_archive(
    path: Path,
    folder: Path,
    *,
    limits: ArchivesConfig,
    origin: Origin | None = None,
    is_wanted: Callable[[str], bool] = is_regional,
) -> Unpacking:
    """Unpack the regional CSVs of ``path`` to ``folder``, which appears whole or not at all.

    Raises:
        UsageError: as :func:`check_archive`, before any write; or the folder is not empty, or a
            member turns out to be other than its header said.
    """
    origin = origin or Origin(source="archive", name=path.name, fetched_at=now())
    shown = origin.name if origin.source == "kaggle" else str(path)
    plan = check_archive(path, limits=limits, name=shown, is_wanted=is_wanted)
    require_empty(folder)
    with publishing_folder(folder) as stage:
        with _opened(path, limits=limits, name=shown) as archive:
            _copy(archive, plan, stage, limits=limits, name=shown)
        _mark(stage, origin, sha256=file_sha256(path), skipped=plan.skipped)
    return plan


def require_empty(folder: Path) -> None:
    """Refuse a place where a folder cannot appear whole.

    Raises:
        UsageError: it is a file, or a folder with something in it.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        found = "a folder that is not empty" if folder.is_dir() else "a file or a dangling link"
        raise UsageError(folder, found=found, expected="an empty folder, or a new name (--to)")


def _mark(folder: Path, origin: Origin, *, sha256: str, skipped: dict[str, str]) -> None:
    """Write the marker; one that was in the archive goes on telling the kind and the labels."""
    inner = read_origin(folder)
    kept = {} if inner.source == "folder" else {"source": inner.source, "labels": inner.labels}
    update = {"sha256": sha256, "skipped": skipped, "files": files_of(folder), **kept}
    write_origin(folder, origin.model_copy(update=update))


def _copy(
    archive: _Zip | _Tar, plan: Unpacking, stage: Path, *, limits: ArchivesConfig, name: str
) -> None:
    left = limits.max_bytes
    missing = set(plan.taken)
    for member, content in archive.contents(plan.taken):
        missing.discard(member)
        with (stage / plan.taken[member]).open("xb") as file:
            while chunk := content.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    expected = f"at most {limits.max_bytes / 1e6:,.0f} MB (archives.max_bytes)"
                    raise ArchiveRefusedError(
                        name, found="more than its headers say", expected=expected
                    )
                file.write(chunk)
    if missing:
        raise ArchiveRefusedError(
            name, found="an archive that changed meanwhile", expected="one at rest"
        )


# -- readers -------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, *, limits: ArchivesConfig, name: str) -> Iterator[_Zip | _Tar]:
    """The archive behind one of two readers; what no reader understands is a UsageError."""
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            if magic.startswith(_ZIP_MAGIC):
                bounded = _Bounded(file, longest_read=_LONGEST_ZIP_LIST, can_seek_back=True)
                yield _Zip(bounded)
            else:
                yield _Tar(_decompressed(file, magic, limits))
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the archive's
        raise ArchiveRefusedError(
            name,
            found=f"an archive that cannot be read ({type(error).__name__}: {str(error)[:120]})",
            expected="a whole zip or tar(.gz, .xz, .bz2); fetch the file again",
        ) from None


class _Zip:
    """A zip: the members' list stands at its end."""

    def __init__(self, file: _Bounded) -> None:
        self._zip = zipfile.ZipFile(cast("IO[bytes]", file))

    def members(self) -> Iterator[Member]:
        for info in self._zip.infolist():
            yield Member(info.orig_filename, info.file_size, info.is_dir(), _zip_obstacle(info))

    def contents(self, taken: dict[str, str]) -> Iterator[tuple[str, IO[bytes]]]:
        for info in self._zip.infolist():
            if info.orig_filename in taken:
                with self._zip.open(info) as content:
                    yield info.orig_filename, content


def _zip_obstacle(info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link" if kind == stat.S_IFLNK else "a device or the like"
    if info.flag_bits & 0x2041:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"packed by method {info.compress_type}"  # Python unpacks others without a bound
    return ""


class _Tar:
    """A tar: members one after the other, each behind its header."""

    def __init__(self, file: _Bounded) -> None:
        self._tar = tarfile.open(fileobj=cast("IO[bytes]", file), mode="r:")  # noqa: SIM115 - closed with its file

    def members(self) -> Iterator[Member]:
        for info in self._tar:
            yield Member(info.name, info.size, info.isdir(), _tar_obstacle(info))

    def contents(self, taken: dict[str, str]) -> Iterator[tuple[str, IO[bytes]]]:
        for info in self._tar:
            content = self._tar.extractfile(info) if info.name in taken else None
            if content is not None:
                yield info.name, content


def _tar_obstacle(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "a link"
    if info.issparse():
        return "a file with holes"
    return "" if info.isreg() or info.isdir() else "a device or the like"


def _decompressed(file: IO[bytes], magic: bytes, limits: ArchivesConfig) -> _Bounded:
    """The tar inside, forward only; its headers and padding may come to as much as its files."""
    stream: IO[bytes] = file
    if magic.startswith(b"\x1f\x8b"):
        stream = cast("IO[bytes]", gzip.open(file))  # noqa: SIM115 - closed with its file
    elif magic.startswith(b"BZh"):
        stream = bz2.open(file)  # noqa: SIM115
    elif magic == _XZ_MAGIC:
        stream = io.BufferedReader(_Xz(file))
    return _Bounded(
        stream, longest_read=_CHUNK, can_seek_back=stream is file, most_bytes=2 * limits.max_bytes
    )


class _Bounded(io.RawIOBase):
    """A file that gives no more at once, and no more in all, than an honest archive asks of it."""

    def __init__(
        self,
        file: IO[bytes],
        *,
        longest_read: int,
        can_seek_back: bool,
        most_bytes: int | None = None,
    ) -> None:
        self._file, self._longest_read, self._most_bytes = file, longest_read, most_bytes
        self._can_seek_back = can_seek_back
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell() if self._can_seek_back else self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        before = 0 if self._can_seek_back else self._position
        if whence == io.SEEK_SET and offset < before:
            message = "headers that point to before its start"
            raise ValueError(message)
        if self._can_seek_back:
            return self._file.seek(offset, whence)
        while self._position < offset:
            if not self.read(min(_CHUNK, offset - self._position)):
                break
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        if size > self._longest_read:
            message = f"a header of {size} bytes"
            raise ValueError(message)
        wanted = self._longest_read + 1 if size < 0 else size
        chunk = self._file.read(wanted)
        self._position += len(chunk)
        if len(chunk) > self._longest_read or self._position > (self._most_bytes or self._position):
            message = "more than an honest archive has"
            raise ValueError(message)
        return chunk


class _Xz(io.RawIOBase):
    """As :class:`lzma.LZMAFile`, with a limit on the memory that a file can ask for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        chunk = b""
        while not chunk:
            if self._decoder.eof:
                rest = self._decoder.unused_data or self._file.read(_CHUNK)
                if not rest.strip(b"\0"):  # padding between streams, or the end
                    return 0
                self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            else:
                rest = self._file.read(_CHUNK) if self._decoder.needs_input else b""
                if self._decoder.needs_input and not rest:
                    message = "cut off before its end"
                    raise EOFError(message)
            chunk = self._decoder.decompress(rest, len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)
