"""A model by name: enough to find its folder and to know that it is the one that was meant."""

from __future__ import annotations

from gridcast.record import Record


class ModelReference(Record):
    """A model that was kept by a run.

    ``sha256`` tells it apart, as in its ``model.json``; ``folder`` lies below the artifacts;
    ``card_sha256`` is that of its ``model.json``, which has the hashes of its other files.
    """

    name: str
    sha256: str
    run_id: str
    folder: str
    card_sha256: str

    @property
    def short(self) -> str:
        """For people: name, first digits, run.

        >>> ModelReference(
        ...     name="gru-seed0",
        ...     sha256="ab" * 32,
        ...     run_id="20180801T000000Z-1a2b",
        ...     folder="models/x",
        ...     card_sha256="",
        ... ).short
        'gru-seed0 (abababab, run 20180801T000000Z-1a2b)'
        """
        return f"{self.name} ({self.sha256[:8]}, run {self.run_id})"
