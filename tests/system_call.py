"""Calls of the system that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def failing(error: OSError) -> Callable[..., Any]:
    """A function that fails as one of `os` does: a function of a test would be the caller's own code."""
    module: dict[str, Any] = {"__name__": "os", "error": error}
    exec("def call(*args, **kwargs): raise error", module)
    return module["call"]
