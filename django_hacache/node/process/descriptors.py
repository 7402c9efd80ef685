"""File descriptors: takes as many as the system allows, and logs an error before they run out.

gRPC accepts connections by itself, and does not say when it cannot.
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
    """Open /dev/null as each of the descriptors 0, 1 and 2 that is closed. Call it before anything is opened.

    Else the next file or socket gets that number, and C libraries write their errors into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # open() returns the lowest free number: this one, since those below it are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def raise_limit() -> int:
    """Raise the soft limit as far as the system allows; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return limit()


def limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


class Watch:
    """Looks every LOOK_S how many descriptors are left."""

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
        # All numbers below the lowest free one are taken.
        if descriptor >= FEW_SHARE * most:
            self._say(
                "few", f"{descriptor} of the {most} file descriptors that this process may have are taken."
            )

    def _say(self, reason: str, message: str) -> None:
        advice = "Workers, clients and peers cannot connect without. Raise the limit (LimitNOFILE), keep strangers out."
        self._throttle.say(reason, f"{message} {advice}", level=logging.ERROR)
