"""The second gate, opened at most once a run: Great Expectations, and the pages that it leaves.

Great Expectations takes 4 s to import: paid only where something is validated.
"""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from gridcast.readings.local_time import RegionLoad
    from tasks.ingest.gate.data_docs import DataDocs
    from tasks.runs.run import Run

_lock = Lock()


def require_expectations(run: Run, load: RegionLoad, *, file: str) -> None:
    """Hold a whole region against its rules.

    Raises:
        RegionRefusedError: with one fault for each expectation that is not met.
    """
    from tasks.ingest.gate.region_expectations import validate_region

    rules, docs = run.config.rules, _docs_of(run)
    validate_region(load.frame, region=load.region, file=file, rules=rules, docs=docs)


def refused_of_added(run: Run, added: Sequence[pd.DataFrame]) -> frozenset[str]:
    """Hold what was added to several regions against their rules at once; the regions that fail."""
    if not added:
        return frozenset()
    from tasks.ingest.gate.added_rows import refused_regions

    return refused_regions(added, _docs_of(run))


def build_docs(run: Run) -> str | None:
    """Rebuild the Data Docs if anything was validated in this process; the path of their page."""
    folder = _folder_of(run)
    if _open_docs.cache_info().currsize:
        _open_docs(folder).build()
        _open_docs.cache_clear()
    page = folder / "site" / "index.html"
    return str(page) if page.is_file() else None


def _folder_of(run: Run) -> Path:
    return run.artifacts / "data-docs"


def _docs_of(run: Run) -> DataDocs:
    with _lock:  # regions are validated side by side, and one context serves all
        return _open_docs(_folder_of(run))


@cache
def _open_docs(folder: Path) -> DataDocs:
    from tasks.ingest.gate.data_docs import DataDocs

    return DataDocs(folder)
