"""What is known of an hour when it is forecast from afar: its calendar, and loads before the issue.

A lag serves a lead only if it is not shorter: the load of the same hour yesterday is known for the
leads 1 to 24, that of two days ago for 25 to 48.

Legend: ``T`` steps, ``H`` leads, ``K`` lags of a lead, ``O`` origins (of any shape), ``Z`` numbers
of an hour ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY, WEEK = 24, 168
LONGEST_LAG = 2 * WEEK
SINCE_YESTERDAY = 4  # of these the origin's load less that of a day before it
NUM_LOADS = 8  # numbers of an hour ahead that come from loads


@dataclass(frozen=True, slots=True)
class LeadLags:
    """Of each lead the hours before the hour being forecast whose loads are told of it.

    Raises:
        ValueError: a lag is shorter than its lead: that load comes after the issue time.
    """

    hours_HK: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what looks ahead."""
        lead_H1 = np.arange(1, len(self.hours_HK) + 1)[:, None]
        if (self.hours_HK < lead_H1).any():
            row, column = np.argwhere(self.hours_HK < lead_H1)[0]
            message = f"a lag of {self.hours_HK[row, column]} h for a lead of {row + 1} h"
            raise ValueError(message)

    @classmethod
    def of(cls, horizon: int) -> LeadLags:
        """The latest same hours that are known: of the day, the day before, the week, and so on."""
        lead_H = np.arange(1, horizon + 1)
        day_H, week_H = (period * -(-lead_H // period) for period in (DAY, WEEK))
        return cls(np.stack([day_H, day_H + DAY, week_H, week_H + WEEK], axis=1))


def loads_ahead(
    load_T: Tensor, is_known_T: Tensor, origins: Tensor, first: Tensor, lags_HK: Tensor
) -> Tensor:
    """What past loads say of each hour ahead of the origins, shape ``(O, H, NUM_LOADS)``.

    The scaled loads of ``LeadLags``; the origin's load less those of a day and of a week before it;
    the latest same hour less that of the week; the origin's load less the latest same hour. A load
    that is not known, in a gap or before ``first`` (where the origin's series begins), is taken for
    the origin's.
    """
    lead_H1 = torch.arange(1, len(lags_HK) + 1, device=load_T.device)[:, None]
    back_HK = lags_HK - lead_H1  # hours before the origin, from 0 on
    wide = origins[..., None, None]
    place = (wide - back_HK, wide - DAY, wide - WEEK)
    now = load_T[origins][..., None, None]

    def loads_at(places: Tensor) -> Tensor:
        is_inside = places >= first[..., None, None]
        places = torch.where(is_inside, places, wide)
        return torch.where(is_inside & is_known_T[places], load_T[places], now)

    same, *before = (loads_at(each) for each in place)  # (O, H, K), (O, 1, 1), (O, 1, 1)
    changes = (torch.cat([now - each for each in before], -1)).expand(*same.shape[:-1], 2)
    day, week = same[..., :1], same[..., 2:3]
    return torch.cat([same, changes, day - week, now - day], -1)
