"""The known traps, and the bugs that walk into them: what random lives do not find, these scripts do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_hacache.consensus import membership
from django_hacache.consensus.election import Election
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.leader.heartbeats import Heartbeats
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.messages import AckLevel, Forward, Refusal
from django_hacache.consensus.quorum import reached_by
from django_hacache.consensus.roles import Roles
from django_hacache.consensus.state import Role
from tests.consensus import scripts
from tests.simulation.host import Host
from tests.simulation.invariants import InvariantBroken

PLANS = {
    scripts.a_voter_restarts_between_two_candidates: {"nodes": 5},
    scripts.an_old_vote_comes_late: {"nodes": 5},
    scripts.a_candidate_comes_back_with_an_old_term: {"nodes": 5, "pauses": True},
    scripts.a_leader_is_frozen_across_an_election: {"pauses": True},
    scripts.a_deposed_leader_votes_for_the_next_one: {"false_evidence": False},
    scripts.a_leader_on_the_minority_side_goes_on: {"nodes": 5},
    scripts.an_entry_of_an_earlier_term_is_on_a_majority: {"nodes": 5, "append_bytes": 1},
    scripts.clocks_run_apart: {"lease": 2000},
    scripts.a_leader_grants_while_its_own_lease_runs_out: {"nodes": 5},
    scripts.a_snapshot_is_overtaken_by_the_log: {"log_bytes": 1000},
    scripts.a_generation_that_nobody_joined_speaks_late: {},
    scripts.a_new_leader_does_not_know_what_is_committed: {},
}
by_name = pytest.mark.parametrize("script", PLANS, ids=lambda script: script.__name__)


@by_name
@pytest.mark.parametrize("seed", range(5))
def test_no_invariant_breaks_in(stage, script, seed):
    script(stage(seed=seed, **PLANS[script]))


def vote_twice(monkeypatch):
    grants = Election._grants

    def forgetful(self, sender, request, *, may_form):
        if self._state.role is Role.FOLLOWER:
            self._state.hard = replace(self._state.hard, vote="")
        return grants(self, sender, request, may_form=may_form)

    monkeypatch.setattr(Election, "_grants", forgetful)


def forget_the_vote_on_restart(monkeypatch):
    start = Host.start

    def forgetful(self):
        self.disk.hard = replace(self.disk.hard, vote="")
        start(self)

    monkeypatch.setattr(Host, "start", forgetful)


def count_votes_of_an_earlier_term(monkeypatch):
    monkeypatch.setattr(
        Election, "_counts", lambda self, sender, ack, now: self._state.role is Role.CANDIDATE and ack.granted
    )


def keep_granting_leases_after_losing_the_quorum(monkeypatch):
    monkeypatch.setattr(Heartbeats, "lost_quorum", lambda self, now: False)
    monkeypatch.setattr(Heartbeats, "lease_left_ms", lambda self, now: self._config.lease_ms)


def commit_an_old_terms_entry_by_counting(monkeypatch):
    def advance_commit(self):
        state = self._state
        reached = min(reached_by(self.counted_matches(), self._config.quorum), state.log.last_index)
        if reached <= state.commit:
            return False
        state.commit_to(reached)
        return True

    monkeypatch.setattr(LeaderReplication, "advance_commit", advance_commit)


def grant_leases_before_the_commit_index_is_known(monkeypatch):
    monkeypatch.setattr(Heartbeats, "_knows_commit", lambda self: True)


def leave_no_margin_for_clocks(monkeypatch):
    monkeypatch.setattr(HostLease, "_deadline_ms", lambda self, start, length: start + length)


def grant_a_follower_a_whole_lease(monkeypatch):
    send, left = Heartbeats.send, Heartbeats.lease_left_ms

    def generous(self, now, *others):
        with monkeypatch.context() as patch:
            whole = lambda self, now: self._config.lease_ms if left(self, now) > 0 else 0
            patch.setattr(Heartbeats, "lease_left_ms", whole)
            send(self, now, *others)

    monkeypatch.setattr(Heartbeats, "send", generous)


def join_a_generation_that_has_committed_nothing(monkeypatch):
    monkeypatch.setattr(membership, "_has_committed", lambda message: True)


def keep_the_own_lease_when_deposed(monkeypatch):
    become_follower = Roles.become_follower

    def keeping(self, term, leader, now):
        with monkeypatch.context() as patch:
            patch.setattr(HostLease, "revoke", lambda self: None)
            become_follower(self, term, leader, now)

    monkeypatch.setattr(Roles, "become_follower", keeping)


BUGS = [
    (vote_twice, scripts.a_voter_restarts_between_two_candidates),
    (forget_the_vote_on_restart, scripts.a_voter_restarts_between_two_candidates),
    (count_votes_of_an_earlier_term, scripts.an_old_vote_comes_late),
    (keep_the_own_lease_when_deposed, scripts.a_deposed_leader_votes_for_the_next_one),
    (keep_granting_leases_after_losing_the_quorum, scripts.a_leader_on_the_minority_side_goes_on),
    (commit_an_old_terms_entry_by_counting, scripts.an_entry_of_an_earlier_term_is_on_a_majority),
    (leave_no_margin_for_clocks, scripts.clocks_run_apart),
    (grant_a_follower_a_whole_lease, scripts.a_leader_grants_while_its_own_lease_runs_out),
    (grant_leases_before_the_commit_index_is_known, scripts.a_new_leader_does_not_know_what_is_committed),
    (
        join_a_generation_that_has_committed_nothing,
        scripts.a_generation_that_nobody_joined_speaks_late,
    ),
]


@pytest.mark.parametrize(("bug", "script"), BUGS, ids=lambda given: given.__name__)
def test_a_deliberate_bug_is_found_by_its_script(monkeypatch, stage, bug, script):
    bug(monkeypatch)
    with pytest.raises((InvariantBroken, AssertionError)) as caught:
        for seed in range(5):
            script(stage(seed=seed, **PLANS[script]))
    assert isinstance(caught.value, InvariantBroken), caught.value


def test_a_change_that_was_sent_twice_is_not_refused_as_not_done_while_the_first_one_is_on_its_way(stage):
    """The lane and the stream are two ways: what was sent again over one may be overtaken, or overtake."""
    cluster = stage(pending_requests=1)
    leader = cluster.settle()
    host, other = cluster.followers()
    held = []

    def hold(source, target, message):
        if isinstance(message, Forward) and source == host.addr and not held:
            held.append((host.core.sender(), message))
            return False
        return True

    cluster.filters.append(hold)
    twice = cluster.put(host, "k", 1)
    cluster.run(100)
    # Another change waits for its acknowledgement by all, and nothing more finds room.
    cluster.cut([other], [leader, host])
    filling = cluster.put(leader, "other", 2, AckLevel.ALL)
    assert cluster.run_while(lambda: twice.ended is None, at_most=2000)
    assert cluster.run_while(lambda: filling.ended is None, at_most=5000)
    leader.receive(*held[0])
    cluster.run(200)
    # Either is right: that it is done, or that it may be.
    assert twice.ended.refusal in (None, Refusal.OUTCOME_UNKNOWN)
