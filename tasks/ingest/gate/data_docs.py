"""The Data Docs of Great Expectations: suites and results kept, and pages made of them.

Importing this takes 3 to 6 seconds, as ``tasks.ingest.gate.region_expectations`` does.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import great_expectations as gx
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.render.view.view import DefaultJinjaPageView
from great_expectations.validator.v1_validator import Validator
from jinja2 import BaseLoader, ChoiceLoader, DictLoader

from tasks.ingest.gate.ge_private import configurations_kept
from tasks.runs.import_closure import code_sha256
from tasks.runs.locks import held

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pandas as pd
    from great_expectations.core import ExpectationSuiteValidationResult

_GATE = "tasks.ingest.gate.validation"  # by whose code suites and results were written


class DataDocs:
    """The Data Docs, for people: a page a region with its last validation, of whichever run.

    ``folder/gx`` holds each region's suite and last result, so that a region that is not validated
    again keeps its page and nothing piles up; ``folder/site`` holds the pages. One object a run;
    runs that validate at the same time share the folder, and take turns to write there.

    Raises:
        OSError: ``folder`` can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._site = folder.resolve() / "site"
        self._store = folder / "gx"
        with self._alone():
            _make_sound(self._store)
            self._context = gx.get_context(mode="file", project_root_dir=folder)
            self._configure()
        self._lock = Lock()  # one asset holds one frame at a time
        self._run_id = RunIdentifier(run_time=datetime.now(UTC))

    def _configure(self) -> None:
        variables = self._context.variables
        variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        variables.analytics_enabled = False
        variables.data_docs_sites = {"gridcast": _site_config(self._site)}
        source = self._context.data_sources.add_or_update_pandas("regions")
        asset = source.add_dataframe_asset("hourly_load")  # one for all: each costs 0.2 s
        self._batches = asset.add_batch_definition_whole_dataframe("whole")

    def _alone(self) -> AbstractContextManager[None]:
        """What is on the disk belongs to one process at a time."""
        return held(self._folder.parent, self._folder.name)

    def validate(
        self, frame: pd.DataFrame, suite: gx.ExpectationSuite
    ) -> ExpectationSuiteValidationResult:
        """Evaluate ``suite`` on ``frame``; suite and result replace the last ones.

        Not by a ValidationDefinition: reading back what it has just written takes GE as long as the
        evaluation. Which rows fail is only asked where one does, for the same reason.
        """
        with self._lock:
            with self._alone():
                (self._store / "expectations" / f"{suite.name}.json").unlink(missing_ok=True)
                suite = self._context.suites.add(suite)
            result = self._evaluate(frame, suite, result_format="BASIC")
            if not result.success:
                # Not unexpected_index_column_names: thirty times slower where many rows fail.
                result = self._evaluate(frame, suite, result_format="COMPLETE")
            with self._alone():
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
        with configurations_kept():
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
        with self._alone():
            _remove(self._site)
            self._context.build_data_docs()
        return self._site / "index.html"


def _make_sound(store: Path) -> None:
    """Leave suites and results that this code wrote, and wrote to the end; the rest is remade."""
    made_by = store / "made_by.txt"
    version = f"{gx.__version__} {code_sha256(_GATE)}\n".encode()
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
    except (ValueError, RecursionError):
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
