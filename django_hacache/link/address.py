"""The path of a node's socket, checked before anything binds or connects."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django_hacache.exceptions import ConfigurationError
from django_hacache.system import SOCKET_PATH_BYTES_MAX

if TYPE_CHECKING:
    from pathlib import Path

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
