"""No cached result can go stale by a change of code: each key holds all code that computes it.

The stages are found, not listed: whatever calls ``code_sha256`` is one, and each is held to all of
this.
"""

from __future__ import annotations

import ast
import gc
import json
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grimp
import pytest

from gridcast.config import Config
from tasks.runs.import_closure import (
    LEFT_OUT,
    ROOT,
    _import_statements,
    _parsed,
    all_modules,
    closure_of,
    code_sha256,
    hash_code,
    is_left_out,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("gridcast", "tasks", "flows")
CHANGE = "# a change\n"
MODULES = all_modules()


# -- the stages ----------------------------------------------------------------------------------


class Stage(NamedTuple):
    """Where a key is made, the function, and the modules whose code it is to hold."""

    module: str
    function: ast.FunctionDef
    computes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.computes[0].rpartition(".")[2]


@cache
def stages() -> dict[str, Stage]:
    """By the last word of what computes."""
    return {each.name: each for module in MODULES for each in _stages_in(module)}


def _stages_in(module: str) -> Iterator[Stage]:
    source = MODULES[module].read_bytes()
    if b"code_sha256(" not in source:
        return
    tree = ast.parse(source)
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id == "code_sha256":
                named = [_word(argument, module, tree) for argument in call.args]
                yield Stage(module, function, tuple(named))


def _word(argument: ast.expr, module: str, tree: ast.Module) -> str:
    """The module that is named: in a word, by a constant of the module or of an imported class."""
    if isinstance(argument, ast.Constant):
        return str(argument.value)
    name, _, attribute = ast.unparse(argument).partition(".")
    if attribute:
        return str(getattr(getattr(import_module(_origin(name, tree)), name), attribute))
    return module if name == "__name__" else _constants(tree)[name]


def _origin(name: str, tree: ast.Module) -> str:
    imports = [each for each in tree.body if isinstance(each, ast.ImportFrom) and each.module]
    return next(
        str(each.module) for each in imports if name in {alias.name for alias in each.names}
    )


def _constants(tree: ast.Module) -> dict[str, str]:
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return {
        node.targets[0].id: str(node.value.value)
        for node in assigned
        if isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Constant)
    }


NAMES = sorted(stages())
each_stage = pytest.mark.parametrize("name", NAMES)


def test_whatever_asks_for_a_code_part_is_found_as_a_stage_and_each_has_a_name_of_its_own() -> None:
    texts = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
    asking = {
        name
        for name, text in texts.items()
        if len(re.findall(r"\bcode_sha256\(", text))
        > len(re.findall(r"def \w*code_sha256\(", text))
        and "all_code_sha256(" not in text.replace("import all_code_sha256", "")
    }
    assert len(asking) > 5
    found = [stage for module in MODULES for stage in _stages_in(module)]
    assert asking <= {stage.module for stage in found}
    assert {each for stage in found for each in stage.computes} <= MODULES.keys()
    by_name = {stage.name: stage.computes for stage in found}
    assert all(by_name[stage.name] == stage.computes for stage in found)


# -- each stage's code ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of gridcast, to be changed."""
    root = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("*.pyc"))
    return root


def hash_in(root: Path, stage: str) -> str:
    """The stage's code part, not the one that is remembered."""
    return hash_code(closure_of(stages()[stage].computes, root))


def changes_of(root: Path, file: str) -> set[str]:
    """The stages whose code part changes with one line more in ``file``."""
    before = {name: hash_in(root, name) for name in NAMES}
    path = root / file
    content = path.read_bytes()
    try:
        path.write_bytes(content + CHANGE.encode())
        return {name for name in NAMES if hash_in(root, name) != before[name]}
    finally:
        path.write_bytes(content)


