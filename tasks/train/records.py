"""What features and jobs hand on: paths, hashes and figures, never data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, NotRequired, TypeVar

from pydantic import AliasChoices, ConfigDict, Field, SerializeAsAny
from typing_extensions import TypedDict

from gridcast.config import Cell, Config, Fitted
from gridcast.engine import Engine
from gridcast.evaluation.measure import NMAE, SMAPE, MeasureName
from gridcast.features.load_scale import LoadScale
from gridcast.features.windows import WindowsRecord
from gridcast.record import Record, StoredRecord
from tasks.runs.keys import key_of

CovariateScales = dict[str, tuple[float, float]]


class Features(StoredRecord):
    """The table of features: its file, each region's scale (offset, scale; MW), its windows.

    ``covariate_scales`` has those of each region's covariates, in their own units.
    ``imputed_hours`` counts, by region, the steps whose input was filled and not read.
    ``measure`` is how errors are told; ``mean_loads`` (MW) and ``near_zero`` (share) are those of
    each region's training part, by which that is decided (see ``gridcast.evaluation.measure``).
    ``key`` is the hash of ``parts``: all on which the table depends. Of two tables the one with the
    higher ``sequence`` is newer.
    """

    advice: ClassVar[str] = "delete it to have the table made again"

    path: str
    file_sha256: str
    key: str
    scales: dict[str, tuple[float, float]]
    covariate_scales: dict[str, CovariateScales] = Field(default_factory=dict)
    feature_names: list[str]
    windows: WindowsRecord
    imputed_hours: dict[str, int]
    mean_loads: dict[str, float] = Field(default_factory=dict)
    near_zero: dict[str, float] = Field(default_factory=dict)
    measure: MeasureName = SMAPE
    parts: dict[str, Any]
    sequence: int = 0
    cached: bool = False

    @property
    def norms(self) -> dict[str, float]:
        """What errors of each region are told in percent of, MW; empty: of each hour's load."""
        return self.mean_loads if self.measure == NMAE else {}

    @property
    def load_scales(self) -> dict[str, LoadScale]:
        """The scales of each region as values."""
        return {
            region: LoadScale(*each, self.covariate_scales.get(region, {}), self.norms.get(region))
            for region, each in self.scales.items()
        }


class Job(Record):
    """What is to be trained or fitted in a process of its own: in which folder, on which device.

    ``key`` is the hash of ``parts``, all on which the result depends: it tells the job apart. The
    process has ``threads`` and ends at the latest after ``limit_seconds``.
    """

    process: ClassVar[str]  # the module that it runs
    verb: ClassVar[tuple[str, str]]  # while it is done, and when it was

    name: str
    device: str = "cpu"
    threads: int
    limit_seconds: float
    key: str
    folder: str
    parts: dict[str, Any]

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return Path(self.folder) / name

    @property
    def leaves(self) -> set[str]:
        """The files that its result is whole with."""
        return {"forecasts.parquet"}


class NetworkJob(Job):
    """One network to train; its labels of ``scored`` are forecast: a trial's never see ``test``."""

    process: ClassVar[str] = "tasks.train.training_process"
    verb: ClassVar[tuple[str, str]] = ("training", "trained")

    cell: Cell
    seed: int
    scored: tuple[str, ...] = ("validation", "test")

    @property
    def leaves(self) -> set[str]:
        """Of a trial, which does not score the test part, no weights are kept."""
        kept = {"weights.npz"} if "test" in self.scored else set()
        return super().leaves | kept


class BaselineJob(Job):
    """One baseline to fit."""

    process: ClassVar[str] = "tasks.train.fitting_process"
    verb: ClassVar[tuple[str, str]] = ("fitting", "fitted")

    kind: Fitted


J = TypeVar("J", bound=Job)


class FeaturesFile(Record):
    """Of a table of features what a process reads: see :class:`Features`."""

    path: str
    file_sha256: str
    scales: dict[str, tuple[float, float]]
    feature_names: list[str]
    norms: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, features: Features) -> FeaturesFile:
        """That of the whole record."""
        return cls(
            path=features.path,
            file_sha256=features.file_sha256,
            scales=features.scales,
            feature_names=features.feature_names,
            norms=features.norms,
        )

    @property
    def described(self) -> str:
        """SHA-256 of what is told of the table: with another scale the same file is another one."""
        return key_of(scales=self.scales, feature_names=self.feature_names, norms=self.norms)


class Specification(StoredRecord, Generic[J]):
    """What a job's process is asked, ``job.json``: written anew whenever one is started.

    The jobs that one process trains differ in cell, seed and name alone.
    """

    advice: ClassVar[str] = "run the same command again: it is written anew"

    job: SerializeAsAny[J]
    features: FeaturesFile
    config: Config


class MeasuringSpecification(StoredRecord):
    """What is to be measured; ``num_tiles`` is how many windows score a part, by part."""

    advice: ClassVar[str] = "run the same command again: it is written anew"

    config: Config
    cell: Cell
    num_seeds: int = Field(ge=1)
    device: str
    threads: int = Field(ge=1)
    num_features: int
    num_tiles: dict[int, int]


class Done(StoredRecord, Generic[J]):
    """A job that has ended well: what its process measured (s), its files and their SHA-256.

    ``result`` is the record that the process leaves.
    """

    result: ClassVar[type[StoredRecord]]

    job: J
    train_seconds: float
    evaluation_seconds: float
    files: dict[str, str]
    cached: bool = False

    def file(self, name: str) -> Path:
        """The path of one of the job's files."""
        return self.job.file(name)


class PassEnd(TypedDict):
    """Where a training stood at the end of a pass (s, percent), as ``Progress`` has it."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    pass_number: int
    num_passes: int
    step: int
    num_steps: int
    loss: float
    steps_per_second: float
    seconds_left: float
    elapsed_seconds: float
    pass_seconds: float
    validation_smape: float | None
    validation_nmae: NotRequired[float | None]


class TrainingResult(StoredRecord):
    """What a training process measured (s, bytes), and the SHA-256 of each of its files.

    ``seeds_per_pass`` jobs shared the training's time: seeds of one pass. ``engine`` says which
    kernels ran it, and why.
    """

    advice: ClassVar[str] = "delete the folder to train it again"

    # Version 1 called `seeds_per_pass` `num_together`.
    num_parameters: int
    weights_sha256: str
    train_seconds: float
    evaluation_seconds: float
    num_steps: int
    seeds_per_pass: int = Field(
        default=1, ge=1, validation_alias=AliasChoices("seeds_per_pass", "num_together")
    )
    engine: Engine
    peak_memory_bytes: int
    data_bytes: int
    history: Annotated[list[PassEnd], Field(min_length=1)]
    files: dict[str, str]


class TrainedJob(TrainingResult, Done[NetworkJob]):
    """A network that was trained, and what came of it."""

    result: ClassVar[type[StoredRecord]] = TrainingResult


class FittingResult(StoredRecord):
    """What a fitting process measured (s), and the SHA-256 of each of its files."""

    advice: ClassVar[str] = "delete the folder to fit it again"

    train_seconds: float
    evaluation_seconds: float
    files: dict[str, str]


class FittedBaseline(FittingResult, Done[BaselineJob]):
    """A baseline that was fitted, and what came of it."""

    result: ClassVar[type[StoredRecord]] = FittingResult
