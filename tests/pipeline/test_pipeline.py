"""The whole pipeline, by the real command on small synthetic data: what it leaves, twice, refused.

The first run (about 35 s) is shared by all tests of the session.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from gridcast import load_model
from gridcast.readings.records import Snapshot
from gridcast.readings.snapshots import SnapshotChanges
from gridcast.serving.backtest_files import read_backtest
from gridcast.summary import Summary
from tests.builders.pipelines import (
    NUM_REGIONS,
    SMALL_MODEL,
    PipelineRun,
    copy_artifacts,
    first_run,
    gridcast,
    on_a_server,
    read_json,
    run_flow,
    session_folder,
    settings,
    sha256_by_file,
    small_data,
    temporary_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

JOBS = ("gru-seed0", "lstm-seed0")
MEAN = "mean-seed0"
torch.set_num_threads(1)  # on networks this small, threads only wait for each other

PICKLE_NAMES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill"}
PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
ZIP_MAGIC = b"PK\x03\x04"


# -- one run -------------------------------------------------------------------------------------


def test_a_run_ends_well_and_its_last_line_is_the_path_of_its_summary() -> None:
    run = first_run()
    assert run.result.returncode == 0, run.result.stderr
    assert run.result.stdout.splitlines()[-1] == str(run.folder / "summary.json")
    assert run.result.stderr.startswith("gridcast starts")
    took = re.search(r"Completed in (\d+) s .*; (\d+) s since Enter", run.result.stdout)
    assert took is not None
    assert int(took[1]) <= int(took[2])
    assert (run.artifacts / "runs" / "latest").is_symlink()
    assert run.folder.parent == run.artifacts / "runs"


def test_the_summary_tells_status_profile_and_source_of_the_data() -> None:
    run = first_run()
    summary = run.summary
    assert (summary.status, summary.exit_code, summary.profile) == ("completed", 0, "base")
    assert summary.run_id == run.folder.name
    assert summary.flow == "run-pipeline"
    assert summary.overrides == list(SMALL_MODEL)
    assert summary.errors == []
    assert summary.failed_jobs == {}
    assert summary.data is not None
    assert (summary.data.folder, summary.data.kind) == (str(run.data), "synthetic")
    assert re.fullmatch("[0-9a-f]{64}", summary.config_sha256)


def test_the_summary_has_every_field_that_its_schema_names() -> None:
    content = read_json(first_run().folder / "summary.json")
    assert content.keys() == Summary.model_fields.keys()
    assert content["regions"]["AEP"].keys() >= {
        "rows", "utc_hours", "missing_hours", "flagged", "status", "reason",
    }  # fmt: skip
    assert content["windows"].keys() >= {"train", "validation", "test"}
    assert content["models"]["gru-seed0"].keys() >= {
        "cell", "seed", "device", "num_parameters", "smape", "smape_by_region", "mae", "rmse",
        "mase", "train_seconds", "peak_memory_bytes", "mlflow_run_id", "weights_sha256", "cached",
    }  # fmt: skip


def test_the_summary_counts_each_region_as_its_csv_does() -> None:
    run = first_run()
    assert len(run.summary.regions) == NUM_REGIONS
    for name, region in run.summary.regions.items():
        num_rows = len((run.data / f"{name}_hourly.csv").read_bytes().splitlines()) - 1
        assert (region.rows, region.utc_hours) == (num_rows, num_rows)
        assert (region.status, region.reason, region.cached) == ("published", "", False)
    assert sum(region.missing_hours for region in run.summary.regions.values()) > 0
    assert sum(region.flagged for region in run.summary.regions.values()) > 0


def test_the_summary_has_both_models_with_scores_in_every_region_and_what_they_cost() -> None:
    summary = first_run().summary
    assert tuple(summary.models) == JOBS
    for name, model in summary.models.items():
        assert name == f"{model.cell}-seed{model.seed}"
        assert model.device == "cpu"
        assert model.smape_by_region.keys() == summary.regions.keys()
        assert model.smape == pytest.approx(np.mean(list(model.smape_by_region.values())))
        assert 0 < model.smape < 20
        assert 0 < model.mae < model.rmse
        assert model.mase > 0
        assert model.train_seconds > 0
        assert model.peak_memory_bytes > 50e6
        assert re.fullmatch("[0-9a-f]{64}", model.weights_sha256)
        assert not model.cached
    assert summary.models["lstm-seed0"].num_parameters > summary.models["gru-seed0"].num_parameters


def test_the_summary_has_naive_forecasts_windows_and_seconds() -> None:
    summary = first_run().summary
    assert len(summary.baselines) == 3
    for baseline in summary.baselines.values():
        assert baseline.smape > 0
        assert baseline.smape_by_region.keys() == summary.regions.keys()
    assert summary.windows is not None
    assert min(summary.windows.train, summary.windows.validation, summary.windows.test) > 0
    assert summary.imputed_hours.keys() == summary.regions.keys()
    assert sum(summary.imputed_hours.values()) > 0
    total = summary.timings["total"]
    assert total > 0
    assert sum(seconds for stage, seconds in summary.timings.items() if stage != "total") < total


def test_report_and_data_docs_are_there() -> None:
    summary = first_run().summary
    assert summary.report is not None
    report = first_run().place(summary.report).read_text(encoding="utf-8")
    assert all(job in report for job in JOBS)
    assert summary.data_docs is not None
    pages = first_run().place(summary.data_docs)
    assert pages.is_file()
    assert len(list(pages.parent.rglob("*.html"))) > NUM_REGIONS


def test_the_data_report_has_every_region_and_a_short_form_on_prefects_pages() -> None:
    run = first_run()
    assert run.summary.data_report is not None
    page = run.place(run.summary.data_report).read_text(encoding="utf-8")
    assert all(f"<h3>{region}<span>" in page for region in run.summary.regions)
    (database,) = (run.artifacts / "prefect").glob("*.db")
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    query = "SELECT data FROM artifact WHERE key = 'data-report' AND type = 'markdown'"
    [(markdown,)] = connection.execute(query).fetchall()
    connection.close()
    assert all(f"| {region}" in markdown for region in ("AEP", "PJM\\\\_Load"))


def test_a_run_leaves_no_temporary_file_and_databases_that_are_whole() -> None:
    artifacts = first_run().artifacts
    assert temporary_files(artifacts) == []
    for path in artifacts.rglob("*.db"):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        connection.close()


def test_nothing_under_the_artifacts_is_a_pickle() -> None:
    artifacts = first_run().artifacts
    files = [path for path in artifacts.rglob("*") if path.is_file()]
    # Each job's own and MLflow's copy of it; other tests train in the same folder too.
    assert len([path for path in files if path.suffix == ".npz"]) >= 2 * len(JOBS)
    found = [str(path.relative_to(artifacts)) for path in files if path.suffix in PICKLE_NAMES]
    for path in files:
        found += _pickles_in(path.read_bytes(), str(path.relative_to(artifacts)))
    assert found == []


def _pickles_in(content: bytes, name: str) -> list[str]:
    """Names of pickles: the file itself, or members of an archive, however deep."""
    if content.startswith(PICKLE_MAGIC):
        return [name]
    if not content.startswith(ZIP_MAGIC):
        return []
    found = []
    packed = session_folder() / "packed.zip"
    packed.write_bytes(content)
    with zipfile.ZipFile(packed) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    for member, inner in members.items():
        # Weights are raw numbers that may begin with any byte.
        if "/data/weights/weight_" not in member:
            found += _pickles_in(inner, f"{name}!{member}")
    return found


# -- MLflow --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracking() -> Iterator[MlflowClient]:
    """A client of the first run's tracking database."""
    uri = f"sqlite:///{first_run().artifacts / 'mlflow' / 'mlflow.db'}"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield mlflow.MlflowClient(uri)
    mlflow.set_tracking_uri(before)


