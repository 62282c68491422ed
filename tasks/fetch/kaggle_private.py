"""The one place where a private part of Kaggle's client is used: its session.

kagglesdk promises nothing of it: ``pyproject.toml`` caps its version, and
``tests/fetch/test_kaggle_private.py`` fails where the part has changed. There is no other way: the
client has no setting for a time limit, gives none to ``requests``, which then waits for ever, and
keeps its session to itself.
"""

from __future__ import annotations

from typing import Any

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
_RETRIES = 3


def limit_waiting(client: Any) -> None:  # noqa: ANN401 - kagglehub has no types
    """Give every request of the client a time limit."""
    from requests.adapters import HTTPAdapter

    class _Limited(HTTPAdapter):
        def send(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            return super().send(
                *arguments, **{**options, "timeout": (CONNECT_SECONDS, READ_SECONDS)}
            )

    session = client.http_client()._session  # noqa: SLF001 - see above
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Limited(max_retries=_RETRIES))
