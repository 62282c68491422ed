"""What a store is: bytes by name, each written once or changed on a condition; and how it is named.

An address is a folder (``file:///mnt/share/gridcast``) or a part of a bucket that speaks S3
(``s3://bucket/prefix``). Endpoint and credentials of a bucket stand in the environment alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gridcast.errors import UsageError
from tasks.store.folder_store import FolderStore

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = re.compile(r"file://(/.+)")
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]+)/?(.*)")


class Store(Protocol):
    """Bytes by name. All of its methods raise StoreError where it does not answer."""

    @property
    def address(self) -> str:
        """As it is named in the settings."""

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Content and version; None where there is nothing."""

    def write(self, name: str, content: bytes, *, over: str | None) -> str | None:
        """Put ``content`` in the place of the version ``over`` (None: of nothing), in one step.

        The new version; None where something else is there meanwhile: then nothing is changed.
        """

    def has(self, name: str) -> bool:
        """Whether there is something."""

    def send(self, path: Path, name: str) -> None:
        """Put a file under the name of its content, whoever did so before."""

    def receive(self, name: str, path: Path) -> None:
        """Write what the name holds to ``path``; the caller holds it against its hash."""

    def names(self, prefix: str) -> Iterator[str]:
        """All names that begin so, in order."""


def open_store(address: str) -> Store:
    """The store of that address.

    Raises:
        UsageError: it is no address, or what speaks S3 is not installed.
    """
    if found := _FOLDER.fullmatch(address):
        return FolderStore(address, Path(found[1]))
    if found := _BUCKET.fullmatch(address):
        from tasks.store.bucket_store import BucketStore

        return BucketStore(address, bucket=found[1], prefix=found[2].strip("/"))
    where, expected = "run.store", "file:///FOLDER, or s3://BUCKET/PREFIX"
    raise UsageError(where, found=repr(address), expected=expected)
