"""A store that is a folder, on this machine or on a disk that several share."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gridcast.errors import StoreError
from tasks.runs.keys import sha256_of
from tasks.runs.locks import FOLDER as LOCKS
from tasks.runs.locks import held
from tasks.runs.storage import publishing, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FolderStore:
    """Names are paths below the folder, a version is the hash of a content.

    A change is made alone by a lock of the folder: of a shared disk it takes one that knows locks.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self._address, self._folder = address, folder

    @property
    def address(self) -> str:
        """As it is named in the settings."""
        return self._address

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Content and version; None where there is nothing."""
        with _told(self._address):
            try:
                content = (self._folder / name).read_bytes()
            except FileNotFoundError:
                self._require_folder()
                return None
        return content, sha256_of(content)

    def write(self, name: str, content: bytes, *, over: str | None) -> str | None:
        """Change it under a lock, if it is as it was seen."""
        with _told(self._address):
            self._require_folder()
            with held(self._folder, f"set-{name.replace('/', '-')}"):
                found = self.read(name)
                if (found[1] if found else None) != over:
                    return None
                write_bytes(self._folder / name, content)
        return sha256_of(content)

    def has(self, name: str) -> bool:
        """Whether there is something."""
        with _told(self._address):
            return (self._folder / name).is_file()

    def send(self, path: Path, name: str) -> None:
        """Copy a file under the name of its content."""
        self._require_folder()
        with _told(self._address), publishing(self._folder / name) as temporary:
            shutil.copyfile(path, temporary)

    def receive(self, name: str, path: Path) -> None:
        """Copy what the name holds."""
        with _told(self._address):
            shutil.copyfile(self._folder / name, path)

    def names(self, prefix: str) -> Iterator[str]:
        """All names that begin so, in order."""
        with _told(self._address):
            self._require_folder()
            top = self._folder / prefix
            found = sorted(
                os.path.relpath(os.path.join(parent, file), self._folder)  # noqa: PTH118
                for parent, _, files in os.walk(top if top.is_dir() else top.parent)
                for file in files
            )
        hidden = (".", LOCKS)
        return (
            name for name in found
            if name.startswith(prefix) and not name.rpartition("/")[2].startswith(hidden)
        )  # fmt: skip

    def _require_folder(self) -> None:
        """A share that is not mounted is not an empty store."""
        if not self._folder.is_dir():
            raise StoreError(self._address, reason="no such folder")


@contextmanager
def _told(address: str) -> Iterator[None]:
    """A disk that fails as an error of the store."""
    try:
        yield
    except OSError as error:
        raise StoreError(address, reason=error.strerror or str(error)) from error
