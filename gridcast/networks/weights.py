"""A network's weights as the bytes of a file, and a network of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gridcast.array_file import packed, unpacked
from gridcast.errors import UsageError
from gridcast.networks.building import build_forecaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import Cell, Config
    from gridcast.networks.building import Forecaster


def weights_file(forecaster: Forecaster) -> bytes:
    """The network's weights by name, as a file."""
    return packed({name: each.cpu().numpy() for name, each in forecaster.state_dict().items()})


def read_forecaster(
    weights: bytes, config: Config, *, cell: Cell, feature_names: Sequence[str], num_regions: int,
    where: object,
) -> Forecaster:  # fmt: skip
    """The network with the weights of a file (see :func:`weights_file`), in eval mode.

    Raises:
        UsageError: the weights are not those of such a network.
    """
    with torch.random.fork_rng(devices=[]):  # a network is drawn, which is then written over
        forecaster = build_forecaster(
            config, cell=cell, feature_names=feature_names, num_regions=num_regions
        )
    arrays = unpacked(weights, where=where)
    try:
        forecaster.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
    except RuntimeError as error:
        found = " ".join(str(error).split())[:160]
        raise UsageError(where, found=found, expected=f"the weights of its {cell}") from None
    return forecaster.eval()
