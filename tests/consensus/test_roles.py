"""A role changes along the edges of the table, and a term has one vote."""

from __future__ import annotations

import pytest

from django_hacache.consensus.roles import EDGES, Roles
from django_hacache.consensus.state import Role
from tests.consensus.verbs import force_election
from tests.simulation.life import live


def test_the_edges_are_those_that_nodes_go_and_no_others(monkeypatch):
    taken = set()
    move = Roles._move

    def noting(self, role, leader):
        taken.add((self._state.role, role))
        move(self, role, leader)

    monkeypatch.setattr(Roles, "_move", noting)
    for seed in (6, 21, *range(40)):  # the first two are enough, as lives are now
        live(seed, 8_000)
        if len(taken) == sum(map(len, EDGES.values())):
            break
    assert taken == {(before, after) for before, follow in EDGES.items() for after in follow}


def test_a_leader_asks_for_no_votes_before_it_has_stepped_down(stage):
    leader = stage().settle()
    with pytest.raises(AssertionError, match="a leader does not become candidate"):
        force_election(leader)


def test_nobody_leads_a_term_without_its_own_vote(stage):
    cluster = stage()
    leader = cluster.settle()
    host, _ = cluster.followers()
    leader.crash()
    cluster.run(cluster.plan.election_timeout - 10)
    force_election(host)
    host.core.state.harden(vote=leader.addr)
    with pytest.raises(AssertionError, match="its own vote"):
        cluster.run(1000)
    assert host.core.role is Role.CANDIDATE


def test_a_term_has_one_vote(stage):
    cluster = stage()
    cluster.settle()
    host, other = cluster.followers()
    force_election(host)
    with pytest.raises(AssertionError, match="one vote"):
        host.core.roles.vote_for(other.addr, None)
