"""How a stage tells Prefect that there was nothing to do."""

from __future__ import annotations

from typing import TypeVar, cast

from prefect.client.schemas.objects import State
from prefect.states import Completed

T = TypeVar("T")


def unchanged(record: T) -> T:
    """End a task with ``record`` in the state ``Cached``: Prefect hands on what a state holds.

    Prefect's own result cache is not used: what it stores can be made to unpickle code.
    """
    state: State[T] = Completed(
        name="Cached", message="inputs, configuration and code unchanged", data=record
    )
    return cast("T", state)
