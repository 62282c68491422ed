"""docs/forecasting.md: its Python runs as it stands, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.pipelines import ROOT, clean_environment, first_run, small_data

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

PAGE = ROOT / "docs" / "forecasting.md"
MARK = "<!-- run by tests/serving/test_forecasting_page.py -->\n"


def test_the_pages_python_runs_and_prints_what_stands_below_it(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == text.count(MARK + "```python\n") == 3
    (tmp_path / "artifacts").symlink_to(first_run().artifacts)
    (tmp_path / "data").symlink_to(small_data())
    told = "import sys\nprint(sorted({'prefect', 'mlflow'} & set(sys.modules)))\n"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks, told])], cwd=tmp_path, text=True,
        env=clean_environment(PYTHONPATH=str(ROOT)), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = "".join(re.findall(r"```text\n(.*?)```", text, re.DOTALL))
    assert done.stdout == printed + "[]\n"
