"""Find the regional CSVs of a folder, or make a synthetic set where there is none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import UsageError
from gridcast.parsing import region_of
from gridcast.synthetic import csv_bytes, synthesize
from tasks.records import SourceFile, Sources
from tasks.storage import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from gridcast.config import SyntheticConfig
    from gridcast.summary import DataKind
    from tasks.runs import Run

DEFAULT_FOLDER = Path("data")
KAGGLE_DATASET = "robikscube/hourly-energy-consumption"
_MARKER = "synthetic.json"
_log = logging.getLogger("gridcast.sources")


@task(name="find-sources", cache_policy=NO_CACHE)
def find_sources(run: Run) -> Sources:
    """The run's regional CSVs: those of its folder, else of ``data/``, else a synthetic set.

    Raises:
        UsageError: the folder is none, has no regional CSV, or one that leads out of the folder.
    """
    if run.data is not None:
        sources = list_sources(run.data)
    elif DEFAULT_FOLDER.is_dir() and any(map(region_of, _names(DEFAULT_FOLDER))):
        sources = list_sources(DEFAULT_FOLDER.absolute())
    else:
        folder = run.artifacts / "csv" / "synthetic"
        write_synthetic(folder, run.config.synthetic)
        sources = list_sources(folder)
    for name, reason in sources.skipped.items():
        _log.info("Skipped %s: %s", name, reason)
    if sources.kind == "synthetic":
        _log.warning(
            "The data are SYNTHETIC (%s): good for a look at gridcast, no statement about a real "
            "load. Real data: download the Kaggle data set %s, unpack it, and name its folder with "
            "--data (or put its files in data/).",
            sources.folder,
            KAGGLE_DATASET,
        )
    _log.info("Found %d regions in %s", len(sources.files), sources.folder)
    return sources


def list_sources(folder: Path) -> Sources:
    """The regional CSVs of ``folder``, by name alone.

    Raises:
        UsageError: as :func:`find_sources`.
    """
    wanted = "a folder with files named <REGION>_hourly.csv"
    if not folder.exists():
        raise UsageError(folder, found="nothing of that name", expected=wanted)
    if not folder.is_dir():
        raise UsageError(folder, found="a file", expected=wanted)
    files, skipped = [], {}
    for name in _names(folder):
        region = region_of(name)
        path = folder / name
        if region is None or not path.is_file():
            skipped[name] = _why_skipped(path)
        elif not path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(path, found=f"a link to {path.resolve()}", expected="a file in it")
        else:
            files.append(SourceFile(region=region, path=path))
    if not files:
        listed = ", ".join(skipped) or "no files"
        raise UsageError(folder, found=f"no regional CSV ({listed})", expected=wanted)
    kind: DataKind = "synthetic" if (folder / _MARKER).is_file() else "real"
    skipped.pop(_MARKER, None)
    return Sources(folder=folder, kind=kind, files=tuple(files), skipped=skipped)


def write_synthetic(folder: Path, config: SyntheticConfig) -> None:
    """Write the synthetic set to ``folder``, unless it is there already.

    Raises:
        UsageError: the folder holds regional CSVs that are not a synthetic set.
    """
    marker = {"made_by": "gridcast synthesize", **config.model_dump()}
    if read_json(folder / _MARKER) == marker:
        return
    if folder.is_dir() and not (folder / _MARKER).is_file() and any(map(region_of, _names(folder))):
        raise UsageError(
            folder, found="regional CSVs that gridcast did not make", expected="an empty folder"
        )
    for region, frame in synthesize(num_hours=config.num_hours, seed=config.seed).items():
        write_bytes(folder / f"{region}_hourly.csv", csv_bytes(frame))
    write_json(folder / _MARKER, marker)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _why_skipped(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.suffix.lower() != ".csv":
        return "no CSV"
    return "not named <REGION>_hourly.csv"
