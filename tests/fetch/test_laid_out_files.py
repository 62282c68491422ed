"""Files of another layout become a file a region, once; what cannot be read is told at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gridcast.config import Config
from gridcast.errors import EXIT_USAGE, Fault, LayoutRefusedError, RegionRefusedError, UsageError
from gridcast.layouts.kept import load_of
from tasks.fetch.regional_csvs import check_data, sources_of
from tasks.ingest.original_lines import located, original_lines
from tests.builders.archives import make_archive
from tests.builders.layouts import LAYOUTS, Written, make_truth
from tests.builders.values import make_csv


def write(folder: Path, written: Written) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / written.name).write_bytes(written.content)
    return folder


def config_of(*overrides: str) -> Config:
    return Config.load(overrides=overrides)


def load_in(path: Path) -> str:
    load = load_of(path.read_bytes(), region="", file="", config=NYISO.ingestion)
    return load.content_sha256


NYISO = config_of("layout_file=nyiso")


def test_a_folder_is_laid_out_once_for_the_same_bytes(tmp_path: Path) -> None:
    folder, artifacts = write(tmp_path / "ny", LAYOUTS["nyiso"]()), tmp_path / "artifacts"
    (folder / "readme.txt").write_text("no load", encoding="utf-8")
    found = sources_of(folder, artifacts, NYISO)
    assert [file.region for file in found.files] == ["CAPITL", "N_Y_C"]
    assert found.names == {"N_Y_C": "N.Y.C."}
    assert found.other_names == {name: f"{name}_hourly.parquet" for name in ("CAPITL", "N_Y_C")}
    assert found.skipped == {"readme.txt": "not named as ingestion.layout.files has it"}
    times = [file.path.stat().st_mtime_ns for file in found.files]
    again = sources_of(folder, artifacts, NYISO)
    assert [file.path.stat().st_mtime_ns for file in again.files] == times
    changed = sources_of(
        folder, artifacts, config_of("layout_file=nyiso", "ingestion.layout.unit=kW")
    )
    assert changed.files_folder != found.files_folder


def test_one_file_and_an_archive_are_laid_out_as_a_folder_is(tmp_path: Path) -> None:
    written = LAYOUTS["nyiso"]()
    folder = write(tmp_path / "ny", written)
    archive = make_archive(tmp_path / "ny.zip", {f"2024/{written.name}": written.content, "x": b""})
    contents = [
        [load_in(file.path) for file in sources_of(data, tmp_path, NYISO).files]
        for data in (folder, folder / written.name, archive)
    ]
    assert contents[0] == contents[1] == contents[2]
    found = sources_of(archive, tmp_path, NYISO)
    assert (found.folder, found.source, len(found.files)) == (archive, "archive", 2)


def test_regions_of_several_layouts_lie_in_one_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "all", LAYOUTS["isone"]())
    (folder / "AEP_hourly.csv").write_bytes(make_csv())
    (folder / "ISONE_hourly.csv").write_bytes(make_csv(region="ISONE"))
    layout = config_of("layout_file=isone").ingestion.layout.model_dump(mode="json")
    config = config_of(f"ingestion.regions={json.dumps({'ISONE': {'layout': layout}})}")
    found = sources_of(folder, tmp_path, config)
    assert {file.region: file.path.suffix for file in found.files} == {
        "AEP": ".csv", "ISONE": ".parquet",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "found nothing of that name"),
        ("empty", "found no files, expected files named like"),
    ],
)
def test_data_without_such_files_are_refused_at_once(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError) as refused:
        check_data(tmp_path / name, NYISO)
    assert words in str(refused.value)
    assert ("gridcast inspect" in str(refused.value)) == (name == "empty")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    secret = write(tmp_path / "elsewhere", LAYOUTS["nyiso"]())
    folder = tmp_path / "ny"
    folder.mkdir()
    (folder / "palIntegrated.csv").symlink_to(secret / LAYOUTS["nyiso"]().name)
    with pytest.raises(UsageError, match="found a link to"):
        check_data(folder, NYISO)


def test_a_file_that_is_not_as_its_layout_says_is_refused_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "palIntegrated.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(LayoutRefusedError) as refused:
        sources_of(tmp_path, tmp_path, NYISO)
    assert refused.value.exit_code == EXIT_USAGE
    assert "found the columns a, b, none of them 'Time Stamp'" in str(refused.value)
    assert "try `gridcast inspect`" in str(refused.value)
    assert not any((tmp_path / "sources").iterdir())


def test_a_rule_that_is_broken_later_names_the_file_and_the_line_that_people_have(
    tmp_path: Path,
) -> None:
    lines = LAYOUTS["isone"]().text.split("\n")
    for part, own in (("a", lines[:400]), ("b", [*lines[:6], *lines[400:]])):
        (tmp_path / f"{part}_hourlysysload.csv").write_text("\n".join(own), encoding="utf-8")
    config = config_of("layout_file=isone")
    (file,) = sources_of(tmp_path, tmp_path, config).files
    content = file.path.read_bytes()
    load = load_of(content, region="ISONE", file=str(file.path), config=config.ingestion)
    assert load.frame["load_mw"].tolist() == list(make_truth().values())
    original = original_lines(content)
    line = int(load.frame["source_line"].iloc[500])
    (text,) = original.texts([("", line)])
    assert text == lines[6 + 500]
    fault = original.located(_fault(line))
    assert (Path(fault.file).name, fault.line) == ("b_hourlysysload.csv", 6 + 107)
    assert text[fault.column - 1 :].startswith('"12')
    with pytest.raises(RegionRefusedError) as refused, located(original):
        raise RegionRefusedError(file.region, [_fault(line)], rows=[_fault(line)])
    assert refused.value.faults == (fault,)


def _fault(line: int) -> Fault:
    return Fault("kept.parquet", line, 1, "load_bounds", "found 1, expected 2")
