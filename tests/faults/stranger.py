"""Programs on the network that belong to nobody: `python -m tests.faults.stranger scan|idle|knock ADDR...`.

Prints a line when it has done its work, then stays until its input ends.
"""

from __future__ import annotations

import json
import random
import resource
import socket
import sys

from tests.node.streams import Stream

IDLE = 1000
KNOCKS = 50
SCANS = [
    b"",
    b"GET / HTTP/1.0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),  # a TLS hello
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1024,  # HTTP/2, and then no frame of it
    b"\x00" * 4096,
    b"SSH-2.0-OpenSSH_9.6\r\n",
    *(random.Random(number).randbytes(1 << number) for number in range(4, 17)),
]


def connect(addr: str) -> socket.socket:
    host, _, port = addr.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def scan(addrs: list[str]) -> int:
    """Send what port scanners send; returns how many answers came before the node hung up."""
    answers = 0
    for addr in addrs:
        for sent in SCANS:
            with connect(addr) as connection:
                try:
                    connection.sendall(sent)
                    connection.settimeout(0.05)
                    answers += bool(connection.recv(1 << 16))
                except OSError:
                    continue  # hung up on: that is an answer, too
    return answers


def idle(addrs: list[str]) -> list[socket.socket]:
    """Open connections and say nothing."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return [connect(addr) for addr in addrs for _ in range(IDLE)]


def knock(addrs: list[str]) -> list[str]:
    """Open streams with a wrong token, and with none; returns how they ended."""
    ends = []
    for addr in addrs:
        for number in range(KNOCKS):
            metadata = (("authorization", "a wrong token " * 4),) if number % 2 else ()
            stream = Stream(addr, metadata)
            ends.append(stream.end().name)
            stream.close()
    return ends


def main() -> None:
    what, *addrs = sys.argv[1:]
    done = {"scan": scan, "idle": idle, "knock": knock}[what](addrs)
    print(json.dumps(len(done) if what == "idle" else done), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