def runs_of(client: MlflowClient) -> dict[str, Run]:
    experiment = client.get_experiment_by_name("gridcast")
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    by_name = {str(run.info.run_name): run for run in runs}
    assert len(by_name) == len(runs)
    return by_name


def test_mlflow_has_one_flat_finished_run_a_model_tagged_with_the_pipeline_run(
    tracking: MlflowClient,
) -> None:
    run, found = first_run(), runs_of(tracking)
    assert sorted(found) == sorted([*JOBS, MEAN])
    for each in found.values():
        assert each.info.status == "FINISHED"
        assert each.data.tags["pipeline_run"] == run.summary.run_id
        assert "mlflow.parentRunId" not in each.data.tags
    for name, model in run.summary.models.items():
        assert found[name].info.run_id == model.mlflow_run_id
        assert found[name].data.tags["weights_sha256"] == model.weights_sha256


def test_the_mean_is_a_run_of_its_own_with_its_scores_and_members(tracking: MlflowClient) -> None:
    run = first_run()
    found, mean = runs_of(tracking)[MEAN], run.summary.means[MEAN]
    assert found.info.run_id == mean.mlflow_run_id
    assert found.data.params["members"] == "gru-seed0, lstm-seed0"
    assert found.data.params["num_parameters"] == str(mean.num_parameters)
    assert found.data.metrics["test/smape"] == pytest.approx(mean.smape)
    assert found.data.metrics["validation/smape"] == mean.validation_smape
    card = read_json(model_folder(MEAN) / "model.json")
    assert found.data.tags["weights_sha256"] == card["sha256"]
    assert str(mean.mlflow_run_id) in run.place(run.summary.report).read_text(encoding="utf-8")


