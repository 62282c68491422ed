"""Changes the code in small ways and asks the tests: ``python -m tests.mutations.run``.

Each mutation of ``mutations.py`` is made in a copy of the checkout, and its tests are run there.
One that all of them pass has survived: a line that no test looks at. Ends with status 1 if one has.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutations.mutations import MUTATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.mutations.mutations import Mutation

ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("configs", "flows", "gridcast", "tasks", "tests", "benchmarks")


def survives(mutation: Mutation, copy: Path) -> bool:
    """Whether all of its tests pass with it; the copy is as it was afterwards."""
    path = copy / mutation.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(mutation.old, mutation.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        result = subprocess.run(
            [*command, *mutation.tests.split()],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(source, encoding="utf-8")
    if result.returncode not in {0, 1}:  # pytest's 1: a test failed; 2 and more: it could not run
        noticed_on_import = "Error" in result.stdout
        if not noticed_on_import:
            message = f"{mutation.name}: pytest ended with {result.returncode}\n{result.stdout}"
            raise RuntimeError(message)
    return result.returncode == 0


def main(words: Sequence[str] | None = None) -> int:
    """Run all mutations, or those whose name has one of the words; the number of survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutations whose name has one of these")
    wanted = parser.parse_args(words).words
    chosen = [each for each in MUTATIONS if not wanted or any(w in each.name for w in wanted)]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="gridcast-mutations-") as folder:
        copy = Path(folder)
        for name in _FOLDERS:
            shutil.copytree(ROOT / name, copy / name)
        for name in ("pyproject.toml", "prefect.yaml", "Makefile", "README.md"):
            shutil.copy(ROOT / name, copy / name)
        for number, mutation in enumerate(chosen, start=1):
            has_survived = survives(mutation, copy)
            survivors += has_survived
            word = "SURVIVED" if has_survived else "noticed"
            sys.stdout.write(f"{number}/{len(chosen)} {word}: {mutation.name}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - survivors} noticed, {survivors} survived\n")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main())
