"""Archives: what is taken, what is refused before any write, and that nothing is ever unbounded."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gridcast.config import ArchivesConfig
from gridcast.errors import EXIT_USAGE, ArchiveRefusedError, UsageError
from gridcast.readings.archive_members import MARKER, Member, plan_unpacking
from tasks.fetch.marker import Origin, read_origin, write_origin
from tasks.fetch.unpacking import _copy, check_archive, is_archive, unpack_archive
from tasks.runs.storage import temporary_sibling
from tests.builders.archives import add, make_archive
from tests.builders.values import make_config, make_csv

LIMITS = make_config().archives
CSV = make_csv()
MB = 1_000_000
KINDS = ("zip", "tar", "tar.gz", "tar.xz", "tar.bz2")


def refusal(path: Path, limits: ArchivesConfig = LIMITS) -> str:
    """The message of an archive that is refused, with nothing written and nothing left."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(ArchiveRefusedError) as refused:
        unpack_archive(path, path.parent / "to" / "data", limits=limits)
    assert refused.value.exit_code == EXIT_USAGE
    kept = [each for each in sorted(path.parent.rglob("*")) if each != path.parent / "to"]
    assert kept == before
    return str(refused.value)


# -- what is taken -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_regional_csvs_are_taken_from_any_folder_and_the_rest_is_listed(
    tmp_path: Path, kind: str
) -> None:
    files = {"a/AEP_hourly.csv": CSV, "DOM_hourly.csv": CSV * 2, "a/readme.txt": b"x",
             "a/b/x.zip": b"PK", "__MACOSX/._AEP_hourly.csv": b"x"}  # fmt: skip
    archive = make_archive(tmp_path / f"load.{kind}", files)
    folder = tmp_path / "to" / "load"
    plan = unpack_archive(archive, folder, limits=LIMITS)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["AEP_hourly.csv", "DOM_hourly.csv", MARKER]
    assert (folder / "DOM_hourly.csv").read_bytes() == CSV * 2
    assert plan.regional == ["AEP", "DOM"]
    assert sorted(plan.skipped) == ["__MACOSX/._AEP_hourly.csv", "a/b/x.zip", "a/readme.txt"]
    origin = read_origin(folder)
    assert (origin.source, origin.name, origin.skipped) == ("archive", archive.name, plan.skipped)
    assert list(folder.parent.iterdir()) == [folder]


def test_an_archive_of_a_fetched_folder_goes_on_saying_what_its_labels_name(tmp_path: Path) -> None:
    write_origin(tmp_path, Origin(source="eia", name="EIA PJM", labels="utc"))
    files = {"x/AEP_hourly.csv": CSV, f"x/{MARKER}": (tmp_path / MARKER).read_bytes()}
    unpack_archive(make_archive(tmp_path / "x.zip", files), tmp_path / "to", limits=LIMITS)
    origin = read_origin(tmp_path / "to")
    assert (origin.source, origin.labels, origin.name) == ("eia", "utc", "x.zip")


def test_an_archive_is_known_by_its_name_and_read_by_its_bytes(tmp_path: Path) -> None:
    zipped = make_archive(tmp_path / "x.zip", {"AEP_hourly.csv": CSV})
    named_otherwise = zipped.rename(tmp_path / "x.tar.gz")
    assert is_archive(named_otherwise)
    assert check_archive(named_otherwise, limits=LIMITS).regional == ["AEP"]
    assert not is_archive(tmp_path / "none.zip")
    assert not is_archive(tmp_path)


def test_a_folder_that_holds_something_is_never_unpacked_into(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "x.zip", {"AEP_hourly.csv": CSV})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="found a folder that is not empty, expected an empty"):
        unpack_archive(archive, tmp_path / "full", limits=LIMITS)
    (tmp_path / "empty").mkdir()
    unpack_archive(archive, tmp_path / "empty", limits=LIMITS)
    assert (tmp_path / "empty" / "AEP_hourly.csv").read_bytes() == CSV


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_works_on_is_not(
    tmp_path: Path,
) -> None:
    dead = tmp_path / ".to.0123abcd.gridcast-tmp"
    dead.mkdir()
    (dead / "AEP_hourly.csv").write_bytes(b"half")
    archive = make_archive(tmp_path / "x.zip", {"AEP_hourly.csv": CSV})
    with temporary_sibling(tmp_path / "to") as living:
        living.mkdir()
        unpack_archive(archive, tmp_path / "to", limits=LIMITS)
        assert not dead.exists()
        assert living.exists()


# -- names and kinds (case 14) -------------------------------------------------------------------

BAD_NAMES = {
    "../../etc/x_hourly.csv": "a path that leads out of the archive",
    "a/../../x_hourly.csv": "a path that leads out of the archive",
    "..\\x_hourly.csv": "a path that leads out of the archive",
    "/etc/x_hourly.csv": "an absolute path",
    "C:\\x_hourly.csv": "an absolute path",
    "a\\x_hourly.csv": "a path with a backslash or a control character",
    "a\nERROR b/x_hourly.csv": "a path with a backslash or a control character",
    "../readme.txt": "a path that leads out of the archive",
}


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_out_of_the_archive_is_refused_before_any_write(
    tmp_path: Path, kind: str, name: str
) -> None:
    archive = make_archive(tmp_path / f"x.{kind}", {"AEP_hourly.csv": CSV, name: CSV})
    message = refusal(archive)
    assert message == (
        f"ERROR {archive}: found the member {name!r}, {BAD_NAMES[name]}, "
        "expected plain files below it; nothing was unpacked"
    )


