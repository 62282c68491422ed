"""Paths as files keep them: what lies below the artifacts folder is told as seen from there.

So the folder can be moved, copied or restored elsewhere, and a copy never leads back to its
original. What lies outside, such as a user's own CSVs, keeps its whole path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def relative_path(path: Path | str, artifacts: Path) -> str:
    """A path for a file: relative to ``artifacts`` if it lies below, else as it is.

    >>> relative_path("/srv/artifacts/runs/1/report.html", Path("/srv/artifacts"))
    'runs/1/report.html'
    >>> relative_path("/srv/data/pjm", Path("/srv/artifacts"))
    '/srv/data/pjm'
    """
    path = Path(path)
    return path.relative_to(artifacts).as_posix() if artifacts in path.parents else str(path)


def relative_paths(content: Any, artifacts: Path) -> Any:  # noqa: ANN401 - JSON
    """JSON as a file keeps it: each text in it that is a path below ``artifacts``, relative to it.

    >>> relative_paths(
    ...     {"/srv/artifacts/csv": ["/srv/artifacts/a b", "no path", 1]}, Path("/srv/artifacts")
    ... )
    {'csv': ['a b', 'no path', 1]}
    """
    if isinstance(content, dict):
        return {
            relative_paths(key, artifacts): relative_paths(value, artifacts)
            for key, value in content.items()
        }
    if isinstance(content, list | tuple):
        return [relative_paths(each, artifacts) for each in content]
    if isinstance(content, str):
        return content.removeprefix(f"{artifacts}/")
    return content


def resolved_path(written: str, artifacts: Path) -> str:
    """The path that a file tells, on this machine; empty stays empty.

    >>> resolved_path("runs/1/report.html", Path("/mnt/copy"))
    '/mnt/copy/runs/1/report.html'
    >>> resolved_path("/srv/data/pjm", Path("/mnt/copy"))
    '/srv/data/pjm'
    """
    return str(artifacts / written) if written else ""


def artifacts_of(job_folder: Path) -> Path:
    """The artifacts folder of a folder in ``jobs/``."""
    return job_folder.resolve().parents[1]
