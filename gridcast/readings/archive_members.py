"""Which members of an archive are taken, and which archives are not unpacked at all.

Only the list of members is judged here, lazily, so that a reader stops at the first reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from gridcast.errors import ArchiveRefusedError
from gridcast.readings.parsing import region_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gridcast.config import ArchivesConfig

# What a folder says of itself; an archive of such a folder goes on saying it.
MARKER = "gridcast-source.json"
_DRIVE = re.compile(r"[A-Za-z]:")
_FIRST_PRINTABLE = 32


class Member(NamedTuple):
    """One entry as the archive lists it; ``obstacle`` is why no such entry is ever unpacked."""

    name: str
    num_bytes: int
    is_folder: bool = False
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Unpacking:
    """File names to write, by the member to take; and the members passed over, with the reason."""

    taken: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def regional(self) -> list[str]:
        """The regions taken, by name."""
        return sorted(filter(None, map(region_of, self.taken.values())))


def is_regional(file_name: str) -> bool:
    """Whether a file is a ``<REGION>_hourly.csv``, by its name."""
    return region_of(file_name) is not None


def plan_unpacking(
    members: Iterable[Member],
    *,
    archive: str,
    packed_bytes: int,
    limits: ArchivesConfig,
    is_wanted: Callable[[str], bool] = is_regional,
) -> Unpacking:
    """Take the regional CSVs, whatever folder of the archive they lie in, and nothing else.

    Args:
        members: as listed, in the archive's order; read no further than the first refusal.
        archive: the name that errors show.
        packed_bytes: size of the archive's file (B).
        limits: of size, ratio and count.
        is_wanted: which files are taken instead, by their names.

    Raises:
        ArchiveRefusedError: as a whole: a member that leads out of it, a link, a device, an
            encrypted one, two files of one region, none of any, or a limit passed.
    """
    plan, seen = Unpacking(), dict[str, str]()
    for member in _judged(members, archive=archive, packed_bytes=packed_bytes, limits=limits):
        file_name = PurePosixPath(member.name).name
        if not is_wanted(file_name) and file_name != MARKER:
            plan.skipped[member.name] = _why_not(is_wanted)
            continue
        if other := seen.get(file_name.casefold()):
            found = f"the members {_shown(other)} and {_shown(member.name)}"
            raise ArchiveRefusedError(archive, found=found, expected="one file a region")
        seen[file_name.casefold()] = member.name
        plan.taken[member.name] = file_name
    if not any(map(is_wanted, plan.taken.values())):
        found = f"no regional CSV ({', '.join(map(_shown, plan.skipped)) or 'no files'})"[:500]
        expected = f"files of another name: {_why_not(is_wanted)}"
        if is_wanted is is_regional:
            expected = "files named <REGION>_hourly.csv"
        raise ArchiveRefusedError(archive, found=found, expected=expected)
    return plan


def _why_not(is_wanted: Callable[[str], bool]) -> str:
    if is_wanted is is_regional:
        return "not named <REGION>_hourly.csv"
    return "not named as ingestion.layout.files has it"


def _judged(
    members: Iterable[Member], *, archive: str, packed_bytes: int, limits: ArchivesConfig
) -> Iterator[Member]:
    """The members that are files, each after it was held to the limits and to its name."""
    total = 0
    for number, member in enumerate(members, start=1):
        if number > limits.max_members:
            found, limit = f"more than {limits.max_members} members", "max_members"
            raise ArchiveRefusedError(archive, found=found, expected=f"no more (archives.{limit})")
        if why := member.obstacle or _leads_out(member.name):
            found = f"the member {_shown(member.name)}, {why}"
            raise ArchiveRefusedError(archive, found=found, expected="plain files below it")
        if member.is_folder:
            continue
        total += member.num_bytes
        if total > limits.max_bytes:
            found = f"{total / 1e6:,.0f} MB and more when unpacked"
            expected = f"at most {limits.max_bytes / 1e6:,.0f} MB (archives.max_bytes)"
            raise ArchiveRefusedError(archive, found=found, expected=expected)
        if total > limits.max_ratio * packed_bytes:
            found = f"{total / packed_bytes:,.0f} times its size and more when unpacked"
            expected = f"at most {limits.max_ratio:g} times (archives.max_ratio)"
            raise ArchiveRefusedError(archive, found=found, expected=expected)
        yield member


def _leads_out(name: str) -> str:
    """Why ``name`` is no path below the archive; empty if it is one."""
    path = name.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path):
        return "an absolute path"
    if ".." in path.split("/"):
        return "a path that leads out of the archive"
    if "\\" in name or any(ord(letter) < _FIRST_PRINTABLE for letter in name):
        return "a path with a backslash or a control character"
    return ""


def _shown(name: str) -> str:
    return repr(name[:80])