@pytest.mark.parametrize(
    ("kind", "target", "why"),
    [
        (tarfile.SYMTYPE, "/etc/passwd", "a link"), (tarfile.LNKTYPE, "a", "a link"),
        (tarfile.CHRTYPE, "", "a device"), (tarfile.BLKTYPE, "", "a device"),
        (tarfile.FIFOTYPE, "", "a device"), (tarfile.CONTTYPE, "", ""),
    ],
)  # fmt: skip
def test_links_and_devices_in_a_tar_are_refused(
    tmp_path: Path, kind: bytes, target: str, why: str
) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "AEP_hourly.csv", CSV)
        add(archive, "DOM_hourly.csv", type=kind, linkname=target)
    if why:
        assert f"the member 'DOM_hourly.csv', {why}" in refusal(path)
    else:  # an ordinary file on every system that is left
        assert check_archive(path, limits=LIMITS).regional == ["AEP", "DOM"]


@pytest.mark.parametrize(("mode", "why"), [(0o120777, "a link"), (0o020666, "a device")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, mode: int, why: str) -> None:
    path = tmp_path / "x.zip"
    info = zipfile.ZipInfo("AEP_hourly.csv")
    info.create_system, info.external_attr = 3, mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert f"the member 'AEP_hourly.csv', {why}" in refusal(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "x.zip", {"AEP_hourly.csv": CSV})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    assert "the member 'AEP_hourly.csv', encrypted" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_in_a_way_that_cannot_be_unpacked_within_bounds_is_refused(
    tmp_path: Path, method: int
) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("AEP_hourly.csv", CSV)
    assert f"packed by method {method}" in refusal(path)


@pytest.mark.parametrize("other", ["b/AEP_hourly.csv", "b/aep_hourly.csv"])
def test_two_files_of_one_region_are_refused_naming_both(tmp_path: Path, other: str) -> None:
    path = make_archive(tmp_path / "x.zip", {"a/AEP_hourly.csv": CSV, other: CSV})
    assert f"found the members 'a/AEP_hourly.csv' and {other!r}, expected one" in refusal(path)


def test_a_name_that_stands_twice_in_the_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "AEP_hourly.csv", CSV)
        add(archive, "AEP_hourly.csv", CSV)
    assert "expected one file a region" in refusal(path)


def test_an_archive_without_regional_csvs_is_refused_naming_what_it_has(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "x.zip", {"pjm_hourly_est.csv": CSV, "y.zip": b""})
    assert "found no regional CSV ('pjm_hourly_est.csv', 'y.zip')" in refusal(path)


# -- size (case 15) ------------------------------------------------------------------------------


PIECE = 100 * MB


def tar_header(num_bytes: int, **changes: object) -> bytes:
    info = tarfile.TarInfo("AEP_hourly.csv")
    info.size = num_bytes
    for key, value in changes.items():
        setattr(info, key, value)
    return info.tobuf()


