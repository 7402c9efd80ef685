"""Tokens and certificates that are read again while a node works."""

from __future__ import annotations

import asyncio
import logging

from django_hacache.conf.cluster import cluster_config
from django_hacache.exceptions import ConfigurationError
from django_hacache.node.lifecycle import _Renewal


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
        renewal = _Renewal(node, cluster_config)
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
            _Renewal(node, read_again).ask()
            await turns()

    asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "127.0.0.1:7001 keeps its tokens and certificates" in caplog.text
    assert "the file is gone" in caplog.text
