"""A replica's file and control page as anything may have left them: a reader has misses, a node can go on.

The records are arbitrary, the pages are LMDB's: on those that are damaged its C code may end the process, and what is
done about that is in replica/soundness.py, which pages.py is for.
"""

from __future__ import annotations

import logging

import lmdb

from django_hacache.exceptions import ConfigurationError, ReplicaError
from django_hacache.replica import control
from django_hacache.replica.layout import ENTRIES, FIXED, MAX_DATABASES, NUMBER_KEY
from django_hacache.replica.leased_reader import LeasedReader
from django_hacache.replica.pair import FILE_NAME

from . import member
from .life import play
from .steps import steps_of
from .world import World

META, LOG, REQUESTS, HOST, DEFAULT, OTHER, NAMES, PAGE = range(8)
KINDS = 8
META_NAMES = (b"hard", b"base", b"applied", b"floor", b"hosts")
HOST_NAMES = (b"of", b"hand.age:default", b"hand.expiry:default", b"hand.room:default", b"room")
KEYS = ("k1", "k4", "k7", "", "ü" * 300)
KEY_BYTES_MAX = 400


def run(data: bytes) -> None:
    steps = steps_of(data)

    def world_of(told, directory):
        world = World(told, directory, "member")
        world._end()
        write(world.directory, steps)
        read_as_worker(world.directory)
        try:
            world._open()
        except (ReplicaError, ConfigurationError) as refusal:
            # A tree of LMDB's was overwritten by a record: the node says so, and does not start.
            logging.getLogger("fuzz").debug("%s", refusal)
            world._end()
            world = World(told, directory.parent / "another")
        return world

    def live(world, kind, who, payload):
        member.step(world, member.HONEST, who, b"")

    life = b"".join(bytes([0, number % 2, 0, 100, 0, 0, 0, 0]) for number in range(16))
    play(life, world_of, live)


def key_of(kind, who, payload):
    """The key of a record, and its value."""
    if kind in (LOG, REQUESTS) and who < 32:
        return NUMBER_KEY.pack(who), payload
    names = {META: META_NAMES, HOST: HOST_NAMES, DEFAULT: [key.encode() for key in KEYS]}.get(kind, ())
    if who < len(names) and names[who]:
        return names[who], payload
    length = min(payload[0] if payload else 0, KEY_BYTES_MAX) + 1
    return payload[1 : 1 + length] or b"\0", payload[1 + length :]


def write(directory, steps):
    """Put the records into the file as LMDB would, and the bytes into the page."""
    environment = lmdb.open(
        str(directory / FILE_NAME), subdir=False, map_size=1 << 26, max_dbs=MAX_DATABASES + 8, sync=False
    )
    try:
        for number, who, _, payload in steps:
            kind = number % KINDS
            if kind == PAGE:
                words = bytearray((directory / control.FILE_NAME).read_bytes())
                at = 8 * (who % 8)
                words[at : at + len(payload)] = payload
                (directory / control.FILE_NAME).write_bytes(words[: control.PAGE_BYTES])
                continue
            name = (*FIXED, ENTRIES + b"default", ENTRIES + b"other", None)[kind]
            key, value = key_of(kind, who, payload)
            try:
                with environment.begin(write=True) as txn:
                    database = environment.open_db(name, txn=txn) if name else None
                    if name is None and key in FIXED:
                        continue
                    txn.put(key, value, db=database)
            except lmdb.Error:
                continue
    finally:
        environment.close()


def read_as_worker(directory):
    reader = LeasedReader(directory, map_size=1 << 26)
    try:
        for cache in ("default", "other", "nobody"):
            for key in KEYS:
                reader.get(cache, key)
                reader.has(cache, key)
                reader.item(cache, key)
            reader.get_many(cache, KEYS)
    except ConfigurationError:
        return
    finally:
        reader.close()
