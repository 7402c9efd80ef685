"""The path of a node's socket, and how to reach it safely: through its directory, which is this user's alone."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django_hacache.exceptions import ConfigurationError
from django_hacache.system.directory import open_private
from django_hacache.system.platform import SOCKET_PATH_BYTES_MAX, peer_uid
from django_hacache.system.safe_path import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django_hacache.system.platform import Socket

SOCKET_NAME = "node.sock"


def socket_address(path: Path) -> str:
    """Return `path` as a Unix socket's address. Raises ConfigurationError where it is too long for one."""
    address = os.fspath(path)
    length = len(os.fsencode(address))
    if length > SOCKET_PATH_BYTES_MAX:
        raise ConfigurationError(
            f"The node's socket {address!r} has a path of {length} bytes; a Unix socket allows "
            f"{SOCKET_PATH_BYTES_MAX}. Choose a shorter LOCATION."
        )
    return address


@contextmanager
def reached(path: Path) -> Iterator[str]:
    """Give the address to connect to, valid in this block. Raises Unfit, and OSError where there is no socket."""
    with open_private(path.parent) as directory:
        directory.ensure_own(path.name, stat.S_IFSOCK)
        with directory.reached(path.name) as address:
            yield address


def ensure_of_this_user(connection: Socket, path: Path) -> None:
    """Raise Unfit where a process of another user listens."""
    uid = peer_uid(connection)
    if uid != os.geteuid():
        raise Unfit(f"a process of user {uid} listens on {path}; one of user {os.geteuid()} is expected")
