"""The log of promotions on disk: written once, one winner of two, refusals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pandas as pd
import pytest

from gridcast.errors import LockHeldError, UsageError
from gridcast.operation.decision import Decision
from gridcast.operation.promotion_log import Promotion, PromotionLog
from tasks.promote.promotion_files import keep_decision, last_judged, promote, read_log
from tests.builders.promotions import make_reference

EARLY, LATE = (pd.Timestamp(f"2018-0{month}-01", tz="UTC") for month in (1, 2))
ONE, OTHER = make_reference(digit="a"), make_reference(digit="b")


def put_in_charge(folder: Path, name: str, *, read: PromotionLog, since: pd.Timestamp) -> Promotion:
    return promote(folder, "pjm", make_reference(digit=name), read=read, since=since, reason="so")


def test_an_entry_says_who_took_over_from_whom_and_is_read_back(tmp_path: Path) -> None:
    first = put_in_charge(tmp_path, "a", read=PromotionLog(), since=EARLY)
    second = put_in_charge(tmp_path, "b", read=read_log(tmp_path, "pjm"), since=LATE)
    assert [first.number, second.number] == [1, 2]
    assert (first.left, first.to, second.left, second.to) == (None, ONE, ONE, OTHER)
    log = read_log(tmp_path, "pjm")
    assert log.entries == (first, second)
    assert log.champion_at(EARLY) == ONE
    assert read_log(tmp_path, "another") == PromotionLog()


def test_of_two_that_decided_on_the_same_log_one_wins_and_the_other_has_status_75(
    tmp_path: Path,
) -> None:
    put_in_charge(tmp_path, "a", read=PromotionLog(), since=EARLY)
    read, together = read_log(tmp_path, "pjm"), Barrier(2)

    def one(name: str) -> Promotion | LockHeldError:
        together.wait()
        try:
            return put_in_charge(tmp_path, name, read=read, since=LATE)
        except LockHeldError as error:
            return error

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(one, "bc"))
    (won,) = (each for each in outcomes if isinstance(each, Promotion))
    (lost,) = (each for each in outcomes if isinstance(each, LockHeldError))
    assert lost.exit_code == 75
    assert f"found promotion 2 of {won.to.short}" in str(lost)
    assert read_log(tmp_path, "pjm").newest == won


def test_nobody_takes_over_before_the_last_one_did(tmp_path: Path) -> None:
    put_in_charge(tmp_path, "a", read=PromotionLog(), since=LATE)
    with pytest.raises(UsageError, match="expected 2018-02-01T00:00:00"):
        put_in_charge(tmp_path, "b", read=read_log(tmp_path, "pjm"), since=EARLY)
    assert len(read_log(tmp_path, "pjm").entries) == 1


def test_a_log_with_an_entry_gone_is_not_believed(tmp_path: Path) -> None:
    for name in "abc":
        put_in_charge(tmp_path, name, read=read_log(tmp_path, "pjm"), since=EARLY)
    (tmp_path / "champions" / "pjm" / "000002.json").unlink()
    with pytest.raises(UsageError, match="found entries 1, 3, expected all from 1 on"):
        read_log(tmp_path, "pjm")


def test_when_somebody_was_last_judged_is_told_by_promotions_and_decisions(tmp_path: Path) -> None:
    assert last_judged(tmp_path, "pjm") is None
    lost = Decision(
        challenger=ONE, champion=None, first=None, end=None, leads=24, contests=(),
        is_promoted=False, reason="so",
    )  # fmt: skip
    keep_decision(tmp_path, "pjm", lost, as_of=EARLY)
    assert last_judged(tmp_path, "pjm") == EARLY
    put_in_charge(tmp_path, "a", read=PromotionLog(), since=LATE)
    assert last_judged(tmp_path, "pjm") == LATE
    later = LATE + pd.Timedelta(hours=5)
    keep_decision(tmp_path, "pjm", lost, as_of=later)
    assert last_judged(tmp_path, "pjm") == later
