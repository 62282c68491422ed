"""What stands in a model's folder: ``model.json``, and which files it names."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, WrapValidator

from gridcast.config import Cell, Config, completed
from gridcast.features.load_scale import LoadScale
from gridcast.record import Record, StoredRecord

CARD = "model.json"
CALIBRATION = "calibration.npz"
BLEND_PREFIX = "blend."  # in it, before the kind of the linear models: their weights by lead


def linear_file(kind: str) -> str:
    """The coefficients of linear models of that kind, where the run has fitted them."""
    return f"{kind}.npz"


class Member(Record):
    """One of the networks whose mean is forecast: ``weights`` is the name of its file.

    ``job_key`` is that of its training, as the lineage of its run has it.
    """

    name: str
    cell: Cell
    job_key: str
    weights: str


class ModelCard(StoredRecord):
    """A model as a folder keeps it; ``files`` has the SHA-256 of each file beside this one.

    ``sha256`` tells the model apart: one network's weights, or a hash over those of all.
    ``features_sha256`` is that of the table of features on which it was trained.
    ``scales`` has each region's offset and scale (MW), in the order of the regions' numbers,
    ``covariate_scales`` those of its covariates, in their own units. ``note``: what has to be known
    of its figures.
    ``unseen_since`` has the first hour (ISO, UTC) of each region of which it was not told the truth
    in training; ``test_since`` the first one of its test part, on which nothing is decided.
    ``norms``: what errors of each region are told in percent of (MW); empty: of each hour's load.
    """

    advice: ClassVar[str] = "train again, or take the folder of another run"

    name: str
    sha256: str
    features_sha256: str
    config: Annotated[Config, WrapValidator(completed)]
    scales: dict[str, tuple[float, float]]
    covariate_scales: dict[str, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    note: str = ""
    feature_names: list[str]
    members: tuple[Member, ...] = Field(min_length=1)
    unseen_since: dict[str, str]
    test_since: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str]
    norms: dict[str, float] = Field(default_factory=dict)

    @property
    def load_scales(self) -> dict[str, LoadScale]:
        """The scales of each region as values."""
        return {
            region: LoadScale(*each, self.covariate_scales.get(region, {}), self.norms.get(region))
            for region, each in self.scales.items()
        }
