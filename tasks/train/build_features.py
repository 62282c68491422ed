"""From published regions to one table of features, which every training job reads."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.covariates.inputs import note_on
from gridcast.errors import IntegrityError, RecordError, StoreError
from gridcast.features.table import sees_issued
from gridcast.features.windows import FeaturesMade
from gridcast.readings.records import RegionRecord
from gridcast.record import StoredRecord
from tasks.covariates.stored_covariates import hashes_of, read_stored
from tasks.runs.cached_state import unchanged
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import file_sha256, has_sha256, key_of
from tasks.runs.lives import living_runs
from tasks.runs.locks import held
from tasks.runs.record_files import cached_record, write_record
from tasks.runs.storage import publishing
from tasks.store.kept_sets import bring, working_copy
from tasks.train.feature_table import Built, read_region, write_features
from tasks.train.records import Features

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tasks.runs.run import Run

_KEPT_TABLES = 4
_TABLES, _IN_USE = "features-tables", "features_in_use.json"
_log = logging.getLogger("gridcast.features")


class TablesInUse(StoredRecord):
    """The tables that a run reads now, which nobody may delete; written anew with each trial."""

    tables: tuple[str, ...]


@task(name="build-features", cache_policy=NO_CACHE)
def make_features(
    run: Run,
    regions: Mapping[str, RegionRecord],
    *,
    in_use: Collection[str] = (),
    of_trial: bool = False,
) -> Features:
    """Parquet of all regions → features, targets and parts → one Parquet, published by rename.

    The newest few tables stay, and those ``in_use`` (paths) here or in other runs that live. One
    ``of_trial`` is not the run's.
    """
    contents = {name: region.content_sha256 for name, region in sorted(regions.items())}
    rules = run.config.rules
    parts = {
        "regions": contents,
        "tables": {name: regions[name].table_sha256 for name in contents},  # flags are in them too
        "covariates": hashes_of(regions),
        "config": run.config.keyed(
            "ingestion", "covariates", "features", "scaling", "split", "windows"
        ),
        # of a head by lead the table has what had been issued of each lead
        "head": run.config.model.keyed("head") if sees_issued(run.config) else {},
        "rules": {name: rules.of(name).keyed("flagged", "repaired") for name in contents},
        "code": code_sha256("tasks.train.feature_table"),
        "holidays": version("holidays"),
    }
    key = key_of(**parts)
    path = run.artifacts / "features" / f"{key[:16]}.parquet"
    with held(run.artifacts, _TABLES):  # from now on nobody deletes it
        stems = {path.stem, *(Path(each).stem for each in in_use)}
        write_record(run.folder / _IN_USE, TablesInUse(tables=tuple(sorted(stems))))
    with held(run.artifacts, f"features-{path.stem}"):
        if not run.fresh:
            _fetch(run, path)
        known = None if run.fresh else cached_record(path.with_suffix(".json"), Features)
        if known is not None and has_sha256(path, known.file_sha256):
            update = {"path": str(path), "key": key, "parts": parts, "cached": True}
            features = known.model_copy(update=update)
            _leave(run, features, of_trial=of_trial)
            return unchanged(features)
        with publishing(path) as temporary:
            built = _build(temporary, regions, run)
        features = Features(
            path=str(path), file_sha256=file_sha256(path), key=key, parts=parts, **built._asdict()
        )
        features = _keep(run, features)
    _leave(run, features, of_trial=of_trial)
    return features


def _build(path: Path, regions: Mapping[str, RegionRecord], run: Run) -> Built:
    return write_features(
        path, sorted(regions), lambda name: read_region(regions[name]), run.config,
        read_covariates=lambda name: read_stored(regions[name]),
    )  # fmt: skip


def _fetch(run: Run, path: Path) -> None:
    """A table that is not here, where another machine has made it; a fault costs its making."""
    copy = working_copy(run.artifacts, run.config.run.store)
    if copy is None or path.is_file():
        return
    try:
        bring(copy, f"features/{path.stem}")
    except (StoreError, IntegrityError, RecordError) as error:
        _log.warning("%s; it is made here", error)


def _keep(run: Run, features: Features) -> Features:
    """Write the table's record, numbered as the newest, and delete the oldest tables."""
    path = Path(features.path)
    with held(run.artifacts, _TABLES):
        numbers = {each.stem: _number_of(each) for each in path.parent.glob("*.parquet")}
        features = features.model_copy(update={"sequence": 1 + max(numbers.values())})
        write_record(path.with_suffix(".json"), features, artifacts=run.artifacts)
        spared = _in_use(run)
        oldest_first = sorted(numbers.keys() - spared, key=lambda stem: numbers[stem])
        for stem in oldest_first[: max(0, len(oldest_first) - _KEPT_TABLES + 1)]:
            for kind in (".json", ".parquet"):
                path.with_name(stem + kind).unlink(missing_ok=True)
    return features


def _number_of(table: Path) -> int:
    """Of a table without a record, 0: whoever wrote it was killed before it could be used."""
    known = cached_record(table.with_suffix(".json"), Features, is_reported=False)
    return known.sequence if known else 0


def _in_use(run: Run) -> set[str]:
    """The tables that this run reads, and those of all other runs that live."""
    folders = {run.folder, *living_runs(run.artifacts / "runs")}
    records = (cached_record(folder / _IN_USE, TablesInUse) for folder in folders)
    return {stem for each in records if each for stem in each.tables}


def _leave(run: Run, features: Features, *, of_trial: bool) -> None:
    windows = features.windows
    if note := note_on(run.config.covariates):
        _log.warning("%s", note)
    if not of_trial:
        made = FeaturesMade(
            path=features.path, key=features.key, windows=windows,
            imputed_hours=features.imputed_hours, cached=features.cached,
        )  # fmt: skip
        run.leave(made)
    _log.info(
        "Windows: %d to train, %d to validate, %d to test%s",
        windows.train, windows.validation, windows.test,
        " (features unchanged)" if features.cached else "",
    )  # fmt: skip
