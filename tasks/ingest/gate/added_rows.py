"""What Great Expectations asks of the rows that were added to regions, of all regions at once.

It takes as long for 24 rows as for 100,000, so one evaluation does for all regions. That one tells
only which of them pass: a region that does not is read as a whole, and refused with all the words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import great_expectations as gx
import pandas as pd

from gridcast.readings.required import REQUIREMENTS
from tasks.ingest.gate.region_expectations import COLUMNS, expect, has_passed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation

    from tasks.ingest.gate.data_docs import DataDocs

SUITE = "added-rows"  # a region's name has no hyphen
_FORMS = [
    f"timestamp datetime64[us, UTC], local_label datetime64[{unit}], source_line int64, "
    "load_mw float64, flag str"
    for unit in ("s", "ms", "us", "ns")
]


def refused_regions(added: Sequence[pd.DataFrame], docs: DataDocs) -> frozenset[str]:
    """The regions of which something does not pass, or can't be checked.

    Args:
        added: ``rows_to_judge`` of each region.
        docs: of this run; the outcome gets a page there.

    Raises:
        OSError: the Data Docs can't be written.
    """
    rows = pd.concat(added, ignore_index=True)
    outcome = docs.validate(rows, added_suite())
    return frozenset[str]().union(*(_refused(result, rows) for result in outcome.results))


def added_suite() -> gx.ExpectationSuite:
    """The questions of ``region_suite``, each asked of a row.

    What is asked of a region as a whole stands in each of its rows, and so do the region's rules.
    """
    return gx.ExpectationSuite(
        name=SUITE,
        expectations=[*_form_expectations(), *_time_expectations(), *_required_expectations()],
    )


def _form_expectations() -> Iterator[Expectation]:
    yield expect.ExpectColumnValuesToBeInSet(
        column="form",
        value_set=_FORMS,
        description=f"The columns are {', '.join(COLUMNS)}, in this order, each of its type.",
    )
    for column in ("form", "timestamp", "source_line", "load_mw"):
        yield expect.ExpectColumnValuesToNotBeNull(
            column=column, description="Every row has a value."
        )


def _time_expectations() -> Iterator[Expectation]:
    yield expect.ExpectColumnValuesToBeInSet(
        column="minutes_off",
        value_set=[0],
        description="Every timestamp is a full hour, as the row before.",
    )
    yield expect.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A="timestamp",
        column_B="timestamp_before",
        description="Every hour stands once, and the rows are in the order of time.",
    )


def _required_expectations() -> Iterator[Expectation]:
    """Each measure is a column of ``rows_to_judge``, and so is each rule."""
    for rule, column, is_least in REQUIREMENTS:
        side = "least" if is_least else "most"
        larger, smaller = (column, rule) if is_least else (rule, column)
        yield _in_order(larger, smaller, f"{column} is at {side} {rule}, by the region's rules.")


def _in_order(larger: str, smaller: str, description: str) -> Expectation:
    expectation: Expectation = expect.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=larger, column_B=smaller, or_equal=True, description=description
    )
    return expectation


def _refused(result: ExpectationValidationResult, rows: pd.DataFrame) -> set[str]:
    if has_passed(result):
        return set()
    failing = result.result.get("unexpected_index_list")
    return set(rows.loc[failing, "region"] if failing else rows["region"])
