"""A record: what a stage leaves, as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable record that is written as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)
