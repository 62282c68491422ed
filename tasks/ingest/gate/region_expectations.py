"""The second gate of ingestion: what Great Expectations asks of a region.

Importing this takes 3 to 6 seconds: do it inside the one task that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import great_expectations as gx
import great_expectations.expectations
import pandas as pd

from gridcast.errors import Fault, RegionRefusedError
from gridcast.readings.quarantine import MOST_ROWS
from gridcast.readings.required import Wording, wordings
from tasks.ingest.gate.custom_expectations import (
    ExpectColumnValuesToBeOnTheHour,
    ExpectShareOfFlaggedReadingsToBeAtMost,
    ExpectShareOfMissingHoursToBeAtMost,
)
from tasks.ingest.gate.data_docs import DataDocs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    from gridcast.config import RulesConfig

__all__ = ["COLUMNS", "DataDocs", "expect", "has_passed", "region_suite", "validate_region"]

_DTYPES = {
    "timestamp": "datetime64[us, UTC]",
    "local_label": "datetime64",  # of any resolution, without a zone
    "source_line": "int64",
    "load_mw": "float64",
    "flag": "str",
}
COLUMNS = tuple(_DTYPES)
_CELL_COLUMNS = {"timestamp": 1, "load_mw": 21}  # of a line: the label has 19 characters
expect: Any = gx.expectations  # GE's types don't name what this module re-exports


# -- the suite -----------------------------------------------------------------------------------


def region_suite(region: str, rules: RulesConfig) -> gx.ExpectationSuite:
    """What is asked of the frame of ``region``: its form, and each of its ``required`` rules.

    ``description`` is the sentence in the Data Docs, with the key that sets the rule; ``meta`` is
    what a fault says: its kind, what was found (``{}``: the first offending value, or the observed
    one) and what was expected.
    """
    return gx.ExpectationSuite(
        name=region,
        expectations=[
            *_form_expectations(),
            *_time_expectations(),
            *_required_expectations(region, rules),
        ],
    )


def _form_expectations() -> Iterator[Expectation]:
    listed = ", ".join(COLUMNS)
    yield expect.ExpectTableColumnsToMatchOrderedList(
        column_list=list(COLUMNS),
        description=f"The columns are {listed}, in this order.",
        meta=_wording("columns", "the columns {}", str(list(COLUMNS))),
    )
    for column, dtype in _DTYPES.items():
        yield expect.ExpectColumnTypeToBe(
            column=column,
            type_=dtype,
            description=f"The type is {dtype}.",
            meta=_wording(f"{column}_type", f"{column} of type {{}}", dtype),
        )
    for column in ("timestamp", "source_line", "load_mw"):
        yield expect.ExpectColumnValuesToNotBeNull(
            column=column,
            description="Every row has a value.",
            meta=_wording(f"{column}_null", f"no {column}", "a value in every row"),
        )


def _time_expectations() -> Iterator[Expectation]:
    yield expect.ExpectColumnValuesToBeUnique(
        column="timestamp",
        description="Every hour stands once.",
        meta=_wording("duplicate_hour", "the hour {} again", "every hour once"),
    )
    yield ExpectColumnValuesToBeOnTheHour(
        column="timestamp",
        description="Every timestamp is a full hour of local time.",
        meta=_wording("off_hour", "the timestamp {}", "a full hour"),
    )
    yield expect.ExpectColumnValuesToBeIncreasing(
        column="timestamp",
        description="The rows are in the order of time.",
        meta=_wording("time_order", "the hour {} below a later one", "rows in the order of time"),
    )


def _required_expectations(region: str, rules: RulesConfig) -> Iterator[Expectation]:
    """One a rule of ``RequiredRules``; the bounds of the load are one together."""
    required = rules.of(region).required
    words = wordings(required, lambda rule: rules.key_of(region, "required", rule))
    yield expect.ExpectTableRowCountToBeBetween(
        min_value=required.min_rows, **_described(words["num_rows"])
    )
    yield ExpectShareOfMissingHoursToBeAtMost(
        column="timestamp",
        max_share=required.max_missing_share,
        **_described(words["missing_share"]),
    )
    yield expect.ExpectColumnValuesToBeBetween(
        column="load_mw",
        min_value=required.min_mw,
        max_value=required.max_mw,
        **_described(words["load_mw"]),
    )
    yield ExpectShareOfFlaggedReadingsToBeAtMost(
        column="flag", max_share=required.max_flagged_share, **_described(words["flagged_share"])
    )


def _described(words: Wording) -> dict[str, Any]:
    meta = _wording(words.kind, words.found, words.expected)
    return {"description": words.sentence, "meta": meta}


def _wording(kind: str, found: str, expected: str) -> dict[str, str]:
    return {"kind": kind, "found": found, "expected": expected}


# -- validation ----------------------------------------------------------------------------------


def validate_region(
    frame: pd.DataFrame, *, region: str, file: str, rules: RulesConfig, docs: DataDocs
) -> None:
    """Hold one region's frame against its suite, and put the outcome into the Data Docs.

    Args:
        frame: the columns ``COLUMNS``, sorted by ``timestamp``.
        region: names the suite.
        file: the name that faults show.
        rules: of all regions, of which those of ``region`` are asked.
        docs: of this run.

    Raises:
        RegionRefusedError: with one fault for each expectation that failed or could not be
            evaluated, in the file's order. A row's fault names the first of its lines in the file,
            a fault of the table as a whole line 1.
        OSError: the Data Docs can't be written.
    """
    frame = _labelled_by_line(frame)
    outcome = docs.validate(frame, region_suite(region, rules))
    failed = [result for result in outcome.results if not has_passed(result)]
    if failed:
        faults = [_fault(result, frame, file=file) for result in failed]
        faults.sort(key=lambda fault: (fault.line, fault.column))
        rows = [row for result in failed for row in _row_faults(result, frame, file=file)]
        raise RegionRefusedError(region, faults, rows=rows)


def has_passed(result: ExpectationValidationResult) -> bool:
    """Whether an expectation is met. One that GE could not evaluate is not."""
    return bool(result.success) and _exception_of(result) is None


def _labelled_by_line(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the file's lines as labels: GE names offending rows by label, not by line.

    A row without a line of its own gets a negative label. The index has no name: with one, each of
    GE's labels would be a dict.
    """
    labels = pd.Series(range(-1, -len(frame) - 1, -1))
    if "source_line" in frame:
        lines = pd.to_numeric(frame["source_line"], errors="coerce").reset_index(drop=True)
        labels = lines.where(lines.notna() & ~lines.duplicated(), labels)
    return frame.set_axis(labels.astype("int64").to_numpy())


