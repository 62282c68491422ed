"""Files of twelve publishers, changed at random: ``make fuzz``, or ``make fuzz SECONDS=3600``.

Bytes, cells and rows are changed until a promise of ``tests/builders/layout_promises.py`` does not
hold; that file is left as ``build/fuzz/layout-…``, with its layout and number in the name.
Found files become tests in ``tests/layouts/test_changed_files.py``.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from tests.builders.layout_promises import NAMES, changed, check_layout, seed_of

_FOLDER = Path(__file__).resolve().parents[2] / "build" / "fuzz"
_FIRST = 1_000_000  # of a session: by the clock, so that no two try the same


def main(seconds: float) -> int:
    """0: all promises held for so long."""
    end, first = time.monotonic() + seconds, time.time_ns() % 1000 * _FIRST
    number = first
    while time.monotonic() < end:
        name = NAMES[number % len(NAMES)]
        file, content = seed_of(name)
        content = changed(content, random.Random(number))  # noqa: S311 - no secret
        try:
            check_layout(name, content, file)
        except BaseException:
            _FOLDER.mkdir(parents=True, exist_ok=True)
            (_FOLDER / f"layout-{name}-{number}").write_bytes(content)
            sys.stderr.write(f"{name}, number {number}: see build/fuzz\n")
            raise
        number += 1
    sys.stdout.write(f"{number - first} changed files of {len(NAMES)} layouts, all as promised\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
