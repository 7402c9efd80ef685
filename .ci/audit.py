"""Asks whether a vulnerability is known in what is installed here: `make audit`.

Fails on one that is known. Where no service can be asked, as on a machine without a way out, it says so and does not
fail: that is no finding. Knows no service but by the names that pip-audit has for them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

SERVICES = ("pypi", "osv")
TIMEOUT_S = 180
# Findings that do not concern this project, each with the reason: {"PYSEC-0000-00": "only on Windows"}.
IGNORED: dict[str, str] = {}


class Verdict(NamedTuple):
    text: str
    failed: bool
    # Whether anything was looked up at all.
    known: bool


def verdict(printed: str) -> Verdict:
    """What an answer of pip-audit, its JSON, says."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(printed)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Verdict("the service gave no answer", failed=False, known=False)
    audited = [one for one in dependencies if "skip_reason" not in one]
    found = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability.get('fix_versions') or ['no release yet'])}"
        for one in audited
        for vulnerability in one.get("vulns", ())
        if vulnerability["id"] not in IGNORED
    ]
    skipped = len(dependencies) - len(audited)
    count = f"{len(audited)} packages looked up, {skipped} could not be"
    if found:
        return Verdict("\n".join([*found, count]), failed=True, known=True)
    return Verdict(
        f"no vulnerability is known: {count}" if audited else count, failed=False, known=bool(audited)
    )


def ask(service: str) -> str:
    """What pip-audit prints; empty where it takes too long."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--local",
        "--skip-editable",
        "--vulnerability-service",
        service,
    ]
    options = ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        ended = subprocess.run(
            [*command, *options], check=False, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return ""
    return ended.stdout


def main() -> int:
    for service in SERVICES:
        found = verdict(ask(service))
        if found.known:
            print(f"audit ({service}): {found.text}")
            return int(found.failed)
        print(f"audit ({service}): nothing could be looked up, {found.text}", file=sys.stderr)
    print(
        "audit: NOT DONE, for no service could be asked. That is no finding, and no proof that there is none."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