def _fault(result: ExpectationValidationResult, frame: pd.DataFrame, *, file: str) -> Fault:
    asked, outcome = cast("ExpectationConfiguration", result.expectation_config), result.result
    wording = cast("dict[str, str]", asked.meta)
    kind, expected = wording["kind"], wording["expected"]
    if (message := _exception_of(result)) is not None:
        reason = f"found that {kind} can't be checked ({message}), expected {expected}"
        return Fault(file, 1, 1, kind, reason)
    labels = outcome.get("unexpected_index_list")
    if not labels:
        found = wording["found"].format(outcome.get("observed_value"))
        line, where = _largest_gap(frame) if kind == "too_many_missing" else (1, "")
        return Fault(file, line, 1, kind, f"found {found}{where}, expected {expected}")
    return _row_fault(asked, min(labels), frame, file=file, count=len(labels))


def _largest_gap(frame: pd.DataFrame) -> tuple[int, str]:
    """The line behind the most missing hours in a row, and how that is told."""
    before = frame["timestamp"].diff()
    after = int(before.argmax()) if before.notna().any() else 0
    if not after:
        return 1, ""
    line, earlier = (int(frame.index[row]) for row in (after, after - 1))
    missing = int(before.iloc[after] / pd.Timedelta(hours=1)) - 1
    label = frame["local_label"].iloc[after]
    told = f", {missing:,} in a row before '{label}' in this line (the hour before is in {earlier})"
    return max(line, 1), told


def _row_faults(
    result: ExpectationValidationResult, frame: pd.DataFrame, *, file: str
) -> Iterator[Fault]:
    """One fault a row that fails, for the first rows of the file that have a line."""
    asked = cast("ExpectationConfiguration", result.expectation_config)
    lines = sorted(label for label in result.result.get("unexpected_index_list") or () if label > 0)
    for line in lines[:MOST_ROWS]:
        yield _row_fault(asked, line, frame, file=file)


def _row_fault(
    asked: ExpectationConfiguration, label: int, frame: pd.DataFrame, *, file: str, count: int = 1
) -> Fault:
    # Not from unexpected_list: GE cuts that off after 200 values, whatever the format.
    wording, column = cast("dict[str, str]", asked.meta), asked.kwargs["column"]
    found = wording["found"].format(frame.loc[label, column])
    reason = f"found {found}, expected {wording['expected']}"
    place = max(label, 1), _CELL_COLUMNS.get(column, 1)
    return Fault(file, *place, wording["kind"], reason, count)


def _exception_of(result: ExpectationValidationResult) -> str | None:
    """The first line of what kept GE from evaluating, or None.

    ``exception_info`` is one record, or one a metric under the metric's name.
    """
    info = result.exception_info or {}
    records = [info] if "raised_exception" in info else list(info.values())
    raised = [record for record in records if record["raised_exception"]]
    if not raised:
        return None
    return next(iter(str(raised[0]["exception_message"]).splitlines()), "no message")
