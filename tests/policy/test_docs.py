"""The pages say what is so: commands, links, files, words, settings and figures are held to it.

A block fenced as ``sh`` in one of ``PAGES_WITH_COMMANDS`` holds commands. It is run
here, unless a line ``<!-- not run by the tests: why -->`` stands above it; its commands are parsed
in any case.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from typer.main import get_command

from benchmarks import write_operation
from benchmarks.article_accuracy import RESULTS
from benchmarks.generalization import KEPT as GENERALIZATION
from benchmarks.generalization import PAGE, SECTION, page_table
from benchmarks.update_readme import BLOCKS, KEPT, with_block
from flows.command_line.app import app
from gridcast.config import Config

ROOT = Path(__file__).resolve().parents[2]
CODE = ("gridcast", "tasks", "flows")
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/adr/*.md", "artifacts/README.md")
    for path in ROOT.glob(pattern)
)
PAGES_WITH_COMMANDS = (
    "README.md", "CONTRIBUTING.md", "docs/deploy.md", "docs/forecasting.md", "docs/operation.md",
    "docs/runbook.md", "docs/scale.md",
)  # fmt: skip
KNOWN_PROGRAMS = {
    "curl", "export", "fuser", "gridcast", "make", "mlflow", "prefect", "ps", "psql", "python",
    "ray", "rm", "sbatch",
}  # fmt: skip
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*) -->\n)?```sh\n(?P<body>.*?)```", re.DOTALL)
MARK = "not run by the tests: "
MAX_PICTURE_BYTES = 300_000
SUBCOMMANDS = vars(get_command(app))["commands"]


class Block(NamedTuple):
    """A fenced block of commands and the mark above it."""

    page: str
    mark: str
    lines: list[str]

    @property
    def name(self) -> str:
        return f"{self.page}: {self.lines[0]}"


def _blocks() -> list[Block]:
    return [
        Block(page, match["mark"] or "", match["body"].splitlines())
        for page in PAGES_WITH_COMMANDS
        for match in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))
    ]


def _commands(program: str) -> list[list[str]]:
    """The arguments of each call of ``program`` in the pages, blocks and running text."""
    found = [line for block in _blocks() for line in block.lines]
    for page in PAGES:
        found += re.findall(r"`([^`\n]+)`", _without_blocks(page))
    words = [shlex.split(line) for line in found if line.count("'") % 2 == 0]
    calls = [each for each in words if each and Path(each[0]).name == program]
    return sorted({tuple(each[1:]): each[1:] for each in calls}.values())


def _without_blocks(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def _page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# -- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", _blocks(), ids=lambda block: block.name)
def test_command_block_runs_or_says_why_not(block: Block) -> None:
    for line in block.lines:
        assert Path(line.split()[0]).name in KNOWN_PROGRAMS
    if block.mark:
        assert block.mark.startswith(MARK)
        return
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = "\n".join(block.lines)
    subprocess.run(["sh", "-euc", script], cwd=ROOT, env=os.environ | {"PATH": path}, check=True)


@pytest.mark.parametrize("arguments", _commands("gridcast"), ids=" ".join)
def test_gridcast_command_is_parsed_as_it_stands(arguments: list[str]) -> None:
    if arguments not in ([], ["--help"], ["--version"]):
        name, *options = arguments
        command = SUBCOMMANDS[name]
        while hasattr(command, "commands") and options:  # a group, such as `gridcast snapshots`
            name, *options = options
            command = command.commands[name]
        if options or not hasattr(command, "commands"):  # a group alone is the name of all of it
            command.make_context(name, options)
    settings = [value for option, value in itertools.pairwise(arguments) if option == "--set"]
    Config.load(overrides=tuple(settings))


def test_make_targets_exist() -> None:
    targets = {target for call in _commands("make") for target in call if "=" not in target}
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    assert {"run", "test", "check"} <= targets
    subprocess.run(["make", "-n", *sorted(targets)], cwd=ROOT, check=True, capture_output=True)


def test_deployments_of_the_runbook_are_those_of_prefect_yaml() -> None:
    written = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    deployed = {f"{each['entrypoint'].partition(':')[2]}/{each['name']}" for each in written}
    named = set(re.findall(r"[a-z]+-[a-z]+/(?:nightly|hourly|weekly|live|assigned)", _runbook()))
    assert {name.replace("-", "_") for name in named} == deployed


def _runbook() -> str:
    return (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


# -- links and files -----------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=_page_name)
def test_relative_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", _without_blocks(page)):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _tree() -> set[str]:
    """The paths of the README's tree; a folder ends with a slash."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"## Where things are\n\n```text\n(.*?)```", readme, re.DOTALL)
    assert match is not None
    paths, folder = set(), ""
    for line in match[1].splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            paths.add(name)
        else:
            paths.add(folder + name)
    return paths


