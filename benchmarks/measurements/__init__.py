"""The measurements by name, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.measurements import footprint, growth, latency, throughput

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stage import Stage

MEASUREMENTS: dict[str, Callable[[Stage], dict[str, Any]]] = {
    **latency.MEASUREMENTS,
    # Before the caches that it calls small get more entries.
    **growth.MEASUREMENTS,
    **throughput.MEASUREMENTS,
    **footprint.MEASUREMENTS,
}
