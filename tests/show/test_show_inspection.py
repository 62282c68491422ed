"""What `gridcast inspect` prints and writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gridcast.config import Config
from gridcast.errors import GridcastError, UsageError
from tasks.show.show_inspection import inspect_files
from tests.builders.layouts import LAYOUTS

KNOWN = ["ingestion.label=clock_at_end"]


def test_what_is_asked_is_printed_and_written_beside_the_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = LAYOUTS["warehouse"]()
    (tmp_path / written.name).write_bytes(written.content)
    monkeypatch.chdir(tmp_path)
    inspect_files([Path(written.name)], None, [])
    shown = capsys.readouterr().out
    command = "Then:      gridcast run --data lastgang.csv --layout lastgang.layout.yaml"
    for words in ("Hours it would give", "clocks of Europe/Berlin go back", "Check the label:",
                  "or --set ingestion.label=hour_ending?", command):  # fmt: skip
        assert words in shown
    path = tmp_path / "lastgang.layout.yaml"
    text = path.read_text(encoding="utf-8")
    assert "# CHECK label: the beginning of its interval" in text
    assert "#   or ingestion.label=clock_at_end" in text
    assert yaml.safe_load(text)["ingestion"]["layout"]["unit"] == "kW"
    assert Config.load(overrides=(f"layout_file={path}",)).features.holidays == "DE"
    with pytest.raises(UsageError, match="found another layout there"):
        inspect_files([Path(written.name)], None, KNOWN)
    inspect_files([Path(written.name)], path, KNOWN)
    assert Config.load(overrides=(f"layout_file={path}",)).ingestion.label == "clock_at_end"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, "found nothing of that name"),
        ("words.csv", b"a,b\nx,1\ny,2\n", "found no column (nor two) with times in all rows"),
        ("packed.csv", b"\x1f\x8b\x08", "found a gzip file, expected a CSV; unpack it"),
    ],
)
def test_what_cannot_be_looked_at_is_told_with_what_was_seen(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(GridcastError) as refused:
        inspect_files([tmp_path / name], tmp_path / "out.yaml", [])
    assert words in str(refused.value)
    assert str(refused.value).startswith("ERROR ")
    assert not (tmp_path / "out.yaml").exists()
