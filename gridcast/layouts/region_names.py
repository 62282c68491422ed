"""Names of regions: those that files tell, made fit for paths, settings and columns."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from gridcast.readings.parsing import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridcast.config import LayoutConfig

_REGION: Final = "{region}"
_WRITTEN_TO: Final = 60


def name_in(pattern: str, text: str) -> str | None:
    """What stands for ``{region}`` in ``text``; empty where the pattern has none; None: unlike it.

    >>> name_in("{region}_load_*.csv", "ISO-NE_load_2024.csv"), name_in("demand*", "load")
    ('ISO-NE', None)
    """
    pieces = re.split(r"(\{region\}|\*)", unicodedata.normalize("NFC", pattern))
    words = {_REGION: "(?P<region>.+?)", "*": ".*?"}
    regex = "".join(words.get(piece) or re.escape(piece) for piece in pieces)
    match = re.fullmatch(regex, unicodedata.normalize("NFC", text), re.IGNORECASE | re.DOTALL)
    if match is None:
        return None
    return match["region"] if _REGION in pattern else ""


def region_called(name: str, layout: LayoutConfig) -> str | None:
    """The region that a file calls ``name``; None: it is not to be read."""
    if layout.names:
        return layout.names.get(name)
    return safe_name(name)


def collisions(names: Iterable[str], layout: LayoutConfig) -> dict[str, list[str]]:
    """Regions that more than one name of a file would become."""
    found: dict[str, list[str]] = {}
    for name in names:
        region = region_called(name, layout)
        if region is not None:
            found.setdefault(region, []).append(name)
    return {region: same for region, same in found.items() if len(same) > 1}


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for a message, the first of many."""
    shown = [name if len(name) <= _WRITTEN_TO else f"{name[:_WRITTEN_TO]}…" for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
