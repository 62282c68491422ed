"""What an instant of the world stands for in a rehearsal, and in operation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from gridcast.config import ClockConfig, Config
from gridcast.errors import ConfigError
from gridcast.operation.clock import asked_instant, instant_of

BEGUN_AT, STANDS_FOR = datetime(2026, 11, 28, 20, tzinfo=UTC), datetime(2018, 7, 1, tzinfo=UTC)
CLOCK = ClockConfig(begun_at=BEGUN_AT, stands_for=STANDS_FOR, hour_seconds=9.0)


@pytest.mark.parametrize("hours", [-3, 0, 1, 7.5, 168])
def test_an_hour_of_a_rehearsal_lasts_the_seconds_that_it_is_to_last(hours: float) -> None:
    found = instant_of(BEGUN_AT + timedelta(seconds=9 * hours), CLOCK)
    assert found == pd.Timestamp(STANDS_FOR + timedelta(hours=hours))


def test_a_flow_is_about_what_its_begin_stands_for_unless_it_is_asked_about_an_instant() -> None:
    begins = BEGUN_AT + timedelta(seconds=18)
    assert asked_instant(None, begins, CLOCK) == pd.Timestamp("2018-07-01T02:00Z")
    assert asked_instant(None, begins, None) == pd.Timestamp(begins)
    for as_of in ("2018-07-03T05:00", "2018-07-03T07:00+02:00"):
        assert asked_instant(as_of, begins, CLOCK) == pd.Timestamp("2018-07-03T05:00Z")


def test_a_clock_is_a_setting_and_one_without_a_zone_is_refused() -> None:
    assert Config.load().operation.clock is None
    told = 'operation.clock={begun_at: "%s", stands_for: "2018-07-01T00:00Z", hour_seconds: 9.0}'
    config = Config.load(overrides=(told % "2026-11-28T20:00Z",))
    assert config.operation.clock == CLOCK
    assert Config.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ConfigError, match="begun_at"):
        Config.load(overrides=(told % "2026-11-28T20:00",))
