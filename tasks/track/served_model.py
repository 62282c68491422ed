"""The model as MLflow serves it: code and a ``.pt2`` file, no pickle, its hash checked first.

MLflow copies this file beside the model, so it stands on torch and numpy alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import torch

if TYPE_CHECKING:
    from mlflow.pyfunc.model import PythonModelContext


class ServedForecaster(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Scaled features ``(B, L, F)`` float32 to scaled forecasts ``(B, H)`` float32."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the exported program, if it is the one that was logged."""
        path = Path(context.artifacts["program"])
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        expected = context.model_config["program_sha256"]
        if found != expected:
            message = f"{path}: found SHA-256 {found}, expected {expected}; it is not loaded"
            raise ValueError(message)
        torch.set_num_threads(1)  # a window is too small to share; idle threads would only spin
        self._forecast = torch.export.load(path).module()

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow's signature
    ) -> np.ndarray:
        """Forecast each window. A batch of one is padded: the exported batch is two or more."""
        x_BLF = torch.from_numpy(np.ascontiguousarray(model_input, dtype=np.float32))
        padded = torch.cat([x_BLF, x_BLF]) if len(x_BLF) == 1 else x_BLF
        with torch.no_grad():
            y_BH: torch.Tensor = self._forecast(padded)[: len(x_BLF)]
        return y_BH.numpy()


mlflow.models.set_model(ServedForecaster())
