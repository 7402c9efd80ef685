"""The measurements by name, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.measurements import (
    costs,
    footprint,
    growth,
    hosts,
    latency,
    levels,
    pages,
    pauses,
    throughput,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stage import Stage

MEASUREMENTS: dict[str, Callable[[Stage], dict[str, Any]]] = {
    **latency.MEASUREMENTS,
    # Before the caches that it calls small get more entries.
    **growth.MEASUREMENTS,
    **throughput.MEASUREMENTS,
    **levels.MEASUREMENTS,
    **costs.MEASUREMENTS,
    **pages.MEASUREMENTS,
    **pauses.MEASUREMENTS,
    **hosts.MEASUREMENTS,
    **footprint.MEASUREMENTS,
}
