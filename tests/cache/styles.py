"""A cache is called in one of two styles, and answers the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Styled:
    """A cache whose methods are called plainly, or as coroutines in an event loop."""

    def __init__(self, cache: Any, runner: asyncio.Runner | None) -> None:
        self._cache = cache
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._runner is None:
            return getattr(self._cache, name)
        runner = self._runner
        coroutine = getattr(self._cache, f"a{name}")
        return lambda *args, **kwargs: runner.run(coroutine(*args, **kwargs))


Style = Callable[[Any], Styled]
