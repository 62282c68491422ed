"""The second gate of ingestion: what Great Expectations asks of a region, and its Data Docs.

Importing this takes 3 to 6 seconds: do it inside the one task that needs it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, cast

import great_expectations as gx
import great_expectations.expectations
import pandas as pd
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnAggregateExpectation,
    ColumnMapExpectation,
    Expectation,
)
from great_expectations.expectations.metrics.column_aggregate_metric_provider import (
    ColumnAggregateMetricProvider,
    column_aggregate_value,
)
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.render.view.view import DefaultJinjaPageView
from great_expectations.validator.v1_validator import Validator
from jinja2 import BaseLoader, ChoiceLoader, DictLoader

from gridcast.errors import Fault, RegionRefusedError
from gridcast.quality import NO_FLAG
from gridcast.set_aside import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    from gridcast.config import RulesConfig

_DTYPES = {
    "timestamp": "datetime64[us, UTC]",
    "local_label": "datetime64",  # of any resolution, without a zone
    "source_line": "int64",
    "load_mw": "float64",
    "flag": "str",
}
COLUMNS = tuple(_DTYPES)
_CELL_COLUMNS = {"timestamp": 1, "load_mw": 21}  # of a line: the label has 19 characters
_HOUR = pd.Timedelta(hours=1)
expect: Any = gx.expectations  # GE's types don't name what this module re-exports


# -- expectations that Great Expectations lacks --------------------------------------------------


class ColumnValuesOnTheHour(ColumnMapMetricProvider):
    """Whether each timestamp is a full hour."""

    condition_metric_name = "column_values.on_the_hour"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[pd.Timestamp], **_: object) -> pd.Series[bool]:  # noqa: N805
        return column == column.dt.floor("h")


class ExpectColumnValuesToBeOnTheHour(ColumnMapExpectation):
    """Expect timestamps without minutes, seconds or parts of them."""

    map_metric: ClassVar[str] = ColumnValuesOnTheHour.condition_metric_name


def _at_most(
    max_share: float, num: int, num_all: int, *, unit: str, more: str = ""
) -> dict[str, Any]:
    """What an expectation on a share finds: it holds if ``num`` of ``num_all`` is at most that."""
    share = num / num_all if num_all else 0.0
    observed = f"{num:,} of {num_all:,} {unit} ({share:.3%}{more})"
    return {"success": share <= max_share, "result": {"observed_value": observed}}


class ColumnMissingHours(ColumnAggregateMetricProvider):
    """How many hours lie between the first and the last, both included, and how many lack."""

    metric_name = "column.missing_hours"

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[pd.Timestamp], **_: object) -> tuple[int, int]:  # noqa: N805
        if column.empty:
            return 0, 0
        hours = column.dt.floor("h")
        num_hours = int((hours.max() - hours.min()) / _HOUR) + 1
        return num_hours, num_hours - hours.nunique()


class ExpectShareOfMissingHoursToBeAtMost(ColumnAggregateExpectation):
    """Expect few gaps: missing hours / hours between the first and the last, 0 to 1.

    Hours missing before the first and after the last can't be seen; without rows the share is 0.
    """

    max_share: float

    metric_dependencies: ClassVar[tuple[str, ...]] = (ColumnMissingHours.metric_name,)
    success_keys: ClassVar[tuple[str, ...]] = ("max_share",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002
        execution_engine: object = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        num_hours, num_missing = metrics[ColumnMissingHours.metric_name]
        return _at_most(self.max_share, num_missing, num_hours, unit="hours")


class ColumnFlags(ColumnAggregateMetricProvider):
    """How many flags there are, empty ones too, and how many of each kind."""

    metric_name = "column.flags"

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[str], **_: object) -> tuple[int, dict[str, int]]:  # noqa: N805
        kinds = column[column != NO_FLAG].value_counts()
        return len(column), {str(kind): int(num) for kind, num in kinds.items()}


class ExpectShareOfFlaggedReadingsToBeAtMost(ColumnAggregateExpectation):
    """Expect few doubtful readings: flagged / all, 0 to 1. Without rows the share is 0."""

    max_share: float

    metric_dependencies: ClassVar[tuple[str, ...]] = (ColumnFlags.metric_name,)
    success_keys: ClassVar[tuple[str, ...]] = ("max_share",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002
        execution_engine: object = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        num_readings, by_kind = metrics[ColumnFlags.metric_name]
        num_flagged = sum(by_kind.values())
        kinds = "".join(f", {num:,} {kind}" for kind, num in sorted(by_kind.items()))
        return _at_most(self.max_share, num_flagged, num_readings, unit="readings", more=kinds)


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
        description="Every timestamp is a full hour.",
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

    def key(rule: str) -> str:
        return f"({rules.key_of(region, 'required', rule)})"

    yield expect.ExpectTableRowCountToBeBetween(
        min_value=required.min_rows,
        description=f"There are at least {required.min_rows:,} rows {key('min_rows')}.",
        meta=_wording("too_few_rows", "{} rows", f"at least {required.min_rows} {key('min_rows')}"),
    )
    at_most, of_rule = f"at most {100 * required.max_missing_share:g}%", key("max_missing_share")
    yield ExpectShareOfMissingHoursToBeAtMost(
        column="timestamp",
        max_share=required.max_missing_share,
        description=f"Of the hours between first and last, {at_most} are missing {of_rule}.",
        meta=_wording("too_many_missing", "{} missing", f"{at_most} of them {of_rule}"),
    )
    bounds = f"{required.min_mw} to {required.max_mw} MW"
    keys = f"{key('min_mw')} {key('max_mw')}"
    yield expect.ExpectColumnValuesToBeBetween(
        column="load_mw",
        min_value=required.min_mw,
        max_value=required.max_mw,
        description=f"Every load is possible: {bounds}, both ends included {keys}.",
        meta=_wording("load_bounds", "a load of {} MW", f"{bounds} {keys}"),
    )
    at_most, of_rule = f"at most {100 * required.max_flagged_share:g}%", key("max_flagged_share")
    yield ExpectShareOfFlaggedReadingsToBeAtMost(
        column="flag",
        max_share=required.max_flagged_share,
        description=f"Of the readings, {at_most} are flagged as doubtful {of_rule}.",
        meta=_wording("flagged_share", "{} flagged", f"{at_most} of them {of_rule}"),
    )


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
    failed = [
        result
        for result in outcome.results
        if not result.success or _exception_of(result) is not None
    ]
    if failed:
        faults = [_fault(result, frame, file=file) for result in failed]
        faults.sort(key=lambda fault: (fault.line, fault.column))
        rows = [row for result in failed for row in _row_faults(result, frame, file=file)]
        raise RegionRefusedError(region, faults, rows=rows)


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
        return Fault(file, 1, 1, kind, f"found {found}, expected {expected}")
    return _row_fault(asked, min(labels), frame, file=file, count=len(labels))


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


# -- Data Docs -----------------------------------------------------------------------------------


class DataDocs:
    """The Data Docs, for people: a page a region with its last validation, of whichever run.

    ``folder/gx`` holds each region's suite and last result, so that a region that is not validated
    again keeps its page and nothing piles up; ``folder/site`` holds the pages. One object a run.

    Raises:
        OSError: ``folder`` can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._site = folder.resolve() / "site"
        self._store = folder / "gx"
        _make_sound(self._store)
        self._context = gx.get_context(mode="file", project_root_dir=folder)
        variables = self._context.variables
        variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        variables.analytics_enabled = False
        variables.data_docs_sites = {"gridcast": _site_config(self._site)}
        source = self._context.data_sources.add_or_update_pandas("regions")
        asset = source.add_dataframe_asset("hourly_load")  # one for all: each costs 0.2 s
        self._batches = asset.add_batch_definition_whole_dataframe("whole")
        self._lock = Lock()  # one asset holds one frame at a time
        self._run_id = RunIdentifier(run_time=datetime.now(UTC))

    def validate(
        self, frame: pd.DataFrame, suite: gx.ExpectationSuite
    ) -> ExpectationSuiteValidationResult:
        """Evaluate ``suite`` on ``frame``; suite and result replace the last ones.

        Not by a ValidationDefinition: reading back what it has just written takes GE as long as the
        evaluation. Which rows fail is only asked where one does, for the same reason.
        """
        with self._lock:
            (self._store / "expectations" / f"{suite.name}.json").unlink(missing_ok=True)
            suite = self._context.suites.add(suite)
            result = self._evaluate(frame, suite, result_format="BASIC")
            if not result.success:
                # Not unexpected_index_column_names: thirty times slower where many rows fail.
                result = self._evaluate(frame, suite, result_format="COMPLETE")
            self._keep(result, suite)
            return result

    def _evaluate(
        self, frame: pd.DataFrame, suite: gx.ExpectationSuite, *, result_format: str
    ) -> ExpectationSuiteValidationResult:
        validator = Validator(
            batch_definition=self._batches,
            batch_parameters={"dataframe": frame},
            result_format={"result_format": result_format},
        )
        with _configurations_kept():
            return validator.validate_expectation_suite(suite)

    def _keep(self, result: ExpectationSuiteValidationResult, suite: gx.ExpectationSuite) -> None:
        """Put the result where ``build`` finds it, in place of the one before."""
        _remove(self._store / "uncommitted" / "validations" / suite.name)
        result.meta |= {"run_id": self._run_id, "validation_time": self._run_id.run_time}
        identifier = ExpectationSuiteIdentifier(name=suite.name)
        self._context.validation_results_store.store_validation_results(
            suite_validation_result=result,
            suite_validation_result_identifier=ValidationResultIdentifier(
                batch_identifier=result.batch_id,
                expectation_suite_identifier=identifier,
                run_id=self._run_id,
            ),
            expectation_suite_identifier=identifier,
        )

    def build(self) -> Path:
        """Write the site and return its ``index.html``; call it once, after the last region."""
        _remove(self._site)
        self._context.build_data_docs()
        return self._site / "index.html"


