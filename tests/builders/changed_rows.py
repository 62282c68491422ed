"""Rows of a file changed at random, for the searches for bytes that break a promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

NUM_ROW_CHANGES = 4


def change_row(
    which: int,
    lines: list[bytes],
    row: int,
    other: int,
    rng: random.Random,
    words: Sequence[bytes],
) -> None:
    """In place: 0 to 3, two rows change places, one is repeated, dropped, or has another cell."""
    match which:
        case 0:
            lines[row], lines[other] = lines[other], lines[row]
        case 1:
            lines.insert(row, lines[other])
        case 2:
            del lines[row]
        case _:
            cells = lines[row].split(b",")
            cells[rng.randrange(len(cells))] = rng.choice(words)
            lines[row] = b",".join(cells)
