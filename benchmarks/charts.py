"""Bar charts as SVG, written by hand: readable on white, and as text by whoever does not see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 880
LABELS = 370
VALUES = 90
ROW = 28
BAR = 18
TOP = 64
BOTTOM = 16
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
OURS = "#0b6e4f"
PEER = "#9aa5b1"
# A bar is drawn to at most this many times the one that the others are compared with.
CLIPPED_AT = 2.5


@dataclass(frozen=True)
class Bar:
    """One value, and how it is written."""

    label: str
    value: float
    written: str
    is_ours: bool


def bar_chart(title: str, subtitle: str, bars: Sequence[Bar], reference: float) -> str:
    """Horizontal bars from zero; those far longer than `reference` are cut, which their ends show."""
    longest = min(max(bar.value for bar in bars), reference * CLIPPED_AT)
    height = TOP + ROW * len(bars) + BOTTOM
    rows = "\n".join(_row(bar, TOP + ROW * place, longest) for place, bar in enumerate(bars))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" \
aria-label="{escape(title)}" font-family="{FONT}" font-size="13">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="16" y="26" font-size="17" font-weight="600" fill="#1b1f24">{escape(title)}</text>
<text x="16" y="46" fill="#57606a">{escape(subtitle)}</text>
{rows}
</svg>
"""


def _row(bar: Bar, top: float, longest: float) -> str:
    room = WIDTH - LABELS - VALUES
    length = max(2.0, room * min(bar.value / longest, 1))
    middle = top + BAR / 2 + 4.5
    color, weight = (OURS, 600) if bar.is_ours else (PEER, 400)
    after = LABELS + length + 8
    parts = [
        _text(LABELS - 10, middle, bar.label, f'text-anchor="end" font-weight="{weight}"'),
        f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2" fill="{color}"/>',
        _text(after, middle, bar.written, f'font-weight="{weight}"'),
    ]
    if bar.value > longest:
        # Two white strokes: the bar goes on beyond the chart.
        at = LABELS + length - 24
        parts += [
            f'<path d="M{at + shift:.1f} {top + BAR + 2} l8 {-BAR - 4}" stroke="#ffffff" stroke-width="3"/>'
            for shift in (0, 8)
        ]
    return "\n".join(parts)


def _text(x: float, y: float, said: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#1b1f24" {style}>{escape(said)}</text>'
