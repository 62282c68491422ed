"""Who is held against whom: networks, their means, fitted baselines and naive forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gridcast.baselines.naive_forecasts import NAIVE_LAGS
from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gridcast.config import Fitted

ContestantKind = Literal["model", "mean", "blend", "fitted", "naive"]

MEAN_OF_ALL = "mean-all"
BLEND = "blend"
_BLENDED = ("linear_neighbours", "linear")  # with the first of these that there is


class Contestant(Record):
    """One way to forecast, as a value: what it is stands in its fields, not in its name.

    A ``model`` has a cell and a seed; a ``mean`` has ``members``, and a seed where they share one;
    a ``blend`` is the mean of ``members`` and the baseline ``linear``. ``name`` is unique in an
    evaluation and what tables and files call it.
    """

    name: str
    kind: ContestantKind
    cell: str | None = None
    seed: int | None = None
    members: tuple[str, ...] = ()
    linear: str | None = None

    @property
    def label(self) -> str:
        """What a reader calls it.

        >>> network("gru-seed0", cell="gru", seed=0).label, NAIVE[-1].label
        ('GRU seed 0', 'same hour last week')
        """
        if self.kind == "model":
            return f"{(self.cell or '').upper()} seed {self.seed}"
        if self.kind == "mean":
            return "mean of all" if self.seed is None else f"mean of seed {self.seed}"
        return self.name.replace("_", " ")


def network(name: str, *, cell: str, seed: int) -> Contestant:
    """The forecasts of one trained job."""
    return Contestant(name=name, kind="model", cell=cell, seed=seed)


def fitted_baseline(kind: Fitted) -> Contestant:
    """The forecasts of a baseline that was fitted on lags and calendar."""
    return Contestant(name=kind, kind="fitted")


NAIVE = tuple(Contestant(name=name, kind="naive") for name in NAIVE_LAGS)


def means_of(contestants: Iterable[Contestant]) -> list[Contestant]:
    """Which means there are of the models among these, and of whose.

    One of the cells of each seed, where there are at least two; where there are several seeds, one
    of all models.

    >>> gru, lstm = (network(f"{cell}-seed0", cell=cell, seed=0) for cell in ("gru", "lstm"))
    >>> [(mean.name, mean.members) for mean in means_of([gru, lstm])]
    [('mean-seed0', ('gru-seed0', 'lstm-seed0'))]
    >>> [mean.name for mean in means_of([gru, network("gru-seed1", cell="gru", seed=1)])]
    ['mean-all']
    """
    by_seed: dict[int | None, list[str]] = {}
    for each in contestants:
        if each.kind == "model":
            by_seed.setdefault(each.seed, []).append(each.name)
    means = [
        Contestant(name=f"mean-seed{seed}", kind="mean", seed=seed, members=tuple(members))
        for seed, members in by_seed.items()
        if len(members) > 1
    ]
    if len(by_seed) > 1:
        members = tuple(name for own in by_seed.values() for name in own)
        means.append(Contestant(name=MEAN_OF_ALL, kind="mean", members=members))
    return means


def with_blend(
    contestants: Iterable[Contestant],
) -> tuple[list[Contestant], Contestant | None]:
    """All of these and the blend, which stands before the fitted baselines; None: there is none.

    Of all networks that are trained, with the linear models that know most.

    >>> gru = network("gru-seed0", cell="gru", seed=0)
    >>> found, blend = with_blend([gru, fitted_baseline("linear"), *NAIVE])
    >>> found[1] == blend, blend.members, blend.linear
    (True, ('gru-seed0',), 'linear')
    """
    known = list(contestants)
    members = tuple(each.name for each in of_kind(known, "model"))
    fitted = [each.name for each in of_kind(known, "fitted")]
    linear = next((name for name in _BLENDED if name in fitted), None)
    if not members or linear is None:
        return known, None
    blend = Contestant(name=BLEND, kind="blend", members=members, linear=linear)
    first = next(place for place, each in enumerate(known) if each.kind == "fitted")
    return [*known[:first], blend, *known[first:]], blend


def contestants_of(jobs: Sequence[Contestant]) -> list[Contestant]:
    """All that are held against each other where these have forecast, in the order of tables.

    The models, their means, the fitted baselines, the naive forecasts.
    """
    models, fitted = ([each for each in jobs if each.kind == kind] for kind in ("model", "fitted"))
    return [*models, *means_of(models), *fitted, *NAIVE]


def of_kind(contestants: Iterable[Contestant], kind: ContestantKind) -> list[Contestant]:
    """Those of one kind, in their order."""
    return [each for each in contestants if each.kind == kind]
