"""The chain from the CSVs to the MLflow run: whole as a run leaves it, and each broken link named.

One run of the small pipeline is checked in place and in a copy in which files are changed.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gridcast.audit.differences import first_difference, require_described
from gridcast.audit.lineage import (
    Lineage,
    Link,
    UnlikeError,
    first_unlike,
    require_parts,
    stored_weights_sha256,
)
from gridcast.errors import UsageError
from gridcast.features.table import build_features
from gridcast.features.windows import count_windows, steps_of
from tasks.runs.storage import LIFE, LIVE, read_seal, seal_folder
from tasks.track.mlflow_client import read_uri, written_uri
from tasks.track.verify import verify
from tests.builders.pipelines import (
    NUM_REGIONS,
    SMALL_MODEL,
    copy_artifacts,
    first_run,
    gridcast,
    on_a_server,
    read_json,
    run_flow,
    session_folder,
    settings,
    small_data,
)
from tests.builders.records import write_tree
from tests.builders.values import make_config, make_load, make_load_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridcast.audit.lineage import Verdict

SEAL = "SHA256SUMS"


# -- links ---------------------------------------------------------------------------------------


def make_lineage(**made_of: tuple[str, ...]) -> Lineage:
    links = tuple(Link(kind="spec", name=name, made_of=each) for name, each in made_of.items())
    return Lineage(run_id="20260101T000000Z-0000", created="", links=links)


def test_a_chain_holds_what_leads_to_its_end_in_the_order_of_the_data() -> None:
    lineage = make_lineage(a=(), b=(), c=("a",), d=("b", "c"), e=("b",))
    assert [link.name for link in lineage.leading_to("d")] == ["a", "b", "c", "d"]
    assert [link.name for link in lineage.leading_to("e")] == ["b", "e"]


def test_the_first_unlike_entry_is_named_and_more_entries_are_no_fault() -> None:
    expected = {"a": 1, "b": {"c": [2], "d": 3}}
    assert first_unlike({"a": 1, "b": {"c": [2], "d": 3, "more": 0}, "more": 0}, expected) == ""
    assert first_unlike({"a": 1, "b": {"c": [2], "d": 4}}, expected) == "b.d"
    assert first_unlike({"b": {"c": [2], "d": 3}}, expected) == "a"


def test_a_metric_with_a_dot_in_its_name_is_told_with_both_values() -> None:
    expected = {"params": {"training.passes": "2"}}
    with pytest.raises(UnlikeError, match=r"params\.training\.passes: found 3, expected 2"):
        require_parts("run", {"params": {"training.passes": "3"}}, expected)


def test_two_tables_differ_first_at_the_earliest_row_not_in_the_first_column() -> None:
    hours = pd.date_range("2017-01-01", periods=4, freq="h", tz="UTC")
    table = pd.DataFrame(
        {"region": "AEP", "timestamp": hours, "x": [0.0, 1.0, float("nan"), 3.0], "y": [1, 2, 3, 4]}
    )
    assert first_difference(table.copy(), table, ["x", "y"]) is None
    other = table.assign(x=[0.0, 1.0, float("nan"), 9.0], y=[1, 2, 0, 4])
    difference = first_difference(other, table, ["x", "y"])
    assert difference is not None
    assert difference.place == "AEP, 2017-01-01 02:00 UTC, y"
    assert first_difference(table.assign(x=table["x"] + 1e-9), table, ["x"], tolerance=1e-5) is None
    assert first_difference(table.assign(x=-table["x"]), table, ["x"]) is not None  # -0.0, by bytes


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("scales", "AEP", 0), 10_000.0, r"scales\.AEP\.offset_mw"),
        (("scales", "DOM", 1), 1.0, r"scales\.DOM\.scale_mw"),
        (("feature_names", 0), "x_other", "feature_names"),
        (("windows", "train"), 1, "windows"),
        (("imputed_hours", "AEP"), 1, "imputed_hours"),
    ],
    ids=lambda each: ".".join(map(str, each)) if isinstance(each, tuple) else "",
)
def test_what_is_told_of_a_table_is_computed_again_whatever_hash_it_has(
    path: tuple[Any, ...], value: object, where: str
) -> None:
    config = make_config(features={"lags_hours": [24]}, windows={"lookback": 12, "warmup": 4})
    readings = {
        region: make_load_frame(make_load(420, seed=seed), config=config)
        for seed, region in enumerate(("AEP", "DOM"))
    }
    built = build_features(readings, config)
    told: dict[str, Any] = {
        "scales": {name: [each.offset_mw, each.scale_mw] for name, each in built.scales.items()},
        "feature_names": list(built.feature_names),
        "windows": count_windows(steps_of(built.frame), config.windows).model_dump(),
        "imputed_hours": {"AEP": 0, "DOM": 0},
        "covariate_scales": {},
    }
    require_described("f", told, built, config.windows)
    *before, last = path
    inner = told
    for step in before:
        inner = inner[step]
    inner[last] = value
    with pytest.raises(UnlikeError, match=f"f: {where}: found "):
        require_described("f", told, built, config.windows)


def test_a_tracking_address_is_written_without_password_and_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifacts, moved = Path("/srv/a"), Path("/srv/b")
    assert written_uri("https://me:secret@host/x", artifacts) == "https://host/x"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host/x")
    assert read_uri("https://host/x", artifacts) == "https://me:secret@host/x"
    local = written_uri("sqlite:////srv/a/mlflow/mlflow.db", artifacts)
    assert read_uri(local, moved) == "sqlite:////srv/b/mlflow/mlflow.db"


def test_a_seal_fits_its_folder_and_one_changed_bit_makes_it_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    seal_folder(tmp_path)
    assert list(read_seal(tmp_path) or {}) == ["a.json"]
    whole = (tmp_path / SEAL).read_bytes()
    for position in range(0, 8 * len(whole), 7):
        with flipped(tmp_path / SEAL, position):
            assert read_seal(tmp_path) is None


# -- a run ---------------------------------------------------------------------------------------


@contextmanager
def flipped(path: Path, position: int | None = None) -> Iterator[None]:
    """The file with one bit changed, and as it was again afterwards."""
    content = path.read_bytes()
    drawn = random.Random(path.name).randrange(8 * len(content))  # noqa: S311
    bit = drawn if position is None else position
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(changed))
    try:
        yield
    finally:
        path.write_bytes(content)


@cache
def moved_run() -> tuple[str, Path]:
    """The first run's id, and a copy of its artifacts at another place, to be changed."""
    return first_run().folder.name, copy_artifacts(session_folder() / "lineage" / "artifacts")


