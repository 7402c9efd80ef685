"""A file of LMDB with anything in it: whether it is damaged is found out, and never at the price of a crash."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import lmdb

from django_hacache.replica.soundness import damage

from .world import SHARED


@cache
def whole():
    """A small file with trees, a large value and two states."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=SHARED) as directory:
        path = Path(directory) / "file"
        with lmdb.open(str(path), subdir=False, map_size=1 << 22, max_dbs=4, sync=False) as environment:
            for name in (b"a", b"b"):
                database = environment.open_db(name)
                with environment.begin(write=True) as txn:
                    for number in range(120):
                        txn.put(b"key %4d" % number, b"v" * 60, db=database)
                    txn.put(b"large", b"v" * 9000, db=database)
        return path.read_bytes()


def run(data: bytes) -> None:
    """Patches: where (three bytes), how long (one byte), and the bytes."""
    pages = bytearray(whole())
    if data[:1] == b"\xff":
        del pages[int.from_bytes(data[1:4], "big") % len(pages) :]
        data = data[4:]
    while len(data) > 4:
        at, length = int.from_bytes(data[:3], "big") % max(len(pages), 1), data[3] % 16 + 1
        pages[at : at + length] = data[4 : 4 + length]
        data = data[4 + length :]
    with tempfile.NamedTemporaryFile(dir=SHARED) as file:
        file.write(pages)
        file.flush()
        for transaction in range(5):
            found = damage(file.fileno(), transaction)
            assert found is None or isinstance(found, str)
