"""Shards of regions: which one a region is in depends on its name and their number alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.runs.keys import sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.fetch.records import SourceFile


def shard_of(region: str, num_shards: int) -> int:
    """The shard of a region, from 0: other regions that come or go do not move it.

    >>> shard_of("AEP", 8), shard_of("DAYTON", 8)
    (3, 3)
    """
    return int(sha256_of(region)[:16], 16) % num_shards


def shards_of(files: Sequence[SourceFile], num_shards: int) -> dict[int, tuple[SourceFile, ...]]:
    """The files of each shard that has any."""
    shards: dict[int, list[SourceFile]] = {}
    for file in files:
        shards.setdefault(shard_of(file.region, num_shards), []).append(file)
    return {number: tuple(shards[number]) for number in sorted(shards)}
