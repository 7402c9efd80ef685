"""Logs whom gRPC's server refused during the TLS handshake, and why.

gRPC tells the program nothing of that, but writes it to C's standard error, in its trace. glibc keeps standard error in
a variable. That is set to a socket here, and a thread reads from it for as long as the process lives. Descriptor 2
stays what it is, and so Python's standard error, where our log may go; what other libraries write is passed on to it.
Knows neither streams nor messages.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import re
import socket
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING

from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.authentication import handshakes

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("django_hacache.node")

# What makes gRPC write what is looked for.
TRACED = {"GRPC_VERBOSITY": "INFO", "GRPC_TRACE": "handshaker"}
STDERR = 2
UNBUFFERED = 2  # stdio.h's _IONBF
RECORD_BYTES_MAX = 64 << 10
# After each record, so that who connects all the time cannot make this node listen all the time.
PAUSE_S = 0.001
# How every line of gRPC's log begins, but for one that it ends the process with.
RECORD = re.compile(rb"[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ ")
# It writes the same of what it opens itself, without the credentials of a server.
REFUSAL = re.compile(
    rb"error=\w+: \w+ handshake failed \(\w+\): SSL_ERROR_SSL: [^\n]*?internal:(?P<reason>\w+)(: (?P<flaw>[^\n:]*))?"
    rb".*?endpoint_peer_address=(?P<address>[^,\s]+), .*server_credentials=",
    re.DOTALL,
)
NO_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


def overhear() -> None:
    """Log each refusal from now on. Once in a process, before gRPC is loaded.

    Whoever has set gRPC's variables sees its own words instead; where C's standard error cannot be set nothing is said.
    """
    if os.environ.keys() & TRACED.keys():
        return
    heard = _standard_error_of_c()
    if heard is None:
        silence()
        return
    os.environ.update(TRACED)
    # What ends the process may have its last words there, where nobody listens any more.
    faulthandler.enable(STDERR)
    throttle = LogThrottle(logger)

    def listen() -> None:
        while record := heard.recv(RECORD_BYTES_MAX):
            take(record, throttle, _pass_on)
            time.sleep(PAUSE_S)

    threading.Thread(target=listen, name="refusals", daemon=True).start()


def _pass_on(words: bytes) -> None:
    # There is no other place to say that standard error is gone, or full.
    with contextlib.suppress(OSError):
        os.write(STDERR, words)


def silence() -> None:
    """Let gRPC say nothing, unless it is asked to."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def take(record: bytes, throttle: LogThrottle, other: Callable[[bytes], object]) -> None:
    """Complain of a refusal, forget what else gRPC says, and give to `other` what is none of its words."""
    if RECORD.match(record) is None:
        other(record)
    elif (refusal := REFUSAL.search(record)) is not None:
        reason = _reason(refusal["reason"].decode(), (refusal["flaw"] or b"").decode(errors="replace"))
        host = _host(refusal["address"].decode(errors="replace"))
        throttle.say(reason, f"a stream was refused to somebody at {host}: {reason}")


def _reason(reason: str, flaw: str) -> str:
    if reason == NO_CERTIFICATE:
        return f"its certificate {handshakes.flaw_in_words(flaw)}"
    return handshakes.reason_in_words(reason)


def _host(address: str) -> str:
    """Of "ipv4:10.0.0.1:4711" or "ipv6:%5B::1%5D:4711"."""
    return urllib.parse.unquote(address).rpartition(":")[0].partition(":")[2].strip("[]")


def _standard_error_of_c() -> socket.socket | None:
    """Where each write of a library to its standard error comes from now on; None where it cannot be had.

    Whoever writes there never waits: where too much comes the rest is lost.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):  # elsewhere it is a constant
        return None
    heard, written = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    written.setblocking(False)
    libc.fdopen.restype = ctypes.c_void_p
    file = libc.fdopen(written.detach(), b"w")
    libc.setvbuf(ctypes.c_void_p(file), None, UNBUFFERED, ctypes.c_size_t(0))
    ctypes.c_void_p.in_dll(libc, "stderr").value = file
    return heard
