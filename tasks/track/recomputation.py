"""Hold each link of a chain against what is there: its files, and what can be computed again."""

from __future__ import annotations

from bisect import bisect
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from gridcast.audit.differences import require_described, require_forecasts, require_table
from gridcast.audit.lineage import (
    Finding,
    Lineage,
    Link,
    State,
    UnlikeError,
    finding_of,
    require_parts,
    require_same,
    stored_weights_sha256,
)
from gridcast.config import Config
from gridcast.errors import GridcastError, RecordError
from gridcast.evaluation.comparison import all_forecasts, measure_of_table
from gridcast.evaluation.contestants import fitted_baseline, network
from gridcast.evaluation.scores import SCORE_KEYS, mean_loads, naive_maes, score_forecasts
from gridcast.features.table import FeatureTable, build_features, calendars_of
from gridcast.layouts.kept import load_of
from gridcast.readings.local_time import content_sha256
from gridcast.readings.records import Snapshot
from gridcast.readings.snapshots import snapshot_id
from tasks.runs.import_closure import all_code_sha256
from tasks.runs.keys import file_sha256, key_of
from tasks.runs.lives import oldest_first
from tasks.runs.record_files import cached_record, read_record
from tasks.track.mlflow_client import download, open_client, read_uri
from tasks.track.rows_again import ROUNDING, check_covariates, require_scores
from tasks.train.records import Features, FeaturesFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gridcast.config import Fitted, Labels
    from gridcast.covariates.values import Covariates
    from gridcast.evaluation.contestants import Contestant
    from gridcast.evaluation.scores import Scores

# What other code may make of a setting or a file that it does not know.
_OTHER_CODE_RAISES = (GridcastError, ValueError, KeyError, TypeError, AttributeError)
_MAY_GO = (
    "csv",
    "region",
    "covariates",
    "snapshot",
    "features",
)  # of these only so many versions are kept


