"""Share with other machines as steps of a flow: bring what they did, let them have what is new."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.config import Config
from gridcast.errors import GridcastError
from tasks.share.sharing import Part, bring_parts, keep_parts, keep_what_can_be
from tasks.store.kept_sets import working_copy

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def shared_in_store(
    artifacts: str, profile: str, overrides: list[str] | None, *parts: Part
) -> Iterator[None]:
    """Do what is inside on what machines share; without ``run.store`` nothing is added to it.

    What came of it is kept also where part of it failed, not where it was interrupted.

    Raises:
        StoreError: the store does not answer; before the work, or after it.
        LockHeldError: another machine published meanwhile.
    """
    address = Config.load(profile, overrides=tuple(overrides or ())).run.store
    if not (address and parts):
        yield
        return
    bring_from_store(artifacts, address, parts)
    try:
        yield
    except GridcastError:
        keep_in_store(artifacts, address, parts, is_after_failure=True)
        raise
    keep_in_store(artifacts, address, parts)


@task(name="bring-from-store", cache_policy=NO_CACHE)
def bring_from_store(artifacts: str, address: str, parts: tuple[Part, ...]) -> None:
    """What other machines have published and kept → the artifacts.

    Raises:
        StoreError, IntegrityError, RecordError: the store does not answer, or is damaged.
    """
    if copy := working_copy(Path(artifacts), address):
        bring_parts(copy, *parts)


@task(name="keep-in-store", cache_policy=NO_CACHE)
def keep_in_store(
    artifacts: str, address: str, parts: tuple[Part, ...], *, is_after_failure: bool = False
) -> None:
    """What is new in the artifacts → the store.

    Raises:
        StoreError: the store does not answer; not after another failure, which is to be told.
        LockHeldError: another machine published meanwhile; likewise.
    """
    if copy := working_copy(Path(artifacts), address):
        (keep_what_can_be if is_after_failure else keep_parts)(copy, *parts)
