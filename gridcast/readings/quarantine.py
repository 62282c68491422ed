"""The rows of a file that somebody should look at: refused ones, and accepted but flagged ones.

Parsing knows nothing of this. A row is told by its line, and its text is looked up in the file's
bytes afterwards, for the lines that are set aside alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from gridcast.readings.quality import NO_FLAG, flag_reasons

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gridcast.config import FlaggedRules
    from gridcast.errors import Fault

MOST_ROWS = 10_000  # of a file and kind (refused, flagged): the first in the file
MOST_BYTES = 4_096  # of a line
_COLUMNS = {
    "region": "str",
    "source_line": "int64",
    "column": "int64",
    "rule": "str",
    "raw_text": "str",
    "timestamp": "datetime64[us, UTC]",
    "load_mw": "float64",
    "reason": "str",
}


class SourceLines(Protocol):
    """Lines of files as they stand, where a region has more than one file, or another layout."""

    def texts(self, places: Sequence[tuple[str, int]]) -> list[str]:
        """The lines of those files and numbers; a file ``""``: counted through all of them."""

    def column_of_load(self, text: str) -> int:
        """The character (from 1) at which the load begins."""


def refused_rows(
    content: bytes | SourceLines, faults: Sequence[Fault], *, region: str
) -> pd.DataFrame:
    """One row for each of ``faults``: why a line of the file was refused.

    Args:
        content: the file's bytes, or the lines of several.
        faults: of single lines, as in ``RegionRefusedError.rows``.
        region: that the file tells of.

    Returns:
        ``region``, ``source_line`` and ``column`` (from 1), ``rule``, ``raw_text`` (the file's own
        line, without its end), ``timestamp`` (UTC) and ``load_mw`` (MW; both missing here), and
        ``reason``, in the order of the file. At most ``MOST_ROWS``.
    """
    first = sorted(faults, key=lambda fault: (fault.line, fault.column))[:MOST_ROWS]
    return _table(
        {
            "region": [region] * len(first),
            "source_line": [fault.line for fault in first],
            "column": [fault.column for fault in first],
            "rule": [fault.kind for fault in first],
            "raw_text": _texts(content, [(fault.file, fault.line) for fault in first]),
            "timestamp": pd.DatetimeIndex([pd.NaT] * len(first), tz="UTC"),
            "load_mw": [np.nan] * len(first),
            "reason": [fault.reason for fault in first],
        }
    )


def flagged_rows(
    content: bytes | SourceLines, readings: pd.DataFrame, *, region: str, rules: FlaggedRules
) -> pd.DataFrame:
    """One row for each flagged one of ``readings``, as :func:`refused_rows` has them.

    Args:
        content: the file's bytes, or the lines of several.
        readings: ``RegionLoad.frame`` with ``flag``.
        region: that the file tells of.
        rules: by which the flags were set.
    """
    flagged = readings[readings["flag"] != NO_FLAG].sort_values("source_line")[:MOST_ROWS]
    texts = _texts(content, [("", line) for line in flagged["source_line"]])
    return _table(
        {
            "region": [region] * len(flagged),
            "source_line": flagged["source_line"].to_numpy(),
            "column": [_column_of_load(content, text) for text in texts],
            "rule": flagged["flag"].to_numpy(),
            "raw_text": texts,
            "timestamp": flagged["timestamp"].array,
            "load_mw": flagged["load_mw"].to_numpy(),
            "reason": flag_reasons(readings["load_mw"], flagged["flag"], rules),
        }
    )


def _texts(content: bytes | SourceLines, places: Sequence[tuple[str, int]]) -> list[str]:
    if isinstance(content, bytes):
        return raw_lines(content, [line for _, line in places])
    return content.texts(places)


def _column_of_load(content: bytes | SourceLines, text: str) -> int:
    return text.find(",") + 2 if isinstance(content, bytes) else content.column_of_load(text)


def raw_lines(content: bytes, numbers: Iterable[int]) -> list[str]:
    r"""The lines of those numbers (from 1) as they stand, without LF or CRLF.

    Of a longer line the first ``MOST_BYTES``; what is not UTF-8 is shown as ``\xff``; a line that
    is not there is empty.
    """
    wanted = list(numbers)
    if not wanted:
        return []
    ends_N = np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == ord("\n"))
    bounds_N = np.concatenate([[-1], ends_N, [len(content)]])
    return [
        content[bounds_N[number - 1] + 1 : bounds_N[number]]
        .removesuffix(b"\r")[:MOST_BYTES]
        .decode("utf-8", errors="backslashreplace")
        if number < len(bounds_N)
        else ""
        for number in wanted
    ]


def _table(columns: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(columns).astype(_COLUMNS)
