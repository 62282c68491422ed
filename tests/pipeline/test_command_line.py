"""The command itself: its help, what it refuses at once and with which status, and `synthesize`."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tasks.runs.run import open_run
from tests.builders.archives import make_archive
from tests.builders.pipelines import (
    ROOT,
    gridcast,
    on_a_server,
    read_json,
    settings,
    small_data,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The command is started as people start it, and most of it imports Prefect: seconds each.
pytestmark = [pytest.mark.prefect, pytest.mark.slow]

COMMANDS = (
    "run",
    "ingest",
    "inspect",
    "train",
    "tune",
    "synthesize",
    "verify",
    "check-leaks",
    "ui",
)
SOURCES = ("archive", "kaggle", "eia", "synthetic")
FLOWS = ("run", "ingest", "train")
REGION_FILE = "AEP_hourly.csv"


# -- help ----------------------------------------------------------------------------------------


@cache
def help_of(*command: str) -> str:
    result = gridcast(*command, "--help")
    assert result.returncode == 0
    return result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(command: str) -> None:
    shown = help_of(command)
    assert "Examples:" in shown
    assert f"gridcast {command}" in shown


@pytest.mark.parametrize("source", SOURCES)
def test_help_of_fetch_shows_examples(source: str) -> None:
    assert f"gridcast fetch {source}" in help_of("fetch", source)
    assert source in help_of("fetch")


def test_help_lists_all_commands_and_the_exit_statuses() -> None:
    shown = help_of()
    assert all(re.search(rf"\b{command}\b", shown) for command in COMMANDS)
    assert all(status in shown for status in ("0 all done", "1 part", "2 wrong", "75 others"))


def test_no_arguments_show_the_help() -> None:
    result = gridcast()
    assert "Usage: gridcast" in result.stdout + result.stderr


# -- usage ---------------------------------------------------------------------------------------


def refused(*arguments: str | Path) -> str:
    """The one ERROR line of a command that is refused with status 2."""
    result = gridcast(*arguments)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("ERROR"))
    return line


def test_the_version_and_short_help_are_there() -> None:
    told = gridcast("--version")
    assert (told.returncode, told.stdout) == (0, f"gridcast {version('gridcast')}\n")
    for command in ([], ["forecast"], ["fetch", "eia"], ["snapshots"]):
        short, long = gridcast(*command, "-h"), gridcast(*command, "--help")
        assert short.returncode == 0
        assert short.stdout == long.stdout


@pytest.mark.parametrize("command", FLOWS)
def test_an_unknown_key_is_refused_naming_origin_key_and_known_keys(
    command: str, tmp_path: Path
) -> None:
    line = refused(command, "--artifacts", tmp_path / "a", *settings("training.epochs=3"))
    assert "--set training.epochs=3: training.epochs: found 'epochs'" in line
    assert "expected a known key: device, seeds, passes" in line
    assert not (tmp_path / "a").exists()


def test_a_wrong_value_in_a_profile_is_refused_naming_its_file(tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("training:\n  passes: many\n", encoding="utf-8")
    line = refused("run", "--artifacts", tmp_path / "a", "--profile", profile)
    assert line.startswith(f"ERROR {profile}: training.passes: found 'many', expected")


def test_an_unknown_profile_is_refused_naming_those_there_are(tmp_path: Path) -> None:
    line = refused("run", "--artifacts", tmp_path / "a", "--profile", "nightly")
    assert "nightly.yaml: profile: found 'nightly', expected one of base" in line
    assert "seed" in line


_OTHERS = "; of files of another kind try `gridcast inspect`"


@pytest.mark.parametrize(
    ("what", "found", "advice"),
    [
        pytest.param("absent", "nothing of that name", "", id="a_folder_that_is_not_there"),
        pytest.param("file.csv", "a file", "; try `gridcast inspect`", id="a_file"),
        pytest.param("empty", "no regional CSV (no files)", _OTHERS, id="an_empty_folder"),
        pytest.param("foreign", "no regional CSV (prices.csv)", _OTHERS, id="a_folder_of_others"),
    ],
)
def test_data_without_regional_csvs_is_refused(
    tmp_path: Path, what: str, found: str, advice: str
) -> None:
    (tmp_path / "file.csv").write_text("a,b\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "prices.csv").write_text("a,b\n", encoding="utf-8")
    line = refused("ingest", "--data", tmp_path / what, "--artifacts", tmp_path / "a")
    assert line == (
        f"ERROR {tmp_path / what}: found {found}, "
        f"expected a folder with files named <REGION>_hourly.csv{advice}"
    )
    assert not (tmp_path / "a" / "runs").exists()


def test_a_csv_that_leads_out_of_the_folder_is_refused_before_any_write(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere.csv").write_text("Datetime,AEP_MW\n", encoding="utf-8")
    (tmp_path / "data" / REGION_FILE).symlink_to(tmp_path / "elsewhere.csv")
    line = refused("ingest", "--data", tmp_path / "data", "--artifacts", tmp_path / "a")
    assert f"{REGION_FILE}: found a link to {tmp_path / 'elsewhere.csv'}" in line
    assert not (tmp_path / "a" / "data").exists()


# -- archives ------------------------------------------------------------------------------------


def test_an_archive_is_ingested_as_the_folder_in_it_is(tmp_path: Path) -> None:
    folder, artifacts = tmp_path / "csv", tmp_path / "a"
    wanted = shutil.ignore_patterns("[B-Z]*_hourly.csv")  # one region is enough; and the marker
    shutil.copytree(small_data(), folder, ignore=wanted)
    archive = shutil.make_archive(str(tmp_path / "load"), "zip", tmp_path, "csv")
    for data in (folder, archive):
        result = gridcast(
            "ingest", "--data", data, "--artifacts", artifacts, environment=on_a_server()
        )
        assert result.returncode == 0, result.stderr
        summary = read_json(artifacts / "runs" / "latest" / "summary.json")
        assert (summary["data"]["folder"], summary["data"]["kind"]) == (str(data), "synthetic")
        assert summary["regions"].keys() == {"AEP"}
        assert all(region["status"] == "published" for region in summary["regions"].values())
    assert len(list((artifacts / "sources").iterdir())) == 1
    assert all(region["cached"] for region in summary["regions"].values())


def test_an_archive_that_leads_out_of_its_folder_is_refused_before_any_write(
    tmp_path: Path,
) -> None:
    archive = make_archive(tmp_path / "x.zip", {"../../etc/x_hourly.csv": b"Datetime,x_MW\n"})
    for arguments in (
        ("ingest", "--data", archive, "--artifacts", tmp_path / "a"),
        ("fetch", "archive", archive, "--to", tmp_path / "to"),
    ):
        line = refused(*arguments)
        assert "found the member '../../etc/x_hourly.csv', a path that leads out" in line
    assert not (tmp_path / "a" / "sources").exists()
    assert not (tmp_path / "to").exists()


def test_a_fetched_archive_says_what_it_took_and_how_to_go_on(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "x.tar.gz", {"a/AEP_hourly.csv": b"Datetime,AEP_MW\n"})
    result = gridcast("fetch", "archive", archive, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "Took 1 regions: AEP\nUse them: gridcast run --data data/x\n"
    assert (tmp_path / "data" / "x" / REGION_FILE).is_file()


# -- artifacts -----------------------------------------------------------------------------------


def test_artifacts_that_are_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("not a folder", encoding="utf-8")
    line = refused("run", "--artifacts", tmp_path / "artifacts")
    assert f"{tmp_path / 'artifacts'}: found" in line
    assert "--artifacts" in line


def test_artifacts_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    line = refused("run", "--artifacts", tmp_path / "file" / "artifacts")
    assert "cannot be written (Not a directory)" in line


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own on ``folder``; skips the test where nobody lets us mount one."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", *options, "gridcast-tests", str(folder)]
    result = subprocess.run(command, capture_output=True, check=False) if mount else None
    if result is None or result.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs (root in a container that allows it)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_artifacts_on_a_read_only_disk_are_refused(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", "ro") as disk:
        line = refused("run", "--artifacts", disk / "artifacts")
    assert "cannot be written (Read-only file system)" in line


def test_artifacts_on_a_disk_that_is_nearly_full_are_refused(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "disk", "-o", "size=20m") as disk:
        line = refused("run", "--artifacts", disk / "artifacts")
        assert sorted(path.name for path in disk.rglob("*")) == ["artifacts"]
    assert re.search(r"found 2\d MB free on its disk, expected at least \d+ MB", line)


def test_pruning_while_a_run_lives_gives_status_75_naming_the_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    run = open_run("prepare-data", data=None, artifacts=str(tmp_path), profile="base",
                   overrides=None, fresh=False, run_id=None)  # fmt: skip
    with run as living:
        result = gridcast("snapshots", "prune", "--artifacts", tmp_path)
        assert gridcast("snapshots", "prune", "--dry-run", "--artifacts", tmp_path).returncode == 0
    assert result.returncode == 75, result.stderr
    assert f"{tmp_path / 'runs'}: found at work: {living.run_id}" in result.stderr
    assert gridcast("snapshots", "prune", "--artifacts", tmp_path).returncode == 0


# -- synthesize ----------------------------------------------------------------------------------


def test_synthesize_writes_12_regional_csvs_and_the_same_bytes_again(tmp_path: Path) -> None:
    small = settings("synthetic.num_hours=1500")
    for name in ("one", "two"):
        result = gridcast("synthesize", tmp_path / name, *small)
        assert result.returncode == 0, result.stderr
    one, two = (sorted((tmp_path / name).glob("*_hourly.csv")) for name in ("one", "two"))
    assert len(one) == 12
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    header, first, *_ = (tmp_path / "one" / REGION_FILE).read_text(encoding="ascii").splitlines()
    assert header == "Datetime,AEP_MW"
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2} \d{2}:00:00,\d+\.\d", first)


def test_synthesize_refuses_a_folder_of_regional_csvs_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / REGION_FILE).write_text("mine", encoding="utf-8")
    line = refused("synthesize", tmp_path)
    assert "found regional CSVs that gridcast did not make, expected an empty folder" in line
    assert (tmp_path / REGION_FILE).read_text(encoding="utf-8") == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [REGION_FILE]


def test_synthesize_refuses_fewer_hours_than_a_model_needs(tmp_path: Path) -> None:
    line = refused("synthesize", tmp_path / "csv", *settings("synthetic.num_hours=100"))
    assert "synthetic.num_hours: found 100" in line
    assert not (tmp_path / "csv").exists()


def test_the_command_works_from_any_folder(tmp_path: Path) -> None:
    assert tmp_path != ROOT
    result = gridcast("synthesize", "csv", *settings("synthetic.num_hours=1500"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "csv" / REGION_FILE).is_file()
