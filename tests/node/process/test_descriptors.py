"""A node takes as many descriptors as it may, says when they run out, and lets idle strangers hold none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import subprocess
import sys

import grpc
import pytest

from django_hacache.node.process import descriptors
from django_hacache.node.transport.authentication import credentials
from django_hacache.node.transport.streams.listening import start_server
from django_hacache.node.transport.streams.server import StreamServer
from tests.node.streams import METADATA, METHOD
from tests.node.transport.streams.test_back_pressure import Slow
from tests.node.transport.streams.test_server import config_of
from tests.node_process import free_port

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # the preface and empty SETTINGS


@pytest.fixture
def limits():
    """Lets the test lower this process's soft limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def taken():
    """Takes descriptors; returns how many are taken then."""
    with contextlib.ExitStack() as stack:

        def take(count=1):
            for _ in range(count):
                number = os.open(os.devnull, os.O_RDONLY)
                stack.callback(os.close, number)
            return number

        yield take


def test_the_limit_is_raised_to_what_the_system_allows(limits):
    limits(256)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = descriptors.WANTED if hard == resource.RLIM_INFINITY else min(hard, descriptors.WANTED)
    assert descriptors.raise_limit() == allowed
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, hard)


def test_a_higher_limit_stays(limits, monkeypatch):
    limits(256)
    monkeypatch.setattr(descriptors, "WANTED", 128)
    assert descriptors.raise_limit() == 256


def test_that_descriptors_run_out_is_an_error_in_the_log_once(limits, taken, caplog):
    watch = descriptors.Watch()
    watch.look()
    assert caplog.messages == []
    limits(taken(200) + 30)  # so many fill whatever gaps others have left
    taken(28)
    for _ in range(3):
        watch.look()
    taken(1)
    for _ in range(3):
        watch.look()
    few, none = caplog.records
    assert "are taken" in few.message
    assert "No file descriptor can be had" in none.message
    assert few.levelno == none.levelno == logging.ERROR
    assert "LimitNOFILE" in few.message


def test_a_connection_that_opens_no_stream_is_closed_and_one_with_a_stream_is_not(monkeypatch):
    monkeypatch.setattr(credentials, "IDLE_MS", 300)
    config = config_of(free_port())
    node = Slow()

    async def scenario():
        server = await start_server(
            config, StreamServer(config, frozenset(), node, max_request_bytes=1 << 20)
        )
        addr = config.hosts[0].addr
        try:
            async with grpc.aio.insecure_channel(addr) as channel:
                call = channel.stream_stream(METHOD)(metadata=METADATA)
                await call.read()
                idle = [await asyncio.open_connection("127.0.0.1", config.hosts[0].port) for _ in range(5)]
                for _, writer in idle:
                    writer.write(HTTP2)
                for reader, writer in idle:
                    async with asyncio.timeout(20):
                        with contextlib.suppress(ConnectionResetError):
                            await reader.read()
                    writer.close()
                # The one with a stream was there before them.
                assert not call.done()
                assert node.open == 1
        finally:
            await server.stop(None)

    asyncio.run(scenario())


CLOSED = """
import os
from django_hacache.node.process.descriptors import fill_standard

os.write(1, b"")
os.close(2)
fill_standard()
print(os.open("/dev/null", os.O_RDONLY) > 2, os.readlink("/proc/self/fd/2"), flush=True)
"""


def test_a_closed_standard_error_is_nothing_and_no_file_of_the_node():
    ran = subprocess.run(
        [sys.executable, "-c", CLOSED], check=True, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout == "True /dev/null\n"
