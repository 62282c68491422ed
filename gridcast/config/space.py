"""The space of a search: settings by name, each with its choices or its range.

It is written as the settings themselves are, a section at a time; in the place of a value stands a
list of choices, a range, or null (not searched):

    model: { num_layers: [1, 2] }
    training: { learning_rate: { low: 1.0e-3, high: 1.0e-2, log: true } }
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

    from gridcast.config.section import Section

# What stays as it is in every trial, beside what is unkeyed: all must be held against the same
# labels and see none of the test part.
_FIXED = {"scaling": {"fit_on"}, "windows": {"unit", "horizon"}}
_RANGE_KEYS = {"low", "high", "log"}
_A_SEARCH = "a list of choices, a range as {low: 1, high: 9, log: true}, or null (not searched)"


@dataclass(frozen=True, slots=True)
class Choices:
    """A setting takes one of these values."""

    values: tuple[Any, ...]

    def has(self, value: object) -> bool:
        """Whether ``value`` is one of them."""
        return value in self.values


@dataclass(frozen=True, slots=True)
class Range:
    """A setting takes a number from ``low`` to ``high``, both included; ``whole``: an integer.

    With ``log`` each factor is as likely as any other, else each difference.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def has(self, value: object) -> bool:
        """Whether ``value`` lies in it."""
        return isinstance(value, int | float) and self.low <= value <= self.high


Search = Choices | Range
Space = dict[str, Search]  # by setting, such as ``model.hidden_size``


def read_space(tree: Mapping[str, Any], sections: Mapping[str, Section]) -> Space:
    """The space that ``tree`` describes, for settings of ``sections``.

    Raises:
        PydanticCustomError: of the type ``setting``, with ``key``, ``found`` and ``expected``: an
            unknown setting, one that may not be searched, or a value that it cannot have.
    """
    space: Space = {}
    for name, searches in tree.items():
        if name not in sections:
            raise setting_fault(name, name, f"one of the sections {', '.join(sections)}")
        if not isinstance(searches, dict | None):
            raise setting_fault(name, searches, "settings with what they may be (a YAML mapping)")
        for key, given in (searches or {}).items():
            if given is not None:
                space[f"{name}.{key}"] = _read_search(name, key, given, sections[name])
    return space


def setting_fault(key: str, found: object, expected: str) -> PydanticCustomError:
    """The error that ``config`` turns into its usual one; ``key`` from ``tuning.space`` on."""
    return PydanticCustomError(
        "setting", "{expected}", {"key": key, "found": found, "expected": expected}
    )


def _read_search(name: str, key: str, given: object, section: Section) -> Search:
    known = [each for each in section.keyed_fields() if each not in _FIXED.get(name, ())]
    setting = f"{name}.{key}"
    if key not in known:
        raise setting_fault(setting, key, f"a setting that is searched: {', '.join(known)}")
    if isinstance(given, list | tuple) and given:
        return Choices(tuple(_checked(setting, each, section) for each in given))
    if isinstance(given, dict) and {"low", "high"} <= given.keys() <= _RANGE_KEYS:
        return _read_range(setting, given, section)
    raise setting_fault(setting, given, _A_SEARCH)


def _read_range(setting: str, given: dict[str, Any], section: Section) -> Range:
    kinds = _kinds_of(section, setting)
    if not kinds & {int, float}:
        raise setting_fault(setting, given, "a list of choices: it is no number")
    low, high = (_checked(setting, given[end], section) for end in ("low", "high"))
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise setting_fault(setting, given, "log true or false")
    if low is None or high is None or not low < high:
        raise setting_fault(setting, given, "low below high")
    if log and low <= 0:
        raise setting_fault(setting, given, "low above 0 where log is true")
    return Range(low, high, log=log, whole=float not in kinds)


def _kinds_of(section: Section, setting: str) -> set[type]:
    hint = get_type_hints(type(section))[setting.partition(".")[2]]
    return set(get_args(hint)) or {hint}


def _checked(setting: str, value: object, section: Section) -> Any:  # noqa: ANN401
    """``value`` as the setting would have it, whatever the settings beside it are."""
    key = setting.partition(".")[2]
    field = type(section).model_fields[key]
    try:
        read = _adapter(field).validate_python(value)
    except ValidationError as error:
        raise _value_fault(setting, value, error.errors()[0]["msg"]) from None
    try:
        type(section).model_validate(section.model_dump() | {key: read})
    except ValidationError as error:
        own = [each for each in error.errors() if each["loc"][:1] == (key,)]
        if own:  # else it is at odds with another setting, which may be searched too
            raise _value_fault(setting, value, own[0]["msg"]) from None
    return read


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    kind: Any = Annotated[field.annotation, field]
    return TypeAdapter(kind)


def _value_fault(setting: str, value: object, message: str) -> PydanticCustomError:
    expected = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return setting_fault(setting, value, expected)
