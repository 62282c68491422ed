"""A model's file gives what the model gives, and is what torch.export makes of it unhurried."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gridcast.config import Cell
from gridcast.features.table import names_of_features
from gridcast.networks.building import as_run, window_shape
from gridcast.networks.forecaster import LastStep, RecurrentForecaster
from tasks.train import model_file
from tasks.train.model_file import export_model, shapes_alone
from tests.builders.trainings import make_by_lead, tiny_by_lead
from tests.builders.values import make_config

torch.set_num_threads(1)

LAYERS = (torch.ops.aten.gru.input, torch.ops.aten.lstm.input)
LOOKBACK, NUM_FEATURES = 9, 5


def make_forecaster(cell: Cell, num_layers: int, region_units: int) -> RecurrentForecaster:
    model = make_config(
        model={
            "hidden_size": 8, "num_layers": num_layers, "region_units": region_units, "dropout": 0.2
        }
    ).model  # fmt: skip
    return RecurrentForecaster(
        model, cell=cell, num_features=NUM_FEATURES, horizon=2, num_regions=3
    )


def exported(forecaster: RecurrentForecaster, path: Path) -> torch.export.ExportedProgram:
    export_model(path, forecaster, num_features=NUM_FEATURES, lookback=LOOKBACK)
    return torch.export.load(path)


def graph_of(program: torch.export.ExportedProgram) -> str:
    """The operations; how often a size was asked for on the way to them shows in its name alone."""
    return re.sub(r"sym_size_int_\d+", "sym_size_int", str(program.graph))


@pytest.mark.parametrize("region_units", [0, 3])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_file_gives_what_the_model_gives_and_has_the_operations_of_a_full_export(
    cell: Cell, num_layers: int, region_units: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    forecaster = make_forecaster(cell, num_layers, region_units)
    program = exported(forecaster, tmp_path / "model.pt2")

    @contextmanager
    def step_by_step() -> Iterator[None]:
        yield

    monkeypatch.setattr(model_file, "shapes_alone", step_by_step)
    full = exported(forecaster, tmp_path / "full.pt2")
    assert graph_of(program) == graph_of(full)
    for num_windows in (1, 7):
        x_BLF = torch.randn(num_windows, LOOKBACK, NUM_FEATURES + (region_units > 0))
        x_BLF[..., -1] = 1.0
        expected = LastStep(forecaster.eval(), lookback=LOOKBACK)(x_BLF)
        torch.testing.assert_close(program.module()(x_BLF), expected, rtol=0, atol=0)
        torch.testing.assert_close(full.module()(x_BLF), expected, rtol=0, atol=0)


def test_layers_compute_again_after_an_export_also_after_one_that_failed() -> None:
    before = [dict(layer.py_kernels) for layer in LAYERS]
    with pytest.raises(ZeroDivisionError), shapes_alone():
        _ = 1 / 0
    assert [dict(layer.py_kernels) for layer in LAYERS] == before


def test_an_export_is_hurried_on_the_pytorch_that_is_installed() -> None:
    before = [dict(layer.py_kernels) for layer in LAYERS]
    with shapes_alone():
        during = [dict(layer.py_kernels) for layer in LAYERS]
    assert all(now != then for now, then in zip(during, before, strict=True))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_head_by_lead_is_exported_for_any_number_of_windows(cell: Cell, tmp_path: Path) -> None:
    config = tiny_by_lead()
    forecaster, lookback = make_by_lead(config, cell).eval(), config.windows.lookback
    num_features = len(names_of_features(config.features))
    export_model(tmp_path / "model.pt2", forecaster, num_features=num_features, lookback=lookback)
    program = torch.export.load(tmp_path / "model.pt2").module()
    shape = window_shape(forecaster, num_features=num_features, lookback=lookback)
    for num_windows in (2, 5):
        x_BXC = torch.randn(num_windows, *shape)
        x_BXC[..., -1] = 1.0  # the region's number
        with torch.no_grad():
            expected = as_run(forecaster, lookback=lookback)(x_BXC)
            torch.testing.assert_close(program(x_BXC), expected)