# What is not gridcast's is imported once: each stage is then a fork that has nothing of gridcast.
_IMPORTS = """
import importlib, json, os, sys
for name in ("pandas", "pyarrow.parquet", "torch", "prefect", "mlflow", "great_expectations"):
    importlib.import_module(name)
for name, modules in json.loads(sys.stdin.read()).items():
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        for module in modules:
            importlib.import_module(module)
        print(json.dumps([name, [each for each in sys.modules if isinstance(each, str)]]))
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""


@cache
def imported_by_stage() -> dict[str, frozenset[str]]:
    """What a process that computes a stage has of gridcast in its memory, by the stage's name."""
    computes = {name: each.computes for name, each in stages().items()}
    child = subprocess.run(
        [sys.executable, "-c", _IMPORTS],
        cwd=ROOT, input=json.dumps(computes), capture_output=True, check=True, text=True,
    )  # fmt: skip
    found = [json.loads(line) for line in child.stdout.splitlines() if line.startswith('["')]
    return {
        name: frozenset(each for each in names if each.partition(".")[0] in PACKAGES)
        for name, names in found
    }


@each_stage
@pytest.mark.slow
def test_whatever_the_process_imports_changes_the_key_unless_it_is_left_out(
    name: str, copy: Path
) -> None:
    computes = stages()[name].computes
    imported = imported_by_stage()[name]
    assert set(computes) <= imported
    closure, before = closure_of(computes, copy), hash_in(copy, name)
    assert {each for each in imported if is_left_out(each)} == imported - closure.keys()
    for module in sorted(imported)[::8]:  # what is in the closure is hashed: all are so alike
        path = copy / MODULES[module].relative_to(ROOT)
        content = path.read_bytes()
        path.write_bytes(content + CHANGE.encode())
        assert (hash_in(copy, name) == before) == is_left_out(module), module
        path.write_bytes(content)
    assert hash_in(copy, name) == before == hash_in(ROOT, name)