def test_what_the_run_recommends_is_a_version_of_the_data_sets_model(
    tracking: MlflowClient,
) -> None:
    run = first_run()
    summary, name = run.summary, "gridcast-csv"
    (version,) = tracking.search_model_versions(f"name = '{name}'")
    able = summary.forecasters
    smallest = min(able, key=lambda each: able[each].validation_smape or 9e9)
    preferred = str(summary.preferred)
    recommended = preferred if preferred in able else smallest
    assert version.run_id == able[recommended].mlflow_run_id
    assert summary.registered_model == f"models:/{name}/{version.version}"
    assert tracking.get_model_version_by_alias(name, "challenger").version == version.version
    assert version.tags["contestant"] == recommended
    assert (
        version.tags["weights_sha256"]
        == read_json(model_folder(recommended) / "model.json")["sha256"]
    )
    assert version.tags["pipeline_run"] == summary.run_id
    assert version.tags["snapshot"] == summary.snapshot


def test_the_last_weeks_lived_through_stand_in_the_folder_the_report_and_mlflow(
    tracking: MlflowClient,
) -> None:
    run = first_run()
    html = run.place(run.summary.report).read_text(encoding="utf-8")
    for name in (*JOBS, MEAN):
        found = read_backtest(model_folder(name))
        assert found is not None
        scores, paths = found
        assert scores.model == name
        assert scores.horizon == len(scores.by_lead) == 48
        assert {each.region for each in scores.by_region} == set(run.summary.regions)
        assert set(paths["region"]) <= set(run.summary.regions)
        each = runs_of(tracking)[name]
        assert each.data.metrics["backtest/smape"] == pytest.approx(scores.error[name])
        assert each.data.metrics["backtest/coverage"] == pytest.approx(scores.coverage)
        history = tracking.get_metric_history(each.info.run_id, "backtest/coverage_by_lead")
        by_lead = {point.step: point.value for point in history}
        assert by_lead == {one.lead: pytest.approx(one.coverage) for one in scores.by_lead}
    recommended = tracking.get_model_version_by_alias("gridcast-csv", "challenger")
    found = read_backtest(model_folder(recommended.tags["contestant"]))
    assert found is not None
    assert f"held {found[0].coverage:,.1f} % of the" in html
    section = html.split('id="as-forecast"')[1].split("</section>")[0]
    assert section.count("<img ") == 2


def model_folder(name: str) -> Path:
    (folder,) = (first_run().artifacts / "models").glob(f"{name}-*")
    return folder


def test_mlflow_has_parameters_final_scores_and_each_passes_history(
    tracking: MlflowClient,
) -> None:
    summary = first_run().summary
    for name in JOBS:
        each = runs_of(tracking)[name]
        assert each.data.params["model.hidden_size"] == "8"
        assert each.data.params["training.passes"] == "2"
        assert each.data.params["cell"] == summary.models[name].cell
        assert each.data.metrics["test/smape"] == pytest.approx(summary.models[name].smape)
        assert each.data.metrics["train_seconds"] == summary.models[name].train_seconds
        for region, smape in summary.models[name].smape_by_region.items():
            assert each.data.metrics[f"test/smape/{region}"] == pytest.approx(smape)
        for metric in ("train/loss", "validation/smape"):
            history = tracking.get_metric_history(each.info.run_id, metric)
            assert [point.step for point in history] == [1, 2]


