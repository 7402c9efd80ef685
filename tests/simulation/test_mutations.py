"""The simulation can fail: each deliberate bug is found within a few lives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from django_hacache.consensus.dedup import RequestTable
from django_hacache.consensus.detector import FailureDetector
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.follower.replication import FollowerReplication
from django_hacache.consensus.leader.admission import Admission
from django_hacache.consensus.leader.progress import Progress
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.log import Log
from django_hacache.consensus.proposals.ordering import Ordering
from django_hacache.consensus.quorum import reached_by
from django_hacache.consensus.ready import Ready
from django_hacache.consensus.state import NEVER
from tests.consensus import test_late_words, test_transfer_bugs, test_traps

from .host import Host
from .invariants import InvariantBroken
from .life import LifeEnded, live


def found_within(lives: range, **changes: Any) -> bool:
    """Whether an invariant breaks in one of these lives; `changes` are to their plans.

    The core has assertions of its own, which may stop a life before: that is not what is asked. Any other exception
    says that the bug is written for a core that is no more.
    """
    for seed in lives:
        try:
            live(seed, 8_000, **changes)
        except LifeEnded as ended:
            if isinstance(ended.__cause__, InvariantBroken):
                return True
            if not isinstance(ended.__cause__, AssertionError):
                raise
    return False


def skip_the_up_to_date_check(monkeypatch):
    monkeypatch.setattr(Log, "up_to_date", lambda self, last_index, last_term: True)


def commit_without_a_majority(monkeypatch):
    monkeypatch.setattr(
        "django_hacache.consensus.leader.replication.reached_by",
        lambda values, quorum: reached_by(values, quorum - 1 or 1),
    )


def count_a_fresh_node(monkeypatch):
    monkeypatch.setattr(Progress, "counts", lambda self: True)
    monkeypatch.setattr(Progress, "holds", lambda self: not self.installing)


def grant_leases_without_end(monkeypatch):
    monkeypatch.setattr(HostLease, "_deadline_ms", lambda self, start, length: start + 3 * length)


def forget_requests(monkeypatch):
    monkeypatch.setattr(RequestTable, "find", lambda self, req_id: None)


def accept_without_looking_at_the_entry_before(monkeypatch):
    def on_append(self, append, leader, now, *, apply_at_once):
        if append.prev_index <= self._state.log.last_index:
            self.accept_and_acknowledge(append, leader, now, apply_at_once=apply_at_once)

    monkeypatch.setattr(FollowerReplication, "on_append", on_append)


def apply_before_commit(monkeypatch):
    def commit_known(self, index):
        term, verified = self.verified
        if term == self._state.term:
            self._state.commit_to(verified)

    monkeypatch.setattr(FollowerReplication, "commit_known", commit_known)


def let_a_follower_count_for_itself_and_the_leader(monkeypatch):
    """Right by Raft's rule where two are a majority, but its host answers before the leader has applied."""
    acknowledge = FollowerReplication.accept_and_acknowledge

    def counting(self, append, leader, now, *, apply_at_once):
        match = self.accept(append, now)
        if self._config.quorum == 2 and not self._state.hard.fresh:
            self._state.commit_to(match if self._state.log.term_at(match) == append.term else 0)
        acknowledge(self, append, leader, now, apply_at_once=apply_at_once)

    monkeypatch.setattr(FollowerReplication, "accept_and_acknowledge", counting)
    # The leader stores before it sends, or a majority might not hold it.
    monkeypatch.setattr(Ready, "counts_on_nothing_stored", lambda self: False)


def forget_the_lease_over_a_replica_that_is_gone(monkeypatch):
    """Whose directory was lost may have workers that still read it, whatever its next incarnation has applied."""
    turn_to = Admission._turn_to

    def forgetting(self, sender, before):
        turn_to(self, sender, before)
        self._replication.progress[sender.addr].lost_lease_until_ms = NEVER

    monkeypatch.setattr(Admission, "_turn_to", forgetting)


def count_a_fresh_host_at_level_once(monkeypatch):
    def on_second_node(self, index):
        return any(progress.match_index >= index for progress in self.progress.values())

    monkeypatch.setattr(LeaderReplication, "on_second_node", on_second_node)


def keep_the_lease_while_the_replica_is_replaced(monkeypatch):
    test_transfer_bugs.begin_anew_without(monkeypatch, HostLease, "revoke")


