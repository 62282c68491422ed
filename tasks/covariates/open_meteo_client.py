"""Asks Open-Meteo, at its pace: again after what passes, and never for ever."""

from __future__ import annotations

import logging
import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx

from gridcast.covariates.open_meteo import ADDRESSES, query, read_answer
from gridcast.errors import FetchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    import pandas as pd

    from gridcast.config import Coordinates, OpenMeteoConfig
    from gridcast.covariates.open_meteo import Kind

ADDRESS_VARIABLE = "GRIDCAST_OPEN_METEO_URL"  # of a mirror, or of a server in a test
_NAME = "Open-Meteo"
_OK, _REFUSED, _TOO_MANY, _FIRST_SERVER_ERROR = 200, 400, 429, 500
_LONGEST_WAIT_SECONDS = 60.0
_LONGEST_TOLD = 200
_log = logging.getLogger("gridcast.weather")


@dataclass(slots=True)
class OpenMeteoClient:
    """One fetch: how long it has lost, and when it may ask again."""

    http: httpx.Client
    config: OpenMeteoConfig
    seconds_lost: float = 0.0
    next_turn: float = 0.0

    def hours(
        self, kind: Kind, place: Coordinates, *, first: date, last: date
    ) -> Iterator[pd.DataFrame]:
        """What is there from the day ``first`` to ``last``, piece by piece (``span_days``).

        Raises:
            FetchError: no answer in time, or not the documented one.
            UsageError: Open-Meteo does not take the request, as a variable that it does not know.
        """
        while first <= last:
            end = min(last, first + timedelta(days=self.config.span_days - 1))
            parameters = query(kind, place, self.config, first=first, last=end)
            yield self._answer(kind, parameters)
            if kind == "live":
                return
            first = end + timedelta(days=1)

    def _answer(self, kind: Kind, parameters: dict[str, str]) -> pd.DataFrame:
        num_failures = 0
        while True:
            self._wait_for_turn()
            begun = time.monotonic()
            try:
                response = self.http.get(_address(kind), params=parameters)
                reason = _passing(response)
                if not reason:
                    return _read(response, kind, self.config)
            except httpx.RequestError as error:
                reason = f"no whole answer ({type(error).__name__})"
            num_failures += 1
            self._pause(reason, num_failures, seconds=time.monotonic() - begun)

    def _wait_for_turn(self) -> None:
        now = time.monotonic()
        time.sleep(max(0.0, self.next_turn - now))
        self.next_turn = max(now, self.next_turn) + 1 / self.config.requests_per_second

    def _pause(self, reason: str, num_failures: int, *, seconds: float) -> None:
        """Wait twice as long each time; chance spreads those who failed at the same moment."""
        longest = self.config.backoff_seconds * 2 ** (num_failures - 1)
        wait = min(_LONGEST_WAIT_SECONDS, longest)
        wait = random.uniform(wait / 2, wait)  # noqa: S311 - no secret
        self.seconds_lost += seconds + wait
        limit = self.config.give_up_seconds
        if self.seconds_lost > limit:
            expected = (
                f"an answer after less than {limit:g} s of failures and waits "
                "(open_meteo.give_up_seconds); run the same command again later"
            )
            found = f"{reason}, {num_failures} times"
            raise FetchError(_NAME, found=found, expected=expected, seconds_lost=self.seconds_lost)
        _log.warning("Open-Meteo: found %s; asked again in %.1f s", reason, wait)
        time.sleep(wait)


def _address(kind: Kind) -> str:
    base = os.environ.get(ADDRESS_VARIABLE)
    return ADDRESSES[kind] if base is None else f"{base.rstrip('/')}/{kind}"


def _reason(response: httpx.Response) -> str:
    """What the interface says of a request that it does not answer."""
    try:
        told = response.json().get("reason", "")
    except (ValueError, AttributeError):
        told = ""
    return f"{response.status_code} {told}".strip()[:_LONGEST_TOLD]


def _passing(response: httpx.Response) -> str:
    """Why the same request may be answered later; empty: it is answered, or never will be."""
    status = response.status_code
    return _reason(response) if status == _TOO_MANY or status >= _FIRST_SERVER_ERROR else ""


def _read(response: httpx.Response, kind: Kind, config: OpenMeteoConfig) -> pd.DataFrame:
    if response.status_code == _REFUSED:
        expected = "variables and places that it knows (open_meteo.variables, open_meteo.places)"
        raise UsageError(_NAME, found=_reason(response), expected=expected)
    if response.status_code != _OK:
        raise FetchError(_NAME, found=_reason(response), expected="200 and hourly values")
    try:
        return read_answer(response.content, kind, config)
    except ValueError as error:
        expected = "an answer as https://open-meteo.com/en/docs has it"
        raise FetchError(_NAME, found=str(error)[:_LONGEST_TOLD], expected=expected) from None


@contextmanager
def open_meteo_client(config: OpenMeteoConfig) -> Iterator[OpenMeteoClient]:
    """A client of one fetch."""
    headers = {"User-Agent": f"gridcast/{version('gridcast')}"}
    with httpx.Client(headers=headers, timeout=config.timeout_seconds) as http:
        yield OpenMeteoClient(http, config)
