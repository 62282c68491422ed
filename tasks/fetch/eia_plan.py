"""What a fetch from the EIA asks for, checked before anything is asked or written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from gridcast.errors import UsageError
from gridcast.readings.archive_members import MARKER
from gridcast.readings.eia import WHOLE, regions_of
from gridcast.record import Record
from tasks.fetch.marker import require_own


class FetchPlan(Record):
    """What one fetch asks for; the hours are labels, naming the end of an hour in UTC."""

    folder: Path
    regions: tuple[str, ...]
    since: datetime | None
    until: datetime
    named: bool

    @property
    def marker(self) -> Path:
        """Where the folder tells what came of it."""
        return self.folder / MARKER

    @property
    def has_operator(self) -> bool:
        """Whether an operator's own forecasts belong to what is asked for."""
        return WHOLE in self.regions


def plan_fetch(
    folder: str, *, since: str | None, until: str | None, regions: list[str] | None
) -> FetchPlan:
    """Check all that can be checked before anything is asked or written.

    Raises:
        UsageError: an unknown region, a date that is none, or a folder of another source.
    """
    wanted, place = regions_of(regions), Path(folder).absolute()
    if since is None and not regions:  # a fetch goes on with what is held
        wanted = [each for each in wanted if (place / f"{each}_hourly.csv").exists()] or wanted
    plan = FetchPlan(
        folder=place,
        regions=tuple(wanted),
        since=None if since is None else _hour_of(since, "--since"),
        until=_this_hour() if until is None else _hour_of(until, "--until"),
        named=bool(regions),
    )
    if plan.since is not None and plan.since > plan.until:
        where, found = "--since", f"{plan.since} after {plan.until}"
        raise UsageError(where, found=found, expected="an hour that is over (UTC)")
    require_own(plan.folder, "eia")
    return plan


def _this_hour() -> datetime:
    return _plain(datetime.now(UTC).replace(tzinfo=None))


def _hour_of(text: str, option: str) -> datetime:
    """A date or an hour; without a zone it is UTC."""
    try:
        hour = datetime.fromisoformat(text)
    except ValueError:
        expected = "a date or an hour such as 2026-01-01 or 2026-01-01T05:00 (UTC)"
        raise UsageError(option, found=repr(text[:40]), expected=expected) from None
    if hour.tzinfo is not None:
        hour = hour.astimezone(UTC).replace(tzinfo=None)
    if hour != _plain(hour):
        raise UsageError(option, found=repr(text), expected="a full hour")
    return hour


def _plain(hour: datetime) -> datetime:
    return hour.replace(minute=0, second=0, microsecond=0)
