"""A store that is a part of a bucket: Amazon's, or of whatever speaks S3."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gridcast.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.config import Config as ClientConfig
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:  # the extra `s3`
    boto3 = None

_PROBE = "conditions"
_ABSENT = ("NoSuchKey", "404", "NotFound")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class BucketStore:
    """Names are keys below the prefix, versions are ETags.

    A change is a conditional write (``If-None-Match``, ``If-Match``). Of an endpoint that lets such
    conditions pass unread nothing is believed: two machines would publish over one another.
    """

    def __init__(self, address: str, *, bucket: str, prefix: str) -> None:
        if boto3 is None:
            expected = "the extra s3: pip install 'gridcast[s3]'"
            raise UsageError(address, found="nothing installed that speaks S3", expected=expected)
        self._address, self._bucket = address, bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._honours_conditions = False
        # Of an endpoint that is not Amazon's a checksum that it does not know is an error; each
        # file is held against its SHA-256 anyway.
        options = ClientConfig(
            connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 4},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )  # fmt: skip
        with _told(address):
            self._client: Any = boto3.client("s3", config=options)

    @property
    def address(self) -> str:
        """As it is named in the settings."""
        return self._address

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Content and version; None where there is nothing."""
        with _told(self._address):
            try:
                found = self._client.get_object(**self._at(name))
                return found["Body"].read(), found["ETag"]
            except ClientError as error:
                if _code_of(error) in _ABSENT:
                    return None
                raise

    def write(self, name: str, content: bytes, *, over: str | None) -> str | None:
        """Change it by a conditional write."""
        with _told(self._address):
            self._require_conditions()
            return self._write_if(name, content, over)

    def _write_if(self, name: str, content: bytes, over: str | None) -> str | None:
        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        try:
            answer = self._client.put_object(**self._at(name), Body=content, **condition)
        except ClientError as error:
            if _code_of(error) in (*_CHANGED, *_ABSENT[:1]):  # absent: what it was over is gone
                return None
            raise
        return str(answer["ETag"])

    def _require_conditions(self) -> None:
        """Write twice what must not be there: the second time it has to be refused."""
        if self._honours_conditions:
            return
        if all(self._write_if(_PROBE, b"gridcast", None) for _ in range(2)):
            reason = "its endpoint does not honour If-None-Match, so that changes would be lost"
            raise StoreError(self._address, reason=reason)
        self._honours_conditions = True

    def has(self, name: str) -> bool:
        """Whether there is something."""
        with _told(self._address):
            try:
                self._client.head_object(**self._at(name))
            except ClientError as error:
                if _code_of(error) in _ABSENT:
                    return False
                raise
            return True

    def send(self, path: Path, name: str) -> None:
        """Upload a file, a large one in parts."""
        with _told(self._address):
            self._client.upload_file(str(path), self._bucket, self._prefix + name)

    def receive(self, name: str, path: Path) -> None:
        """Download what the name holds."""
        with _told(self._address):
            self._client.download_file(self._bucket, self._prefix + name, str(path))

    def names(self, prefix: str) -> Iterator[str]:
        """All names that begin so, in order."""
        pages = self._client.get_paginator("list_objects_v2")
        with _told(self._address):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for each in page.get("Contents", ()):
                    yield each["Key"].removeprefix(self._prefix)

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}


def _code_of(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Whatever the client or the endpoint raises as an error of the store."""
    try:
        yield
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise StoreError(address, reason=str(error)) from error
