"""The simulation can fail: each deliberate bug is found within a few lives."""

from __future__ import annotations

import pytest

from django_hacache.consensus.election import Election
from django_hacache.consensus.leases import Leases
from django_hacache.consensus.log import Log
from django_hacache.consensus.progress import Progress
from django_hacache.consensus.replication import Replication, reached_by
from django_hacache.consensus.requests import RequestTable

from .life import LifeEnded, live


def found_within(lives: range) -> bool:
    for seed in lives:
        try:
            live(seed, 8_000)
        except LifeEnded:
            return True
    return False


def skip_the_up_to_date_check(monkeypatch):
    monkeypatch.setattr(Log, "up_to_date", lambda self, last_index, last_term: True)


def commit_without_a_majority(monkeypatch):
    monkeypatch.setattr(
        "django_hacache.consensus.replication.reached_by",
        lambda values, quorum: reached_by(values, quorum - 1 or 1),
    )


def count_a_fresh_node(monkeypatch):
    monkeypatch.setattr(Progress, "counts", lambda self: True)


def grant_leases_without_end(monkeypatch):
    monkeypatch.setattr(Leases, "_deadline", lambda self, start, length: start + 3 * length)


def forget_requests(monkeypatch):
    monkeypatch.setattr(RequestTable, "find", lambda self, req_id: None)


def accept_without_looking_at_the_entry_before(monkeypatch):
    def on_append(self, append, leader, now):
        if append.prev_index <= self._state.log.last_index:
            self._accept_and_acknowledge(append, leader, now)

    monkeypatch.setattr(Replication, "on_append", on_append)


def apply_before_commit(monkeypatch):
    def commit_known(self, index):
        term, verified = self._verified
        if term == self._state.term:
            self._state.commit_to(verified)

    monkeypatch.setattr(Replication, "commit_known", commit_known)


def never_look_for_a_leader_again(monkeypatch):
    """Missing liveness shows, too: nobody asks for votes after the first wait."""
    postpone = Election.postpone

    def for_ever(self, now):
        postpone(self, now)
        self.deadline += 1_000_000

    monkeypatch.setattr(Election, "postpone", for_ever)


@pytest.mark.parametrize(
    "mutate",
    [
        skip_the_up_to_date_check,
        commit_without_a_majority,
        count_a_fresh_node,
        grant_leases_without_end,
        forget_requests,
        accept_without_looking_at_the_entry_before,
        apply_before_commit,
        never_look_for_a_leader_again,
    ],
)
def test_a_deliberate_bug_is_found(monkeypatch, mutate):
    mutate(monkeypatch)
    assert found_within(range(60))
