"""What a worker can be told to do. Runs in the workers only, after django.setup()."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.work.calls import time_awaited_calls, time_calls
from benchmarks.work.counting import count_calls, count_mixed, time_together
from benchmarks.work.pages import count_pages, time_pages
from benchmarks.work.population import fill, read_all, read_each
from benchmarks.work.round_trips import time_round_trips

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS: dict[str, Callable[..., Any]] = {
    "fill": fill,
    "read_all": read_all,
    "read_each": read_each,
    "time_calls": time_calls,
    "time_awaited_calls": time_awaited_calls,
    "count_calls": count_calls,
    "time_together": time_together,
    "count_mixed": count_mixed,
    "count_pages": count_pages,
    "time_pages": time_pages,
    "time_round_trips": time_round_trips,
}
