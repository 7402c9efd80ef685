"""Finds out whether an LMDB file is damaged: whether a page in use is missing, or is not what the tree says.

LMDB's errors and the length of a file only raise a suspicion: a process may have lost its reader slot beside a file
that is whole. Reads the file and never maps it. Knows LMDB's format (0.9); must not know keys or entries.
"""

from __future__ import annotations

import os
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import TYPE_CHECKING

from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_META = Struct("<16xII16x")  # after the page's header: magic, version; address and size of the map
_TREE = Struct("<I4x32xQ")  # of a database: the page size (of the first one only), four counts, the root
_LAST = Struct("<QQ")  # last page, transaction
_META_BYTES = _META.size + 2 * _TREE.size + _LAST.size
_PAGE = Struct("<Q2xHHH")  # number, flags, end of the pointers (or, with the next, the pages of a run), upper
_RUN = Struct("<12xI")
_NODE = Struct("<HHHH")
_NUMBER = Struct("<Q")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG, _TREE_OF_ITS_OWN = 1, 2
_NO_PAGE = (1 << 64) - 1
_PAGE_BYTES_MAX = 1 << 16


class _Damaged(Exception):
    """A page that is in use is not there, or is another one."""


def damage(descriptor: int, transaction: int) -> str | None:
    """Return what is wrong with an LMDB file; None where nothing is, or its format is unknown.

    transaction: LMDB's id of the state to look at. The caller keeps it alive with an open transaction: one that reads
    it, or the write after it.
    """
    try:
        for page_bytes, of, roots in _metas(descriptor):
            if of == transaction:
                _Walk(descriptor, page_bytes).walk(roots)
    except _Damaged as found:
        return str(found)
    except StructError as beyond:
        ensure_own(beyond)
        return f"a page points beyond its end ({beyond})"
    return None


def _metas(descriptor: int) -> Iterator[tuple[int, int, list[int]]]:
    """Yield page size, transaction and roots of each of the two states that the file keeps."""
    at = 0
    for _ in range(2):
        raw = os.pread(descriptor, _META_BYTES, at)
        if len(raw) < _META_BYTES or _META.unpack_from(raw)[0] != _MAGIC:
            raise _Damaged(f"the page at {at} is no first page of a file")
        if _META.unpack_from(raw)[1] != _VERSION:
            return
        trees = [_TREE.unpack_from(raw, _META.size + _TREE.size * number) for number in range(2)]
        _, transaction = _LAST.unpack_from(raw, _META.size + 2 * _TREE.size)
        at = page_bytes = trees[0][0]
        if not _META_BYTES <= page_bytes <= _PAGE_BYTES_MAX:
            raise _Damaged(f"its pages are to have {page_bytes} bytes")
        yield page_bytes, transaction, [root for _, root in trees]


class _Walk:
    """Goes through every tree of one state."""

    def __init__(self, descriptor: int, page_bytes: int) -> None:
        self._descriptor = descriptor
        self._page_bytes = page_bytes
        self._pages = os.fstat(descriptor).st_size // page_bytes
        # Which pages of trees were visited: each belongs to one tree, once.
        self._seen = bytearray(self._pages)

    def walk(self, roots: list[int]) -> None:
        left = [root for root in roots if root != _NO_PAGE]
        while left:
            number = left.pop()
            page, flags, end = self._page(number)
            if self._seen[number]:
                raise _Damaged(f"page {number} is in two places")
            self._seen[number] = 1
            if not flags & (_BRANCH | _LEAF):
                raise _Damaged(f"page {number} is no page of a tree")
            for (at,) in _each_pointer(page, end, number):
                left += self._below(page, at, leaf=bool(flags & _LEAF), number=number)

    def _page(self, number: int) -> tuple[bytes, int, int]:
        if number >= self._pages:
            raise _Damaged(f"page {number} is in use, and the file has {self._pages}")
        page = os.pread(self._descriptor, self._page_bytes, number * self._page_bytes)
        named, flags, end, _ = _PAGE.unpack_from(page)
        if named != number:
            raise _Damaged(f"page {number} is in use, and something else is in its place")
        return page, flags, end

    def _below(self, page: bytes, at: int, *, leaf: bool, number: int) -> Iterator[int]:
        """Yield the pages below one node."""
        if at + _NODE.size > len(page):
            raise _Damaged(f"page {number} points beyond its end")
        low, high, flags, key_bytes = _NODE.unpack_from(page, at)
        if not leaf:
            yield low | high << 16 | flags << 32
            return
        data = at + _NODE.size + key_bytes
        if flags & _BIG:
            (first,) = _NUMBER.unpack_from(page, data)
            run, kind, _ = self._page(first)
            if not kind & _OVERFLOW or first + _RUN.unpack_from(run)[0] > self._pages:
                raise _Damaged(f"the large value at page {first} is not whole")
        elif flags & _TREE_OF_ITS_OWN:
            _, root = _TREE.unpack_from(page, data)
            if root != _NO_PAGE:
                yield root


def _each_pointer(page: bytes, end: int, number: int) -> Iterator[tuple[int]]:
    if not _PAGE.size <= end <= len(page) or end % 2:
        raise _Damaged(f"page {number} has pointers beyond its end")
    return Struct("<H").iter_unpack(page[_PAGE.size : end])
