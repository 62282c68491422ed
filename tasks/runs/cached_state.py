"""How a stage tells Prefect that there was nothing to do, and what tasks came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from prefect.client.schemas.objects import State
from prefect.states import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


def unchanged(record: T) -> T:
    """End a task with ``record`` in the state ``Cached``: Prefect hands on what a state holds.

    Prefect's own result cache is not used: what it stores can be made to unpickle code.
    """
    state: State[T] = Completed(
        name="Cached", message="inputs, configuration and code unchanged", data=record
    )
    return cast("T", state)


class Results(dict[str, Any]):
    """What tasks that ran side by side came to, by name: a record each, or an error."""

    @classmethod
    def of(cls, states: Mapping[str, State[Any]]) -> Results:
        """The results of tasks that have ended, however they did."""
        return cls({n: each.result(raise_on_failure=False) for n, each in states.items()})

    def all_of(self, kind: type[T]) -> list[T]:
        """Those of one kind, in order."""
        return [each for each in self.values() if isinstance(each, kind)]

    def not_of(self, *kinds: type) -> dict[str, Any]:
        """Those that are of none of these kinds."""
        return {name: each for name, each in self.items() if not isinstance(each, kinds)}
