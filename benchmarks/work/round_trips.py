"""How long the network itself takes: a server's answer to the least that it can be asked, without any client."""

from __future__ import annotations

import socket
import time


def time_round_trips(ip: str, port: int, count: int) -> list[int]:
    """Nanoseconds of each of `count` answers of a Redis to PING."""
    taken = []
    with socket.create_connection((ip, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            began = time.perf_counter_ns()
            connection.sendall(b"PING\r\n")
            connection.recv(64)
            taken.append(time.perf_counter_ns() - began)
    return taken