@contextmanager
def _configurations_kept() -> Iterator[None]:
    """Let GE make each expectation's configuration once: it asks some 90 times an expectation.

    A third of an evaluation went into making it anew. The caller holds the lock.
    """
    name = "configuration"
    asked = cast("property", vars(Expectation)[name])
    kept: dict[int, tuple[Expectation, ExpectationConfiguration]] = {}

    def configuration(expectation: Expectation) -> ExpectationConfiguration:
        # With the expectation itself: while it is held, no other has its id.
        if id(expectation) not in kept:
            kept[id(expectation)] = expectation, asked.__get__(expectation)
        return kept[id(expectation)][1]

    setattr(Expectation, name, property(configuration))
    try:
        yield
    finally:
        setattr(Expectation, name, asked)


def _make_sound(store: Path) -> None:
    """Leave suites and results that this code wrote, and wrote to the end; the rest is remade."""
    made_by = store / "made_by.txt"
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    version = f"{gx.__version__} {code}\n".encode()
    if not made_by.is_file() or made_by.read_bytes() != version:
        _remove(store)
    for path in store.rglob("*.json"):
        if not _is_json(path):
            path.unlink()
    for path in store.rglob("*.yml"):
        path.unlink()
    store.mkdir(parents=True, exist_ok=True)
    made_by.write_bytes(version)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _site_config(site: Path) -> dict[str, Any]:
    view = {"view": {"module_name": __name__, "class_name": OfflinePage.__name__}}
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(site),
        },
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", **view},
        "site_section_builders": {"expectations": view, "validations": view, "profiling": "None"},
    }


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2330; max-width: 70rem; margin: 1.5rem auto;
  padding: 0 1rem; }
