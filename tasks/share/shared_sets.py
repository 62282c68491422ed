"""Which files of a folder of artifacts make up each set that machines share, the last one last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridcast.audit.lineage import Lineage
from gridcast.readings.records import Snapshot
from gridcast.serving.model_card import CARD
from tasks.ingest.region_tables import KEYS, NEWEST, known_region
from tasks.ingest.snapshots import manifest_path, read_pointer, report_path
from tasks.promote.promotion_files import FOLDER as CHAMPIONS
from tasks.runs.lives import SUMMARY
from tasks.runs.record_files import read_record
from tasks.runs.storage import SEAL, read_seal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DATA, SNAPSHOTS, RUNS, MODELS, JOBS, FEATURES = (
    "data", "snapshots", "runs", "models", "jobs", "features",
)  # fmt: skip
FORECASTS, MONITORING = "forecasts", "monitoring"
PUBLISHED = (DATA, CHAMPIONS, FORECASTS, MONITORING)
KEPT = (SNAPSHOTS, RUNS, MODELS, JOBS, FEATURES)
_DAYS = "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9].parquet"


# -- data ------------------------------------------------------------------------------------------


def snapshot_ids(artifacts: Path, dataset: str) -> list[str]:
    """The snapshots that the data set's pointer leads to and that are here, the newest first.

    Raises:
        RecordError: the pointer is damaged.
    """
    pointer = read_pointer(artifacts / DATA, dataset)
    if pointer is None:
        return []
    named = (pointer.snapshot, *(each.snapshot for each in pointer.ingestions.values()),
             pointer.previous or "")  # fmt: skip
    return [
        name for name in dict.fromkeys(named)
        if name and manifest_path(artifacts / DATA, name).is_file()
    ]  # fmt: skip


def snapshot_files(artifacts: Path, name: str) -> list[Path]:
    """Tables, report of changes and manifest of one snapshot.

    Raises:
        RecordError: the manifest is damaged.
    """
    store = artifacts / DATA
    regions = read_record(manifest_path(store, name), Snapshot).regions.values()
    tables = sorted({store / path for each in regions for path in each.files})
    return [*_there([*tables, report_path(store, name)]), manifest_path(store, name)]


def data_set_files(artifacts: Path, dataset: str) -> list[Path]:
    """Its snapshots, what need not be read again of their regions, and its pointer.

    Raises:
        RecordError: the pointer or a manifest is damaged.
    """
    store = artifacts / DATA
    names = snapshot_ids(artifacts, dataset)
    files = [path for name in names for path in snapshot_files(artifacts, name)]
    tables = {path.relative_to(store).as_posix() for path in files}
    remembered = [
        path
        for folder in (KEYS, NEWEST)
        for path in sorted((store / folder).glob("*.json"))
        if (known := known_region(path)) is not None and known.region.path in tables
    ]
    return [*dict.fromkeys([*files, *remembered]), store / f"{dataset}.json"]


# -- runs ------------------------------------------------------------------------------------------


def run_files(folder: Path) -> list[Path]:
    """What a run sealed, and its summary last: with it the run has ended."""
    sealed = read_seal(folder) or {}
    others = [folder / name for name in sorted(sealed) if name != SUMMARY]
    return [*_there([*others, folder / SEAL]), folder / SUMMARY]


def lineage_of(folder: Path) -> Lineage | None:
    """What a run was made of; None of one that trained nothing.

    Raises:
        RecordError: it is damaged.
    """
    return read_record(folder / "lineage.json", Lineage, may_lack=True)


def model_folders(lineage: Lineage) -> list[str]:
    """The names of the folders of a run's models."""
    return _folders_in(lineage, MODELS)


def job_folders(lineage: Lineage) -> list[str]:
    """The names of the folders of a run's jobs."""
    return _folders_in(lineage, JOBS)


def feature_tables(lineage: Lineage) -> list[str]:
    """The names of a run's tables of features."""
    named = _paths_in(lineage, FEATURES)
    return list(dict.fromkeys(path[1].partition(".")[0] for path in named))


def model_files(artifacts: Path, name: str) -> list[Path]:
    """The files of a model, its card last; none of one that is gone."""
    folder = artifacts / MODELS / name
    others = sorted(path for path in folder.glob("*") if path.name != CARD and path.is_file())
    return [*others, folder / CARD] if (folder / CARD).is_file() else []


def feature_files(artifacts: Path, name: str) -> list[Path]:
    """A table of features and its record; none of one that is gone."""
    files = [artifacts / FEATURES / f"{name}{kind}" for kind in (".parquet", ".json")]
    return files if len(_there(files)) == len(files) else []


def _folders_in(lineage: Lineage, top: str) -> list[str]:
    return list(dict.fromkeys(path[1] for path in _paths_in(lineage, top)))


def _paths_in(lineage: Lineage, top: str) -> Iterator[list[str]]:
    paths = (path.split("/") for link in lineage.links for path in link.files)
    return (path for path in paths if path[0] == top and len(path) > 1)


# -- operation -------------------------------------------------------------------------------------


def forecast_files(artifacts: Path, dataset: str) -> list[Path]:
    """The days of a data set's forecasts."""
    return sorted((artifacts / FORECASTS / dataset).glob(_DAYS))


def monitoring_files(artifacts: Path, dataset: str) -> list[Path]:
    """What monitoring left of a data set, its record last."""
    folder = artifacts / MONITORING / dataset
    last = folder / "monitoring.json"
    others = [path for path in sorted(folder.glob("*")) if path.is_file() and path != last]
    return [*(path for path in others if not path.name.startswith(".")), *_there([last])]


def data_sets_in(folder: Path) -> list[str]:
    """The data sets that have a folder there."""
    hidden = (".", "bands")
    return sorted(p.name for p in folder.glob("*") if p.is_dir() and not p.name.startswith(hidden))


def _there(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]
