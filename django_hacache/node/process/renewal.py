"""SIGHUP: tokens and certificates are read again, beside the loop. Knows not what becomes of them."""

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
    """What SIGHUP asks for, from the beginning of the process to its end: at no moment does it end it.

    An event loop's own handler would be there in between only.
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
        """Have the running loop call that for each, and now for those that came before."""
        self._tell = partial(asyncio.get_running_loop().call_soon_threadsafe, ask)
        if self._asked:
            self._asked = False
            ask()

    def go_nowhere(self) -> None:
        """The node stops: whoever starts next has read what is there then."""
        self._tell = None

    def end(self) -> None:
        """The process is about to end: Python would let go of what it handles before that."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Renewal:
    """Reads tokens and certificates again, beside the loop; once more, however often it is asked to meanwhile."""

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
