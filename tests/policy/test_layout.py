"""How the code is laid out: folders, imports that go one way, and what is not imported at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.runs.import_closure import all_modules
from tests.builders.pipelines import ROOT, clean_environment

FOLDERS = {"benchmarks", "configs", "deploy", "docs", "flows", "gridcast", "tasks", "tests"}
FLOWS = (
    "check_leaks",
    "fetch_data",
    "backtest_forecasts",
    "forecast_load",
    "monitor_forecasts",
    "prepare_data",
    "replay_operation",
    "retrain_models",
    "run_pipeline",
    "train_models",
    "tune_models",
)
HEAVY = (
    "great_expectations",
    "matplotlib",
    "mlflow",
    "optuna",
    "pandas",
    "prefect",
    "pyarrow",
    "torch",
)


def imported_by(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after ``code``."""
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=clean_environment(), text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    return {name.partition(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


@pytest.mark.slow
def test_the_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
    assert " kept, 0 broken." in result.stdout


def test_the_top_level_folders_are_those_of_the_readme() -> None:
    assert {name for name in FOLDERS if (ROOT / name).is_dir()} == FOLDERS
    for package in ("flows", "gridcast", "tasks"):
        assert (ROOT / package / "__init__.py").is_file()


def test_there_is_one_flow_a_file_named_as_the_flow() -> None:
    files = {path.stem for path in (ROOT / "flows").glob("*.py")}
    assert files == {*FLOWS, "__init__"}
    for name in FLOWS:
        source = (ROOT / "flows" / f"{name}.py").read_text(encoding="utf-8")
        assert source.count("@flow(") == 1
        assert f'@flow(name="{name.replace("_", "-")}"' in source


def test_help_of_every_command_imports_nothing_heavy() -> None:
    code = """
from typer.testing import CliRunner
from flows.command_line.app import app
fetches = ("fetch", "fetch archive", "fetch kaggle", "fetch eia", "fetch synthetic")
others = ("verify", "check-leaks", "ui", "snapshots", "snapshots list")
for command in ("", "run", "ingest", "train", "tune", "synthesize", *fetches, *others):
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output
"""
    assert imported_by(code).isdisjoint(HEAVY)


@pytest.mark.slow
def test_the_training_process_imports_no_orchestrator_tracker_or_validator() -> None:
    imported = imported_by("import tasks.train.training_process")
    assert "torch" in imported
    assert imported.isdisjoint({"prefect", "mlflow", "great_expectations", "sqlalchemy", "fastapi"})
    # scikit-learn alone takes as long as all else but PyTorch; numba comes with a training.
    assert imported.isdisjoint({"sklearn", "scipy", "holidays", "numba", "matplotlib"})


def test_what_looks_at_the_data_before_a_run_does_not_wait_for_prefect() -> None:
    assert "prefect" not in imported_by("import tasks.fetch.regional_csvs")


def test_a_run_on_a_server_that_is_named_does_not_wait_for_what_a_server_is_made_of() -> None:
    code = """
import http.server, os, threading
from pathlib import Path
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")
server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{server.server_port}/api"
from tasks.runs.servers import start_embedded_prefect
start_embedded_prefect(Path("nowhere"))
import flows.run_pipeline
"""
    imported = imported_by(code)
    assert "prefect" in imported
    assert imported.isdisjoint({"fastapi", "sqlalchemy"})
    assert "sklearn" not in imported  # before a region is scaled


def test_an_ingestion_with_nothing_to_validate_does_not_wait_for_great_expectations() -> None:
    nothing = "refused_of_added(None, [])"
    gate = "from tasks.ingest.gate.validation import refused_of_added"
    code = f"{gate}\nassert {nothing} == frozenset()"
    assert "great_expectations" not in imported_by(code)


@pytest.mark.slow
def test_the_process_that_fits_a_baseline_does_not_wait_for_torch_either() -> None:
    imported = imported_by("import tasks.train.fitting_process")
    assert "pandas" in imported
    assert imported.isdisjoint({"torch", "prefect", "mlflow", "great_expectations", "matplotlib"})
    assert "sklearn" not in imported  # the linear ones do without it


@pytest.mark.slow
def test_the_core_imports_no_orchestrator_tracker_or_validator() -> None:
    modules = [name for name in all_modules() if name.startswith("gridcast.")]
    assert len(modules) > 50
    imported = imported_by("\n".join(f"import {module}" for module in modules))
    assert imported.isdisjoint({"prefect", "mlflow", "great_expectations", "sqlalchemy", "fastapi"})
