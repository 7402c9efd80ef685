"""Draws how a cache at its limit fared as an SVG picture: files, memory, hit rate and writes over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.faults.timeline import DOT, FAILED, FAINT, INK, STYLE, WIDTH, box, text

LEFT, RIGHT, TOP = 110, 20, 44
PLOT, GAP = 120, 34
HOSTS = ("#23395d", "#3f74b5", "#8fb4de")
LIMIT, HIT = "#e0a526", "#3a9d5d"
MIB = 1 << 20


class Sample(NamedTuple):
    """What a host's node held at a time, in seconds and bytes."""

    at: float
    host: int
    file: int
    memory: int


class Course(NamedTuple):
    """What the picture shows. `seconds`: reads, hits, stored and failed of all hosts in each."""

    samples: Sequence[Sample]
    seconds: Sequence[dict[str, int]]
    size_limit: int


def svg(course: Course, title: str) -> str:
    """The picture."""
    plots = [
        ("file of the replica", "MiB", _files(course), course.size_limit / MIB),
        ("memory of the node", "MiB", _memory(course), None),
        ("hit rate", "%", [(HIT, _rate(course, "hits", "reads"))], None),
        (
            "writes a second",
            "",
            [(DOT, _counts(course, "stored")), (FAILED, _counts(course, "failed"))],
            None,
        ),
    ]
    height = TOP + len(plots) * (PLOT + GAP) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="{STYLE}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(LEFT, 20, title, weight=600, size=15),
    ]
    for number, (name, unit, lines, limit) in enumerate(plots):
        parts += _plot(course, TOP + number * (PLOT + GAP), name, unit, lines, limit)
    parts += [*_seconds(course, TOP + len(plots) * (PLOT + GAP) - GAP), *_legend(height - 14), "</svg>"]
    return "\n".join(parts) + "\n"


Points = list[tuple[float, float]]


def _files(course: Course) -> list[tuple[str, Points]]:
    return [
        (colour, [(one.at, one.file / MIB) for one in course.samples if one.host == host])
        for host, colour in enumerate(HOSTS)
    ]


def _memory(course: Course) -> list[tuple[str, Points]]:
    return [
        (colour, [(one.at, one.memory / MIB) for one in course.samples if one.host == host])
        for host, colour in enumerate(HOSTS)
    ]


def _rate(course: Course, part: str, whole: str) -> Points:
    return [
        (at + 0.5, 100 * second[part] / second[whole])
        for at, second in enumerate(course.seconds)
        if second[whole]
    ]


def _counts(course: Course, name: str) -> Points:
    return [(at + 0.5, second[name]) for at, second in enumerate(course.seconds)]


def _x(course: Course, at: float) -> float:
    return LEFT + min(at / max(len(course.seconds), 1), 1) * (WIDTH - LEFT - RIGHT)


def _plot(
    course: Course, top: float, name: str, unit: str, lines: list[tuple[str, Points]], limit: float | None
) -> Iterator[str]:
    highest = (
        100.0 if unit == "%" else max([limit or 1, *(y for _, points in lines for _, y in points)]) * 1.1
    )
    for share in (0, 0.5, 1):
        y = top + PLOT * (1 - share)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dfe3e8"/>'
        yield text(LEFT - 10, y + 4, f"{highest * share:,.0f} {unit}".strip(), anchor="end", fill=FAINT)
    yield text(18, top - 8, name, size=11, fill=FAINT)
    if limit is not None:
        y = top + PLOT * (1 - limit / highest)
        yield (
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LIMIT}" '
            'stroke-width="1.5" stroke-dasharray="6 4"/>'
        )
    for colour, points in lines:
        drawn = " ".join(f"{_x(course, x):.1f},{top + PLOT * (1 - y / highest):.1f}" for x, y in points)
        yield f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.4"/>'


def _seconds(course: Course, y: float) -> Iterator[str]:
    total = len(course.seconds)
    step = max(10 * round(total / 100), 1)
    for second in range(0, total + 1, step):
        x = _x(course, second)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}" stroke="{INK}"/>'
        yield text(x, y + 18, f"{second} s", anchor="middle", fill=FAINT)


def _legend(y: float) -> Iterator[str]:
    entries = [(colour, f"host {number + 1}") for number, colour in enumerate(HOSTS)]
    entries += [(LIMIT, "SIZE_LIMIT"), (HIT, "hits"), (DOT, "writes"), (FAILED, "writes that failed")]
    x = float(LEFT)
    for colour, name in entries:
        yield box(x, y - 9, 10, 10, colour)
        yield text(x + 15, y, name)
        x += 32 + 6.6 * len(name)
