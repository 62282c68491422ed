"""The section about where a run's regions are read and its jobs done."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from gridcast.config.section import Count, Positive, Section, Unkeyed

_WHERE: Final = Unkeyed("where the same work is done, and how often it is given out")


class ExecutionConfig(Section):
    """Where regions are read and jobs done: on this machine, or on others (docs/scale.md)."""

    executor: Annotated[Literal["local", "workers", "ray"], _WHERE] = Field(
        description="processes of this machine, workers of a Prefect work pool, or a Ray cluster"
    )
    num_shards: Annotated[Count, _WHERE] = Field(
        description="shards of regions that workers read, by a hash of each region's name"
    )
    attempts: Annotated[int, Field(ge=1, le=20), _WHERE] = Field(
        description="times that a job or a shard is given out, where who does it dies"
    )
    lost_seconds: Annotated[Positive, _WHERE] = Field(
        description="without a sign of life, after which who does a job or a shard is dead (s)"
    )
    ray_address: Annotated[str | None, _WHERE] = Field(
        description="of a Ray cluster, as `ray start` prints it; null: one of this machine alone"
    )
