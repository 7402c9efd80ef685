"""Pages of a Django site a second: those that only read, those that save the visitor's session, throttled APIs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, BEST_REDIS, OURS, REFERENCE, REPLICATED, TOGETHER, TRACKING
from benchmarks.measurements.throughput import counted

if TYPE_CHECKING:
    from benchmarks.stage import Stage

READING = (*OURS, REFERENCE, "redis", BEST_REDIS, TRACKING, "pylibmc", "locmem", "diskcache")
# LocMemCache is left out: sessions and counters are of no use where every process has its own.
WRITING = (
    "standalone",
    "leader",
    "other",
    TOGETHER,
    REPLICATED,
    ACKNOWLEDGED,
    BEST_REDIS,
    TRACKING,
    "pylibmc",
)
THROTTLED = ("standalone", "leader", "other", REPLICATED, ACKNOWLEDGED, BEST_REDIS)
MANY = ("cluster", REPLICATED, ACKNOWLEDGED, "pylibmc")


def pages(kind: str, names: tuple[str, ...], size: int, stage: Stage) -> dict[str, Any]:
    """Pages of a kind, made by `size` processes together."""
    return counted(stage, names, size, "count_pages", kind=kind)


MEASUREMENTS: dict[str, partial[dict[str, Any]]] = {
    "pages": partial(pages, "pages", READING, 1),
    "pages_half": partial(pages, "pages_half", WRITING, 1),
    "pages_half_16": partial(pages, "pages_half", MANY, 16),
    "pages_all": partial(pages, "pages_all", WRITING, 1),
    "pages_ten": partial(pages, "pages_ten", WRITING, 1),
    "api_counted": partial(pages, "api_counted", THROTTLED, 1),
    "api_listed": partial(pages, "api_listed", THROTTLED, 1),
}
