"""Hold the lock against the known vulnerabilities, less those that are allowed until a day.

``python requirements/audit.py pip-audit`` with the path of that program. Status 0: nothing is found
that is not allowed, or nobody could be asked, which is said in capitals (with ``AUDIT_REQUIRED`` it
is 1); 1: something is found, or an allowance has run out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOCK, ALLOWED = HERE / "lock.txt", HERE / "audit-allowed.toml"
_UNASKED = "NOT AUDITED: "


@dataclass(frozen=True, slots=True)
class Allowance:
    """A vulnerability that is accepted until a day, and why."""

    id: str
    package: str
    until: date
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said, and the status to end with."""

    lines: tuple[str, ...]
    status: int


def main(program: str) -> int:
    """Ask, judge, say."""
    allowed = read_allowed(ALLOWED.read_text("utf-8"))
    command = [program, "--disable-pip", "--require-hashes", "--requirement", str(LOCK),
               "--format", "json", "--progress-spinner", "off"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    verdict = judge(
        done.stdout, done.stderr, allowed, today=datetime.now(UTC).date(),
        is_required=bool(os.environ.get("AUDIT_REQUIRED")),
    )  # fmt: skip
    sys.stdout.write("".join(f"{line}\n" for line in verdict.lines))
    return verdict.status


def read_allowed(text: str) -> tuple[Allowance, ...]:
    """The entries of ``audit-allowed.toml``; each says all four."""
    return tuple(Allowance(**each) for each in tomllib.loads(text).get("allowed", ()))


def judge(
    told: str, errors: str, allowed: tuple[Allowance, ...], *, today: date, is_required: bool
) -> Verdict:
    """Of pip-audit's JSON (empty or none: it could ask nobody) and of what is allowed."""
    try:
        packages: list[dict[str, Any]] = json.loads(told)["dependencies"]
    except (ValueError, KeyError):
        reason = (errors.strip().splitlines() or ["no answer"])[-1]
        return _unasked(f"pip-audit could not ask ({reason[:200]})", is_required=is_required)
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    if len(skipped) * 2 > len(packages) or not packages:
        reason = f"the service knows {len(packages) - len(skipped)} of {len(packages)} packages"
        return _unasked(reason, is_required=is_required)
    return _verdict(packages, skipped, allowed, today)


def _verdict(
    packages: list[dict[str, Any]], skipped: list[str], allowed: tuple[Allowance, ...], today: date
) -> Verdict:
    known = {(each.package, each.id): each for each in allowed}
    used, lines, status = set[Allowance](), list[str](), 0
    for package in packages:
        for found in package.get("vulns", ()):
            names = [found["id"], *found.get("aliases", ())]
            allowances = [known[package["name"], n] for n in names if (package["name"], n) in known]
            used.update(allowances)
            if any(today <= each.until for each in allowances):
                continue
            fixed = ", ".join(found.get("fix_versions", ())) or "no release"
            since = f" (allowed until {allowances[0].until})" if allowances else ""
            lines.append(f"ERROR {package['name']} {package['version']}: found {names[0]}{since}, "
                         f"mended in {fixed}")  # fmt: skip
            status = 1
    lines += [f"{each.id} of {each.package} is allowed and not found: take it out of {ALLOWED.name}"
              for each in allowed if each not in used]  # fmt: skip
    if skipped:
        lines.append(f"Not known to the service, not audited: {', '.join(skipped)}")
    lines.append(f"Audited: {len(packages) - len(skipped)} packages of {LOCK.name}")
    return Verdict(tuple(lines), status)


def _unasked(reason: str, *, is_required: bool) -> Verdict:
    return Verdict((f"{_UNASKED}{reason}",), 1 if is_required else 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
