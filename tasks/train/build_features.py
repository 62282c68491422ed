"""From published regions to one table of features, which every training job reads."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.readings.records import RegionRecord
from tasks.runs.cached_state import unchanged
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import file_sha256, has_sha256, key_of
from tasks.runs.lives import living_runs
from tasks.runs.locks import held
from tasks.runs.places import kept
from tasks.runs.storage import publishing, read_json, write_json
from tasks.train.feature_table import read_region, write_features
from tasks.train.records import Features

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tasks.runs.run import Run

_KEPT_TABLES = 4
_TABLES, _IN_USE = "features-tables", "features_in_use"
_log = logging.getLogger("gridcast.features")


@task(name="build-features", cache_policy=NO_CACHE)
def make_features(
    run: Run, regions: Mapping[str, RegionRecord], *, in_use: Collection[str] = ()
) -> Features:
    """Parquet of all regions → features, targets and parts → one Parquet, published by rename.

    The newest few tables stay, and those ``in_use`` (paths) here or in other runs that live.
    """
    contents = {name: region.content_sha256 for name, region in sorted(regions.items())}
    rules = run.config.rules
    parts = {
        "regions": contents,
        "tables": {name: regions[name].table_sha256 for name in contents},  # flags are in them too
        "config": run.config.keyed("ingestion", "features", "scaling", "split", "windows"),
        "rules": {name: rules.of(name).keyed("flagged", "repaired") for name in contents},
        "code": code_sha256("tasks.train.feature_table"),
        "holidays": version("holidays"),
    }
    key = key_of(**parts)
    path = run.artifacts / "features" / f"{key[:16]}.parquet"
    with held(run.artifacts, _TABLES):  # from now on nobody deletes it
        run.leave(_IN_USE, {"tables": sorted({path.stem, *(Path(each).stem for each in in_use)})})
    with held(run.artifacts, f"features-{path.stem}"):
        known = read_json(path.with_suffix(".json"))
        if known is not None and not run.fresh and has_sha256(path, known["file_sha256"]):
            features = Features.model_validate(known | {"path": str(path), "cached": True})
            _leave(run, features)
            return unchanged(features)
        with publishing(path) as temporary:
            built = write_features(
                temporary, sorted(regions), lambda name: read_region(regions[name]), run.config
            )
        features = Features(
            path=str(path), file_sha256=file_sha256(path), key=key, parts=parts, **built._asdict()
        )
        features = _keep(run, features)
    _leave(run, features)
    return features


def _keep(run: Run, features: Features) -> Features:
    """Write the table's record, numbered as the newest, and delete the oldest tables."""
    path = Path(features.path)
    with held(run.artifacts, _TABLES):
        numbers = {each.stem: _number_of(each) for each in path.parent.glob("*.parquet")}
        features = features.model_copy(update={"sequence": 1 + max(numbers.values())})
        content = kept(features.model_dump(mode="json"), run.artifacts)
        write_json(path.with_suffix(".json"), content)
        spared = _in_use(run)
        oldest_first = sorted(numbers.keys() - spared, key=lambda stem: numbers[stem])
        for stem in oldest_first[: max(0, len(oldest_first) - _KEPT_TABLES + 1)]:
            for kind in (".json", ".parquet"):
                path.with_name(stem + kind).unlink(missing_ok=True)
    return features


def _number_of(table: Path) -> int:
    """Of a table without a record, 0: whoever wrote it was killed before it could be used."""
    number = (read_json(table.with_suffix(".json")) or {}).get("sequence", 0)
    return number if isinstance(number, int) else 0


def _in_use(run: Run) -> set[str]:
    """The tables that this run reads, and those of all other runs that live."""
    folders = {run.folder, *living_runs(run.artifacts / "runs")}
    told = (read_json(folder / f"{_IN_USE}.json") for folder in folders)
    return {stem for each in told if each for stem in each["tables"]}


def _leave(run: Run, features: Features) -> None:
    run.leave("features", features)
    windows = features.windows
    _log.info(
        "Windows: %d to train, %d to validate, %d to test%s",
        windows.train, windows.validation, windows.test,
        " (features unchanged)" if features.cached else "",
    )  # fmt: skip
