"""What MLflow is told of a network or of a mean: tags, parameters, metrics, pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gridcast.evaluation.measure import LABELS, SMAPE, MeasureName
from gridcast.evaluation.scores import METRICS, Scores, shown_regions
from gridcast.readings.records import Ingestion
from gridcast.report.figures import draw_error_heat_map, draw_scores
from gridcast.report.forecast_panels import draw_panels
from gridcast.serving.backtest_files import read_backtest
from tasks.evaluate.evaluation_tables import read_forecast_table, read_scores
from tasks.runs.import_closure import all_code_sha256
from tasks.runs.keys import file_sha256, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.evaluation.backtest_scores import BacktestScores
    from gridcast.evaluation.records import Evaluation, KeptModels, MeanRecord, ModelRecord
    from tasks.runs.run import Run
    from tasks.train.records import Features, PassEnd, TrainedJob

# Of a pass, under the names that MLflow's charts group by.
OF_PASS = {
    "loss": "train/loss",
    "steps_per_second": "train/steps_per_second",
    "validation_smape": "validation/smape",
    "validation_nmae": "validation/nmae",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedContestant:
    """One that becomes a run of MLflow.

    ``made_of`` has the key, weights and results of each job behind it; ``note`` is the file that
    keeps its MLflow run (None: that is found by its tag), ``folder`` that of the model that
    forecasts (None: none is kept).
    """

    name: str
    made_of: Mapping[str, Sequence[str]]
    note: Path | None
    folder: Path | None
    tags: Mapping[str, str]
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    backtest: BacktestScores | None  # of the folder
    errors_by_region: Mapping[MeasureName, Mapping[str, float]]  # on the test part
    history: Sequence[PassEnd]  # of a training's passes
    error_by_month: Mapping[int, float]
    measure: MeasureName  # how errors by month are told

    @property
    def seconds(self) -> float:
        """How long it took to be made: of a training with what it waited for and validated."""
        told = self.history[-1]["elapsed_seconds"] if self.history else None
        return told or self.metrics["train_seconds"]

    def all_params(self) -> list[Any]:
        """As MLflow takes them."""
        from mlflow.entities import Param

        return [Param(key, str(value)) for key, value in self.params.items()]

    def all_metrics(self) -> list[Any]:
        """The final ones, those of the backtest by lead, and those of each pass when it ended."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        is_told_by_pass = {OF_PASS[key] for each in self.history for key in each if key in OF_PASS}
        metrics = [
            Metric(name, value, now, 0)
            for name, value in self.metrics.items()
            if name not in is_told_by_pass
        ]
        for each in self.backtest.by_lead if self.backtest else ():
            measure = self.backtest.measure if self.backtest else SMAPE
            of_lead = {measure: each.error[self.name], "coverage": each.coverage}
            metrics += [
                Metric(f"backtest/{name}_by_lead", value, now, each.lead)
                for name, value in of_lead.items()
            ]
        metrics += [
            Metric(f"test/{self.measure}_by_month", value, now, month)
            for month, value in self.error_by_month.items()
        ]
        end = (self.history[-1]["elapsed_seconds"] or 0.0) if self.history else 0.0
        for progress in self.history:
            at = now - int(1000 * (end - (progress["elapsed_seconds"] or 0.0)))
            number = int(progress["pass_number"] or 0)
            metrics += [
                Metric(metric, value, at, number)
                for key, metric in OF_PASS.items()
                if (value := cast("float | None", progress.get(key))) is not None
            ]
        return metrics

    def figures(self, evaluation: Evaluation) -> dict[str, Any]:
        """Pictures of a network by their files; of a mean the report has them."""
        if not self.history:
            return {}
        own = next(each for each in evaluation.contestants if each.name == self.name)
        forecasts = read_forecast_table(evaluation.forecasts_path, {self.name})
        shown = [each for each in evaluation.contestants if each == own or each.kind == "naive"]
        return {
            "forecast_and_actual.png": draw_panels(forecasts, [own], norms=evaluation.norms),
            "error_by_hour_and_region.png": draw_error_heat_map(
                forecasts, own, norms=evaluation.norms
            ),
            "error_by_region.png": draw_scores(
                read_scores(evaluation.scores_paths).of(shown), shown, measure=evaluation.measure
            ),
        }


