"""Which files of a folder are regions, which are passed over and why, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gridcast.config import SyntheticConfig
from gridcast.errors import EXIT_USAGE, UsageError
from gridcast.readings.parsing import parse_region
from tasks.fetch import regional_csvs
from tasks.fetch.regional_csvs import check_data, list_sources, sources_of, write_synthetic
from tests.builders.archives import make_archive
from tests.builders.values import make_config, make_csv

SYNTHETIC = SyntheticConfig(num_regions=12, num_hours=1440, seed=3)


def make_folder(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(make_csv())
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(UsageError) as refused:
        list_sources(folder)
    assert refused.value.exit_code == EXIT_USAGE
    return str(refused.value)


def test_regions_are_found_by_name_in_the_order_of_names(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "DOM_hourly.csv", "PJM_Load_hourly.csv", "AEP_hourly.csv")
    sources = list_sources(folder)
    assert [file.region for file in sources.files] == ["AEP", "DOM", "PJM_Load"]
    assert [file.path.name for file in sources.files] == sorted(p.name for p in folder.iterdir())
    assert (sources.kind, sources.skipped) == ("real", {})


def test_other_files_are_skipped_each_by_name_with_the_reason(tmp_path: Path) -> None:
    folder = make_folder(
        tmp_path, "AEP_hourly.csv", "pjm_hourly_est.csv", "est_hourly.paruqet", ".hidden_hourly.csv"
    )
    (folder / "old").mkdir()
    (folder / "NI_hourly.csv").mkdir()
    assert list_sources(folder).skipped == {
        "NI_hourly.csv": "a folder",
        "est_hourly.paruqet": "no CSV",
        "old": "a folder",
        "pjm_hourly_est.csv": "not named <REGION>_hourly.csv",
    }


def test_a_folder_that_is_not_there_a_file_or_without_regions_is_refused(tmp_path: Path) -> None:
    wanted = "expected a folder with files named <REGION>_hourly.csv"
    advice = "try `gridcast inspect`"
    of_others = f"of files of another kind {advice}"
    none = tmp_path / "none"
    assert refusal(none) == f"ERROR {none}: found nothing of that name, {wanted}"
    file = make_folder(tmp_path / "data", "AEP_hourly.csv") / "AEP_hourly.csv"
    assert refusal(file) == f"ERROR {file}: found a file, {wanted}; {advice}"
    empty = make_folder(tmp_path / "empty")
    assert (
        refusal(empty) == f"ERROR {empty}: found no regional CSV (no files), {wanted}; {of_others}"
    )
    other = make_folder(tmp_path / "other", "a.csv", "b.txt")
    assert (
        refusal(other)
        == f"ERROR {other}: found no regional CSV (a.csv, b.txt), {wanted}; {of_others}"
    )


def test_a_link_that_leads_out_of_the_folder_is_refused_naming_where_it_leads(
    tmp_path: Path,
) -> None:
    secret = make_folder(tmp_path / "elsewhere", "NI_hourly.csv") / "NI_hourly.csv"
    folder = make_folder(tmp_path / "data", "AEP_hourly.csv")
    (folder / "NI_hourly.csv").symlink_to(secret)
    expected = f"ERROR {folder / 'NI_hourly.csv'}: found a link to {secret}, expected a file in it"
    assert refusal(folder) == expected


def test_a_link_within_the_folder_and_a_linked_folder_are_fine(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", "AEP_hourly.csv")
    (folder / "NI_hourly.csv").symlink_to("AEP_hourly.csv")
    (tmp_path / "linked").symlink_to(folder)
    assert [file.region for file in list_sources(tmp_path / "linked").files] == ["AEP", "NI"]


def test_a_dangling_link_is_skipped(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "AEP_hourly.csv")
    (folder / "NI_hourly.csv").symlink_to("none.csv")
    assert list(list_sources(folder).skipped) == ["NI_hourly.csv"]


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("pjm", "pjm"), ("My data (2018)", "My-data-2018"), ("..x", "x"), ("数据", "data")],
)
def test_the_data_set_is_the_folders_name_made_fit_for_a_path(
    tmp_path: Path, name: str, dataset: str
) -> None:
    assert list_sources(make_folder(tmp_path / name, "AEP_hourly.csv")).dataset == dataset


def test_an_archive_is_unpacked_once_for_the_same_bytes_and_read_as_a_folder(
    tmp_path: Path,
) -> None:
    archive = make_archive(tmp_path / "load.zip", {"x/AEP_hourly.csv": make_csv(), "y.txt": b""})
    config = make_config()
    found = regional_csvs._unpacked(archive, tmp_path / "sources", config)
    assert (found.folder, found.dataset, found.source) == (archive, "load.zip", "archive")
    (file,) = found.files
    assert (file.region, file.path.read_bytes()) == ("AEP", make_csv())
    assert found.skipped == {"y.txt": "not named <REGION>_hourly.csv"}
    before = file.path.stat().st_mtime_ns
    assert regional_csvs._unpacked(archive, tmp_path / "sources", config) == found
    assert file.path.stat().st_mtime_ns == before
    make_archive(archive, {"AEP_hourly.csv": make_csv() * 2})
    (other,) = regional_csvs._unpacked(archive, tmp_path / "sources", config).files
    assert other.path.parent != file.path.parent
    assert len(list((tmp_path / "sources").iterdir())) == 2


@pytest.mark.parametrize("name", ["AEP_hourly.csv", "gridcast-source.json"])
def test_an_unpacked_archive_that_was_changed_is_named_and_unpacked_anew(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    archive = make_archive(tmp_path / "load.zip", {"AEP_hourly.csv": make_csv()})
    config = make_config()
    (file,) = regional_csvs._unpacked(archive, tmp_path, config).files
    changed = file.path.with_name(name)
    before = changed.read_bytes()
    changed.write_bytes(before.replace(b"2", b"3", 1))
    (file,) = regional_csvs._unpacked(archive, tmp_path, config).files
    assert file.path.read_bytes() == make_csv()
    (warning,) = [each for each in caplog.messages if "anew" in each]
    assert warning.startswith(f"{changed}: found ")


def test_a_synthetic_set_of_which_a_file_was_changed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config(synthetic=SYNTHETIC.model_dump())
    path = sources_of(None, tmp_path, config).files[0].path
    before = path.read_bytes()
    path.write_bytes(before.replace(b"2", b"3", 1))
    assert sources_of(None, tmp_path, config).files[0].path.read_bytes() == before
    assert f"{path}: found other bytes than were put there; the folder is made anew" in caplog.text


def test_an_archive_is_checked_before_a_run_begins(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "load.tar.gz", {"../../etc/x_hourly.csv": b""})
    with pytest.raises(UsageError, match="a path that leads out of the archive"):
        check_data(archive, make_config())
    assert list(tmp_path.iterdir()) == [archive]


def test_a_synthetic_set_of_an_earlier_version_is_still_known_as_synthetic(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "AEP_hourly.csv")
    (folder / "synthetic.json").write_text('{"made_by": "gridcast synthesize"}', encoding="utf-8")
    assert list_sources(folder).kind == "synthetic"
    write_synthetic(folder, SYNTHETIC)
    assert len(list_sources(folder).files) == 12


def test_the_synthetic_set_is_written_once_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    folder = tmp_path / "synthetic"
    write_synthetic(folder, SYNTHETIC)
    sources = list_sources(folder)
    assert (len(sources.files), sources.kind, sources.skipped) == (12, "synthetic", {})
    for file in sources.files:
        content = file.path.read_bytes()
        config = make_config().ingestion
        parse_region(content, region=file.region, file=file.path.name, config=config)
    times = {file.path: file.path.stat().st_mtime_ns for file in sources.files}
    write_synthetic(folder, SYNTHETIC)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_another_synthetic_set_replaces_the_first(tmp_path: Path) -> None:
    write_synthetic(tmp_path, SYNTHETIC)
    before = (tmp_path / "AEP_hourly.csv").read_bytes()
    write_synthetic(tmp_path, SYNTHETIC.model_copy(update={"seed": 4}))
    assert (tmp_path / "AEP_hourly.csv").read_bytes() != before


def test_regional_csvs_that_gridcast_did_not_make_are_never_overwritten(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "AEP_hourly.csv")
    with pytest.raises(UsageError, match="regional CSVs that gridcast did not make"):
        write_synthetic(folder, SYNTHETIC)
    assert (folder / "AEP_hourly.csv").read_bytes() == make_csv()
    assert [path.name for path in folder.iterdir()] == ["AEP_hourly.csv"]


def test_a_name_that_is_no_text_is_skipped_and_can_be_printed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "AEP_hourly.csv")
    try:
        (folder / os.fsdecode(b"\xd6sterreich_2023.csv")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such names")
    found = list_sources(folder)
    assert found.skipped == {"\\xd6sterreich_2023.csv": "not named <REGION>_hourly.csv"}
    found.model_dump_json().encode()


def test_names_with_hyphens_blanks_and_accents_are_regions_of_safe_names(tmp_path: Path) -> None:
    names = ("ISO-NE_hourly.csv", "New York_hourly.csv", "Österreich_hourly.csv", "Wien_hourly.CSV")
    found = list_sources(make_folder(tmp_path, *names))
    regions = {file.region: file.path.name for file in found.files}
    assert sorted(regions) == ["ISO_NE", "New_York", "Oesterreich", "Wien"]
    assert found.names == {"ISO_NE": "ISO-NE", "New_York": "New York", "Oesterreich": "Österreich"}
    assert found.other_names == regions
    content = make_csv(region="ISO-NE")
    config = make_config().ingestion
    file = str(tmp_path / "ISO-NE_hourly.csv")
    assert len(parse_region(content, region="ISO_NE", file=file, config=config).frame) == 6


def test_two_files_of_one_region_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "ISO-NE_hourly.csv", "ISO_NE_hourly.csv")
    assert "which are both the region ISO_NE" in refusal(folder)
