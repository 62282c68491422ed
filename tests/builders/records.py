"""Records that a test changes and writes as though they had always been so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridcast.record import sealed

if TYPE_CHECKING:
    from pathlib import Path


def write_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write it with the hash that fits: a lie that only what is computed again can find."""
    path.write_bytes(sealed(tree))
