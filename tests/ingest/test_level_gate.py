"""A file in two units, or of a register, is set aside at its line; days off a level are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import RegionRefusedError
from tasks.ingest.reading import read_whole
from tasks.ingest.region_store import Source, level_in_words
from tasks.machine.devices import Devices
from tasks.runs.keys import sha256_of
from tasks.runs.run import Run
from tests.builders.values import make_load

if TYPE_CHECKING:
    from pathlib import Path

NUM = 100 * 24
LOAD = np.asarray(make_load(NUM), dtype=float)
LABELS = pd.date_range("2021-04-01 01:00", periods=NUM, freq="h")  # no clock changes in it


def read(folder: Path, load: np.ndarray) -> None:
    run = Run("", "", folder, None, "base", (), Config.load(), Devices(("cpu",), 2), fresh=False)
    table = pd.DataFrame({"Datetime": LABELS, "AEP_MW": load.round(3)})
    content = table.to_csv(index=False).encode()
    source = Source(content, sha256_of(content))
    read_whole(run, source, region="AEP", file="AEP_hourly.csv", labels="local")


@pytest.mark.parametrize(
    ("load", "line", "rule", "advice"),
    [
        pytest.param(
            np.where(np.arange(NUM) < 1300, LOAD, LOAD / 1000), 1302, "max_level_factor",
            "expected one unit", id="from_kw_to_mw",
        ),
        pytest.param(
            np.where(np.arange(NUM) < 900, LOAD, LOAD * 1000), 902, "max_level_factor",
            "expected one unit", id="from_mw_to_kw",
        ),
        pytest.param(
            np.cumsum(LOAD) / 1000, 2, "may_only_grow", "take the differences", id="a_register",
        ),
    ],
)  # fmt: skip
def test_what_is_not_one_load_in_one_unit_is_refused_at_its_line_with_what_to_do(
    tmp_path: Path, load: np.ndarray, line: int, rule: str, advice: str
) -> None:
    with pytest.raises(RegionRefusedError) as refused:
        read(tmp_path, load)
    (fault,) = refused.value.faults
    assert (fault.file, fault.line, fault.kind) == ("AEP_hourly.csv", line, rule)
    assert advice in fault.reason
    assert f"(rules.default.required.{rule})" in fault.reason
    assert f"'{LABELS[line - 2]}'" in fault.reason


def test_a_halved_day_is_told_with_its_hour_line_and_rule() -> None:
    rules = Config.load().rules.default
    load = LOAD.copy()
    load[1200:1224] /= 2
    load[1250:1270] *= 3
    lines = np.arange(2, NUM + 2)
    frame = pd.DataFrame({"local_label": LABELS, "source_line": lines, "load_mw": load})
    told = level_in_words(frame, rules)
    assert f"from '{LABELS[1200]}' (line 1202) for 24 hours, 0.52 times" in told
    assert f"from '{LABELS[1250]}' (line 1252) for 20 hours, 3.0" in told
    assert "flagged.level_ratio" in told
    assert level_in_words(frame.assign(load_mw=LOAD), rules) == ""
    net = Config.load(overrides=("rules.default.required.min_mw=-1",)).rules.default
    assert level_in_words(frame, net) == ""
