"""Starts and stops the processes of a run: by their own id, on ports that were free."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10
POLL_S = 0.01


class Unable(Exception):
    """The run cannot go on; the message is for the person who started it."""


class Impossible(Exception):
    """This machine cannot do what one measurement needs; the others go on. The message says what is missing."""


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def program(name: str, package: str) -> str:
    """Where `name` is installed. Raises Unable with the Debian package that has it."""
    found = shutil.which(name)
    if found is None:
        raise Unable(f"{name} is not installed. On Debian and Ubuntu: apt-get install {package}")
    return found


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    """Wait until `condition` holds. Raises Unable when the process ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if process.poll() is not None:
            raise Unable(f"{what} ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise Unable(f"{what} was not ready after {START_TIMEOUT_S} seconds")
        time.sleep(POLL_S)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End one process that this run has started."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