a { color: #0b5cad; }
nav { border-bottom: 1px solid #d5dae2; padding-bottom: .5rem; }
h5 { font-size: 1.1rem; margin: 1.5rem 0 .3rem; }
h6 { font-size: .95rem; margin: 1rem 0 .2rem; }
table { border-collapse: collapse; margin: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0;
  border-bottom: 1px solid #e6e9ee; }
i.text-success::before { content: "\\2713"; color: #18794e; font-weight: 700; }
i.text-danger::before { content: "\\2717"; color: #c62828; font-weight: 700; }
i.text-warning::before { content: "!"; color: #b25e00; font-weight: 700; }
i { font-style: normal; }
.cooltip .top, .collapse, .nav-tabs { display: none; }
.collapse:target { display: block; }
.tab-content { display: flex; flex-wrap: wrap; gap: 0 4rem; }
td td div { max-height: 12em; overflow: auto; }
hr { display: none; }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>gridcast: {{ page_title or "Data Docs" }}</title>
<style>{% include "style.css" %}</style></head>
<body>
{%- set is_result = renderer_type == "ValidationResultsPageRenderer" %}
{%- set up = "../../../../" if is_result else "../" if "Suite" in renderer_type else "" %}
<nav><a href="{{ up }}index.html">All regions</a>
{%- if is_result %} · Index: the line in the CSV file{% endif %}</nav>
{% for section in sections %}{% set section_loop = loop %}{% include "section.j2" %}{% endfor %}
</body></html>
"""
_TABLE = """<table>
{% if content_block.table_columns | length > 1 %}
<tr><th>Status</th><th>Validation of region</th><th>Run</th></tr>
{% else %}<tr><th>Suite of region</th></tr>{% endif %}
{% for row in content_block.table_data | render_bootstrap_table_data
   | sort(attribute="_table_row_link_path") %}
<tr>{% if "run_time" in row %}<td>{{ row.validation_success }}</td>{% endif %}
<td><a href="{{ row._table_row_link_path | e }}">
{{- row._expectation_suite_name_sort or row.expectation_suite_name }}</a></td>
{% if "run_time" in row %}<td>{{ row.run_time }}</td>{% endif %}</tr>
{% endfor %}</table>
"""


class OfflinePage(DefaultJinjaPageView):
    """GE's pages with a stylesheet of our own.

    GE's load styles, icons and scripts from seven sites; without them the index has no rows.
    """

    def __init__(self, **directories: str | None) -> None:
        super().__init__(**directories)
        ours = {"page.j2": _PAGE, "style.css": _STYLE, "bootstrap_table.j2": _TABLE}
        self.env.loader = ChoiceLoader([DictLoader(ours), cast("BaseLoader", self.env.loader)])
