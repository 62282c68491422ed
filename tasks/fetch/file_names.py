"""Names of files in a folder, also of those that are no text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_names(folder: Path) -> list[str]:
    """The names of a folder's files and folders in order, without hidden ones."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def shown_name(name: str) -> str:
    r"""A name that can be printed: bytes that are not UTF-8 as ``\xd6``.

    >>> shown_name("Österreich.csv"), shown_name("\udcd6sterreich.csv")
    ('Österreich.csv', '\\xd6sterreich.csv')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