@cache
def graph_of_imports(*, less_left_out: bool = False) -> grimp.ImportGraph:
    """Another's reading of the same imports, those inside functions too."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    for module in filter(is_left_out, list(graph.modules) if less_left_out else ()):
        graph.remove_module(module)
    return graph


def modules_alone(names: set[str]) -> set[str]:
    return {name for name in names if MODULES[name].stem != "__init__"}


@each_stage
def test_the_closure_is_that_of_import_linters_graph(name: str) -> None:
    graph, computes = graph_of_imports(less_left_out=True), stages()[name].computes
    reached = set(computes).union(*(graph.find_upstream_modules(each) for each in computes))
    found = set(closure_of(computes))
    assert modules_alone(found) == modules_alone(reached)
    packages = {each.rpartition(".")[0] for each in reached} - {""}
    assert found >= packages  # their own code runs too


@each_stage
def test_what_only_left_out_modules_import_is_left_out_by_name(name: str) -> None:
    graph, computes = graph_of_imports(), stages()[name].computes
    reached = set[str]().union(*(graph.find_upstream_modules(each) for each in computes))
    unnamed = reached - closure_of(computes).keys()
    assert [each for each in sorted(unnamed) if not is_left_out(each)] == []


def test_each_module_that_is_left_out_is_there_is_imported_and_has_a_reason() -> None:
    graph = graph_of_imports()
    computing = {each for stage in stages().values() for each in stage.computes}
    reached = set[str]().union(*(graph.find_upstream_modules(each) for each in computing))
    for module, reason in LEFT_OUT.items():
        assert module in MODULES
        assert any(each == module or each.startswith(f"{module}.") for each in reached), module
        assert len(reason.split()) > 4


@pytest.mark.parametrize(
    ("file", "module", "is_used"),
    [
        ("gridcast/kernels/adam.cu", "gridcast.kernels", True),
        ("gridcast/report/data_page.html.jinja", "gridcast.report", True),
        ("gridcast/training/__init__.py", "gridcast.training", True),
        ("gridcast/networks/__init__.py", "gridcast.networks", True),
        ("tasks/ingest/gate/custom_expectations.py", "tasks.ingest.gate.custom_expectations", True),
        ("tasks/track/served_model.py", "tasks.track.served_model", True),
        ("tasks/show/show_run.py", "tasks.show.show_run", False),
        ("tasks/train/jobs.py", "tasks.train.jobs", False),
        ("tasks/machine/progress.py", "tasks.machine.progress", False),
        ("flows/run_pipeline.py", "flows.run_pipeline", False),
        ("gridcast/config/learning.py", "gridcast.config.learning", False),
        ("gridcast/__init__.py", "gridcast", True),
    ],
)  # fmt: skip
def test_a_changed_file_changes_the_keys_of_what_it_computes_and_no_other(
    copy: Path, file: str, module: str, *, is_used: bool
) -> None:
    expected = {name for name in NAMES if module in packages_and_modules(name)}
    assert bool(expected) == is_used
    assert changes_of(copy, file) == expected


def packages_and_modules(name: str) -> set[str]:
    """What runs where a stage computes, as another reads the imports; packages too."""
    graph, computes = graph_of_imports(less_left_out=True), stages()[name].computes
    modules = set(computes).union(*(graph.find_upstream_modules(each) for each in computes))
    return modules | {
        ".".join(words[:length])
        for words in (module.split(".") for module in modules)
        for length in range(1, len(words))
    }


def test_a_module_that_comes_or_goes_by_another_name_changes_the_key(tmp_path: Path) -> None:
    write(tmp_path, {"gridcast/__init__.py": "", "gridcast/a.py": "", "gridcast/b.py": ""})
    files = closure_of(["gridcast.a"], tmp_path)
    assert hash_code(files) != hash_code({"gridcast.b": files["gridcast.a"]} | files)
    assert hash_code({"gridcast.a": files["gridcast.a"]}) != hash_code(
        {"gridcast.b": files["gridcast.a"]}
    )


def test_whatever_lies_in_a_room_is_code_is_read_beside_code_or_is_a_page() -> None:
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    files = [path for path in files if path.name != "tested-on-hopper.json"]  # tells of tests
    kinds = {path.suffix for path in files if "__pycache__" not in path.parts}
    assert kinds == {".py", ".cu", ".css", ".jinja"} | (kinds & {".md"})


def test_no_code_that_computes_imports_a_module_of_ours_by_a_name_made_at_run_time() -> None:
    calls = {"import_module", "importlib.import_module", "__import__", "exec", "eval"}
    computing = [each for stage in stages().values() for each in stage.computes]
    found = {
        module
        for module, path in closure_of(computing).items()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in calls
    }
    assert found == {"gridcast"}  # what it offers to others: our own code asks the rooms


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


# -- each stage's settings -----------------------------------------------------------------------


# What the second gate has left is made anew with each validation, so its rules need no key.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "validation"])
def test_whatever_is_read_of_the_configuration_is_part_of_the_key(name: str) -> None:
    """``config.split`` anywhere in what computes asks for ``split`` where the key is made."""
    stage = stages()[name]
    sections = Config.model_fields.keys()
    keyed = {
        word
        for call in ast.walk(stage.function)
        if isinstance(call, ast.Call) and _called(call) == "keyed"
        for word in _words_around(call, stage.module)
    }
    read = {
        node.attr
        for path in closure_of(stage.computes).values()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and _is_a_configuration(node.value)
    }
    assert read & sections <= keyed


def _words_around(call: ast.Call, module: str) -> Iterator[str]:
    """``windows`` of ``config.keyed("windows")``, ``rules`` of ``config.rules.of(x).keyed()``."""
    tuples = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(MODULES[module].read_bytes()).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Tuple)
    }
    for node in ast.walk(call):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant):
            yield str(node.value)
        elif isinstance(node, ast.Name):
            yield from (node.id, *tuples.get(node.id, ()))


def _is_a_configuration(node: ast.expr) -> bool:
    return getattr(node, "attr", getattr(node, "id", "")) in {"config", "_config"}


# -- how imports are read ------------------------------------------------------------------------


def write(root: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source, encoding="utf-8")


@pytest.mark.parametrize(
    "source",
    [
        "import gridcast.wanted",
        "import os, gridcast.wanted as w",
        "from gridcast import wanted",
        "from gridcast.wanted import thing, other",
        "from gridcast.wanted import (\n    thing,  # (of some kind)\n    other,\n)\n",
        "from gridcast.wanted import *",
        "from . import wanted",
        "from .wanted import thing",
        "def f():\n    from gridcast.wanted import thing\n    return thing\n",
        "class A:\n    def f(self):\n        if self:\n            import gridcast.wanted\n",
        "try:\n    import gridcast.wanted\nexcept ImportError:\n    pass\n",
        "try:\n    import os\nexcept ImportError:\n    import gridcast.wanted\n",
        "with open('x') as file:\n    import gridcast.wanted\n",
        "match 1:\n    case 1:\n        import gridcast.wanted\n",
        "for _ in ():\n    pass\nelse:\n    import gridcast.wanted\n",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import gridcast.wanted\n",
        "import gridcast.wanted; text = '''to\nimport (\n'''\n",
        "async def f():\n    async with a:\n        import gridcast.wanted\n",
    ],
)
def test_an_import_counts_wherever_it_stands(tmp_path: Path, source: str) -> None:
    files = {"__init__.py": "", "a.py": source, "wanted.py": "", "other.py": ""}
    write(tmp_path, {f"gridcast/{name}": content for name, content in files.items()})
    found = closure_of(["gridcast.a"], tmp_path)
    assert sorted(found) == ["gridcast", "gridcast.a", "gridcast.wanted"]


@pytest.mark.parametrize(
    "source",
    [
        "if TYPE_CHECKING:\n    import gridcast.wanted\n",
        "if typing.TYPE_CHECKING:\n    from gridcast import wanted\n",
        "text = 'import gridcast.wanted'\n",
        "'''\nimport gridcast.wanted\n'''\n",
        "import os\n# import gridcast.wanted\n",
        "",
    ],
)
def test_what_does_not_run_is_no_import(tmp_path: Path, source: str) -> None:
    write(tmp_path, {"gridcast/__init__.py": "", "gridcast/a.py": source, "gridcast/wanted.py": ""})
    assert "gridcast.wanted" not in closure_of(["gridcast.a"], tmp_path)


def test_imports_of_imports_of_packages_and_in_circles_count(tmp_path: Path) -> None:
    files = {
        "gridcast/__init__.py": "",
        "gridcast/room/__init__.py": "from gridcast.room.b import x\n",
        "gridcast/room/a.py": "",
        "gridcast/room/b.py": "import gridcast.room.c\n",
        "gridcast/room/c.py": "from gridcast.room import b\nimport numpy\n",
        "gridcast/room/unused.py": "",
        "gridcast/room/kernel.cu": "",
    }
    write(tmp_path, files)
    found = closure_of(["gridcast.room.a"], tmp_path)
    rooms = [f"gridcast.room{module}" for module in ("", ".a", ".b", ".c")]
    assert sorted(found) == ["gridcast", *rooms]
    before = hash_code(found)
    (tmp_path / "gridcast/room/kernel.cu").write_text("a")
    assert hash_code(found) != before


def test_each_module_is_read_as_far_as_its_last_import() -> None:
    for module, path in MODULES.items():
        whole = _import_statements(ast.parse(path.read_bytes()).body)
        read = _import_statements(_parsed(path.read_bytes()).body)
        assert list(map(ast.dump, read)) == list(map(ast.dump, whole)), module


def test_threads_that_ask_at_once_get_what_one_gets() -> None:
    """In CPython 3.11 a thread that parses while another one does may end in a SystemError."""
    sources = [path.read_bytes() for path in MODULES.values()]
    wanted = [num_statements(source) for source in sources]
    before, others = gc.get_threshold(), lambda *_: time.sleep(0)  # lets other threads on
    gc.callbacks.append(others)
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(
                threads.map(lambda _: [num_statements(each) for each in sources], range(4))
            )
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(others)
    assert found == [wanted] * 4


def num_statements(source: bytes) -> int:
    return len(_parsed(source).body)


def test_a_module_that_does_not_exist_has_no_code() -> None:
    with pytest.raises(FileNotFoundError, match=r"gridcast\.readings\.parsin: no module of"):
        code_sha256("gridcast.readings.parsin")


def test_the_code_part_is_that_of_the_closure() -> None:
    stage = stages()["training_process"]
    assert code_sha256(*stage.computes) == hash_in(ROOT, "training_process")
