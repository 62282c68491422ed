"""The rooms stay small, each says what lives there, and Prefect is met in tasks alone.

What import-linter cannot say stands here; the floors are contracts in ``pyproject.toml``.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks.train.records import NetworkJob

ROOT = Path(__file__).resolve().parents[2]
MOST_FILES, MOST_LINES, MOST_LINES_OF_A_FUNCTION = 12, 400, 50
MOST_FILES_OF_THE_WALK = 35
MOST_FILES_TO_THE_EQUATION = 5
KERNELS = ROOT / "gridcast" / "kernels"
# Prefect without a task: why each one has to know it.
KNOWS_PREFECT = {
    "tasks/promote/prefect_events.py": "tells Prefect's server of promotions and alarms",
    "tasks/dispatch/flow_runs.py": "gives jobs and shards to workers of Prefect's pools",
    "tasks/dispatch/ray_cluster.py": "hands tasks to the task runner for Ray",
    "tasks/dispatch/executors.py": "decides in which of Prefect's task runners jobs run",
    "tasks/ingest/snapshot_changes.py": "shows on Prefect's pages what changed",
    "tasks/runs/cached_state.py": "the state in which a task ends that had nothing to do",
    "tasks/runs/killed_runs.py": "tells Prefect's server of runs that left no last word",
    "tasks/runs/servers.py": "starts Prefect's server",
    "tasks/machine/run_names.py": "names flow runs",
    "tasks/promote/notifications.py": "asks Prefect's server for automations",
}


class Module(NamedTuple):
    """A file of the product and what it holds."""

    path: Path
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def dotted(self) -> str:
        return self.name.removesuffix(".py").replace("/", ".")

    @property
    def is_a_stage(self) -> bool:
        return any(
            isinstance(node, ast.FunctionDef) and any(map(_is_task, node.decorator_list))
            for node in ast.walk(self.tree)
        )

    def imported(self) -> set[str]:
        """Modules and names that it imports, wherever in the file."""
        found = set[str]()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        return found


def _is_task(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "task"


@cache
def modules() -> list[Module]:
    paths = [
        path for room in ("flows", "gridcast", "tasks") for path in (ROOT / room).rglob("*.py")
    ]
    assert len(paths) > 100
    return [Module(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(paths)]


def test_no_room_has_more_than_twelve_files() -> None:
    files: dict[Path, int] = {}
    for module in modules():
        if module.path.stem != "__init__":
            files[module.path.parent] = files.get(module.path.parent, 0) + 1
    assert {str(room): num for room, num in files.items() if num > MOST_FILES} == {}


def test_no_module_is_longer_than_400_lines_but_kernels() -> None:
    lengths = {each.name: len(each.path.read_text("utf-8").splitlines()) for each in modules()}
    kernels = {each.name for each in modules() if each.path.is_relative_to(KERNELS)}
    assert {n: num for n, num in lengths.items() if num > MOST_LINES and n not in kernels} == {}


def test_no_function_is_longer_than_50_lines_but_kernels() -> None:
    long = {}
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef) and not module.path.is_relative_to(KERNELS):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > MOST_LINES_OF_A_FUNCTION:
                    long[f"{module.name}:{node.name}"] = length
    assert long == {}


def test_each_room_says_what_lives_there() -> None:
    silent = [
        module.name
        for module in modules()
        if module.path.stem == "__init__" and not ast.get_docstring(module.tree)
    ]
    assert silent == []


def test_no_module_is_named_as_its_room() -> None:
    same = [each.name for each in modules() if each.path.stem == each.path.parent.name]
    assert same == []


def test_there_is_a_room_of_tests_for_each_room_of_code() -> None:
    rooms = {each.path.parent.name for each in modules()}
    without = {"flows", "gridcast", "tasks", "command_line", "gate", "logged", "track", "evaluate",
               "assigned"}  # fmt: skip
    tested = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert sorted(rooms - without - tested) == []


def test_a_stage_knows_no_other_stage() -> None:
    stages = {module.dotted for module in modules() if module.is_a_stage}
    assert len(stages) > 10
    known = {
        module.dotted: sorted(module.imported() & stages - {module.dotted})
        for module in modules()
        if module.is_a_stage
    }
    assert {stage: others for stage, others in known.items() if others} == {}


@pytest.mark.parametrize("room", ["gridcast", "tasks"])
def test_a_module_imports_prefect_only_if_it_holds_a_task(room: str) -> None:
    others = [
        module.name
        for module in modules()
        if module.name.startswith(f"{room}/")
        and not module.is_a_stage
        and any(name.partition(".")[0] == "prefect" for name in module.imported())
    ]
    assert sorted(set(others) - set(KNOWS_PREFECT)) == []


def test_who_is_excused_from_that_rule_still_needs_it() -> None:
    by_name = {module.name: module for module in modules()}
    for name in KNOWS_PREFECT:
        assert not by_name[name].is_a_stage, name
        assert any(each.partition(".")[0] == "prefect" for each in by_name[name].imported()), name


def test_the_walk_of_a_row_names_files_in_order_and_no_more_than_35() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## The way of a row")[2].partition("\n##")[0]
    walk = re.findall(r"(\d+)\. `([a-z_/]+\.py)`", section)
    assert [int(number) for number, _ in walk] == list(range(1, len(walk) + 1))
    assert 20 < len(walk) <= MOST_FILES_OF_THE_WALK
    assert [name for _, name in walk if not (ROOT / name).is_file()] == []


def test_from_the_flow_each_file_names_the_next_up_to_the_grus_equation() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("### From the flow to the GRU's equation")[2].partition("\n## ")[0]
    way = re.findall(r"^\d\. `([a-z_/]+\.py)`", section, flags=re.MULTILINE)
    assert 1 < len(way) <= MOST_FILES_TO_THE_EQUATION
    by_name = {module.name: module for module in modules()}
    for name, following in pairwise(way):
        here, there = by_name[name], by_name[following].dotted
        named = re.search(rf"``{re.escape(there)}``", here.path.read_text(encoding="utf-8"))
        assert named or there in here.imported(), f"{name} does not name {there}"
    assert NetworkJob.process == by_name[way[2]].dotted
    assert way[0].startswith("flows/")
    last = {each.name for each in by_name[way[-1]].tree.body if isinstance(each, ast.FunctionDef)}
    assert {"gru_forward", "gru_backward"} <= last
