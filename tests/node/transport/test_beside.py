"""A call in a thread of its own, which may hang."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from django_hacache.node.transport.beside import Beside

HANGS = """
import asyncio, threading
from django_hacache.node.transport.beside import Beside

async def scenario():
    try:
        await Beside().call(threading.Event().wait, 0.01)
    except TimeoutError:
        print("given up", flush=True)

asyncio.run(scenario())
"""


def test_it_returns_and_raises_what_the_call_does():
    async def scenario():
        beside = Beside()
        assert await beside.call(threading.get_ident, 20) != threading.get_ident()
        with pytest.raises(KeyError, match="wrong"):
            await beside.call(lambda: {"right": 1}["wrong"], 20)
        assert await beside.call(lambda: 1, 20) == 1

    asyncio.run(scenario())


def test_while_one_hangs_no_other_one_is_begun(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    async def scenario():
        beside = Beside()
        with pytest.raises(TimeoutError):
            await beside.call(fifo.read_bytes, 0.01)
        with pytest.raises(TimeoutError, match="an earlier one hangs"):
            await beside.call(lambda: 1, 20)
        hanging = [thread for thread in threading.enumerate() if thread not in before]
        fifo.write_bytes(b"")
        for thread in hanging:
            thread.join(20)
        assert await beside.call(lambda: 1, 20) == 1

    before = threading.enumerate()
    asyncio.run(scenario())


def test_the_next_one_may_begin_as_soon_as_the_outcome_of_the_last_is_known(monkeypatch):
    """A thread lives for a moment after it has told its outcome; here it lives until the end of the test."""
    may_end = threading.Event()

    async def scenario():
        loop = asyncio.get_running_loop()
        call_soon_threadsafe = loop.call_soon_threadsafe

        def tell_and_stay(*args):
            call_soon_threadsafe(*args)
            may_end.wait(20)

        monkeypatch.setattr(loop, "call_soon_threadsafe", tell_and_stay)
        beside = Beside()
        assert await beside.call(lambda: 1, 20) == 1
        assert await beside.call(lambda: 2, 20) == 2

    try:
        asyncio.run(scenario())
    finally:
        may_end.set()


def test_one_that_hangs_does_not_keep_the_process_from_its_end():
    ran = subprocess.run(
        [sys.executable, "-c", HANGS], check=True, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout == "given up\n"
