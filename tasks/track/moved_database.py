"""MLflow's own database after the artifacts folder was moved or copied: its addresses lead here.

MLflow keeps whole addresses of its files and has no call that changes them. Left as they are, a
copy would log into the folder that it was copied from, and a moved one would not find its models.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_OURS = "/mlflow/artifacts"  # ends the address of an experiment that gridcast made
_SECONDS_FOR_SQLITE = 5


def relocate_addresses(database: Path) -> None:
    """Lead what lies below another ``mlflow/artifacts`` to the one beside the database.

    The caller alone uses it. Addresses of servers and buckets stay as they are.
    """
    if not database.is_file():
        return
    here = (database.parent / "artifacts").as_uri()
    with closing(sqlite3.connect(database, timeout=_SECONDS_FOR_SQLITE)) as connection, connection:
        known = [pair for pair in _ADDRESSES if pair[1] in _columns(connection, pair[0])]
        if _ADDRESSES[0] not in known:
            return  # made, and not yet filled
        for (place,) in connection.execute("SELECT artifact_location FROM experiments").fetchall():
            if _is_ours(place) and place != here:
                for table, column in known:
                    _replace(connection, table, column, old=place, new=here)


def _is_ours(place: str | None) -> bool:
    return bool(place) and str(place).startswith("file:") and str(place).endswith(_OURS)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _replace(
    connection: sqlite3.Connection, table: str, column: str, *, old: str, new: str
) -> None:
    connection.execute(
        f"UPDATE {table} SET {column} = :new || substr({column}, :length + 1) "  # noqa: S608 - our own names
        f"WHERE {column} = :old OR substr({column}, 1, :length + 1) = :old || '/'",
        {"new": new, "old": old, "length": len(old)},
    )
