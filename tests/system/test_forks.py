"""A fork is noticed by what was forked, and by nobody else."""

from __future__ import annotations

import ctypes
import os

import pytest

from django_hacache.system import forks


@pytest.fixture(params=["empties pages", "does not"])
def mark(request, monkeypatch):
    """On a kernel that empties a page in a forked child, and on one that does not."""
    if request.param == "does not":
        monkeypatch.setattr(forks, "MADV_WIPEONFORK", -1)
    mark = forks.new_mark()
    assert isinstance(mark, forks.ProcessIdMark) == (request.param == "does not")
    return mark


@pytest.mark.parametrize("fork", [os.fork, ctypes.CDLL(None).fork], ids=["Python's", "the C library's"])
def test_a_mark_is_gone_in_a_forked_child_until_it_sets_it_anew(mark, fork):
    assert mark[0]
    child = fork()
    if child == 0:
        inherited = mark[0]
        mark[0] = 1
        os._exit(2 * bool(inherited) + (not mark[0]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mark[0]
