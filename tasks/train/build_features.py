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
from tasks.runs.storage import keep_newest, publishing, read_json, write_json
from tasks.train.feature_table import read_region, write_features
from tasks.train.records import Features

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tasks.runs.run import Run

_KEPT_TABLES = 4
_log = logging.getLogger("gridcast.features")


@task(name="build-features", cache_policy=NO_CACHE)
def make_features(
    run: Run, regions: Mapping[str, RegionRecord], *, in_use: Collection[str] = ()
) -> Features:
    """Parquet of all regions → features, targets and parts → one Parquet, published by rename.

    The newest few tables stay, and those ``in_use`` (paths).
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
    write_json(path.with_suffix(".json"), features.model_dump(mode="json"))
    kept = {Path(each).stem for each in in_use}
    for kind in ("*.parquet", "*.json"):
        others = (each for each in path.parent.glob(kind) if each.stem not in kept)
        keep_newest(list(others), num=_KEPT_TABLES)
    _leave(run, features)
    return features


def _leave(run: Run, features: Features) -> None:
    run.leave("features", features)
    windows = features.windows
    _log.info(
        "Windows: %d to train, %d to validate, %d to test%s",
        windows.train, windows.validation, windows.test,
        " (features unchanged)" if features.cached else "",
    )  # fmt: skip