def lineage_of(artifacts: Path, run_id: str) -> Lineage:
    path = artifacts / "runs" / run_id / "lineage.json"
    return Lineage.model_validate_json(path.read_bytes())


def unlike(verdict: Verdict) -> list[tuple[str, str]]:
    return [(each.name, each.state) for each in verdict.findings if each.state != "ok"]


def files_of_each_kind(lineage: Lineage) -> list[tuple[Link, str]]:
    """One file of each name that a kind of links has, of the first job and of the last in turn."""
    files: dict[tuple[str, str], list[tuple[Link, str]]] = {}
    for link in lineage.links:
        for written in link.files:
            # One of many alike: regions, and copies of our code that go with a model.
            is_one_of_many = link.kind in {"csv", "region"} or "/code/" in written
            name = Path(written).suffix if is_one_of_many else Path(written).name
            files.setdefault((link.kind, name), []).append((link, written))
    return [many[-(number % 2)] for number, many in enumerate(files.values())]


def unrelated(lineage: Lineage, files: list[tuple[Link, str]]) -> list[list[tuple[Link, str]]]:
    """The files in few groups, in each of which no link is the same as another or leads to it."""
    groups: list[list[tuple[Link, str]]] = []
    ways = {link.name: {each.name for each in lineage.leading_to(link.name)} for link, _ in files}
    for link, written in files:
        for group in groups:
            if all(
                link.name not in ways[other.name] and other.name not in ways[link.name]
                for other, _ in group
            ):
                group.append((link, written))
                break
        else:
            groups.append([(link, written)])
    return groups


