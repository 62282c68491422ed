"""The second gate of ingestion: what Great Expectations asks of a region's frame, and its Data Docs.

Importing Great Expectations takes 4 to 6 seconds: import this module in the one task that needs it.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnAggregateExpectation,
    ColumnMapExpectation,
)
from great_expectations.expectations.metrics import (
    ColumnAggregateMetricProvider,
    ColumnMapMetricProvider,
    column_aggregate_value,
    column_condition_partial,
)
from great_expectations.render.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, DictLoader

from gridcast.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

    from gridcast.config import Bounds, IngestionConfig

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
        share = num_missing / num_hours if num_hours else 0.0
        observed = f"{num_missing:,} of {num_hours:,} hours ({share:.3%})"
        return {"success": share <= self.max_share, "result": {"observed_value": observed}}


# -- the suite -----------------------------------------------------------------------------------


def region_suite(region: str, config: IngestionConfig) -> gx.ExpectationSuite:
    """What is asked of the frame of ``region``.

    ``description`` is the sentence in the Data Docs; ``meta`` is what a fault says: its kind, how it
    words what was found (``{}``: the first offending value, or the observed one) and what was
    expected.
    """
    return gx.ExpectationSuite(
        name=region,
        expectations=[
            *_form_expectations(),
            *_time_expectations(config),
            *_load_expectations(region, config.bounds_of(region)),
        ],
    )


def _form_expectations() -> Iterator[gxe.Expectation]:
    listed = ", ".join(COLUMNS)
    yield gxe.ExpectTableColumnsToMatchOrderedList(
        column_list=list(COLUMNS),
        description=f"The columns are {listed}, in this order.",
        meta=_wording("columns", "the columns {}", str(list(COLUMNS))),
    )
    for column, dtype in _DTYPES.items():
        yield gxe.ExpectColumnTypeToBe(
            column=column,
            type_=dtype,
            description=f"The type is {dtype}.",
            meta=_wording(f"{column}_type", f"{column} of type {{}}", dtype),
        )
    for column in ("timestamp", "source_line", "load_mw"):
        yield gxe.ExpectColumnValuesToNotBeNull(
            column=column,
            description="Every row has a value.",
            meta=_wording(f"{column}_null", f"no {column}", "a value in every row"),
        )


def _time_expectations(config: IngestionConfig) -> Iterator[gxe.Expectation]:
    yield gxe.ExpectTableRowCountToBeBetween(
        min_value=config.min_rows,
        description=f"There are at least {config.min_rows:,} rows.",
        meta=_wording("too_few_rows", "{} rows", f"at least {config.min_rows}"),
    )
    at_most = f"at most {100 * config.max_missing_share:g}%"
    yield ExpectShareOfMissingHoursToBeAtMost(
        column="timestamp",
        max_share=config.max_missing_share,
        description=f"Of the hours between the first and the last, {at_most} are missing.",
        meta=_wording("too_many_missing", "{} missing", f"{at_most} of them"),
    )
    yield gxe.ExpectColumnValuesToBeUnique(
        column="timestamp",
        description="Every hour stands once.",
        meta=_wording("duplicate_hour", "the hour {} again", "every hour once"),
    )
    yield ExpectColumnValuesToBeOnTheHour(
        column="timestamp",
        description="Every timestamp is a full hour.",
        meta=_wording("off_hour", "the timestamp {}", "a full hour"),
    )
    yield gxe.ExpectColumnValuesToBeIncreasing(
        column="timestamp",
        description="The rows are in the order of time.",
        meta=_wording("time_order", "the hour {} below a later one", "rows in the order of time"),
    )


def _load_expectations(region: str, bounds: Bounds) -> Iterator[gxe.Expectation]:
    allowed = f"{bounds.min_mw} to {bounds.max_mw} MW"
    yield gxe.ExpectColumnValuesToBeBetween(
        column="load_mw",
        min_value=bounds.min_mw,
        max_value=bounds.max_mw,
        description=f"Every load is possible for {region}: {allowed}, both ends included.",
        meta=_wording("load_bounds", "a load of {} MW", f"{allowed} (ingestion.bounds_mw)"),
    )


def _wording(kind: str, found: str, expected: str) -> dict[str, str]:
    return {"kind": kind, "found": found, "expected": expected}


# -- validation ----------------------------------------------------------------------------------


def validate_region(
    frame: pd.DataFrame, *, region: str, file: str, config: IngestionConfig, docs: DataDocs
) -> list[Fault]:
    """Hold one region's frame against its suite, and put the outcome into the Data Docs.

    Args:
        frame: the columns ``COLUMNS``, sorted by ``timestamp``.
        region: names the suite.
        file: the name that faults show.
        config: bounds, fewest rows and largest share of missing hours.
        docs: of this run.

    Returns:
        One fault for each expectation that failed or could not be evaluated, in the file's order;
        empty if all hold. A row's fault names the first of its lines in the file, a fault of the
        table as a whole line 1.

    Raises:
        OSError: the Data Docs can't be written.
    """
    frame = frame.reset_index(drop=True)  # GE names rows by label
    outcome = docs.validate(frame, region_suite(region, config))
    faults = [
        _fault(result, frame, file=file)
        for result in outcome.results
        if not result.success or _exception_of(result) is not None
    ]
    return sorted(faults, key=lambda fault: (fault.line, fault.column))


def _fault(result: ExpectationValidationResult, frame: pd.DataFrame, *, file: str) -> Fault:
    wording = result.expectation_config.meta
    kind, expected = wording["kind"], wording["expected"]
    rows = result.result.get("unexpected_index_list")
    if (message := _exception_of(result)) is not None:
        reason = f"found that {kind} can't be checked ({message}), expected {expected}"
        return Fault(file, 1, 1, kind, reason)
    if not rows:
        found = wording["found"].format(result.result.get("observed_value"))
        return Fault(file, 1, 1, kind, f"found {found}, expected {expected}")
    column = result.expectation_config.kwargs["column"]
    row, line = _first_in_file(frame, rows)
    found = wording["found"].format(frame.loc[row, column])
    reason = f"found {found}, expected {expected}"
    return Fault(file, line, _CELL_COLUMNS.get(column, 1), kind, reason, len(rows))


def _first_in_file(frame: pd.DataFrame, rows: list[int]) -> tuple[int, int]:
    """The row that stands first in the file, and its line; line 1 where rows carry none."""
    if "source_line" not in frame or frame.loc[rows, "source_line"].isna().all():
        return rows[0], 1
    lines = frame.loc[rows, "source_line"]
    row = int(lines.idxmin())
    return row, int(lines[row])


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
    """The Data Docs of one run: a page a region, for people.

    ``folder/gx`` holds suites and results and is made anew by each run, so that nothing piles up;
    ``folder/site`` holds the pages and is replaced by :meth:`build`. The site tells of this run
    only: a region that was not validated has no page.

    Raises:
        OSError: ``folder`` can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._site = folder.resolve() / "site"
        store = folder / "gx"
        if store.exists():
            shutil.rmtree(store)
        store.mkdir(parents=True)
        self._run_id = RunIdentifier(run_time=datetime.now(UTC))
        self._context = gx.get_context(mode="file", project_root_dir=folder)
        variables = self._context.variables
        variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        variables.analytics_enabled = False
        variables.data_docs_sites = {"gridcast": _site_config(self._site)}
        source = self._context.data_sources.add_or_update_pandas("regions")
        asset = source.add_dataframe_asset("hourly_load")  # one for all: each costs 0.2 s
        self._batches = asset.add_batch_definition_whole_dataframe("whole")

    def validate(
        self, frame: pd.DataFrame, suite: gx.ExpectationSuite
    ) -> ExpectationSuiteValidationResult:
        """Evaluate ``suite`` on ``frame`` and keep both suite and result for the site."""
        suite = self._context.suites.add_or_update(suite)
        definition = self._context.validation_definitions.add_or_update(
            gx.ValidationDefinition(name=suite.name, data=self._batches, suite=suite)
        )
        return definition.run(
            batch_parameters={"dataframe": frame},
            # Not unexpected_index_column_names: thirty times slower where many rows fail.
            result_format={"result_format": "COMPLETE"},
            run_id=self._run_id,
        )

    def build(self) -> Path:
        """Write the site and return its ``index.html``; call it once, after the last region."""
        if self._site.exists():
            shutil.rmtree(self._site)
        self._context.build_data_docs()
        return self._site / "index.html"


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
.text-success::before { content: "\\2713"; color: #18794e; font-weight: 700; }
.text-danger::before { content: "\\2717"; color: #c62828; font-weight: 700; }
.text-warning::before { content: "!"; color: #b25e00; font-weight: 700; }
i { font-style: normal; }
.cooltip .top, .collapse, .nav-tabs { display: none; }
.collapse:target { display: block; }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>gridcast: {{ page_title or "Data Docs" }}</title>
<style>{% include "style.css" %}</style></head>
<body>
{%- set up = {"ValidationResultsPageRenderer": "../../../../", "ExpectationSuitePageRenderer": "../"} %}
<nav><a href="{{ up.get(renderer_type, "") }}index.html">All regions</a></nav>
{% for section in sections %}{% set section_loop = loop %}{% include "section.j2" %}{% endfor %}
</body></html>
"""
_TABLE = """<table>
<tr>{% if content_block.table_data and "run_time" in content_block.table_data[0] %}
<th>Status</th><th>Validation of region</th><th>Run</th>{% else %}<th>Suite of region</th>{% endif %}</tr>
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
        self.env.loader = ChoiceLoader([DictLoader(ours), self.env.loader])
