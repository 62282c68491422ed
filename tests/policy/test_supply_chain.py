"""What is installed is pinned by hash, what runs elsewhere by digest, and known faults by a day."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest

from requirements import audit
from tests.builders.pipelines import ROOT

REQUIREMENTS = ROOT / "requirements"
TODAY = date(2027, 1, 1)
HASHED = re.compile(r"--hash=sha256:[0-9a-f]{64}")
EXACT = re.compile(r"[A-Za-z0-9._-]+(\[[^]]*\])?==[^\s;]+")
FIXED = re.compile(r"@(?:sha256:[0-9a-f]{64}|[0-9a-f]{40})$")
OWN_OR_PINNED = re.compile(
    r"^(gridcast|\$\{GRIDCAST_IMAGE:-gridcast\}|\$\{BASE\}|.*@sha256:[0-9a-f.]+.*)$"
)
ACTION = re.compile(r"^\s*-?\s*uses:\s*['\"]?([^\s'\"#]+)", re.MULTILINE)
IMAGE = re.compile(r"^\s*(?:-\s*)?image:\s*(\S.*)$|^FROM\s+(\S+)", re.MULTILINE)


# -- pins ------------------------------------------------------------------------------------------


def unpinned_requirements(text: str) -> list[str]:
    """Requirements that are no exact version with at least one hash."""
    joined = re.sub(r"\\\n", " ", text)
    lines = [line for line in joined.splitlines() if line and not line.lstrip().startswith("#")]
    return [line for line in lines if not (EXACT.match(line) and HASHED.search(line))]


def unpinned_actions(text: str) -> list[str]:
    """Actions of a workflow that are named by a branch or a tag, which move."""
    return [each for each in ACTION.findall(text) if not (each[:2] == "./" or FIXED.search(each))]


def unpinned_images(text: str) -> list[str]:
    """Images that are named by a tag, and are not our own nor left to whoever builds."""
    found = [image or base for image, base in IMAGE.findall(text)]
    return [each for each in found if not OWN_OR_PINNED.match(each)]


@pytest.mark.parametrize("name", ["lock.txt", "audit.txt"])
def test_every_requirement_of_a_lock_has_a_version_and_hashes(name: str) -> None:
    text = (REQUIREMENTS / name).read_text("utf-8")
    assert text.count("==") > 20
    assert unpinned_requirements(text) == []


@pytest.mark.parametrize(
    "line",
    ["flask", "flask>=3", "flask==3.1.3", "flask==3.1.3 --hash=md5:00", "-e .", "git+https://x/y"],
)
def test_a_requirement_without_version_or_hash_is_refused(line: str) -> None:
    hashed = f"idna==3.10 \\\n    --hash=sha256:{'0' * 64}\n"
    assert unpinned_requirements(hashed + line + "\n") == [line]


def test_every_action_and_image_is_named_by_its_content() -> None:
    folders = (".github", ".ci", "deploy")
    files = [p for name in folders for p in sorted((ROOT / name).rglob("*")) if p.is_file()]
    assert len(files) > 8
    for path in files:
        text = path.read_text("utf-8")
        assert unpinned_actions(text) == [], path
        if path.name == "Containerfile" or path.suffix == ".yaml":
            assert unpinned_images(text) == [], path


@pytest.mark.parametrize(
    ("line", "is_pinned"),
    [
        ("      - uses: actions/checkout@v4", False),
        ("        uses: actions/checkout@main # newest", False),
        (f"      - uses: actions/checkout@{'a' * 40} # v4.2.2", True),
        ("      - uses: ./.github/actions/own", True),
        (f"      - uses: docker://alpine@sha256:{'0' * 64}", True),
        ("      - uses: docker://alpine:3.20", False),
    ],
)
def test_an_action_by_tag_or_branch_is_refused(line: str, is_pinned: bool) -> None:  # noqa: FBT001
    assert (unpinned_actions(line) == []) == is_pinned


@pytest.mark.parametrize("line", ["    image: postgres:15", "FROM python:3.11", "  - image: minio"])
def test_an_image_by_tag_is_refused(line: str) -> None:
    assert len(unpinned_images(line)) == 1


# -- known faults ----------------------------------------------------------------------------------


def told(*vulns: dict[str, Any], skipped: int = 0) -> str:
    """JSON as pip-audit 2.10 tells it, of four packages that are well and one that is not."""
    packages: list[dict[str, Any]] = [
        {"name": f"p{n}", "version": "1", "vulns": []} for n in range(4)
    ]
    packages.append({"name": "flask", "version": "3.1.3", "vulns": list(vulns)})
    packages += [{"name": f"s{n}", "skip_reason": "not found on PyPI"} for n in range(skipped)]
    return json.dumps({"dependencies": packages, "fixes": []})


FAULT = {"id": "PYSEC-2027-1", "aliases": ["GHSA-aaaa", "CVE-2027-1"], "fix_versions": ["3.1.4"],
         "description": "something"}  # fmt: skip


def judge(
    text: str, allowed: str = "", *, errors: str = "", is_required: bool = False
) -> audit.Verdict:
    return audit.judge(
        text, errors, audit.read_allowed(allowed), today=TODAY, is_required=is_required
    )


def allowance(until: str, name: str = "GHSA-aaaa") -> str:
    return f'[[allowed]]\nid = "{name}"\npackage = "flask"\nuntil = {until}\nwhy = "a reason"\n'


def test_what_is_well_passes_and_what_is_not_fails_with_its_remedy() -> None:
    assert judge(told()).status == 0
    found = judge(told(FAULT))
    assert found.status == 1
    assert found.lines[0] == "ERROR flask 3.1.3: found PYSEC-2027-1, mended in 3.1.4"


def test_an_allowance_holds_by_any_name_of_the_fault_up_to_its_day_and_no_longer() -> None:
    assert judge(told(FAULT), allowance("2027-01-01")).status == 0
    assert judge(told(FAULT), allowance("2027-01-01", "CVE-2027-1")).status == 0
    late = judge(told(FAULT), allowance("2026-12-31"))
    assert late.status == 1
    assert "(allowed until 2026-12-31)" in late.lines[0]
    assert judge(told(FAULT), allowance("2027-12-31", "GHSA-bbbb")).status == 1
    assert any("is allowed and not found" in line
               for line in judge(told(), allowance("2027-12-31")).lines)  # fmt: skip


@pytest.mark.parametrize("text", ["", "{}", told(skipped=6), '{"dependencies": []}'])
def test_where_nobody_could_be_asked_that_is_said_and_fails_only_where_it_is_required(
    text: str,
) -> None:
    found = judge(text, errors="requests.exceptions.ProxyError: no route")
    assert found.status == 0
    assert found.lines[0].startswith("NOT AUDITED: ")
    assert judge(text, is_required=True).status == 1


def test_what_is_allowed_now_says_until_when_and_why() -> None:
    for each in audit.read_allowed((REQUIREMENTS / "audit-allowed.toml").read_text("utf-8")):
        assert isinstance(each.until, date)
        assert len(each.why.split()) > 3
