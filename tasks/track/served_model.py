"""The model as MLflow serves it: a frame of loads in, the hours to come out; no pickle.

MLflow copies this file, the folder of the model and the package `gridcast` side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlflow
import torch

import gridcast
from gridcast.errors import GridcastError

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc.model import PythonModelContext


class ServedForecaster(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """``region``, ``timestamp``, ``load_mw`` to a row a region and hour to come, with quantiles."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the folder, if each file of it is the one that was logged."""
        torch.set_num_threads(1)  # a request is too small to share; idle threads would only spin
        self._model = gridcast.load_model(context.artifacts["model"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """The hours to come of each region in the frame.

        ``params``: ``as_of`` (ISO time; empty: the end of the newest hour) and ``horizon`` (hours;
        0: as the model was configured).

        Raises:
            MlflowException: the frame or a parameter is not what it should be; a server answers 400
                and tells what was found and expected.
        """
        asked = params or {}
        try:
            return self._model.forecast(
                model_input, as_of=asked.get("as_of") or None, horizon=asked.get("horizon") or None
            )
        except GridcastError as error:
            raise mlflow.MlflowException.invalid_parameter_value(str(error)) from error


mlflow.models.set_model(ServedForecaster())
