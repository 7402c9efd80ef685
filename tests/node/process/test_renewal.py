"""Tokens and certificates that are read again while a node works."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest

from django_hacache.conf.cluster import cluster_config
from django_hacache.exceptions import ConfigurationError
from django_hacache.node.process.renewal import Renewal


class Node:
    """One that is asked to renew, and is at it until it is told to be done."""

    addr = "127.0.0.1:7001"

    def __init__(self):
        self.begun = 0
        self.go_on = asyncio.Event()

    async def renew(self, read_again):
        self.begun += 1
        await self.go_on.wait()
        read_again()


def unreadable():
    raise ConfigurationError("the file is gone")


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


def test_however_often_it_is_asked_meanwhile_it_reads_once_more():
    async def scenario():
        node = Node()
        renewal = Renewal(node, cluster_config)
        for _ in range(100):
            renewal.ask()
            await turns()
        assert node.begun == 1
        node.go_on.set()
        await turns()
        assert node.begun == 2
        renewal.ask()
        await turns()
        assert node.begun == 3

    asyncio.run(scenario())


def test_what_cannot_be_used_is_told_and_later_ones_are_read(caplog):
    caplog.set_level(logging.INFO)

    async def scenario():
        node = Node()
        node.go_on.set()
        for read_again in (unreadable, cluster_config):
            Renewal(node, read_again).ask()
            await turns()

    asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "127.0.0.1:7001 keeps its tokens and certificates" in caplog.text
    assert "the file is gone" in caplog.text


HANGUPS = """
import asyncio, os, signal, sys, time
import uvloop
from django_hacache.node.process.renewal import Hangups

hangups = Hangups()
hang_up = lambda: os.kill(os.getpid(), signal.SIGHUP)
hang_up()

async def life():
    asked = asyncio.Event()
    hangups.go_to(asked.set)
    await asyncio.wait_for(asked.wait(), 20)
    print("asked before the loop", flush=True)
    asked.clear()
    os.system(f"kill -HUP {os.getpid()}")
    await asyncio.wait_for(asked.wait(), 20)
    print("asked", flush=True)
    hangups.go_nowhere()

(uvloop if sys.argv[1] == "uvloop" else asyncio).run(life())
hang_up()
hangups.end()

class Last:
    def __del__(self):
        hang_up()
        os.write(1, b"alive")

last = Last()
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_hangup_ends_the_process_at_no_moment(loop):
    command = [sys.executable, "-c", HANGUPS, loop]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines() == ["asked before the loop", "asked", "alive"]
