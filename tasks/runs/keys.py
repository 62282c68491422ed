"""Hashes and keys: of bytes, of files, of all that a result depends on."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from gridcast.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path


def sha256_of(content: bytes | str) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_sha256(path: Path, expected: str) -> bool:
    """Whether ``path`` is there with exactly these bytes."""
    return path.is_file() and file_sha256(path) == expected


def require_sha256(path: Path, expected: str) -> None:
    """Refuse a file that is not the one written.

    Raises:
        IntegrityError: naming the file and both hashes, also where the file is gone.
    """
    found = file_sha256(path) if path.is_file() else "(no file)"
    if found != expected:
        raise IntegrityError(path, found=found, expected=expected)


def key_of(**parts: object) -> str:
    """A key for work that depends on exactly these parts: SHA-256 of their canonical JSON."""
    return sha256_of(json.dumps(parts, sort_keys=True, default=str))