def test_tree_names_only_what_exists_and_every_room() -> None:
    tree = _tree()
    assert [path for path in sorted(tree) if not (ROOT / path).exists()] == []
    modules = [path for name in CODE for path in (ROOT / name).rglob("*.py")]
    rooms = {f"{_page_name(path.parent)}/" for path in modules}
    assert len(rooms) > 15
    assert sorted(rooms - tree) == []


def test_every_decision_record_is_numbered_and_dated() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    for number, record in enumerate(records, start=1):
        assert record.name.startswith(f"{number:04d}-")
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. ")
        assert re.search(r"^Accepted, \d{4}-\d\d-\d\d\.$", text, re.MULTILINE)
        for part in ("**Context.**", "**Decision.**", "**Consequences.**"):
            assert part in text


def test_pictures_are_small_enough_for_a_page() -> None:
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < MAX_PICTURE_BYTES, picture


# -- words and settings --------------------------------------------------------------------------


def _code() -> str:
    files = [path for name in CODE for path in sorted((ROOT / name).rglob("*.py"))]
    assert len(files) > 100
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_glossary_words_in_code_are_words_of_the_code() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+) \|", glossary, re.MULTILINE)
    words = [word for cell in cells for word in re.findall(r"`(\w+)`", cell)]
    code = _code()
    assert [word for word in words if not re.search(rf"\b{word}s?\b", code)] == []
    assert len(words) == len(set(words))


@pytest.mark.parametrize("page", PAGES, ids=_page_name)
def test_settings_named_are_settings_of_base_yaml(page: Path) -> None:
    base = yaml.safe_load((ROOT / "configs" / "base.yaml").read_text(encoding="utf-8"))
    named = re.findall(r"(?:`|--set )([a-z_]+)\.([a-z_]+)(?=[`=])", _without_blocks(page))
    files = {"json", "html", "py", "txt", "yaml", "md", "toml", "parquet", "pt2", "log", "in"}
    for section, key in named:
        if section in base and key not in files:
            assert key in base[section], f"{section}.{key}"


@pytest.mark.parametrize("page", PAGES, ids=_page_name)
def test_rules_named_are_rules_of_rules_yaml(page: Path) -> None:
    rules = yaml.safe_load((ROOT / "configs" / "rules.yaml").read_text(encoding="utf-8"))
    text = _without_blocks(page)
    for section, rule in re.findall(r"\b(required|flagged|repaired)\.([a-z_]+)\b", text):
        assert rule in rules["default"][section], f"{section}.{rule}"


# -- figures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", list(BLOCKS), ids=_page_name)
def test_figures_are_those_of_the_kept_run(page: Path) -> None:
    name, table = BLOCKS[page]
    text = page.read_text(encoding="utf-8")
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert text == with_block(text, name, table(kept))


def test_the_table_of_other_peoples_data_is_that_of_the_kept_figures() -> None:
    text = PAGE.read_text(encoding="utf-8")
    kept = json.loads((RESULTS / GENERALIZATION).read_text(encoding="utf-8"))
    assert text == with_block(text, SECTION, page_table(kept))
    assert all(name in page_table(kept) for name in ("France", "Victoria", "LightGBM"))


def test_the_figures_of_a_year_lived_through_are_those_of_the_kept_replay() -> None:
    kept = json.loads(write_operation.KEPT.read_text(encoding="utf-8"))
    page = write_operation.PAGE.read_text(encoding="utf-8")
    assert write_operation.page(kept) == page
    assert len(kept["report"]["months"]) == 12
    assert f"| {kept['report']['months'][-1]['month']} | " in page


def test_block_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="found 0 blocks between <!-- results:start -->"):
        with_block("no markers here", "results", "table")
