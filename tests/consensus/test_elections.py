"""Elections: Raft thesis, sections 3.4, 4.2.3 and 9.6, and the evidence of a leader's death."""

from __future__ import annotations

from django_hacache.consensus.messages import LeaderReq, LeaderSwitchPriority
from django_hacache.consensus.state import Role
from tests.consensus.verbs import force_election


def test_a_cluster_of_any_size_elects_one_leader_that_all_follow(stage):
    for nodes in (1, 3, 5, 7):
        cluster = stage(nodes)
        leader = cluster.settle()
        assert {host.core.leader for host in cluster.hosts.values()} == {leader.addr}


def test_a_node_that_was_cut_off_comes_back_without_a_new_term(stage):
    cluster = stage()
    leader = cluster.settle()
    alone = cluster.followers()[0]
    term = leader.core.hard.term
    cluster.cut([alone], [*cluster.followers(), leader])
    cluster.run(60_000)
    cluster.network.heal()
    cluster.run(5000)
    assert leader.core.role is Role.LEADER
    assert {host.core.hard.term for host in cluster.hosts.values()} == {term}


def test_a_follower_that_hears_nobody_or_that_nobody_hears_disturbs_nothing(stage):
    for direction in ("deaf", "mute"):
        cluster = stage()
        leader = cluster.settle()
        poor = cluster.followers()[0]
        rest = [host for host in cluster.hosts.values() if host is not poor]
        ones, others = (rest, [poor]) if direction == "deaf" else ([poor], rest)
        cluster.cut(ones, others, both=False)
        cluster.run(20_000)
        assert cluster.leader() is leader
        assert leader.core.hard.term == 1


def test_a_leader_without_a_majority_steps_down_within_the_election_timeout(stage):
    cluster = stage()
    leader = cluster.settle()
    cluster.cut([leader], cluster.followers())
    cluster.run(cluster.plan.election_timeout + 200)
    assert leader.core.role is not Role.LEADER


def test_a_leader_that_is_gone_is_replaced_at_once_where_its_connections_were_refused(stage):
    cluster = stage()
    leader = cluster.settle()
    survivors = cluster.followers()
    leader.crash()
    for host in survivors:
        cluster.connection_refused(host.addr, leader.addr)
    began = cluster.now
    assert cluster.leader() is not leader
    assert cluster.now - began < 500


def test_who_has_seen_the_leader_die_asks_again_until_the_others_have_evidence_too(stage):
    cluster = stage()
    leader = cluster.settle()
    first, second = cluster.followers()
    leader.crash()
    # The other one never asks for itself.
    cluster.filters.append(
        lambda source, target, message: not (isinstance(message, LeaderReq) and source == second.addr)
    )
    cluster.connection_refused(first.addr, leader.addr)
    began = cluster.now
    assert cluster.leader() is first
    assert cluster.now - began < 1000


def test_false_evidence_moves_no_leader_that_the_others_still_hear(stage):
    cluster = stage()
    leader = cluster.settle()
    for _ in range(20):
        cluster.connection_refused(cluster.followers()[0].addr, leader.addr)
        cluster.run(300)
    assert cluster.leader() is leader
    assert leader.core.hard.term == 1


def test_of_two_candidates_in_one_term_the_earlier_one_has_priority(stage):
    cluster = stage(5)
    leader = cluster.settle()
    said = []
    cluster.filters.append(lambda source, target, message: said.append((target, message)) or True)
    first, second = cluster.followers()[:2]
    leader.crash()
    cluster.run(cluster.plan.election_timeout)
    for host in (first, second):
        force_election(host)
    cluster.leader()
    priorities = [message for _, message in said if isinstance(message, LeaderSwitchPriority)]
    assert priorities
    dated = {m.election_ts for _, m in said if isinstance(m, LeaderReq) and not m.pre_vote}
    assert {message.election_ts for message in priorities} <= dated


def test_a_handover_moves_the_leadership_without_losing_a_write(stage):
    cluster = stage()
    leader = cluster.settle()
    operations = [cluster.put(host, "k", n) for n, host in enumerate(cluster.hosts.values())]
    assert leader.hand_over()
    operations += [cluster.put(host, "k", 10 + n) for n, host in enumerate(cluster.hosts.values())]
    began = cluster.now
    assert cluster.run_while(lambda: any(o.ended is None for o in operations), at_most=5000)
    assert all(operation.ended.refusal is None for operation in operations)
    assert cluster.now - began < 500
    assert cluster.leader() is not leader
