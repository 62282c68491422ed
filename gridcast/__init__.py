"""The domain: values in, values out. No orchestration, no tracking; only `serving` reads files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridcast.serving.served_model import ServedModel, load_model

__all__ = ["ServedModel", "load_model"]


def __getattr__(name: str) -> object:
    """What is offered comes when it is asked for: most of gridcast needs no PyTorch.

    No `import` statement: the code of a key would hold all that is offered.
    """
    if name not in __all__:
        message = f"module 'gridcast' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module("gridcast.serving.served_model"), name)
