"""Lets every packet wait for the same time: `python -m benchmarks.delay MICROSECONDS`, until its input ends.

For kernels without netem. It runs where the packets pass, and takes those that the firewall queues. They stay in the
kernel (NFQUEUE): only their numbers come here, and one verdict lets go all up to a number. So what a packet costs does
not depend on its size, and large ones stay whole. Knows nothing of what is measured.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import sys
import time
from collections import deque

QUEUE = 7
PACKETS_MAX = 100_000
SOCKET_BYTES = 64 << 20
PRIORITY = 10  # of a real-time process: a packet that is due does not wait for a core

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_queue.h, linux/prctl.h
NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_NO_ENOBUFS = 270, 5
SO_RCVBUFFORCE = 33
NFNL_SUBSYS_QUEUE = 3
PACKET, CONFIG, VERDICT_BATCH = 0, 2, 3
NLM_F_REQUEST = 1
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN, CFG_MASK, CFG_FLAGS = 1, 2, 3, 4, 5
CMD_BIND, COPY_META, FLAG_GSO = 1, 1, 4
VERDICT_HDR, ACCEPT = 2, 1
HEADERS_BYTES = 20  # of a message: netlink's, then netfilter's
PACKET_ID = HEADERS_BYTES + 4  # the first attribute of a packet begins with it
PR_SET_TIMERSLACK = 29

INPUT = 0


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def message(kind: int, *attributes: bytes) -> bytes:
    """What the kernel is told about the queue."""
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, QUEUE) + b"".join(attributes)
    header = struct.pack("=IHHII", 16 + len(body), NFNL_SUBSYS_QUEUE << 8 | kind, NLM_F_REQUEST, 0, 0)
    return header + body


def verdict(last: int) -> bytes:
    """All packets up to the number `last` may go on."""
    return message(VERDICT_BATCH, attribute(VERDICT_HDR, struct.pack(">II", ACCEPT, last)))


class Refused(Exception):
    """The kernel does not let this process have the queue."""


def packet_id(told: bytes | bytearray) -> int:
    """The number of the packet that the kernel tells of. Raises Refused where it is an error instead."""
    (kind,) = struct.unpack_from("=H", told, 4)
    if kind != NFNL_SUBSYS_QUEUE << 8 | PACKET:
        (error,) = struct.unpack_from("=i", told, 16)
        raise Refused(os.strerror(-error))
    number: int = struct.unpack_from(">I", told, PACKET_ID)[0]
    return number


class Line:
    """Packets under way, each known by when the last of its batch is due."""

    def __init__(self, delay_ns: int) -> None:
        self._delay_ns = delay_ns
        self._due: deque[tuple[int, int]] = deque()

    def enter(self, last: int, now_ns: int) -> None:
        self._due.append((now_ns + self._delay_ns, last))

    def leave(self, now_ns: int) -> int | None:
        """The number of the last packet that is due."""
        last = None
        while self._due and self._due[0][0] <= now_ns:
            last = self._due.popleft()[1]
        return last

    def wait_s(self, now_ns: int) -> float | None:
        """How long nothing is due; None where nothing is under way."""
        return max(0, self._due[0][0] - now_ns) / 1e9 if self._due else None


def open_queue() -> socket.socket:
    queue = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    queue.bind((0, 0))
    queue.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BYTES)
    queue.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
    gso = struct.pack(">I", FLAG_GSO)
    for attributes in (
        [attribute(CFG_CMD, struct.pack(">BBH", CMD_BIND, 0, 0))],
        [attribute(CFG_PARAMS, struct.pack(">IB", 0, COPY_META))],
        [attribute(CFG_QUEUE_MAXLEN, struct.pack(">I", PACKETS_MAX))],
        [attribute(CFG_MASK, gso), attribute(CFG_FLAGS, gso)],
    ):
        queue.send(message(CONFIG, *attributes))
    queue.setblocking(False)
    return queue


def latest(queue: socket.socket, buffer: bytearray) -> int | None:
    """The number of the last packet that has come; None where none has."""
    last = None
    while True:
        try:
            queue.recv_into(buffer)
        except BlockingIOError:
            return last
        last = packet_id(buffer)


def run(line: Line, queue: socket.socket) -> None:
    buffer = bytearray(1 << 12)
    while True:
        ready, _, _ = select.select([queue.fileno(), INPUT], [], [], line.wait_s(time.monotonic_ns()))
        if INPUT in ready:
            return
        last = latest(queue, buffer)
        now_ns = time.monotonic_ns()
        if last is not None:
            line.enter(last, now_ns)
        due = line.leave(now_ns)
        if due is not None:
            queue.send(verdict(due))


def be_punctual() -> None:
    """Wake up when it is time, not when the kernel finds it convenient."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        # Where the kernel has no real-time share for this group of processes.
        os.nice(-20)


def main() -> None:
    line, queue = Line(int(sys.argv[1]) * 1000), open_queue()
    be_punctual()
    # Whoever started this waits for it.
    print("ready", flush=True)
    run(line, queue)


if __name__ == "__main__":
    main()
