"""The code part of a key: the source of what computes, and of all that it imports.

An import counts wherever it stands, inside a function too; one for the type checker alone does not.
Nothing is listed by hand but ``LEFT_OUT``, what no result depends on though it is imported.
"""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

import gridcast
from tasks.runs.keys import file_sha256, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT: Final = Path(gridcast.__file__).resolve().parent.parent
_PACKAGES: Final = ("gridcast", "tasks", "flows")
# What a module reads from its own folder: kernels as source, templates of pages.
_READ_AT_RUN_TIME: Final = (".cu", ".css", ".jinja")
# Threads that parse at once share one count of depth in CPython 3.11, and end in a SystemError.
_ONE_PARSES: Final = Lock()
_IMPORT: Final = re.compile(rb"\bimport\b *(\()?")

# Modules (of a package, all of them) and why no kept result depends on them. What only they import
# is not followed; a test asks that it is named here too.
LEFT_OUT: Final[Mapping[str, str]] = {
    "gridcast.config": "its values are in the keys, all but the fields that say why not",
    "gridcast.errors": "says why there is no result, and only results are kept",
    "tasks.machine.devices": "picks processors; their type and the precision are in the keys",
    "tasks.machine.owned_process": "starts, watches and ends a process, whatever it computes",
    "tasks.runs.cached_state": "tells Prefect that there was nothing to do",
    "tasks.runs.import_closure": "makes keys: another way of making them gives other keys",
    "tasks.runs.keys": "makes keys: another way of making them gives other keys",
    "tasks.runs.locks": "says who may work on something now, whatever comes of it",
    "tasks.runs.places": "tells where a file lies; what is in it is in the keys",
    "tasks.runs.record_files": "brings a record whole to its place and back, whatever is in it",
    "tasks.runs.storage": "brings a file whole to its place and back, whatever is in it",
}


@cache
def code_sha256(*modules: str) -> str:
    """SHA-256 of the code on which the results of ``modules`` depend, read once a process.

    Raises:
        FileNotFoundError: there is no such module.
    """
    return hash_code(closure_of(modules))


@cache
def all_code_sha256() -> str:
    """SHA-256 of all code of gridcast, whatever it is for."""
    return hash_code(all_modules())


def all_modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of gridcast, tasks and flows by its name, a package as ``gridcast.config``."""
    sources = (path for package in _PACKAGES for path in (root / package).rglob("*.py"))
    return {_name_of(path, root): path for path in sorted(sources)}


def closure_of(modules: Iterable[str], root: Path = ROOT) -> dict[str, Path]:
    """``modules`` and what they import of gridcast, directly or not, less what is left out.

    Raises:
        FileNotFoundError: there is no such module.
    """
    known, todo = _known_modules(root), list(modules)
    if unknown := [name for name in todo if name not in known]:
        message = f"{', '.join(unknown)}: no module of {', '.join(_PACKAGES)} in {root}"
        raise FileNotFoundError(message)
    seen, found = set[str](), dict[str, Path]()
    while todo:
        name = todo.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        todo += _packages_of(name)  # whose own code runs too
        if not is_left_out(name):
            found[name] = known[name]
            todo += imports_of(name, known[name])
    return found


def hash_code(modules: Mapping[str, Path]) -> str:
    """SHA-256 of the modules' sources, and of the kernels and templates in their folders."""
    folders = {path.parent: _package_of(name, path) for name, path in modules.items()}
    sources = dict(modules) | {
        f"{package}/{path.name}": path
        for folder, package in folders.items()
        for path in folder.iterdir()
        if path.suffix in _READ_AT_RUN_TIME
    }
    return sha256_of("".join(f"{file_sha256(sources[each])} {each}\n" for each in sorted(sources)))


def is_left_out(module: str) -> bool:
    """Whether the module, or a package that it is in, is one of those left out."""
    return any(name in LEFT_OUT for name in (module, *_packages_of(module)))


def imports_of(module: str, source: Path) -> frozenset[str]:
    """The modules that ``source`` may import; what it takes from one may be a module as well."""
    return _imports_in(source.read_bytes(), _package_of(module, source))


@cache
def _imports_in(source: bytes, package: str) -> frozenset[str]:
    names: set[str] = set()
    for each in _import_statements(_parsed(source).body):
        if isinstance(each, ast.Import):
            names.update(alias.name for alias in each.names)
        else:
            origin = resolve_name("." * each.level + (each.module or ""), package)
            names.update((origin, *(f"{origin}.{alias.name}" for alias in each.names)))
    return frozenset(name for name in names if name.partition(".")[0] in _PACKAGES)


def _parsed(source: bytes) -> ast.Module:
    """The module down to its last import: to parse what comes after it would take most of the time.

    If it cannot be cut there, as within a string, it is parsed as a whole.
    """
    found = list(_IMPORT.finditer(source))
    if not found:
        return ast.Module(body=[], type_ignores=[])
    end = source.find(b")" if found[-1][1] else b"\n", found[-1].end())
    with _ONE_PARSES:
        with suppress(SyntaxError):
            return ast.parse(source[: end + 1] if end > 0 else source)
        return ast.parse(source)


def _import_statements(body: Sequence[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Those that run, at whatever depth: statements alone are looked at, no expressions."""
    for each in body:
        if isinstance(each, ast.Import | ast.ImportFrom):
            yield each
        elif isinstance(each, ast.If) and _is_for_the_type_checker(each.test):
            yield from _import_statements(each.orelse)
        else:
            for block in ("body", "orelse", "finalbody"):
                yield from _import_statements(getattr(each, block, ()))
            for branch in (*getattr(each, "handlers", ()), *getattr(each, "cases", ())):
                yield from _import_statements(branch.body)


def _is_for_the_type_checker(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


@cache
def _known_modules(root: Path) -> dict[str, Path]:
    return all_modules(root)


def _name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _package_of(module: str, source: Path) -> str:
    """The package in whose folder the source lies."""
    return module if source.stem == "__init__" else module.rpartition(".")[0]


def _packages_of(module: str) -> list[str]:
    """``gridcast.config`` and ``gridcast`` of ``gridcast.config.data``."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