def logged_contestants(
    run: Run,
    features: Features,
    trained: Sequence[TrainedJob],
    evaluation: Evaluation,
    kept: KeptModels,
    *,
    sections: Sequence[str],
) -> list[LoggedContestant]:
    """The networks, then their means; ``sections`` of the settings become parameters."""
    shared = _shared_tags(run, features), _shared_params(run, sections)
    by_name = {each.job.name: each for each in trained}
    told = evaluation, read_scores(evaluation.scores_paths)
    networks = [_network(each, *told, _folder_of(each.job.name, kept), *shared) for each in trained]
    means = [
        _mean(name, [by_name[each] for each in mean.members], *told, _folder_of(name, kept),
              *shared)
        for name, mean in evaluation.means.items()
    ]  # fmt: skip
    return networks + means


def _folder_of(name: str, kept: KeptModels) -> Path | None:
    return Path(kept.folders[name]) if name in kept.folders else None


def _network(
    trained: TrainedJob,
    evaluation: Evaluation,
    scores: Scores,
    folder: Path | None,
    tags: Mapping[str, str],
    params: Mapping[str, object],
) -> LoggedContestant:
    job, record = trained.job, evaluation.models[trained.job.name]
    backtest = _backtest(folder)
    own_tags = {
        "contestant": job.name,
        "cell": job.cell,
        "seed": str(job.seed),
        "weights_sha256": trained.weights_sha256,
        "engine": trained.engine.layers,
        "engine_reason": trained.engine.reason,
        "job_key": job.key,
    }
    own_params = {
        "cell": job.cell,
        "seed": job.seed,
        "device": job.device,
        "num_parameters": trained.num_parameters,
        "seeds_per_pass": trained.seeds_per_pass,
        "engine": trained.engine.layers,
        "weights_sha256": trained.weights_sha256,
    }
    cost = {
        "evaluation_seconds": trained.evaluation_seconds,
        "peak_memory_bytes": float(trained.peak_memory_bytes),
    }
    return LoggedContestant(
        name=job.name,
        made_of=_made_of([trained]),
        note=trained.file("mlflow.json"),
        folder=folder,
        tags={**tags, **own_tags},
        params={**params, **own_params},
        metrics=_metrics(record, evaluation)
        | _of_days(job.name, scores, evaluation.measure)
        | cost
        | _of_backtest(backtest),
        backtest=backtest,
        errors_by_region={each: record.by_region(each) for each in LABELS},
        history=trained.history,
        error_by_month=_by_month(job.name, scores, evaluation.measure),
        measure=evaluation.measure,
    )


def _mean(
    name: str,
    members: Sequence[TrainedJob],
    evaluation: Evaluation,
    scores: Scores,
    folder: Path | None,
    tags: Mapping[str, str],
    params: Mapping[str, object],
) -> LoggedContestant:
    record, backtest = evaluation.means[name], _backtest(folder)
    weights_sha256 = mean_sha256([each.weights_sha256 for each in members])
    own = {"members": ", ".join(record.members), "weights_sha256": weights_sha256}
    made_of = _made_of(members)
    if record.linear is not None:
        weights = ", ".join(f"{each:.2f}" for each in record.weights)
        own |= {"linear": record.linear, "linear_weights": weights}
        made_of[record.linear] = (record.linear_sha256, *map(str, record.weights))
    return LoggedContestant(
        name=name,
        made_of=made_of,
        note=None,
        folder=folder,
        tags={**tags, "contestant": name, **own},
        params={**params, **own, "num_parameters": record.num_parameters},
        metrics=_metrics(record, evaluation)
        | _of_days(name, scores, evaluation.measure)
        | _of_backtest(backtest),
        backtest=backtest,
        errors_by_region={each: record.by_region(each) for each in LABELS},
        history=(),
        error_by_month=_by_month(name, scores, evaluation.measure),
        measure=evaluation.measure,
    )


