"""SIGHUP: has the node read its tokens and certificates again. Must not know what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import signal
from functools import partial
from typing import TYPE_CHECKING

from django_hacache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.conf import ClusterConfig
    from django_hacache.node.process.runtime import Node

logger = logging.getLogger("django_hacache.node")


class Hangups:
    """Handles SIGHUP from the start of the process to its end: it must end the process at no moment.

    The event loop's own handler would leave a gap before the loop and one after it.
    """

    def __init__(self) -> None:
        self._asked = False
        self._tell: Callable[[], object] | None = None
        signal.signal(signal.SIGHUP, self._heard)

    def _heard(self, *_: object) -> None:
        if self._tell is None:
            self._asked = True
        else:
            self._tell()

    def go_to(self, ask: Callable[[], None]) -> None:
        """Have the running loop call `ask` for each SIGHUP, and once for those that came before."""
        self._tell = partial(asyncio.get_running_loop().call_soon_threadsafe, ask)
        if self._asked:
            self._asked = False
            ask()

    def go_nowhere(self) -> None:
        """Ignore SIGHUP while the node stops: the next one reads everything anew."""
        self._tell = None

    def end(self) -> None:
        """Ignore SIGHUP to the very end: Python lets go of its handlers before the process is gone."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Renewal:
    """Has the node read again, one time after the other; however often it is asked meanwhile, once more is enough."""

    def __init__(self, node: Node, read_again: Callable[[], ClusterConfig]) -> None:
        self._node = node
        self._read_again = read_again
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        while self._asked:
            self._asked = False
            try:
                await self._node.renew(self._read_again)
            except ConfigurationError as error:
                logger.error(  # noqa: TRY400 - the operator's mistake, and no trace of ours mends it
                    "%s keeps its tokens and certificates, for those that are there now cannot be used: %s",
                    self._node.addr,
                    error,
                )
            else:
                logger.info(
                    "%s has read its tokens and certificates again: they hold for new connections",
                    self._node.addr,
                )
