"""What nobody else is to see, and what a terminal is not to be told."""

from __future__ import annotations

import logging
import stat
from typing import TYPE_CHECKING

import pytest

from gridcast.errors import UsageError, has_password, masked, printable
from tasks.runs.storage import check_folder
from tasks.show.show_run import show_log
from tests.builders.pipelines import gridcast

if TYPE_CHECKING:
    from pathlib import Path

STEERS = "\x1b[2Jx\r\u202e_hourly.csv"


def test_a_folder_of_artifacts_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    check_folder(tmp_path / "artifacts")
    assert stat.S_IMODE((tmp_path / "artifacts").stat().st_mode) == 0o700
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o750)
    check_folder(theirs)
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o750


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:word@host/x", "http://***@host/x"),
        ("a postgresql+psycopg2://me:w%40rd@h:1/x b", "a postgresql+psycopg2://***@h:1/x b"),
        ("http://me:wo/rd@host", "http://***@host"),  # as typed, though an address has no such
        ("http://host:5000/a", "http://host:5000/a"),
        ("http://me@host", "http://me@host"),
        ("no address", "no address"),
    ],
)
def test_names_and_passwords_of_addresses_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert has_password(text) == (text != shown)


def test_the_name_of_a_file_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert printable(STEERS) == r"\x1b[2Jx\r\u202e_hourly.csv"
    logger = logging.getLogger("gridcast")
    handlers, propagates = list(logger.handlers), logger.propagate
    try:
        show_log(logging.INFO)
        logging.getLogger("gridcast.sources").warning("skipped %s", STEERS)
    finally:
        logger.handlers[:], logger.propagate = handlers, propagates
    assert capsys.readouterr().err.endswith(r"skipped \x1b[2Jx\r\u202e_hourly.csv" + "\n")
    result = gridcast("ingest", "--data", tmp_path / STEERS, "--artifacts", tmp_path / "a")
    assert result.returncode == UsageError.exit_code
    assert r"\x1b[2Jx\r\u202e_hourly.csv: found nothing of that name" in result.stderr
    assert "\x1b" not in result.stderr
