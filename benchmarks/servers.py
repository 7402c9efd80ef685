"""The servers of the peers: Redis, Redis with two replicas, memcached. Each listens on a free port."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

from benchmarks.subprocesses import free_port, program, stop, wait_until

if TYPE_CHECKING:
    from pathlib import Path

REPLICAS = 2
# Nothing may be evicted or written to a disk: the caches under test do neither here.
MEMCACHED_MEGABYTES = 4096


class Server:
    """One server process on this machine."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            wait_until(self._listens, self.process, command[0])
        except BaseException:
            self.stop()
            raise

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        stop(self.process)


def redis_server(directory: Path, primary: Server | None = None) -> Server:
    """A Redis that keeps everything in memory; a replica of `primary` where one is given."""
    port = free_port()
    command = [
        program("redis-server", "redis-server"),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)),
        *("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"),
    ]
    if primary is not None:
        command += ["--replicaof", "127.0.0.1", str(primary.port)]
    return Server(command, port)


def replicated(primary: Server, replicas: list[Server]) -> None:
    """Wait until all replicas follow the primary."""
    import redis

    with redis.Redis(port=primary.port) as client:
        wait_until(
            lambda: client.wait(len(replicas), 100) == len(replicas), primary.process, "Redis replication"
        )


def memcached() -> Server:
    port = free_port()
    command = [
        program("memcached", "memcached"),
        *("-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", str(MEMCACHED_MEGABYTES), "-u", "nobody"),
    ]
    return Server(command, port)
