"""Ask the EIA's open data interface: at its pace, again after what passes, never for ever.

The key travels in a header, so that no address, log line or error has it.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import httpx

from gridcast.errors import FetchError, UsageError
from gridcast.readings.eia import HOUR, SERIES, Page, Readings, message_of, query, read_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridcast.config import EiaConfig

ADDRESS = "https://api.eia.gov/v2/"
ADDRESS_VARIABLE = "EIA_API_URL"  # another address that answers as EIA's: a mirror, a test
KEY_VARIABLE = "EIA_API_KEY"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST_WAIT_SECONDS = 60.0
_MOST_BYTES = 64_000_000  # of an answer; 5000 rows are about 1 MB
_OK, _TOO_MANY = 200, 429
_KEY_REFUSED = (401, 403)
_FIRST_SERVER_ERROR = 500
_log = logging.getLogger("gridcast.eia")


class Answer(NamedTuple):
    """All hours of one region that were asked for; ``dropped`` holds the rows without a load."""

    readings: Readings
    dropped: dict[datetime, str]


class _PassingError(Exception):
    """What may be gone when asked again; ``retry_after`` is the server's own word (s)."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class EiaClient:
    """A conversation with the interface; ``seconds_lost`` is what failures and waits have taken."""

    def __init__(self, http: httpx.Client, config: EiaConfig, *, seconds_lost: float = 0.0) -> None:
        self._http, self._config = http, config
        self.seconds_lost = seconds_lost
        self._next_turn = 0.0

    def readings(self, region: str, *, first: datetime, last: datetime) -> Answer:
        """The hours from ``first`` to ``last``, page by page, of one of ``SERIES``.

        Raises:
            FetchError: no whole answer came within ``eia.give_up_seconds``, or another than the
                documented one.
            UsageError: the key is not taken.
        """
        answer, offset = Answer({}, {}), 0
        while True:
            rows = self._config.page_rows
            parameters = query(region, first=first, last=last, offset=offset, rows=rows)
            page = self._page(region, parameters)
            for warning in page.warnings:
                _log.warning("EIA %s warns: %s", region, warning)
            answer.readings.update(page.readings)
            answer.dropped.update(page.dropped)
            offset += page.num_rows
            if offset >= page.total:
                return answer
            if page.num_rows == 0 or page.total > 2 * ((last - first) / HOUR + 1):
                where, found = f"EIA {region}", f"{offset} rows of {page.total}"
                expected = f"one an hour from {first} to {last}"
                raise FetchError(
                    where, found=found, expected=expected, seconds_lost=self.seconds_lost
                )

    def _page(self, region: str, parameters: dict[str, str]) -> Page:
        num_failures = 0
        while True:
            self.wait_for_turn()
            begun = time.monotonic()
            try:
                return read_page(self._body(region, parameters), region=region)
            except _PassingError as error:
                failure = error
            except ValueError:
                failure = _PassingError("an answer that is cut off or no JSON")
            num_failures += 1
            self._pause(region, failure, num_failures, seconds=time.monotonic() - begun)

    def _body(self, region: str, parameters: dict[str, str]) -> bytes:
        try:
            with self._http.stream("GET", SERIES[region].route, params=parameters) as response:
                body = self._read(response)
        except httpx.RequestError as error:
            reason = f"no whole answer ({type(error).__name__}: {str(error)[:120]})"
            raise _PassingError(reason) from None
        if response.status_code == _OK:
            return body
        raise _failure_of(response, body, where=f"EIA {region}")

    def _read(self, response: httpx.Response) -> bytes:
        deadline = time.monotonic() + self._config.timeout_seconds
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MOST_BYTES or time.monotonic() > deadline:
                message = f"{len(body)} bytes and no end"
                raise httpx.ReadTimeout(message)
        return bytes(body)

    def wait_for_turn(self) -> None:
        """Until the interface may be asked again."""
        now = time.monotonic()
        time.sleep(max(0.0, self._next_turn - now))
        self._next_turn = max(now, self._next_turn) + 1 / self._config.requests_per_second

    def _pause(
        self, region: str, failure: _PassingError, num_failures: int, *, seconds: float
    ) -> None:
        """Wait before the next try, as long as the server says, else twice as long each time.

        Chance spreads those who failed at the same moment.
        """
        backoff = self._config.backoff_seconds
        longest = min(_LONGEST_WAIT_SECONDS, backoff * 2 ** (num_failures - 1))
        wait = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        if failure.retry_after is not None:
            wait += failure.retry_after
        self.seconds_lost += seconds + wait
        limit = self._config.give_up_seconds
        if self.seconds_lost > limit:
            where, found = f"EIA {region}", f"{failure}, {num_failures} times"
            expected = (
                f"an answer after less than {limit:g} s of failures and waits "
                "(eia.give_up_seconds); run the same command again later, what came is kept"
            )
            raise FetchError(where, found=found, expected=expected, seconds_lost=self.seconds_lost)
        _log.warning("EIA %s: found %s; asked again in %.1f s", region, failure, wait)
        time.sleep(wait)


@contextmanager
def eia_client(key: str, config: EiaConfig, *, seconds_lost: float = 0.0) -> Iterator[EiaClient]:
    """A client, of a fetch that has lost so much time already.

    It keeps the pace beyond its end: who comes next may ask at once.

    Raises:
        UsageError: the address or the key is none that could work.
    """
    address = require_address_and_key(key)
    headers = {"X-Api-Key": key, "User-Agent": f"gridcast/{version('gridcast')}"}
    with httpx.Client(
        base_url=address, headers=headers, timeout=config.timeout_seconds, follow_redirects=False
    ) as http:
        client = EiaClient(http, config, seconds_lost=seconds_lost)
        yield client
        client.wait_for_turn()


def require_address_and_key(key: str) -> httpx.URL:
    """The interface's address, if it and the key could work.

    Raises:
        UsageError: one of them could not.
    """
    address = httpx.URL(os.environ.get(ADDRESS_VARIABLE, ADDRESS).rstrip("/") + "/")
    if address.scheme != "https" and address.host not in _LOOPBACK:
        expected = "https, since the key is sent there"
        raise UsageError(ADDRESS_VARIABLE, found=str(address), expected=expected)
    if not key.isascii() or not key.isprintable() or not key:
        found, expected = "no key that a header can hold", "one line of plain letters and digits"
        raise UsageError(KEY_VARIABLE, found=found, expected=expected)
    return address


def _failure_of(response: httpx.Response, body: bytes, *, where: str) -> Exception:
    """What an answer other than 200 comes to; never with the request's headers in it."""
    reason = f"{response.status_code} {_message_of(body)}".strip()
    if response.status_code == _TOO_MANY or "OVER_RATE_LIMIT" in reason:
        return _PassingError(reason, _retry_after(response))
    if response.status_code >= _FIRST_SERVER_ERROR:
        return _PassingError(reason, _retry_after(response))
    if response.status_code in _KEY_REFUSED:
        expected = (
            "a key that EIA takes, in EIA_API_KEY or in the Prefect Secret block eia-api-key "
            "(free: https://www.eia.gov/opendata/register.php)"
        )
        return UsageError("EIA", found=reason, expected=expected)
    return FetchError(where, found=reason, expected="200 and data")


def _message_of(body: bytes) -> str:
    try:
        return message_of(json.loads(body))
    except (ValueError, RecursionError):
        return ""


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait: a number, or a date."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(timedelta(0), aware - datetime.now(UTC)).total_seconds()
