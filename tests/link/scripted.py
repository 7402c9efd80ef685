"""A node that says exactly what a test tells it to say."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

from django_hacache.link.framing import HEADER, frame
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path


class ScriptedNode:
    """Takes one request a connection and answers with the script's next payload.

    b"" hangs up instead, and None says nothing until hang_up().
    """

    def __init__(self, path: Path, script: list[bytes | None]) -> None:
        self.seen: list[pb.CacheRequest] = []
        self._script = script
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._silent = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def hang_up(self) -> None:
        """End the silence."""
        self._silent.set()

    def _run(self) -> None:
        for payload in self._script:
            connection, _address = self._listener.accept()
            with connection, connection.makefile("rb") as stream:
                (length,) = HEADER.unpack(stream.read(HEADER.size))
                self.seen.append(pb.CacheRequest.FromString(stream.read(length)))
                if payload is None:
                    self._silent.wait()
                elif payload:
                    connection.sendall(frame(payload))