@pytest.mark.prefect
@pytest.mark.slow
class TestRun:
    def test_the_chain_of_a_run_is_whole_here_and_where_its_artifacts_were_copied(self) -> None:
        run_id, copied = moved_run()
        for artifacts in (first_run().artifacts, copied):
            verdict = verify(run_id, artifacts)
            assert unlike(verdict) == []
            assert verdict.broken is None
            assert verdict.run_id == run_id
        findings = {each.name: each.found for each in verdict.findings}
        assert "read from the CSV again" in findings["region AEP"]
        assert "built from the regions again" in findings["features"]
        assert "computed from the forecasts again" in findings["scores"]
        assert "sMAPE computed again" in findings["summary"]

    def test_links_go_from_the_csvs_to_mlflow_and_only_name_links_before_them(self) -> None:
        run_id, artifacts = moved_run()
        lineage = lineage_of(artifacts, run_id)
        before: set[str] = set()
        for link in lineage.links:
            assert before.issuperset(link.made_of)
            before.add(link.name)
        assert len(lineage.of("csv")) == len(lineage.of("region")) == NUM_REGIONS
        names = {link.name for link in lineage.leading_to("mlflow lstm-seed0")}
        assert {"csv AEP", "spec windows", "spec split", "code", "weights lstm-seed0"} <= names
        assert "mlflow gru-seed0" not in names

    def test_one_flipped_bit_in_a_file_of_the_chain_is_found_and_only_that_link_is_named(
        self,
    ) -> None:
        run_id, artifacts = moved_run()
        lineage = lineage_of(artifacts, run_id)
        # Of one that leads to another one cannot tell whose fault is found.
        for group in unrelated(lineage, files_of_each_kind(lineage)):
            expected = {
                (link.name, "changed" if link.kind == "csv" else "broken", str(artifacts / written))
                for link, written in group
            }
            with ExitStack() as flips:
                for _, _, where in expected:
                    flips.enter_context(flipped(Path(where)))
                verdict = verify(run_id, artifacts)
            found = [(each.name, each.state, each.where) for each in verdict.findings]
            assert {each for each in found if each[1] != "ok"} == expected

    def test_one_flipped_bit_in_any_other_file_of_the_runs_folder_is_named(self) -> None:
        run_id, artifacts = moved_run()
        folder = artifacts / "runs" / run_id
        names = {"lineage.json": "lineage", SEAL: "seal"}
        known = {path for link in lineage_of(artifacts, run_id).links for path in link.files}
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        unsealed = {folder / LIVE, folder / LIFE}  # what tasks told one another while it lived
        files = [path for path in files if unsealed.isdisjoint({path, *path.parents})]
        others = [path for path in files if str(path.relative_to(artifacts)) not in known]
        subfolders = {path.parent: path for path in others if path.parent != folder}
        others = [path for path in others if path.parent == folder or path in subfolders.values()]
        assert {path.name for path in others} >= {"summary.json", "evaluation.json", *names}
        for path in others:
            with flipped(path):
                verdict = verify(run_id, artifacts)
            assert verdict.broken is not None, path.name
            assert verdict.broken.name == names.get(path.name, "summary")
            assert verdict.broken.where == str(path)

    def test_mlflows_copy_of_the_lineage_is_held_against_its_tag(self) -> None:
        run_id, artifacts = moved_run()
        link = lineage_of(artifacts, run_id).link("mlflow gru-seed0")
        with flipped(artifacts / link.facts["folder"] / "lineage.json"):
            assert unlike(verify(run_id, artifacts)) == [("mlflow gru-seed0", "broken")]

    @pytest.mark.parametrize(
        ("table", "key", "value"),
        [
            ("tags", "features_key", "0"),
            ("tags", "lineage_sha256", "0"),
            ("params", "training.passes", "9"),
            ("latest_metrics", "test/smape", 0.1),
        ],
    )
    def test_another_tag_parameter_or_score_in_mlflow_is_named(
        self, table: str, key: str, value: object
    ) -> None:
        run_id, artifacts = moved_run()
        mlflow_id = lineage_of(artifacts, run_id).link("mlflow gru-seed0").facts["run_id"]
        database = artifacts / "mlflow" / "mlflow.db"
        where = f"{table} WHERE key = '{key}' AND run_uuid = '{mlflow_id}'"
        change = f"UPDATE {where.replace('WHERE', 'SET value = ? WHERE')}"
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            ((before,),) = connection.execute(f"SELECT value FROM {where}")  # noqa: S608 - our words
            connection.execute(change, (value,))
            verdict = verify(run_id, artifacts)
            connection.execute(change, (before,))
        assert verdict.broken is not None
        assert verdict.broken.name == "mlflow gru-seed0"
        assert key in verdict.broken.where

    def test_a_figure_of_the_summary_that_does_not_come_out_is_named_though_all_hashes_fit(
        self, tmp_path: Path
    ) -> None:
        run_id, artifacts = first_run().folder.name, copy_artifacts(tmp_path / "artifacts")
        path = artifacts / "runs" / run_id / "summary.json"
        summary = read_json(path)
        summary["models"]["gru-seed0"]["smape"] -= 0.01
        write_tree(path, summary)
        seal_folder(path.parent)
        broken = verify(run_id, artifacts).broken
        assert broken is not None
        assert broken.name == "summary"
        assert broken.where.endswith("summary.json: models.gru-seed0.smape")

    def test_what_was_pruned_is_gone_and_what_lacks_in_a_folder_that_is_there_is_broken(
        self, tmp_path: Path
    ) -> None:
        run_id, artifacts = first_run().folder.name, copy_artifacts(tmp_path / "artifacts")
        shutil.rmtree(artifacts / "features")
        assert unlike(verify(run_id, artifacts)) == [("features", "gone")]
        (job,) = (artifacts / "jobs").glob("gru-seed0-*")
        (job / "weights.npz").unlink()
        assert ("weights gru-seed0", "broken") in unlike(verify(run_id, artifacts))
        shutil.rmtree(job)
        assert verify("lstm-seed0", artifacts).broken is None
        assert ("weights gru-seed0", "gone") in unlike(verify(run_id, artifacts))

    def test_a_run_that_made_it_again_vouches_for_other_bytes(self, tmp_path: Path) -> None:
        run_id, artifacts = first_run().folder.name, copy_artifacts(tmp_path / "artifacts")
        (result,) = (artifacts / "jobs").glob("gru-seed0-*/result.json")
        result.write_text(result.read_text(encoding="utf-8") + " ", encoding="utf-8")
        assert unlike(verify(run_id, artifacts)) == [("weights gru-seed0", "broken")]
        again = settings(*SMALL_MODEL, "model.cells=[gru]")
        run = run_flow(
            "train", small_data(), artifacts, "--fresh", *again, environment=on_a_server()
        )
        assert run.result.returncode == 0, run.result.stderr
        assert verify("latest", artifacts).broken is None
        assert ("weights gru-seed0", "replaced") in unlike(verify(run_id, artifacts))
        assert verify(run_id, artifacts).broken is None

    def test_the_stored_weights_are_those_of_the_trained_model(self) -> None:
        for path in first_run().artifacts.glob("jobs/*/weights.npz"):
            found = stored_weights_sha256(path.read_bytes())
            assert found == read_json(path.with_name("result.json"))["weights_sha256"]

    # -- what may be named -----------------------------------------------------------------------

    def test_a_model_leads_back_to_its_run_by_mlflow_run_id_version_or_alias(
        self, tmp_path: Path
    ) -> None:
        run_id, artifacts = first_run().folder.name, copy_artifacts(tmp_path / "artifacts")
        mlflow_id = lineage_of(artifacts, run_id).link("mlflow gru-seed0").facts["run_id"]
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{artifacts / 'mlflow' / 'mlflow.db'}")
        client.create_registered_model("load")
        client.create_model_version("load", f"runs:/{mlflow_id}/model", mlflow_id)
        client.set_registered_model_alias("load", "champion", "1")
        for target in (mlflow_id, "models:/load/1", "models:/load@champion"):
            verdict = verify(target, artifacts)
            assert (verdict.run_id, verdict.broken) == (run_id, None)
            assert verdict.findings[-1].name == "mlflow gru-seed0"

    @pytest.mark.parametrize(
        "target", ["20200101T000000Z-0000", "tcn-seed0", "models:/none/1", "0" * 32]
    )
    def test_a_run_that_is_not_there_is_wrong_usage(self, target: str) -> None:
        with pytest.raises(UsageError, match="expected a run"):
            verify(target, moved_run()[1])

    def test_the_command_shows_every_link_and_ends_with_1_where_one_is_broken(self) -> None:
        run_id, artifacts = moved_run()
        whole = gridcast("verify", run_id, "--artifacts", artifacts)
        assert whole.returncode == 0, whole.stderr
        for link in lineage_of(artifacts, run_id).links:
            assert link.name in whole.stdout
        (table,) = (artifacts / "features").glob("*.parquet")
        with flipped(table):
            broken = gridcast("verify", "latest", "--artifacts", artifacts)
        assert broken.returncode == 1
        assert f"ERROR features: {table}: found SHA-256" in broken.stderr
        assert gridcast("verify", "nobody", "--artifacts", artifacts).returncode == 2


def test_a_folder_without_runs_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`gridcast run` first"):
        verify("latest", tmp_path)
    (tmp_path / "runs" / "20260101T000000Z-0000").mkdir(parents=True)
    with pytest.raises(UsageError, match="trained no model"):
        verify("20260101T000000Z-0000", tmp_path)


def test_a_lineage_that_is_no_json_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "20260101T000000Z-0000"
    folder.mkdir(parents=True)
    (folder / "lineage.json").write_text(json.dumps({"run_id": 1}), encoding="utf-8")
    seal_folder(folder)
    broken = verify("latest", tmp_path).broken
    assert broken is not None
    assert (broken.name, broken.where) == ("lineage", str(folder / "lineage.json"))
