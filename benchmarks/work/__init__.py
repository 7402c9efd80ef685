"""What a worker can be told to do. Runs in the workers only, after django.setup()."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.work.calls import time_awaited_calls, time_calls
from benchmarks.work.counting import count_calls, count_mixed
from benchmarks.work.pages import count_pages
from benchmarks.work.population import fill, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS: dict[str, Callable[..., Any]] = {
    "fill": fill,
    "read_all": read_all,
    "time_calls": time_calls,
    "time_awaited_calls": time_awaited_calls,
    "count_calls": count_calls,
    "count_mixed": count_mixed,
    "count_pages": count_pages,
}
