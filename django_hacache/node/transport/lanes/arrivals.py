"""Arrivals: accepts connections to the port of the lanes, and bounds how many have yet to say who they are.

asyncio's own server does not say whose TLS handshake failed, or why, nor how many are at one. Knows neither lanes nor
messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from secrets import choice
from typing import TYPE_CHECKING, Protocol

from django_hacache.node.transport.authentication import handshakes

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.node.log_throttle import LogThrottle
    from django_hacache.node.transport.authentication.keyring import Keyring

HANDSHAKE_S = 5.0
# A stranger costs a file descriptor until it has said who it is; there are never more of them than this.
STRANGERS_MAX = 128
# How long to accept nobody where nobody can be accepted, for want of file descriptors perhaps.
ACCEPT_AGAIN_S = 1.0
# What the handshakes of those who are sent away may still take.
LAST_S = 1.0


class Stranger(Protocol):
    """Who has yet to say who it is."""

    def abort(self) -> None: ...


class Arrivals:
    """Accepts connections, shakes hands where there is TLS, and gives each the protocol that `welcome` makes.

    `welcome` is told what it was until then, which counts among the strangers: see `met`.
    """

    def __init__(
        self, keyring: Keyring, throttle: LogThrottle, welcome: Callable[[Stranger], asyncio.Protocol]
    ) -> None:
        self._keyring = keyring
        self._throttle = throttle
        self._welcome = welcome
        self._listener: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._strangers: set[Stranger] = set()
        self._handshakes: set[asyncio.Task[None]] = set()

    def listen(self, host: str | None, port: int) -> int:
        """Accept at that address, or on every interface where it is None; returns the port. Raises OSError."""
        self._listener = _listening(host, port)
        self._listener.setblocking(False)
        self._task = asyncio.get_running_loop().create_task(self._accept(self._listener), name="lanes")
        bound: int = self._listener.getsockname()[1]
        return bound

    async def close(self) -> None:
        """Accept nobody any more, and part with every stranger."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._listener is not None:
            self._listener.close()
        for stranger in tuple(self._strangers):
            stranger.abort()
        if self._handshakes:
            await asyncio.wait(self._handshakes, timeout=LAST_S)

    def met(self, stranger: Stranger, *, before: Stranger | None = None) -> None:
        """One more has yet to say who it is; `before`: what it was until now. Of too many one has to go.

        Whichever it is, and not the newest: whoever holds all the places would keep a peer away for ever.
        """
        if before is not None:
            self.forget(before)
        if len(self._strangers) >= STRANGERS_MAX:
            one = choice(tuple(self._strangers))
            self.forget(one)
            one.abort()
        self._strangers.add(stranger)

    def forget(self, stranger: Stranger) -> None:
        """It is gone, or no stranger any more."""
        self._strangers.discard(stranger)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # it has gone already
            except OSError as error:
                self._throttle.say("accept", f"no lane can be accepted: {error.strerror or error}")
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            arrival = _Arrival(connection, address[0])
            self.met(arrival)
            task = loop.create_task(self._shake_hands(arrival))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, arrival: _Arrival) -> None:
        """Make a connection of it, secure where there is TLS."""
        secured = self._keyring.secured
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._welcome(arrival),
                arrival.connection,
                ssl=None if secured is None else secured.server_context,
                ssl_handshake_timeout=None if secured is None else HANDSHAKE_S,
            )
        except OSError as error:  # ssl.SSLError, too
            if arrival in self._strangers:
                reason = handshakes.why(error)
                self._throttle.say(reason, f"a lane was refused to somebody at {arrival.host}: {reason}")
            arrival.connection.close()
        finally:
            self.forget(arrival)


class _Arrival:
    """A connection up to the end of its TLS handshake."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self.connection = connection
        self.host = host

    def abort(self) -> None:
        # Its handshake ends by itself then, and closes it.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _listening(host: str | None, port: int) -> socket.socket:
    if host is not None:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    # One socket for IPv6 and IPv4, as gRPC's: two would each have a free port of their own.
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # IPv6 may be switched off
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - as the stream's port
