"""Counts wrong tokens by the address that they come from, and bars an address for a while that has shown many.

An address from which a node has shown the right token is never barred: somebody else on that host could otherwise keep
the node away. Knows neither tokens nor messages.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# So many wrong ones at once are a mistake in somebody's settings, tried from many processes; more are guesses.
BURST = 32
PER_S = 1.0
ADDRESSES_MAX = 1024
NETWORK_BITS = 64


class Guesses:
    """What is known of each address: until when its wrong tokens are paid for (a leaky bucket)."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._paid_until: OrderedDict[str, float] = OrderedDict()
        self._members: OrderedDict[str, None] = OrderedDict()
        self.count = 0

    def barred(self, address: str) -> bool:
        """Whether no token from there is looked at for the moment."""
        place = _place(address)
        if place in self._members or self._paid_until.get(place, 0.0) <= self._now():
            return False
        self.count += 1
        return True

    def wrong(self, address: str) -> None:
        """A wrong token has come, or none."""
        self.count += 1
        now, place = self._now(), _place(address)
        self._paid_until[place] = max(self._paid_until.get(place, 0.0), now - BURST / PER_S) + 1 / PER_S
        _keep_latest(self._paid_until, place)

    def right(self, address: str) -> None:
        """A node has shown the right one."""
        place = _place(address)
        self._members[place] = None
        _keep_latest(self._members, place)


def _keep_latest(places: OrderedDict[str, float] | OrderedDict[str, None], place: str) -> None:
    places.move_to_end(place)
    if len(places) > ADDRESSES_MAX:
        places.popitem(last=False)


def _place(address: str) -> str:
    """The address as one host has it: as IPv4 where it is that, and of IPv6 the network, in which a host has many.

    Both as sockets tell it and as gRPC does ("ipv4:10.0.0.1", "ipv6:[::1]").
    """
    text = address.removeprefix("ipv4:").removeprefix("ipv6:").strip("[]").partition("%")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), NETWORK_BITS), strict=False))