def _backtest(folder: Path | None) -> BacktestScores | None:
    found = None if folder is None else read_backtest(folder)
    return None if found is None else found[0]


def _of_backtest(found: BacktestScores | None) -> dict[str, float]:
    """Over all leads; ``backtest/smape`` is the mean of what ``backtest/smape_by_lead`` has."""
    if found is None:
        return {}
    next_day = None if found.next_day is None else found.next_day.contestants[found.model]
    of_day = {} if next_day is None else next_day.model_dump()
    of_day = {found.measure if key == "error" else key: each for key, each in of_day.items()}
    return {
        **{f"backtest/next_day/{name}": value for name, value in of_day.items()},
        f"backtest/{found.measure}": found.error[found.model],
        "backtest/coverage": found.coverage,
        "backtest/winkler": found.winkler,
    }


def mean_sha256(weights_sha256: Sequence[str]) -> str:
    """Tells a mean apart, by the weights of its members in their order."""
    return key_of(members=list(weights_sha256))


def _made_of(jobs: Sequence[TrainedJob]) -> dict[str, Sequence[str]]:
    return {
        each.job.name: (each.job.key, each.weights_sha256, file_sha256(each.file("result.json")))
        for each in jobs
    }


def _metrics(record: ModelRecord | MeanRecord, evaluation: Evaluation) -> dict[str, float]:
    """By part: ``validation/...`` may be chosen by, ``test/...`` is only told."""
    measure = evaluation.measure
    of_regions = record.by_region(measure)
    validation = {f"validation/{each}": record.validation_error(each) for each in LABELS}
    return {
        **{f"test/{name}": each for name in METRICS if (each := getattr(record, name)) is not None},
        **{name: each for name, each in validation.items() if each is not None},
        **{f"test/{measure}/{region}": of_regions[region] for region in shown_regions(of_regions)},
        **{
            f"test/{measure}/{name}": each.error(measure)
            for name, each in evaluation.baselines.items()
            if each.kind == "naive"  # those that there are in every run
        },
        "train_seconds": record.train_seconds,
    }


def _of_days(name: str, scores: Scores, measure: MeasureName) -> dict[str, float]:
    """How often the load was taken for too little (percent), and the error on public holidays."""
    overall, holidays = (
        table[table["contestant"] == name] for table in (scores.overall, scores.by_holiday)
    )
    figures = {"test/under": float(overall["under"].iloc[0])}
    names = {0: f"test/{measure}_on_other_days", 1: f"test/{measure}_on_holidays"}
    for code, value in zip(holidays["holiday"], holidays[measure].astype(float), strict=True):
        figures[names[int(code)]] = value
    return figures


def _by_month(name: str, scores: Scores, measure: MeasureName) -> dict[int, float]:
    """The error (percent) by local month."""
    own = scores.by_month[scores.by_month["contestant"] == name]
    return dict(zip(own["month"].astype(int), own[measure].astype(float), strict=True))


def _shared_tags(run: Run, features: Features) -> dict[str, str]:
    ingestion = run.find(Ingestion)
    regions = ingestion.regions if ingestion else {}
    contents = {name: region.content_sha256 for name, region in regions.items()}
    return {
        "pipeline_run": run.run_id,
        "profile": run.profile,
        "data_kind": ingestion.data.kind if ingestion else "",
        "data_folder": Path(ingestion.data.folder).name if ingestion else "",
        "data_sha256": key_of(regions=contents),
        "code_sha256": all_code_sha256(),
        "features_sha256": features.file_sha256,
        "features_key": features.key,
        "config_sha256": key_of(config=run.config.model_dump(mode="json")),
    }


def _shared_params(run: Run, names: Sequence[str]) -> dict[str, object]:
    sections = run.config.model_dump(mode="json", include=set(names))
    rules = run.config.rules.default.model_dump(mode="json", include={"flagged", "repaired"})
    by_section = {**sections, **{f"rules.{part}": each for part, each in rules.items()}}
    return {
        f"{section}.{key}": value
        for section, keys in by_section.items()
        for key, value in keys.items()
    }
