"""The one place where a class of Great Expectations is changed, for the time of an evaluation.

GE promises nothing of it: ``pyproject.toml`` caps its version, and ``tests/ingest/
test_ge_private.py`` fails where the part has changed. Without it an evaluation is the same, and
takes a quarter longer (docs/adr/0024): GE has no setting for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from great_expectations.expectations.expectation import Expectation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

_NAME = "configuration"


@contextmanager
def configurations_kept() -> Iterator[None]:
    """Let GE make each expectation's configuration once: it asks some 90 times an expectation.

    The caller holds a lock: no two evaluations at a time. A GE that keeps it elsewhere is left to.
    """
    asked = vars(Expectation).get(_NAME)
    if not isinstance(asked, property):
        yield
        return
    kept: dict[int, tuple[Expectation, ExpectationConfiguration]] = {}

    def configuration(expectation: Expectation) -> ExpectationConfiguration:
        # With the expectation itself: while it is held, no other has its id.
        if id(expectation) not in kept:
            kept[id(expectation)] = expectation, asked.__get__(expectation)
        return kept[id(expectation)][1]

    setattr(Expectation, _NAME, property(configuration))
    try:
        yield
    finally:
        setattr(Expectation, _NAME, asked)
