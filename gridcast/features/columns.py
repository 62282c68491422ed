"""Which columns of the table of features the network sees, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FEATURE_PREFIX = "x_"
LOAD_FEATURE = f"{FEATURE_PREFIX}load"  # the first: the prediction adds to it, see models.py


def feature_columns(columns: Iterable[str]) -> list[str]:
    """The features among the columns of a table, in the network's order."""
    return [name for name in columns if name.startswith(FEATURE_PREFIX)]
