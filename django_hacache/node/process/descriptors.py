"""File descriptors: as many as this process may have, and a word in the log before they are gone.

gRPC takes connections by itself and says nothing where it cannot. Knows no connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource

from django_hacache.node.log_throttle import LogThrottle

logger = logging.getLogger("django_hacache.node")

WANTED = 1 << 16
FEW_SHARE = 0.9
LOOK_S = 2.0


def fill_standard() -> None:
    """Open nothing as 0, 1 and 2 where one of them is closed: what is written to standard error would go elsewhere.

    To the next file that is opened, or to a socket: libraries of C do not ask. To be called before anything is opened.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one, since those below it are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def raise_limit() -> int:
    """Take what the system allows this process anyway; returns how many descriptors it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return limit()


def limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


class Watch:
    """Looks now and then how many are left."""

    def __init__(self) -> None:
        self._throttle = LogThrottle(logger)

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        most = limit()
        try:
            descriptor = os.open(os.devnull, os.O_RDONLY)
        except OSError as error:
            self._say(
                "none", f"No file descriptor can be had ({error.strerror}): this process may have {most}."
            )
            return
        os.close(descriptor)
        # The lowest free number is handed out: all below it are taken.
        if descriptor >= FEW_SHARE * most:
            self._say(
                "few", f"{descriptor} of the {most} file descriptors that this process may have are taken."
            )

    def _say(self, reason: str, message: str) -> None:
        advice = "Workers, clients and peers cannot connect without. Raise the limit (LimitNOFILE), keep strangers out."
        self._throttle.say(reason, f"{message} {advice}", level=logging.ERROR)
