"""The folder of a model as MLflow keeps it: a pyfunc made of code, without a pickle."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from gridcast.evaluation.forecasts import quantile_column
from gridcast.serving.frames import COLUMNS
from gridcast.serving.model_folder import read_files
from tasks.runs.import_closure import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow.models import ModelSignature

    from gridcast.serving.model_card import ModelCard

# What a served model imports, beside gridcast itself, which goes with it.
REQUIRED: Final = (
    "holidays", "mlflow", "numpy", "pandas", "pyarrow", "pydantic", "PyYAML", "torch",
)  # fmt: skip
_TEXTS = ("fallback", "fallback_reason", "model", "model_sha256")
_DAY = 24


def log_folder(folder: Path, features_path: Path) -> None:
    """Log it to the MLflow run that is active; ``features_path`` has the hours of its example."""
    import mlflow

    card, _ = read_files(folder)
    quantiles = [quantile_column(each) for each in card.config.forecasting.quantiles]
    with _no_word_of_type_hints():
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": str(folder)},
            code_paths=[str(ROOT / "gridcast")],
            signature=signature_of(quantiles, list(card.config.covariates.columns)),
            input_example=_example(card, features_path),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIRED],
        )


@contextmanager
def _no_word_of_type_hints() -> Iterator[None]:
    """MLflow asks for one, against any filter, where the signature says all."""
    with warnings.catch_warnings(record=True) as told:
        yield
    for each in told:
        if "Add type hints" not in str(each.message):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _example(card: ModelCard, features_path: Path) -> pd.DataFrame | None:
    """The newest hours of one region, as many as a network reads from any hour of the day on.

    None where the table is not kept any more.
    """
    if not features_path.is_file():
        return None
    region = next(iter(card.scales))
    hours = pd.read_parquet(
        features_path, columns=list(COLUMNS), filters=[("region", "==", region)]
    )
    hours = hours.tail(card.config.windows.lookback + _DAY)
    times = hours["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return hours.assign(region=region, timestamp=times).dropna().reset_index(drop=True)


def signature_of(quantiles: Sequence[str], covariates: Sequence[str] = ()) -> ModelSignature:
    """What goes in and what comes out; columns of covariates may be missing.

    Times go in as text: MLflow's datetime knows no zone, and of a type that may be anything it
    reads no CSV.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    given = {"region": "string", "timestamp": "string", "load_mw": "double"}
    made = {"region": "string", "issue_time": "datetime", "timestamp": "datetime", "lead": "long"}
    made |= dict.fromkeys(("load_mw", *quantiles), "double") | dict.fromkeys(_TEXTS, "string")
    params = [
        ParamSpec("as_of", DataType.string, ""),
        ParamSpec("horizon", DataType.long, 0),
    ]
    asked = given | dict.fromkeys(covariates, "double")
    return ModelSignature(
        inputs=Schema([ColSpec(each, name, name in given) for name, each in asked.items()]),
        outputs=Schema([ColSpec(kind, name) for name, kind in made.items()]),
        params=ParamSchema(params),
    )
