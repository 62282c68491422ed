"""From published regions to one table of features, which every training job reads."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.readings.records import RegionRecord
from tasks.runs.cached_state import unchanged
from tasks.runs.keys import code_sha256, file_sha256, has_sha256, key_of, require_sha256
from tasks.runs.storage import keep_newest, publishing, read_json, write_json
from tasks.train.feature_table import write_features
from tasks.train.records import Features

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tasks.runs.run import Run

_CODE = (
    "features.columns",
    "features.holiday_dates",
    "features.scaling",
    "features.series",
    "features.splits",
    "features.table",
    "features.windows",
    "readings.quality",
)
_CONFIG: Any = {
    "ingestion": {"timezone"}, "features": True, "scaling": True, "split": True, "windows": True,
}  # fmt: skip
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
    config = run.config.model_dump(mode="json", include=_CONFIG)
    rules = {
        name: run.config.rules.of(name).model_dump(mode="json", include={"flagged", "repaired"})
        for name in contents
    }
    code = code_sha256(*(f"gridcast.{module}" for module in _CODE), "tasks.train.feature_table")
    parts = {
        "regions": contents, "config": config, "rules": rules, "code": code,
        "holidays": version("holidays"),
    }  # fmt: skip
    key = key_of(**parts)
    path = run.artifacts / "features" / f"{key[:16]}.parquet"
    known = read_json(path.with_suffix(".json"))
    if known is not None and not run.fresh and has_sha256(path, known["file_sha256"]):
        features = Features.model_validate(known | {"path": str(path), "cached": True})
        _leave(run, features)
        return unchanged(features)
    with publishing(path) as temporary:
        built = write_features(
            temporary, sorted(regions), lambda name: _read(regions[name]), run.config
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


def _read(region: RegionRecord) -> pd.DataFrame:
    require_sha256(Path(region.path), region.file_sha256)
    return pd.read_parquet(region.path)


def _leave(run: Run, features: Features) -> None:
    run.leave("features", features)
    windows = features.windows
    _log.info(
        "Windows: %d to train, %d to validate, %d to test%s",
        windows.train, windows.validation, windows.test,
        " (features unchanged)" if features.cached else "",
    )  # fmt: skip
