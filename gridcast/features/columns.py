"""Which columns of the table of features the network sees, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FEATURE_PREFIX = "x_"
HOLIDAY = "_holiday"  # how the columns end that tell of one
LOAD_FEATURE = f"{FEATURE_PREFIX}load"  # the first: the prediction adds to it, see models.py


def feature_columns(columns: Iterable[str]) -> list[str]:
    """The features among the columns of a table, in the network's order."""
    return [name for name in columns if name.startswith(FEATURE_PREFIX)]


def calendar_columns(names: Sequence[str]) -> list[int]:
    """Where among the features those of the calendar stand: they come after those of the load."""
    of_load = (LOAD_FEATURE, f"{FEATURE_PREFIX}lag_")
    return [
        place
        for place, name in enumerate(names)
        if not name.startswith(of_load) or name.endswith(HOLIDAY)
    ]
