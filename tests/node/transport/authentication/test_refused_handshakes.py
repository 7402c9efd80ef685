"""What gRPC writes of the handshakes that it refused, and what else comes to C's standard error."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap

import pytest

from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.authentication.refused_handshakes import TRACED, take

BEGINS = "I1126 07:38:06.174584   14835 handshaker.cc:155] CallNextHandshakerLocked: "
FAILED = (
    "error=UNKNOWN: Ssl handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:"
)
TRACE = (
    "OK\n=== Source Location Trace: ===\nsrc/core/util/status_helper.cc:68\n shutdown=false index=2, args={"
)
EXPIRED = "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: certificate has expired: "
SERVER = (
    "grpc.internal.security_connector=0x56, grpc.internal.server_credentials=0x57, grpc.resource_quota=0x58}"
)
CLIENT = "grpc.internal.security_connector=0x56, grpc.server_uri=dns:///10.0.0.1:7001}"


def record(flaw=EXPIRED, address="ipv4:10.0.0.7:42470", end=SERVER):
    return f"{BEGINS}{FAILED}{flaw}{TRACE}grpc.internal.endpoint_peer_address={address}, {end}\n".encode()


@pytest.fixture
def taken(caplog):
    """What is complained of and what is passed on, of some records."""

    def take_all(*records):
        caplog.set_level(logging.DEBUG)
        passed_on = []
        throttle = LogThrottle(logging.getLogger("django_hacache.node"))
        for one in records:
            take(one, throttle, passed_on.append)
        return [(one.levelname, one.getMessage()) for one in caplog.records], passed_on

    return take_all


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        (EXPIRED, "its certificate has expired"),
        (
            "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: self-signed certificate: ",
            "its certificate is of another",
        ),
        ("OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: new flaw: ", "its certificate is not good: new flaw"),
        (
            "OPENSSL_internal:HTTP_REQUEST: Invalid certificate verification context: ",
            "it does not speak TLS",
        ),
        ("OPENSSL_internal:SOMETHING_NEW: ", "TLS: SOMETHING_NEW"),
    ],
)
def test_a_refusal_is_said_in_the_words_of_a_lane(flaw, words, taken):
    said, passed_on = taken(record(flaw))
    assert [level for level, _ in said] == ["WARNING"]
    assert said[0][1].startswith(f"a stream was refused to somebody at 10.0.0.7: {words}")
    assert passed_on == []


def test_an_address_of_ipv6_is_said_as_people_write_it(taken):
    said, _ = taken(record(address="ipv6:%5B2001:db8::7%5D:42470"))
    assert "somebody at 2001:db8::7: " in said[0][1]


def test_a_refusal_is_said_once_whoever_is_refused(taken):
    said, _ = taken(*(record(address=f"ipv4:10.0.0.{number}:1") for number in range(9)))
    assert [level for level, _ in said] == ["WARNING", *["DEBUG"] * 8]


def test_what_a_stranger_can_put_into_it_reaches_no_terminal(taken):
    said, _ = taken(record(address="ipv4:\x1b[31m\x07:1"))
    assert all(message.isprintable() for _, message in said)


def test_a_stream_that_this_node_opens_itself_was_refused_to_nobody(taken):
    assert taken(record(end=CLIENT)) == ([], [])


def test_what_else_grpc_says_is_forgotten(taken):
    ended = f"{BEGINS}error=UNAVAILABLE: Handshake read failed (Socket closed)\n".encode()
    fine = f"{BEGINS}error=OK shutdown=false index=2, args={{{SERVER}\n".encode()
    assert taken(ended, fine, b"W1126 07:34:25.465882    6172 log.cc:102] not suitable\n") == ([], [])


def test_what_others_say_is_passed_on_and_what_ends_the_process(taken):
    others = [
        b"libuv: assertion failed\n",
        b"\xff\x00",
        b"F1126 07:34:25.465882    6172 server.cc:1] Check failed\n",
    ]
    assert taken(*others) == ([], others)


def run_with(says, **environment):
    """Standard error of a process that listens, and writes to C's standard error."""
    program = f"""
        import ctypes, os, time
        from django_hacache.node.transport.authentication import refused_handshakes
        refused_handshakes.overhear()
        libc = ctypes.CDLL(None)
        written = libc.fputs({says!r}, ctypes.c_void_p.in_dll(libc, "stderr"))
        print(written >= 0, *(name for name in refused_handshakes.TRACED if name in os.environ), flush=True)
        {{}}
    """
    wait = "import sys; sys.stdin.readline()"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program).format(wait)],
        env={name: value for name, value in os.environ.items() if name not in TRACED} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        told = process.stdout.readline().decode()
        heard = os.read(process.stderr.fileno(), 1 << 16)
        process.stdin.close()
    return told.strip(), heard


def test_the_words_of_other_libraries_still_come_to_standard_error():
    told, heard = run_with(b"a library has something to say\n")
    assert told == "True GRPC_VERBOSITY GRPC_TRACE"
    assert heard == b"a library has something to say\n"


def test_who_sets_what_grpc_says_sees_its_own_words():
    says = b"I1126 07:34:25.465882    6172 server.cc:1] words\n"
    assert run_with(says, GRPC_VERBOSITY="ERROR") == ("True GRPC_VERBOSITY", says)
