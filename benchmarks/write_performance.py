"""Write docs/performance.md from ``benchmarks/results``.

``python benchmarks/write_performance.py`` after any benchmark. No figure stands in that page but
through here; what no file tells of is said to be not measured. The sections are made by the
modules ``performance_*.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.performance_accuracy import accuracy_section, pace_section
from benchmarks.performance_scale import (
    gpus_section,
    ingestion_section,
    pipeline_section,
    seeds_section,
    size_section,
    split_section,
)
from benchmarks.performance_speed import limits, loader_section, rivals_section
from benchmarks.tables import RESULTS, kept_files, sections

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"

Json = dict[str, Any]

_INTRODUCTION = (
    "Written by `benchmarks/write_performance.py` from the files in `benchmarks/results`; no figure"
    " is typed. A file is named after the script in `benchmarks` that wrote it and the device;"
    " `make bench` runs them all. Contestants of one table took turns, so ratios hold better than"
    " the times themselves. The article's protocol, seed by seed, stands in [results](results.md)."
)


class Part(NamedTuple):
    """A section of the page: the files that it is made of, and how."""

    title: str
    pattern: str
    section: Callable[[Json], str]


def page(read: Callable[[str], list[Json]]) -> str:
    """The whole page; ``read`` gives the files of a pattern."""
    ceilings = {kept["device"]: kept for kept in read("ceilings-*.json")}
    files = read("accuracy-*.json")
    parts = (
        Part("Throughput against the article's loader", "article-speed-*.json", loader_section),
        Part("Throughput against neuralforecast and darts", "rivals-*.json", rivals_section),
        Part("Accuracy and total time", "accuracy-*.json", partial(accuracy_section, files=files)),
        Part("Time to accuracy", "time-to-accuracy-*.json", pace_section),
        Part("Cost against size", "size-*.json", size_section),
        Part("The pipeline, stage by stage", "main-job-*.json", pipeline_section),
        Part("Ingestion", "ingestion-*.json", ingestion_section),
        Part("Several GPUs", "gpus-*.json", gpus_section),
        Part("One model on several GPUs", "split-*.json", split_section),
        Part("Several seeds in one pass", "seeds-*.json", seeds_section),
    )
    text = ["# Performance", _INTRODUCTION]
    for part in parts:
        text += sections(read(part.pattern), part.section, part.title)
    measured = [*read("article-speed-*.json"), *read("rivals-*.json")]
    text += limits(ceilings, measured)
    return "\n\n".join(text) + "\n"


def performance_page(folder: Path = RESULTS) -> str:
    """The page of the files that are kept."""
    return page(lambda pattern: kept_files(pattern, folder))


def main() -> None:
    """Write the page."""
    PAGE.write_text(performance_page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
