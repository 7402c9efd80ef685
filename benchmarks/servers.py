"""The servers of the peers: Redis, alone or a primary with replicas, and memcached. Each listens on a free port."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks import proc
from benchmarks.places import HERE, Place
from benchmarks.subprocesses import free_port, program, stop, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Nothing may be evicted or written to a disk: the caches under test do neither here.
MEMCACHED_MEGABYTES = 4096


class Server:
    """One server process, on one host."""

    def __init__(self, command: list[str], port: int, place: Place = HERE) -> None:
        self.ip = place.ip
        self.port = port
        self.process = subprocess.Popen(
            place.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until(lambda: port in proc.listening_ports(self.pid), self.process, command[0])
        except BaseException:
            self.stop()
            raise

    @property
    def address(self) -> str:
        return f"{self.ip}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        stop(self.process)


class Redis(Server):
    """A Redis that keeps everything in memory; a replica of `primary` where one is given."""

    def __init__(self, directory: Path, place: Place = HERE, primary: Redis | None = None) -> None:
        port = free_port()
        self.socket = directory / f"redis-{port}.sock"
        command = [
            program("redis-server", "redis-server"),
            *("--port", str(port), "--bind", place.ip, "--unixsocket", str(self.socket)),
            *("--protected-mode", "no", "--dir", str(directory)),
            *("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"),
        ]
        if primary is not None:
            command += ["--replicaof", primary.ip, str(primary.port)]
        super().__init__(command, port, place)

    @property
    def url(self) -> str:
        return f"redis://{self.address}"


def replicated_redis(directory: Path, places: Sequence[Place]) -> list[Redis]:
    """A primary at the first of the places, and a replica at each of the others, which all follow it."""
    import redis

    started: list[Redis] = []
    try:
        started.append(Redis(directory, places[0]))
        started += [Redis(directory, place, started[0]) for place in places[1:]]
        replicas = len(started) - 1
        # Its socket can be reached from everywhere, its port perhaps not.
        with redis.Redis(unix_socket_path=str(started[0].socket)) as client:
            wait_until(
                lambda: client.wait(replicas, 100) == replicas, started[0].process, "Redis replication"
            )
    except BaseException:
        for server in started:
            server.stop()
        raise
    return started


def memcached() -> Server:
    port = free_port()
    command = [
        program("memcached", "memcached"),
        *("-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", str(MEMCACHED_MEGABYTES), "-u", "nobody"),
    ]
    return Server(command, port)
