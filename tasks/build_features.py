"""From published regions to one table of features, which every training job reads."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.features import build_features
from gridcast.splits import TEST, VALIDATION
from gridcast.summary import RegionRecord, WindowsRecord
from gridcast.windows import scored_origins, steps_of, train_starts
from tasks.records import Features
from tasks.states import unchanged
from tasks.storage import (
    code_sha256,
    file_sha256,
    has_sha256,
    keep_newest,
    key_of,
    publishing,
    read_json,
    require_sha256,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gridcast.config import Config
    from gridcast.features import FeatureTable
    from tasks.runs import Run

_CODE = ("features", "quality", "scaling", "series", "splits", "windows")
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
    code = code_sha256(*(f"gridcast.{module}" for module in _CODE), "tasks.build_features")
    parts = {"regions": contents, "config": config, "rules": rules, "code": code}
    key = key_of(**parts)
    path = run.artifacts / "features" / f"{key[:16]}.parquet"
    known = read_json(path.with_suffix(".json"))
    if known is not None and not run.fresh and has_sha256(path, known["file_sha256"]):
        features = Features.model_validate(known | {"path": str(path), "cached": True})
        _leave(run, features)
        return unchanged(features)
    table = build_features({name: _read(region) for name, region in regions.items()}, run.config)
    windows = _count_windows(table, run.config)
    features = _publish(path, table, key=key, parts=parts, windows=windows)
    kept = {Path(each).stem for each in in_use}
    for kind in ("*.parquet", "*.json"):
        others = (each for each in path.parent.glob(kind) if each.stem not in kept)
        keep_newest(list(others), num=_KEPT_TABLES)
    _leave(run, features)
    return features


def _read(region: RegionRecord) -> pd.DataFrame:
    require_sha256(Path(region.path), region.file_sha256)
    return pd.read_parquet(region.path)


def _publish(
    path: Path, table: FeatureTable, *, key: str, parts: dict[str, Any], windows: WindowsRecord
) -> Features:
    with publishing(path) as temporary:
        arrow = pa.Table.from_pandas(table.frame, preserve_index=False)
        pq.write_table(arrow, temporary, compression="zstd")
    features = Features(
        path=str(path),
        file_sha256=file_sha256(path),
        key=key,
        scales={name: (scale.offset_mw, scale.scale_mw) for name, scale in table.scales.items()},
        feature_names=table.feature_names,
        windows=windows,
        imputed_hours=_count_imputed(table),
        parts=parts,
    )
    write_json(path.with_suffix(".json"), features.model_dump(mode="json"))
    return features


def _count_windows(table: FeatureTable, config: Config) -> WindowsRecord:
    frame, steps = table.frame, steps_of(table.frame)
    num_test = len(scored_origins(steps, TEST, config.windows))
    return WindowsRecord(
        train=len(train_starts(steps, config.windows)),
        validation=len(scored_origins(steps, VALIDATION, config.windows)),
        test=num_test,
        unscored_test=int((frame["part"] == TEST).sum()) - num_test,
    )


def _count_imputed(table: FeatureTable) -> dict[str, int]:
    counts = table.frame.groupby("region", observed=True)["is_imputed"].sum()
    return {str(region): int(num) for region, num in counts.items()}


def _leave(run: Run, features: Features) -> None:
    run.leave("features", features)
    windows = features.windows
    _log.info(
        "Windows: %d to train, %d to validate, %d to test%s",
        windows.train, windows.validation, windows.test,
        " (features unchanged)" if features.cached else "",
    )  # fmt: skip