class Recomputation:
    """Checks the links in their order; what one has loaded and found sound, the next ones use."""

    def __init__(self, artifacts: Path, lineage: Lineage) -> None:
        self.artifacts, self.lineage = artifacts, lineage
        self.scores: Scores | None = None  # computed again
        self._states: dict[str, State] = {}
        self._regions: dict[str, pd.DataFrame] = {}
        self._covariates: dict[str, Covariates] = {}
        self._table: pd.DataFrame | None = None
        self._described = ""  # the hash of its scales and names, once computed again
        self._predictions: dict[str, pd.DataFrame] = {}
        self._forecasts: pd.DataFrame | None = None
        self._contestants: tuple[Contestant, ...] = ()
        self.checks: dict[str, Callable[[Link], str]] = {
            "region": self._check_region, "covariates": self._check_covariates,
            "snapshot": self._check_snapshot, "spec": _check_key, "config": self._check_config,
            "code": self._check_code, "features": self._check_features, "job": self._check_job,
            "weights": self._check_weights, "predictions": self._check_predictions,
            "forecasts": self._check_forecasts, "scores": self._check_scores,
            "model": self._check_model,
        }  # fmt: skip

    def check(self, link: Link) -> Finding:
        """The link's files by their hashes, then its content, as far as it can be had."""
        try:
            self._require_files(link)
            note = self.checks.get(link.kind, _no_more)(link)
        except UnlikeError as error:
            self._states[link.name] = error.state
            return finding_of(link.name, error, kind=link.kind)
        self._states[link.name] = "ok"
        return Finding(name=link.name, state="ok", found=note)

    def path_of(self, written: str) -> Path:
        """A path of the lineage on this machine."""
        return self.artifacts / written  # an absolute path stays as it is

    def _fetched(self, link: Link, written: str) -> Path:
        """A file of a link, from MLflow where that keeps it elsewhere."""
        if not written.startswith(("runs:/", "models:/")):
            return self.path_of(written)
        from mlflow.exceptions import MlflowException

        try:
            open_client(read_uri(link.facts["uri"], self.artifacts))
            return download(written)
        except (MlflowException, OSError) as error:
            message = str(error).splitlines()[0]
            raise UnlikeError(
                where=written, found=message, expected="the file with MLflow"
            ) from error

    # -- files -----------------------------------------------------------------------------------

    def _require_files(self, link: Link) -> None:
        for written, expected in link.files.items():
            path = self._fetched(link, written)
            found = file_sha256(path) if path.is_file() else ""
            if found != expected:
                state = self._state_of(link, written, found)
                raise UnlikeError(
                    where=path,
                    found=f"SHA-256 {found[:16]}…" if found else "no file",
                    expected=f"SHA-256 {expected[:16]}…",
                    state=state,
                )

    def _state_of(self, link: Link, written: str, found: str) -> State:
        if not found:
            if link.kind in {"region", "covariates"} and self._has_manifest:
                return "broken"  # pruning takes the manifest first
            is_gone = link.kind in _MAY_GO or not (self.artifacts / _home(written)).exists()
            return "gone" if is_gone else "broken"
        if link.kind == "csv":
            return "changed"
        return "replaced" if self._is_of_a_later_run(written, found) else "broken"

    @property
    def _has_manifest(self) -> bool:
        paths = [self.path_of(path) for link in self.lineage.of("snapshot") for path in link.files]
        return any(path.is_file() for path in paths)

    def _is_of_a_later_run(self, written: str, found: str) -> bool:
        """Whether a later run (``--fresh``) left exactly these bytes there, by its own lineage."""
        folders = oldest_first(self.artifacts / "runs")
        names = [folder.name for folder in folders]
        own = self.lineage.run_id
        first = names.index(own) + 1 if own in names else bisect(names, own)
        for folder in folders[first:]:
            links = links_of(folder / "lineage.json")
            if any(link.files.get(written) == found for link in links):
                return True
        return False

    # -- data ------------------------------------------------------------------------------------

    def _check_region(self, link: Link) -> str:
        """The rows' own hash; and where the CSV is still the same, the rows read from it again."""
        region, expected = link.name.removeprefix("region "), link.facts["content_sha256"]
        (written,) = link.files
        frame = pd.read_parquet(self.path_of(written))
        with self._by_todays_code(written):
            found = content_sha256(frame["timestamp"], frame["load_mw"].to_numpy())
            require_same(f"the rows of {written}", found, expected)
            self._regions[region] = frame
            (source,) = link.made_of
            if self._states.get(source) != "ok":
                return f"{len(frame):,} rows"
            (csv,) = self.lineage.link(source).files
            content = self.path_of(csv).read_bytes()
            labels = cast("Labels", link.facts["labels"])
            reading = self._config.ingestion.of(region).reading(labels)
            load = load_of(content, region=region, file=csv, config=reading)
            require_same(f"the rows of {csv}", load.content_sha256, expected)
        return f"{len(frame):,} rows, read from the CSV again"

    def _check_covariates(self, link: Link) -> str:
        region, (written,), (source,) = link.name.split()[-1], link.files, link.made_of
        paths = self.lineage.link(source).files if self._states.get(source) == "ok" else ()
        with self._by_todays_code(written):
            self._covariates[region], note = check_covariates(
                self.path_of(written), region, link.facts["table_sha256"],
                sources=[self.path_of(each) for each in paths], config=self._config,
            )  # fmt: skip
        return note

    def _check_snapshot(self, link: Link) -> str:
        """The manifest's name from what it lists, and what it lists from the regions before."""
        (written,) = link.files
        try:
            manifest = read_record(self.path_of(written), Snapshot)
        except RecordError as error:
            raise UnlikeError(where=written, found=error.found, expected="a manifest") from error
        require_same(f"{written}: id", snapshot_id(manifest.regions), link.facts["id"])
        for name in (each for each in link.made_of if each.startswith("region ")):
            region = name.removeprefix("region ")
            listed, facts = manifest.regions.get(region), self.lineage.link(name).facts
            found = listed.table_sha256 if listed else "no such region"
            require_same(f"{written}: {region}", found, facts["table_sha256"])
        return f"{manifest.id}, {len(manifest.regions)} regions"

    def _check_config(self, link: Link) -> str:
        for spec in self.lineage.of("spec"):
            section = spec.name.removeprefix("spec ")
            require_parts(f"config.{section}", link.parts["config"][section], spec.parts)
        return _check_key(link)

    def _check_code(self, link: Link) -> str:
        if self._is_other_code:
            raise UnlikeError(
                where="gridcast, tasks, flows",
                found=f"code {all_code_sha256()[:16]}…",
                expected=f"{link.facts['code_sha256'][:16]}…, the code of version "
                f"{link.facts['version']} that made the run",
                state="other code",
            )
        return f"version {link.facts['version']}"

    def _check_features(self, link: Link) -> str:
        """The key from its parts, the parts from the links before, the table from the regions."""
        _check_key(link)
        contents = self._facts_of_regions("content_sha256")
        require_parts("the key's regions", contents, link.parts["regions"])
        tables = self._facts_of_regions("table_sha256")
        require_parts("the key's tables", tables, link.parts.get("tables", {}))
        for section, parts in link.parts["config"].items():
            require_parts(f"the key's {section}", self._spec(section), parts)
        written = next(path for path in link.files if path.endswith(".parquet"))
        table = self._table = pd.read_parquet(self.path_of(written))
        with self._by_todays_code("the key's rules"):
            for region, parts in link.parts["rules"].items():
                rules = self._config.rules.of(region).model_dump(mode="json")
                require_parts(f"the key's rules of {region}", rules, parts)
        missing = contents.keys() - self._regions.keys()
        missing |= link.parts.get("covariates", {}).keys() - self._covariates.keys()
        if missing:
            return f"not built again: no {', '.join(sorted(missing))}"
        with self._by_todays_code(written):
            built = build_features(self._regions, self._config, covariates=self._covariates)
            columns = [name for name in built.frame.columns if name not in {"region", "timestamp"}]
            require_table(written, table, built.frame, columns, tolerance=ROUNDING)
            self._check_described(link, built)
        return f"{len(table):,} steps, built from the regions again, and {len(built.scales)} scales"

    def _check_described(self, link: Link, built: FeatureTable) -> None:
        """What is told of the table beside it: scales, names, windows, how much was filled."""
        written = next(path for path in link.files if path.endswith(".json"))
        try:
            told = read_record(self.path_of(written), Features)
        except RecordError as error:
            raise UnlikeError(where=written, found=error.found, expected="a record") from error
        require_described(written, told.model_dump(), built, self._config.windows)
        self._described = FeaturesFile.of(told).described

    # -- models ----------------------------------------------------------------------------------

    def _check_job(self, link: Link) -> str:
        """The key from its parts, the parts from the features and the settings."""
        features = self.lineage.link("features")
        require_same("the key's features", link.parts["features"], features.key)
        require_same("the key's table", link.parts["file"], next(iter(features.files.values())))
        if self._described:
            require_same("the key's scales", link.parts["described"], self._described)
        for fact, value in link.facts.items():  # cell and seed, or the kind of baseline
            require_same(f"the key's {fact}", str(link.parts[fact]), value)
        for section, parts in link.parts["config"].items():
            spec = self._spec(section)
            if spec.get("precision") == "auto":  # what it came to on that machine
                spec = spec | {"precision": parts["precision"]}
            require_parts(f"the key's {section}", spec, parts)
        return _check_key(link)

    def _check_weights(self, link: Link) -> str:
        weights = next(path for path in link.files if path.endswith(".npz"))
        try:
            found = stored_weights_sha256(self.path_of(weights).read_bytes())
        except ValueError as error:
            raise UnlikeError(where=weights, found=str(error), expected="weights") from error
        require_same(f"the weights in {weights}", found, link.facts["weights_sha256"])
        return f"weights {found[:16]}…"

    def _check_predictions(self, link: Link) -> str:
        (written,) = link.files
        frame = pd.read_parquet(self.path_of(written))
        self._predictions[link.name.removeprefix("predictions ")] = frame
        return f"{len(frame):,} forecasts"

    def _check_model(self, link: Link) -> str:
        """The weights in the folder are those of the jobs whose mean it forecasts."""
        own = {Path(path).name: sha256 for path, sha256 in link.files.items()}
        members = [self.lineage.link(name) for name in link.made_of if name != "features"]
        for each in members:
            (trained,) = (sha for path, sha in each.files.items() if path.endswith(".npz"))
            name = each.name.removeprefix("weights ") + ".npz"
            require_same(f"{link.name}: {name}", own.get(name, "no such file"), trained)
        return f"{len(members)} networks"

    # -- results ---------------------------------------------------------------------------------

    def _check_forecasts(self, link: Link) -> str:
        (written,) = link.files
        stored = self._forecasts = pd.read_parquet(self.path_of(written))
        jobs = [name.partition(" ")[2] for name in link.made_of if name != "features"]
        if self._table is None or any(name not in self._predictions for name in jobs):
            return f"{len(stored):,} forecasts, not collected again"
        with self._by_todays_code(written):
            own = {self._contestant(name): self._predictions[name] for name in jobs}
            _, again, _ = all_forecasts(self._table, own, measure=measure_of_table(self._table))
            self._contestants = again.contestants
            names = [each.name for each in again.contestants]
            found = list(stored["contestant"].cat.categories)
            require_same(f"{written}: contestants", ", ".join(found), ", ".join(names))
            for name, rows in zip(names, again.tables(), strict=True):
                own_rows = stored[stored["contestant"] == name]
                require_forecasts(f"{written}, {name}", own_rows, rows, tolerance=ROUNDING)
        return f"{len(stored):,} forecasts, collected from the jobs again"

    def _contestant(self, job: str) -> Contestant:
        facts = self.lineage.link(f"job {job}").facts
        if "cell" in facts:
            return network(job, cell=facts["cell"], seed=int(facts["seed"]))
        return fitted_baseline(cast("Fitted", facts["kind"]))

    def _check_scores(self, link: Link) -> str:
        if self._table is None or self._forecasts is None or not self._contestants:
            return "not computed again"
        with self._by_todays_code(next(iter(link.files))):
            season_length = self._config.evaluation.season_length
            again = score_forecasts(
                [self._forecasts],
                self._contestants,
                naive_mae=naive_maes(self._table, season_length=season_length),
                mean_mw=mean_loads(self._table),
                calendars=calendars_of(self._config, self._table["region"].cat.categories),
            )
            for written in link.files:
                name = Path(written).stem.removeprefix("scores_")
                stored = pd.read_parquet(self.path_of(written))
                require_scores(written, stored, again.tables()[name], SCORE_KEYS[name])
            self.scores = again
        return "computed from the forecasts again"

    # -- the code and the settings of the run ----------------------------------------------------

    @cached_property
    def _is_other_code(self) -> bool:
        return self.lineage.link("code").facts["code_sha256"] != all_code_sha256()

    @cached_property
    def _config(self) -> Config:
        return Config.model_validate(self.lineage.link("config").parts["config"])

    def _facts_of_regions(self, fact: str) -> dict[str, str]:
        links = self.lineage.of("region")
        return {each.name.removeprefix("region "): each.facts[fact] for each in links}

    def _spec(self, section: str) -> dict[str, Any]:
        return self.lineage.link(f"spec {section}").parts

    @contextmanager
    def _by_todays_code(self, where: str) -> Iterator[None]:
        """Compute again. What comes out otherwise by other code is told as that: code moves on."""
        try:
            yield
        except UnlikeError as error:
            error.state = "other code" if self._is_other_code else error.state
            raise
        except _OTHER_CODE_RAISES as error:
            if not self._is_other_code:
                raise
            message = f"code that cannot compute it again ({type(error).__name__})"
            raise UnlikeError(
                where=where, found=message, expected="the code of that run", state="other code"
            ) from error


def links_of(path: Path) -> tuple[Link, ...]:
    """The links of some run's lineage; none where it can't be taken, which its own check tells."""
    lineage = cached_record(path, Lineage, is_reported=False)
    return lineage.links if lineage else ()


def _check_key(link: Link) -> str:
    """The key is the hash of its parts, whoever wrote either of them down."""
    require_same(f"the key of {link.name}", key_of(**link.parts), link.key)
    return f"{link.key[:16]}…" if link.key else ""


def _no_more(_: Link) -> str:
    return ""


def _home(written: str) -> str:
    """The folder that is deleted as a whole: ``jobs/<job>``, ``runs/<run>``, ``mlflow``."""
    first, *rest = Path(written).parts
    return first if first == "mlflow" or not rest else f"{first}/{rest[0]}"