def make_tar_bomb(path: Path, compress: Callable[[bytes], bytes], num_bytes: int) -> Path:
    """Both gzip and xz take streams one after the other: one piece is packed, and repeated."""
    pieces = compress(bytes(PIECE)) * (num_bytes // PIECE)
    path.write_bytes(compress(tar_header(num_bytes)) + pieces)
    return path


def make_zip_bomb(path: Path, num_bytes: int) -> Path:
    """A list of members as zipfile writes it, before a deflated stream of repeated pieces.

    The checksum, which nobody comes to, is left out.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = piece * (num_bytes // PIECE) + packer.flush()
    info = zipfile.ZipInfo("AEP_hourly.csv")
    info.compress_type = zipfile.ZIP_DEFLATED
    info.file_size, info.compress_size, info.header_offset = num_bytes, len(packed), 0
    info.CRC = 0
    with zipfile.ZipFile(path, "w") as archive:
        file = archive.fp
        assert file is not None
        file.write(info.FileHeader(zip64=True) + packed)
        archive.filelist.append(info)
        archive.start_dir = file.tell()
        archive.mkdir("a")  # so that zipfile writes its list
    return path


BOMBS: dict[str, Callable[[Path, int], Path]] = {
    "x.zip": make_zip_bomb,
    "x.tar.gz": lambda path, size: make_tar_bomb(path, lambda b: gzip.compress(b, 1), size),
    "x.tar.xz": lambda path, size: make_tar_bomb(path, lambda b: lzma.compress(b, preset=0), size),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_archive_that_unpacks_to_10_gb_is_refused_in_little_memory(
    tmp_path: Path, name: str
) -> None:
    path = BOMBS[name](tmp_path / name, 10_000 * MB)
    assert path.stat().st_size < 100 * MB
    tracemalloc.start()
    message = refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "found 10,000 MB and more when unpacked, expected at most 1,000 MB" in message
    assert peak < 20 * MB


@pytest.mark.parametrize("kind", KINDS)
def test_what_unpacks_to_too_many_times_its_size_is_refused(tmp_path: Path, kind: str) -> None:
    path = make_archive(tmp_path / f"x.{kind}", {"AEP_hourly.csv": bytes(20 * MB)})
    limits = LIMITS.model_copy(update={"max_ratio": 50.0 if kind != "tar" else 0.5})
    assert "times its size and more when unpacked" in refusal(path, limits)


def test_the_sizes_of_all_members_count_also_of_those_that_are_skipped() -> None:
    members = [Member("AEP_hourly.csv", 10), Member("y", 3 * MB)]
    limits = LIMITS.model_copy(update={"max_bytes": 2 * MB})
    with pytest.raises(ArchiveRefusedError, match="3 MB and more when unpacked"):
        plan_unpacking(members, archive="x", packed_bytes=MB, limits=limits)


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    files = {f"{i}_hourly.csv": b"" for i in range(LIMITS.max_members + 1)}
    path = make_archive(tmp_path / "x.zip", files)
    assert "found more than 1000 members" in refusal(path)


def test_a_file_larger_than_the_limit_is_not_even_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with path.open("wb") as file:
        file.truncate(2 * LIMITS.max_bytes)  # no byte of it is on the disk
    assert "found a file of 2,000 MB" in refusal(path)


def test_a_zip_whose_headers_lie_about_a_size_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "x.zip", {"AEP_hourly.csv": bytes(5 * MB)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", content, content.index(signature) + offset, 1000)
    path.write_bytes(content)
    assert "cannot be read (BadZipFile: Bad CRC-32" in refusal(path)


def test_a_tar_header_of_a_gigabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_header(900 * MB, type=tarfile.XHDTYPE) + bytes(20 * MB)))
    tracemalloc.start()
    assert "a header of 900000256 bytes" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 10 * MB
    tracemalloc.stop()


def test_an_xz_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 1 << 28}]
    tar = make_archive(tmp_path / "y.tar", {"AEP_hourly.csv": CSV}).read_bytes()
    path.write_bytes(lzma.compress(tar, filters=filters))
    assert "Memory usage limit" in refusal(path)


def test_an_xz_of_several_streams_is_read_whole(tmp_path: Path) -> None:
    noise = os.urandom(300_000)
    tar = make_archive(tmp_path / "y.tar", {"AEP_hourly.csv": noise}).read_bytes()
    path = tmp_path / "x.tar.xz"
    half = len(tar) // 2
    path.write_bytes(lzma.compress(tar[:half]) + lzma.compress(tar[half:]))
    unpack_archive(path, tmp_path / "to", limits=LIMITS)
    assert (tmp_path / "to" / "AEP_hourly.csv").read_bytes() == noise


def test_what_is_copied_is_counted_whatever_was_declared(tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return bytes(size)

    class Liar:
        def members(self) -> Iterator[Member]:
            yield Member("AEP_hourly.csv", 10)

        def contents(self, taken: dict[str, str]) -> Iterator[tuple[str, Endless]]:
            for name in taken:
                yield name, Endless()

    liar = Liar()
    plan = plan_unpacking(liar.members(), archive="x", packed_bytes=10, limits=LIMITS)
    limits = LIMITS.model_copy(update={"max_bytes": MB})
    with pytest.raises(ArchiveRefusedError, match="more than its headers say"):
        _copy(liar, plan, tmp_path, limits=limits, name="x")  # type: ignore[arg-type]
    assert (tmp_path / "AEP_hourly.csv").stat().st_size <= MB


# -- broken --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_off_is_refused_and_nothing_stays(tmp_path: Path, kind: str) -> None:
    path = make_archive(tmp_path / f"x.{kind}", {"AEP_hourly.csv": os.urandom(300_000)})
    whole = path.read_bytes()
    for kept in (0, 3, 300, 100_000, 290_000):
        path.write_bytes(whole[:kept])
        refusal(path)


@pytest.mark.parametrize("kind", KINDS)
def test_one_wrong_byte_is_refused_or_gives_files_but_never_another_error(
    tmp_path: Path, kind: str
) -> None:
    path = make_archive(tmp_path / f"x.{kind}", {"a/AEP_hourly.csv": CSV, "DOM_hourly.csv": CSV})
    whole = path.read_bytes()
    step = max(1, len(whole) // 150)
    for place in range(0, len(whole), step):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        folder = tmp_path / "to" / str(place)
        try:
            unpack_archive(path, folder, limits=LIMITS)
        except ArchiveRefusedError:
            assert not folder.exists()


def test_bytes_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"PK\x03\x04", b"\x1f\x8b", b"BZh9", CSV, b"\0" * 2000)):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        refusal(path)
    path = tmp_path / "x.tar.bz2"
    path.write_bytes(bz2.compress(CSV))
    assert "expected a whole zip or tar" in refusal(path)