def test_mlflow_has_true_durations_the_data_set_and_no_path_of_this_machine(
    tracking: MlflowClient,
) -> None:
    run = first_run()
    for name, each in runs_of(tracking).items():
        told = (each.info.end_time - each.info.start_time) / 1000
        taken = run.summary.forecasters[name].train_seconds
        assert taken - 0.1 <= told
        if name == MEAN:
            assert told == pytest.approx(taken, abs=0.1)
        assert each.inputs is not None
        (data,) = each.inputs.dataset_inputs
        assert data.dataset.name == "csv"
        assert data.dataset.digest == run.summary.snapshot
        assert json.loads(data.dataset.source)["uri"].endswith(f"{run.summary.snapshot}.json")
        written = {**each.data.tags, **each.data.params}
        written.pop("mlflow.log-model.history", None)  # MLflow's own
        assert [key for key, text in written.items() if str(run.artifacts) in text] == []
        assert [key for key, text in written.items() if text.startswith(("/", "file:"))] == []


def test_mlflow_has_the_figures_and_the_settings(tracking: MlflowClient) -> None:
    found = runs_of(tracking)
    for each in (found[name] for name in JOBS):
        run_id = each.info.run_id
        names = {file.path for file in tracking.list_artifacts(run_id)}
        assert {"figures", "config.json"} <= names
        figures = [Path(file.path) for file in tracking.list_artifacts(run_id, "figures")]
        assert len(figures) == 3
        assert {path.suffix for path in figures} == {".png"}


@pytest.mark.parametrize("job", [JOBS[0], MEAN])
def test_the_logged_model_forecasts_a_frame_as_the_folder_of_the_run_does(
    tracking: MlflowClient, job: str
) -> None:
    run_id = runs_of(tracking)[job].info.run_id
    frame = published_loads()
    served = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    rows = served.predict(frame, params={"horizon": 12})
    expected = load_model(model_folder(job)).forecast(frame, horizon=12)
    assert len(rows) == NUM_REGIONS * 12
    assert rows["load_mw"].notna().all()
    pd.testing.assert_frame_equal(rows, expected)
    assert served.metadata.signature.inputs.input_names() == ["region", "timestamp", "load_mw"]