def try_again_what_may_have_been_forgotten(monkeypatch):
    monkeypatch.setattr(Ordering, "may_be_forgotten", lambda self, proposal: False)


def let_times_to_live_begin_anew_on_every_host(monkeypatch):
    accept = FollowerReplication.accept

    def ageless(self, append, now):
        return accept(self, replace(append, ages_ms=(0,) * len(append.ages_ms)), now)

    monkeypatch.setattr(FollowerReplication, "accept", ageless)


def leave_the_epoch_of_the_page_when_a_lease_was_lost(monkeypatch):
    """The page is the shell's; what a worker finds when it thaws is judged here."""

    def grant(self, deadline):
        self.lease_until = deadline

    monkeypatch.setattr(Host, "grant", grant)


def never_look_for_a_leader_again(monkeypatch):
    """Missing liveness shows, too: nobody asks for votes after the first wait."""
    postpone = FailureDetector.postpone

    def for_ever(self, now):
        postpone(self, now)
        self.deadline_ms += 1_000_000

    monkeypatch.setattr(FailureDetector, "postpone", for_ever)


# Where an entry ends is known to a second or two only while hosts freeze.
PLANS = {let_times_to_live_begin_anew_on_every_host: {"pauses": False, "ttl": 1000}}


FOUND_BY_LIVES = [
    skip_the_up_to_date_check,
    commit_without_a_majority,
    count_a_fresh_node,
    grant_leases_without_end,
    forget_requests,
    accept_without_looking_at_the_entry_before,
    apply_before_commit,
    let_a_follower_count_for_itself_and_the_leader,
    forget_the_lease_over_a_replica_that_is_gone,
    count_a_fresh_host_at_level_once,
    keep_the_lease_while_the_replica_is_replaced,
    try_again_what_may_have_been_forgotten,
    let_times_to_live_begin_anew_on_every_host,
    leave_the_epoch_of_the_page_when_a_lease_was_lost,
    never_look_for_a_leader_again,
]
FOUND_BY_A_SCRIPT = [
    bug for tests in (test_traps, test_late_words, test_transfer_bugs) for bug, _ in tests.BUGS
]

# Bugs that nothing found for a while, and what they are here.
ONCE_MISSED = {
    "a real vote in spite of a live leader": test_late_words.give_a_real_vote_in_spite_of_a_live_leader,
    "a follower is given a whole lease, not what is left of the leader's": test_traps.grant_a_follower_a_whole_lease,
    "an AppendAck of an earlier term counts": test_late_words.count_answers_of_an_earlier_term,
    "the leader reads and grants on after it handed over": test_late_words.read_and_grant_on_after_handing_over,
    "level once counts a fresh host": count_a_fresh_host_at_level_once,
    "a replica that was sent forgets the log after it": test_transfer_bugs.forget_the_log_after_the_last_part,
    "a replica that was sent is older than what is there": test_transfer_bugs.take_a_part_from_before_what_is_there,
    "a late word to begin anew empties a replica": test_transfer_bugs.begin_anew_whatever_the_log_holds,
    "the lease outlives its replica": keep_the_lease_while_the_replica_is_replaced,
    "a host with half a replica votes for anybody": test_transfer_bugs.vote_for_anybody_while_installing,
    "a host with half a replica asks for votes": test_transfer_bugs.campaign_while_installing,
    "another generation is joined beside a live leader": (
        test_late_words.join_another_generation_beside_a_live_leader
    ),
    "a generation forms without waiting for old leases": test_late_words.form_a_generation_without_waiting,
}
# And those that are none, with the tests that say why.
NO_BUGS = {
    "a Pong of an earlier term counts": test_late_words.count_answers_of_an_earlier_term,
    "a late refusal counts": test_late_words.test_a_late_refusal_that_counts_makes_nobody_begin_anew,
}


@pytest.mark.parametrize("mutate", FOUND_BY_LIVES)
def test_a_deliberate_bug_is_found(monkeypatch, mutate):
    mutate(monkeypatch)
    assert found_within(range(150), **PLANS.get(mutate, {}))


def test_every_bug_that_was_missed_once_is_found_now():
    found = {*FOUND_BY_LIVES, *FOUND_BY_A_SCRIPT}
    assert [sentence for sentence, bug in ONCE_MISSED.items() if bug not in found] == []
    assert all(reason.__doc__ for reason in NO_BUGS.values())
