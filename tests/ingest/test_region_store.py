"""Which settings a region is read again for: those that say how it is read and what is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gridcast.config import Config
from tasks.ingest.region_store import _key
from tasks.machine.devices import Devices
from tasks.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import Labels


def key(
    folder: Path, *overrides: str, region: str = "AEP", sha256: str = "0", labels: Labels = "local"
) -> str:
    config = Config.load(overrides=overrides)
    run = Run("", "", folder, None, "base", overrides, config, Devices(("cpu",), 2), fresh=False)
    return _key(run, region, sha256, labels)


@pytest.mark.parametrize(
    "override",
    [
        "ingestion.timezone=UTC",
        "ingestion.label=hour_beginning",
        "rules.default.required.max_mw=99999.0",
        "rules.default.flagged.zero=false",
        "rules.regions.AEP.flagged.spike_ratio=9.0",
    ],
)
def test_a_file_is_read_again_for_another_way_to_read_or_another_rule_of_its_own(
    tmp_path: Path, override: str
) -> None:
    assert key(tmp_path, override) != key(tmp_path)


@pytest.mark.parametrize(
    "override",
    [
        "rules.default.repaired.fill_weeks=3",
        "rules.regions.DAY.flagged.spike_ratio=9.0",
        "training.passes=3",
        "evaluation.season_length=24",
    ],
)
def test_a_file_is_not_read_again_for_what_is_done_with_it_later_or_with_others(
    tmp_path: Path, override: str
) -> None:
    assert key(tmp_path, override) == key(tmp_path)


def test_a_file_is_read_for_each_region_each_content_and_each_kind_of_labels(
    tmp_path: Path,
) -> None:
    keys = {
        key(tmp_path),
        key(tmp_path, region="DAY"),
        key(tmp_path, sha256="1"),
        key(tmp_path, labels="utc"),
    }
    assert len(keys) == 4


def test_labels_in_utc_are_read_alike_whatever_the_zone_of_the_others(tmp_path: Path) -> None:
    other = key(tmp_path, "ingestion.timezone=UTC", labels="utc")
    assert other == key(tmp_path, labels="utc")
