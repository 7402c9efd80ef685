"""Puts measured rows into docs/reliability.md, between two markers; the rest of the page is written by hand."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from tests.faults.measurements import MEASUREMENTS
from tests.faults.measurements.rows import Row

PAGE, PICTURE = "reliability.md", "reliability-timeline.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = ["| command | what | wanted | measured | |", "|---|---|---|---|---|"]
COMMAND = re.compile(r"\| `make faults ONLY=(\w+)` \|")


def merge(page: str, results: dict[str, list[Row]]) -> str:
    """The page with new rows for what was measured, and the old ones for what was not."""
    before, rest = page.split(BEGIN)
    table, after = rest.split(END)
    lines: dict[str, list[str]] = {}
    for line in table.splitlines():
        if match := COMMAND.match(line):
            lines.setdefault(match[1], []).append(line)
    lines |= {name: [_line(name, row) for row in rows] for name, rows in results.items()}
    ordered = [line for name in MEASUREMENTS for line in lines.get(name, [])]
    return "\n".join([before + BEGIN, "", *HEAD, *ordered, "", _machine(), "", END]) + after


def picture_of(name: str) -> str:
    """The file beside the page that shows how a measurement went."""
    return f"reliability-{name}.svg"


def _line(name: str, row: Row) -> str:
    verdict = "met" if row.met else "**MISSED**"
    return f"| `make faults ONLY={name}` | {row.what} | {row.wanted} | {row.measured} | {verdict} |"


def _machine() -> str:
    release = re.match(r"\d+\.\d+", platform.release())
    return (
        f"All hosts and all workers ran on one machine with {os.cpu_count()} cores, "
        f"Linux {release[0] if release else platform.release()}, Python {platform.python_version()}."
    )


def write(directory: Path, results: dict[str, list[Row]]) -> None:
    path = directory / PAGE
    path.write_text(merge(path.read_text(), results))


def told(results: dict[str, list[Row]]) -> Iterable[str]:
    for name, rows in results.items():
        for row in rows:
            yield f"{name:10} {'met   ' if row.met else 'MISSED'} {row.what}: {row.measured} (wanted {row.wanted})"
