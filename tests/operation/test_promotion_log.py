"""The log of promotions: who was in charge when, whom a champion took over from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridcast.operation.promotion_log import PromotionLog
from tests.builders.promotions import make_promotion

LOG = PromotionLog.of([
    make_promotion(2, "2018-02-01T00:00:00+00:00", "b"),
    make_promotion(1, "2018-01-01T00:00:00+00:00", "a"),
    make_promotion(3, "2018-03-01T00:00:00+00:00", "c"),
    make_promotion(4, "2018-03-02T00:00:00+00:00", "b", kind="rollback"),
])  # fmt: skip


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def digits(time: str) -> str:
    return "".join(each.sha256[0] for each in LOG.succession(at(time)))


def test_who_is_in_charge_is_right_at_a_thousand_random_instants() -> None:
    rng = np.random.default_rng(0)
    begun = np.sort(rng.integers(0, 365 * 24 * 60, 60))
    begun[10] = begun[11]  # two at one minute: the later entry
    first = at("2017-08-01")
    times = [first + pd.Timedelta(minutes=int(each)) for each in begun]
    entries = [
        make_promotion(n + 1, time.isoformat(), "abcdef"[n % 6]) for n, time in enumerate(times)
    ]
    log = PromotionLog.of(rng.permutation(np.array(entries, dtype=object)).tolist())
    instants = [*rng.integers(-1000, 366 * 24 * 60, 940), *begun]
    assert len(instants) == 1000
    for minute in instants:
        expected = None
        for number, own in enumerate(begun):
            if own <= minute:
                expected = entries[number].to
        assert log.champion_at(first + pd.Timedelta(minutes=int(minute))) == expected


def test_what_is_not_yet_does_not_count() -> None:
    assert LOG.champion_at(at("2017-12-31")) is None
    assert digits("2017-12-31") == ""
    assert digits("2018-02-10") == "ba"


def test_a_champion_is_succeeded_by_whom_it_took_over_from() -> None:
    assert digits("2018-03-01") == "cba"


def test_what_a_rollback_undid_is_not_gone_back_to() -> None:
    assert digits("2018-04-01") == "ba"
    again = PromotionLog.of([*LOG.entries, make_promotion(
        5, "2018-05-01T00:00:00+00:00", "a", kind="rollback")])  # fmt: skip
    assert [each.sha256[0] for each in again.succession(at("2018-06-01"))] == ["a"]


def test_a_model_that_comes_back_by_a_promotion_stands_above_whom_it_replaced() -> None:
    back = PromotionLog.of([*LOG.entries[:2], make_promotion(3, "2018-03-01T00:00:00+00:00", "a")])
    assert [each.sha256[0] for each in back.succession(at("2018-06-01"))] == ["a", "b", "a"]