def published_loads() -> pd.DataFrame:
    """The newest weeks of each region, as a user would have them."""
    tables = [
        pd.read_parquet(first_run().place(each.path))[["timestamp", "load_mw"]]
        .tail(1500)
        .assign(region=region)
        for region, each in first_run().summary.regions.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(timestamp=table["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def test_a_logged_model_has_an_example_that_it_forecasts(tracking: MlflowClient) -> None:
    run_id = runs_of(tracking)[MEAN].info.run_id
    folder = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model")
    served = mlflow.pyfunc.load_model(folder)
    example = served.metadata.load_input_example(folder)
    assert len(served.predict(example)) == 48
    assert (Path(folder) / "serving_input_example.json").stat().st_size < 50_000


def test_a_logged_model_that_was_changed_is_refused_by_its_sha256_before_it_is_loaded(
    tracking: MlflowClient, tmp_path: Path
) -> None:
    run_id = runs_of(tracking)["gru-seed0"].info.run_id
    folder = Path(
        mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model", dst_path=str(tmp_path))
    )
    (weights,) = folder.rglob("gru-seed0.npz")
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(Exception, match=r"gru-seed0\.npz: found SHA-256 [0-9a-f]+"):
        mlflow.pyfunc.load_model(str(folder))


# -- again ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second_run() -> PipelineRun:
    """The same command again, in the same folder."""
    return run_flow(
        "run", small_data(), first_run().artifacts, *settings(*SMALL_MODEL),
        environment=on_a_server(),
    )  # fmt: skip


def num_mlflow_runs(artifacts: Path) -> int:
    connection = sqlite3.connect(f"file:{artifacts / 'mlflow' / 'mlflow.db'}?mode=ro", uri=True)
    (count,) = connection.execute("SELECT COUNT(*) FROM runs").fetchone()
    connection.close()
    return int(count)


def test_a_second_run_ingests_and_trains_nothing_and_tells_the_same_figures(
    second_run: PipelineRun,
) -> None:
    before, after = first_run().summary, second_run.summary
    assert second_run.result.returncode == 0, second_run.result.stderr
    assert after.run_id != before.run_id
    assert all(region.cached for region in after.regions.values())
    assert all(model.cached for model in after.models.values())
    unchanging: Any = {"cached"}
    for name, model in after.models.items():
        assert model.model_dump(exclude=unchanging) == before.models[name].model_dump(
            exclude=unchanging
        )
    assert after.baselines == before.baselines
    assert after.windows == before.windows


def test_a_second_run_leaves_the_data_report_as_it_was(second_run: PipelineRun) -> None:
    first, second = first_run().summary, second_run.summary
    assert second.data_report == first.data_report
    page = second_run.place(second.data_report).read_text(encoding="utf-8")
    assert first.run_id in page
    assert second.run_id not in page


def test_a_second_run_logs_no_new_mlflow_run(second_run: PipelineRun) -> None:
    assert num_mlflow_runs(second_run.artifacts) == len(JOBS) + 1
    assert second_run.summary.registered_model == first_run().summary.registered_model
    database = second_run.artifacts / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM model_versions").fetchone() == (1,)


def test_training_where_nothing_was_ingested_says_what_to_do_first(tmp_path: Path) -> None:
    result = gridcast("train", "--artifacts", tmp_path, environment=on_a_server())
    assert result.returncode == 2
    assert "run `gridcast ingest` first" in result.stderr


# -- faults --------------------------------------------------------------------------------------


def change_lines(path: Path, **changes: str) -> None:
    """Replace whole lines, named ``L2`` and so on, counted from 1 as editors do."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for name, line in changes.items():
        lines[int(name[1:]) - 1] = line
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def label_of(path: Path, line: int) -> str:
    return path.read_text(encoding="utf-8").splitlines()[line - 1].partition(",")[0]


@pytest.fixture(scope="module")
def faulty_run() -> PipelineRun:
    """One ingestion after the first run: of 12 regions two changed, one shuffled, four faulty."""
    artifacts = copy_artifacts(session_folder() / "faulty")
    data = session_folder() / "changed" / small_data().name
    shutil.copytree(small_data(), data)

    def csv(region: str) -> Path:
        return data / f"{region}_hourly.csv"

    header, *rows = csv("AEP").read_text(encoding="utf-8").splitlines()
    shuffled = np.random.default_rng(0).permutation(rows).tolist()
    csv("AEP").write_text("\n".join([header, *shuffled]) + "\n", encoding="utf-8")
    change_lines(csv("COMED"), L100=f"{label_of(csv('COMED'), 100)},11111.0")
    with csv("PJME").open("a", encoding="utf-8") as file:
        file.write("2018-08-03 01:00:00,30000.0\n")

    labels = {line: label_of(csv("DAYTON"), line) for line in range(10, 20)}
    bad = {10: "NaN", 11: "inf", 12: "1e400", 13: "", 14: '"12,5"', 15: "broken", 17: "nan"}
    change_lines(csv("DAYTON"), **{f"L{n}": f"{labels[n]},{cell}" for n, cell in bad.items()})
    change_lines(csv("DEOK"), L1="date,DEOK_MW")
    csv("DOM").write_text("Datetime,DOM_MW\n", encoding="utf-8")
    change_lines(csv("DUQ"), L51=f"{label_of(csv('DUQ'), 50)},1500.0")
    return run_flow("ingest", data, artifacts, environment=on_a_server())


def error_lines(run: PipelineRun, region: str) -> list[str]:
    """``<line>:<column>: <reason>`` of each ERROR line on the last run's standard error."""
    prefix = f"ERROR {run.data / f'{region}_hourly.csv'}:"
    found = [line for line in run.result.stderr.splitlines() if line.startswith(prefix)]
    return list(dict.fromkeys(line.removeprefix(prefix) for line in found))


def test_regions_with_faults_make_a_partial_run_with_status_1(faulty_run: PipelineRun) -> None:
    assert faulty_run.result.returncode == 1
    summary = faulty_run.summary
    assert (summary.status, summary.exit_code) == ("partial", 1)
    refused = {name for name, region in summary.regions.items() if region.status == "refused"}
    assert refused == {"DAYTON", "DEOK", "DOM", "DUQ"}
    for name in refused:
        assert f"{name}_hourly.csv:" in summary.regions[name].reason
        assert any(f"{name}_hourly.csv:" in error for error in summary.errors)


def test_bad_cells_give_one_error_line_a_kind_with_line_and_column(
    faulty_run: PipelineRun,
) -> None:
    lines = error_lines(faulty_run, "DAYTON")
    assert [int(line.split(":")[0]) for line in lines] == [10, 11, 12, 13, 14, 15]
    column = len("2018-01-01 00:00:00,") + 1
    assert {int(line.split(":")[1]) for line in lines if not line.startswith("14")} == {column}
    assert "and 1 more of this kind" in lines[0]  # the second NaN, in line 17


@pytest.mark.parametrize(
    ("region", "place", "words"),
    [
        pytest.param("DEOK", "1:1", "Datetime", id="wrong_header"),
        pytest.param("DOM", "2:1", "0 rows", id="header_only"),
        pytest.param("DUQ", "51:1", "line 50", id="duplicate_hour"),
    ],
)
def test_a_broken_file_gives_one_error_line_that_names_the_place(
    faulty_run: PipelineRun, region: str, place: str, words: str
) -> None:
    (line,) = error_lines(faulty_run, region)
    assert line.startswith(f"{place}: ")
    assert words in line


def snapshot_of(run: PipelineRun) -> Snapshot:
    """The snapshot that the run's summary names."""
    manifest = run.artifacts / "data" / "snapshots" / f"{run.summary.snapshot}.json"
    return Snapshot.model_validate_json(manifest.read_bytes())


def test_the_data_report_begins_with_the_refused_regions(faulty_run: PipelineRun) -> None:
    summary = faulty_run.summary
    page = faulty_run.place(summary.data_report).read_text(encoding="utf-8")
    assert "Refused: DAYTON, DEOK, DOM, DUQ" in page
    assert page.index("Refused: DAYTON") < page.index("<h2>Coverage</h2>")
    assert (
        f"Data:      {faulty_run.place(summary.data_report)}"
        in faulty_run.result.stdout.splitlines()
    )


def test_what_was_published_of_a_refused_region_stays_as_it_was(faulty_run: PipelineRun) -> None:
    before = sha256_by_file(first_run().artifacts / "data")
    after = sha256_by_file(faulty_run.artifacts / "data")
    changed = {name for name, sha in before.items() if after.get(name) != sha}
    newest = {f"newest/{region}.json" for region in ("AEP", "COMED", "PJME")}
    assert changed == {f"{small_data().name}.json", *newest}  # the pointer
    old, new = snapshot_of(first_run()), snapshot_of(faulty_run)
    assert new.parent == old.id
    for region in ("DAYTON", "DEOK", "DOM", "DUQ"):
        assert new.regions[region] == old.regions[region]
        assert not [name for name in after.keys() - before.keys() if f"/{region}-" in name]


def test_the_difference_to_the_snapshot_before_is_told(faulty_run: PipelineRun) -> None:
    name = faulty_run.summary.snapshot
    report = read_json(faulty_run.artifacts / "data" / "snapshots" / f"{name}.changes.json")
    assert report == read_json(faulty_run.folder / "changes.json")
    changes = SnapshotChanges.model_validate(report)
    assert set(changes.changed) == {"COMED", "PJME"}
    assert changes.changed["COMED"].revised.count == 1
    assert changes.changed["PJME"].added.count == 1
    shown = gridcast("snapshots", "compare", "--artifacts", faulty_run.artifacts)
    assert shown.returncode == 0, shown.stderr
    assert "11111.0 MW" in shown.stdout


def test_the_other_regions_are_published_and_nothing_half_written_is_left(
    faulty_run: PipelineRun,
) -> None:
    regions = faulty_run.summary.regions
    published = {name for name, region in regions.items() if region.status == "published"}
    assert len(published) == NUM_REGIONS - 4
    assert all(faulty_run.place(regions[name].path).is_file() for name in published)
    assert temporary_files(faulty_run.artifacts) == []


def test_only_regions_whose_bytes_changed_are_ingested_again(faulty_run: PipelineRun) -> None:
    regions = faulty_run.summary.regions
    again = {name for name, each in regions.items() if each.path and not each.cached}
    assert again == {"AEP", "COMED", "PJME"}
    assert regions["PJME"].rows == first_run().summary.regions["PJME"].rows + 1
    for name in ("COMED", "PJME"):
        before = first_run().summary.regions[name].content_sha256
        assert regions[name].content_sha256 != before


def test_shuffled_rows_have_the_same_content_hash(faulty_run: PipelineRun) -> None:
    before, after = first_run().summary.regions["AEP"], faulty_run.summary.regions["AEP"]
    assert after.source_sha256 != before.source_sha256
    assert after.content_sha256 == before.content_sha256
