"""Calls a function in a thread, so that the event loop can give up on it: what it reads may hang for ever."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Beside:
    """One call at a time, in a thread that does not keep the process from its end."""

    def __init__(self) -> None:
        # The call sets this as its last act; its thread may live on for a moment.
        self._ended = threading.Event()
        self._ended.set()

    async def call(self, function: Callable[[], T], patience_s: float) -> T:
        """Return what it returns, or raise what it raises.

        Raises TimeoutError where that takes longer, and at once while an earlier call hangs.
        """
        if not self._ended.is_set():
            raise TimeoutError("an earlier one hangs")
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()

        def tell(set_: Callable[[T | BaseException], None], value: T | BaseException) -> None:
            if not ended.done():
                set_(value)

        def run() -> None:
            try:
                outcome: T | BaseException = function()
                set_: Callable[..., None] = ended.set_result
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                outcome, set_ = error, ended.set_exception
            self._ended.set()
            try:
                loop.call_soon_threadsafe(tell, set_, outcome)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        self._ended.clear()
        threading.Thread(target=run, daemon=True).start()
        return await asyncio.wait_for(ended, patience_s)
