"""A real endpoint that speaks S3, on loopback, and stores of both kinds."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tasks.store.kept_sets import WorkingCopy, working_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUCKET = "gridcast-tests"
KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "something",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def require_s3() -> None:
    """Skip a test where the extra is not installed."""
    if find_spec("boto3") is None or find_spec("moto") is None:
        pytest.skip("boto3 and moto are not installed: the extra s3, and dev")


@contextmanager
def s3_endpoint(bucket: str = BUCKET) -> Iterator[dict[str, str]]:
    """A server with an empty bucket; what names it in the environment of whoever asks it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        client = boto3.client(
            "s3", endpoint_url=url, region_name=KEYS["AWS_DEFAULT_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        client.create_bucket(Bucket=bucket)
        yield KEYS | {"AWS_ENDPOINT_URL": url}
    finally:
        server.stop()


@contextmanager
def in_environment(values: dict[str, str]) -> Iterator[None]:
    """This process's environment with these, for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def make_copy(artifacts: Path, address: str) -> WorkingCopy:
    """A folder of artifacts that shares the store of that address."""
    copy = working_copy(artifacts, address)
    assert copy is not None
    return copy


def make_store(folder: Path) -> str:
    """An empty folder as a store; its address."""
    folder.mkdir(parents=True)
    return folder.as_uri()
