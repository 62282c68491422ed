"""What came of fitting a baseline: the record that its process leaves."""

from __future__ import annotations

from typing import ClassVar

from gridcast.record import StoredRecord


class FittingResult(StoredRecord):
    """What a fitting process measured (s), and the SHA-256 of each of its files."""

    advice: ClassVar[str] = "delete the folder to fit it again"

    train_seconds: float
    evaluation_seconds: float
    files: dict[str, str]
