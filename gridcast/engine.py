"""The engine that ran a training, as it is recorded; apart from what finds one.

Who reads the record of a job needs none of the kernels.
"""

from __future__ import annotations

from typing import Literal

from gridcast.record import Record

Kernels = Literal["gpu-kernels", "cpu-loops", "pytorch"]
ASKED_FOR = "training.recurrence=library"
BY_LEAD = "model.head=by_lead, which PyTorch's layers run"


class Engine(Record):
    """What runs a training: its layers (with what lies between them), and Adam's update.

    ``cpu-loops`` are the whole step. ``reason`` says, to people, why it is this one.
    """

    layers: Kernels
    adam: Kernels
    reason: str

    @property
    def is_pytorch(self) -> bool:
        """Whether PyTorch's layers run the network, one forecaster at a time."""
        return self.layers == "pytorch"

    @property
    def is_fallback(self) -> bool:
        """Whether that is so without having been asked for."""
        return self.is_pytorch and self.reason not in {ASKED_FOR, BY_LEAD}


LIBRARY = Engine(layers="pytorch", adam="pytorch", reason=ASKED_FOR)
