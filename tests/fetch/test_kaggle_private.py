"""Kaggle's client keeps its session where ``kaggle_private.py`` finds it."""

from __future__ import annotations

import socket

import pytest

from tasks.fetch import kaggle_private
from tasks.fetch.kaggle_private import limit_waiting

pytest.importorskip("kagglehub", reason="gridcast[kaggle] is not installed")


def test_a_request_to_a_server_that_never_answers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary: without the private part it would wait for ever."""
    import requests
    from kagglehub.clients import build_kaggle_client

    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kaggle_private, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, build_kaggle_client() as client:
        limit_waiting(client)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        session = client.http_client()._session
        assert isinstance(session, requests.Session)
        with pytest.raises(requests.Timeout):
            session.send(requests.Request("POST", address).prepare())
