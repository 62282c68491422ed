"""The second gate: Great Expectations, and the pages that it leaves.

Great Expectations takes 4 s to import and half a second to open: paid only where something is
validated, and once a process. That is all that stays open here: whether there are pages to build is
told by a file, whichever process or machine has validated.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from gridcast.readings.local_time import RegionLoad
    from tasks.ingest.gate.data_docs import DataDocs
    from tasks.runs.run import Run

_VALIDATED = "validated"  # since the pages were built
_lock = Lock()


def require_expectations(run: Run, load: RegionLoad, *, file: str) -> None:
    """Hold a whole region against its rules.

    Raises:
        RegionRefusedError: with one fault for each expectation that is not met.
    """
    from tasks.ingest.gate.region_expectations import validate_region

    with _docs_of(run) as docs:
        validate_region(
            load.frame, region=load.region, file=file, rules=run.config.rules, docs=docs
        )


def refused_of_added(run: Run, added: Sequence[pd.DataFrame]) -> frozenset[str]:
    """Hold what was added to several regions against their rules at once; the regions that fail."""
    if not added:
        return frozenset()
    from tasks.ingest.gate.added_rows import refused_regions

    with _docs_of(run) as docs:
        return refused_regions(added, docs)


def build_docs(run: Run) -> str | None:
    """Rebuild the Data Docs if anything was validated since; the path of their page."""
    folder = _folder_of(run)
    if (folder / _VALIDATED).exists():
        (folder / _VALIDATED).unlink()
        _open_docs(folder).build()
        _open_docs.cache_clear()  # the next run begins with what is on the disk
    page = folder / "site" / "index.html"
    return str(page) if page.is_file() else None


def _folder_of(run: Run) -> Path:
    return run.artifacts / "data-docs"


@contextmanager
def _docs_of(run: Run) -> Iterator[DataDocs]:
    folder = _folder_of(run)
    with _lock:  # regions are validated side by side, and one context serves all
        docs = _open_docs(folder)
    try:
        yield docs
    finally:
        (folder / _VALIDATED).touch()


@cache
def _open_docs(folder: Path) -> DataDocs:
    from tasks.ingest.gate.data_docs import DataDocs

    return DataDocs(folder)
