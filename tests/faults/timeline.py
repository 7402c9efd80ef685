"""Draws a mixed run as an SVG picture: leader and health of each host, latencies of the writes, faults as bands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from itertools import pairwise

from tests.faults.mixed import Run

WIDTH, LEFT, RIGHT = 1100, 110, 20
TOP, LANE, LANES_GAP = 64, 34, 26
PLOT = 220
LOWEST_MS, HIGHEST_MS = 1, 10_000
HEALTH = {"good": "#3a9d5d", "degraded": "#e0a526", "bad": "#c8403a", "gone": "#c9ced6"}
INK, FAINT, LEADER = "#2b3340", "#8a93a0", "#23395d"
DOT, FAILED = "#3f74b5", "#c8403a"
STYLE = "font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:12px"


def svg(run: Run) -> str:
    """The picture."""
    lanes_end = TOP + LANE * len(run.addrs)
    plot_top = lanes_end + LANES_GAP
    height = plot_top + PLOT + 76
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="{STYLE}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(LEFT, 20, "A cluster of three hosts under faults", weight=600, size=15),
        *_bands(run, plot_top + PLOT),
        *_lanes(run),
        *_writes(run, plot_top),
        *_seconds(run, plot_top + PLOT),
        *_legend(height - 18),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    fill: str = INK,
    weight: int = 400,
    size: int = 12,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}" '
        f'font-size="{size}">{escape(words)}</text>'
    )


def box(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}"'
    return f'<rect {shape} fill="{fill}">{told}</rect>'


def _x(run: Run, at_ns: int) -> float:
    share = (at_ns - run.begin_ns) / (run.end_ns - run.begin_ns)
    return LEFT + min(max(share, 0), 1) * (WIDTH - LEFT - RIGHT)


def _bands(run: Run, bottom: float) -> Iterator[str]:
    for number, band in enumerate(run.bands):
        left, right = _x(run, band.begin_ns), _x(run, band.end_ns)
        yield box(left, TOP - 8, right - left, bottom - TOP + 8, "#eef1f5", band.what)
        # Neighbours may be close: their names take two lines in turn.
        yield text((left + right) / 2, TOP - 26 + 13 * (number % 2), band.what, anchor="middle", size=11)


def _lanes(run: Run) -> Iterator[str]:
    for number, addr in enumerate(run.addrs):
        top = TOP + number * LANE
        yield text(LEFT - 10, top + 18, f"host {number + 1}", anchor="end")
        seen = sorted(sample for sample in run.samples if sample.addr == addr)
        ends = [*(later.at_ns for later in seen[1:]), run.end_ns]
        begin = None
        for at, (sample, end) in enumerate(zip(seen, ends, strict=True)):
            begin = sample.at_ns if begin is None else begin
            if at + 1 < len(seen) and seen[at + 1].health == sample.health:
                continue
            left = _x(run, begin)
            yield box(left, top + 15, _x(run, end) - left, 7, HEALTH[sample.health], sample.health)
            begin = None
    for leadership, following in pairwise([*run.leaderships, None]):
        end = run.end_ns if following is None else following.at_ns
        if end > run.begin_ns:
            left, top = _x(run, leadership.at_ns), TOP + run.addrs.index(leadership.addr) * LANE
            yield box(left, top + 4, _x(run, end) - left, 9, LEADER, f"leader, term {leadership.term}")


def _y(top: float, milliseconds: float) -> float:
    low, high = math.log10(LOWEST_MS), math.log10(HIGHEST_MS)
    share = (math.log10(min(max(milliseconds, LOWEST_MS), HIGHEST_MS)) - low) / (high - low)
    return top + PLOT * (1 - share)


def _writes(run: Run, top: float) -> Iterator[str]:
    for milliseconds, name in ((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10_000, "10 s")):
        y = _y(top, milliseconds)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dfe3e8"/>'
        yield text(LEFT - 10, y + 4, name, anchor="end", fill=FAINT)
    yield text(18, top - 8, "latency of writes, at their end", size=11, fill=FAINT)
    dots, crosses = [], []
    for one in run.history:
        if one.kind == "get":
            continue
        x, y = _x(run, one.end), _y(top, (one.end - one.begin) / 1e6)
        if one.outcome in {"ok", "no"}:
            dots.append(f"M{x:.0f} {y:.0f}h0")
        else:
            crosses.append(f"M{x - 2.5:.0f} {y - 2.5:.0f}l5 5m-5 0l5 -5")
    # Many lie on each other: each place is drawn once, all of a kind as one path.
    round_ends = 'stroke-width="2.8" stroke-linecap="round" stroke-opacity="0.6" fill="none"'
    yield f'<path d="{"".join(dict.fromkeys(dots))}" stroke="{DOT}" {round_ends}/>'
    yield f'<path d="{"".join(dict.fromkeys(crosses))}" stroke="{FAILED}" stroke-width="1.2" fill="none"/>'


def _seconds(run: Run, y: float) -> Iterator[str]:
    for second in range(0, int((run.end_ns - run.begin_ns) / 1e9) + 1, 10):
        x = _x(run, run.begin_ns + second * 10**9)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}" stroke="{FAINT}"/>'
        yield text(x, y + 18, f"{second} s", anchor="middle", fill=FAINT)


def _legend(y: float) -> Iterator[str]:
    entries = [(LEADER, "leads"), *((colour, f"sees: {name}") for name, colour in HEALTH.items())]
    entries += [(DOT, "write answered"), (FAILED, "write failed (its host is cut off or down)")]
    x = float(LEFT)
    for colour, name in entries:
        yield box(x, y - 9, 10, 10, colour)
        yield text(x + 15, y, name)
        x += 32 + 6.6 * len(name)
