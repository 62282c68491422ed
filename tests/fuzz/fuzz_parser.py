"""Coverage-guided fuzzing of the parser: ``make fuzz`` or ``make fuzz SECONDS=3600``.

Atheris (libFuzzer) changes the seeds, keeps what reaches new branches of
``gridcast/readings/parsing.py``, and stops at the first file for which a promise of
``tests/builders/parser_promises.py`` does not hold; it leaves that file as ``build/fuzz/crash-…``.
Found files become tests in ``tests/readings/test_parsing.py``.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gridcast.readings.parsing"]):
    import gridcast.readings.parsing  # noqa: F401 - before anything else imports it uninstrumented
from tests.builders.changed_rows import NUM_ROW_CHANGES, change_row
from tests.builders.parser_promises import check_parser
from tests.builders.values import make_rows
from tests.fuzz.seeds import make_seeds

_FOLDER = Path(__file__).resolve().parents[2] / "build" / "fuzz"
_WORDS = (
    "Datetime,AEP_MW", "2014-11-02 02:00:00", "2017-11-05 02:00:00", "2017-03-12 03:00:00",
    "2016-02-29 00:00:00", "1900-01-01 00:00:00", "2099-12-31 23:00:00", "nan", "inf", "1e308",
    "1e400", "-0", "0.0", "\ufeff", "\r\n", "\r", "\t", '"', '""', ",", "é", "\x85", "\u2028",
    "٣", "\x1c", "\x00",
)  # fmt: skip


def main() -> None:
    """Write seeds and words, then fuzz; further arguments are libFuzzer's."""
    corpus, words = _FOLDER / "corpus", _FOLDER / "words.txt"
    corpus.mkdir(parents=True, exist_ok=True)
    for name, content in make_seeds().items():
        (corpus / f"seed-{name}").write_bytes(content)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in _WORDS)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    options = [
        f"-dict={words}",
        f"-artifact_prefix={_FOLDER}/",
        "-max_len=4096",
        "-timeout=20",
        "-rss_limit_mb=4096",
    ]
    arguments = [sys.argv[0], str(corpus), *options, *sys.argv[1:]]
    atheris.Setup(arguments, check_parser, custom_mutator=change)
    atheris.Fuzz()


def change(content: bytes, max_size: int, seed: int) -> bytes:
    """Move, repeat, drop or rewrite a row half of the time; else what libFuzzer does to bytes."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    lines = content.split(b"\n")
    if rng.random() < 0.5 or len(lines) < 3:  # a header, a row, an end
        changed: bytes = atheris.Mutate(content, max_size)
        return changed
    row, other = (rng.randrange(1, len(lines) - 1) for _ in range(2))
    which = rng.randrange(NUM_ROW_CHANGES + 1)
    if which < NUM_ROW_CHANGES:
        change_row(which, lines, row, other, rng, [word.encode() for word in _WORDS])
    else:
        first = rng.choice(("2014-11-02 04:00", "2017-03-12 05:00", "2044-11-06 04:00"))
        lines[row:row] = [",".join(cells).encode() for cells in make_rows(3, first=first)]
    return b"\n".join(lines)[:max_size]


if __name__ == "__main__":
    main()
