"""What is said by an incarnation that is gone, in an earlier term or by a leader that gave up does not count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_hacache.consensus.bootstrap import Bootstrap
from django_hacache.consensus.core import Core
from django_hacache.consensus.detector import FailureDetector
from django_hacache.consensus.election import Election
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.leader.admission import Admission
from django_hacache.consensus.leader.heartbeats import Heartbeats
from django_hacache.consensus.leader.progress import Progress
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.leadership import Leadership
from django_hacache.consensus.membership import Membership
from django_hacache.consensus.messages import Append, AppendAck, Ping, Pong, Probe, Sender
from django_hacache.consensus.state import NEVER, Handover, Role
from tests.consensus import late_words
from tests.consensus.verbs import progress_of
from tests.simulation.invariants import InvariantBroken

PLANS = {
    late_words.a_vote_outlives_its_voter: {"nodes": 5},
    late_words.an_acknowledgement_outlives_its_host: {},
    late_words.acknowledgements_of_an_earlier_term_come_late: {"nodes": 5},
    late_words.a_leader_has_handed_over: {},
    late_words.a_change_at_once_meets_a_fresh_host: {},
    late_words.a_candidate_asks_beside_a_live_leader: {},
    late_words.a_voter_that_restarted_is_asked_at_once: {},
    late_words.a_generation_that_is_gone_speaks_late: {},
    late_words.a_majority_is_lost_beside_a_leader_that_reads: {},
    late_words.a_leader_is_lost_while_a_follower_has_half_a_replica: {"log_bytes": 3000},
    late_words.a_refusal_of_a_level_follower_comes_late: {"log_bytes": 3000},
    late_words.a_follower_begins_anew_before_it_is_heard_that_it_was_whole: {
        "log_bytes": 3000,
        "pauses": True,
    },
    late_words.a_host_that_lost_half_a_replica_is_asked_how_far_it_is: {"log_bytes": 3000},
}
SEEDS = range(3)
by_name = pytest.mark.parametrize("script", PLANS, ids=lambda script: script.__name__)


@by_name
@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_breaks_in(stage, script, seed):
    script(stage(seed=seed, **PLANS[script]))


def admit_who_is_level_once_a_majority_has_answered(monkeypatch):
    def admit(self, progress, now):
        caught_up = progress.match_index >= min(progress.met_before - 1, self._state.commit)
        answered = [each.answered_ms > NEVER for each in self._replication.progress.values() if each.counts()]
        majority = 2 * (1 + sum(answered)) > 1 + len(self._replication.progress)
        progress.admitted = progress.admitted or (progress.fresh and caught_up and majority)

    monkeypatch.setattr(Admission, "admit", admit)


def deal_with_whoever_speaks(monkeypatch):
    def meet(self, sender, now):
        replication = self._replication
        known = replication.progress.get(sender.addr)
        if known is None or known.incarnation != sender.incarnation:
            known = replication.progress[sender.addr] = replication.new_progress(sender)
        known.fresh = sender.fresh

    monkeypatch.setattr(Admission, "meet", meet)


def count_answers_of_an_earlier_term(monkeypatch):
    """Of AppendAcks. A Pong of an earlier term adds nothing that could be wrong: the time at which its heartbeat was
    sent is from before this leadership began, and a lease that runs from then is over or one that its voters keep to,
    since they take no other candidate until an election timeout after they answered it."""

    def progress_of(self, sender, term, now):
        return self._admission.progress_of(sender) if self._state.role is Role.LEADER else None

    monkeypatch.setattr(Leadership, "_progress_of", progress_of)


def read_and_grant_on_after_handing_over(monkeypatch):
    hand_over, left = Core.hand_over, Heartbeats.lease_left_ms

    def careless(self, now):
        with monkeypatch.context() as patch:
            patch.setattr(HostLease, "revoke", lambda lease: None)
            return hand_over(self, now)

    def goes_on(self, now):
        with monkeypatch.context() as patch:
            patch.setattr(Handover, "begun", False)
            return left(self, now)

    monkeypatch.setattr(Core, "hand_over", careless)
    monkeypatch.setattr(Heartbeats, "lease_left_ms", goes_on)


def count_a_fresh_host_at_level_once(monkeypatch):
    monkeypatch.setattr(
        LeaderReplication,
        "on_second_node",
        lambda self, index: any(p.match_index >= index for p in self.progress.values()),
    )


def give_a_real_vote_in_spite_of_a_live_leader(monkeypatch):
    on_leader_req = Election.on_leader_req

    def careless(self, sender, request, now):
        on_leader_req(self, sender, replace(request, handover=not request.pre_vote), now)

    monkeypatch.setattr(Election, "on_leader_req", careless)
    monkeypatch.setattr(Election, "_is_named", lambda self, addr: True)


def forget_the_leader_on_restart(monkeypatch):
    init = FailureDetector.__init__

    def forgetful(self, *arguments, **more):
        init(self, *arguments, **more)
        self.heard_at_ms = NEVER

    monkeypatch.setattr(FailureDetector, "__init__", forgetful)


def join_another_generation_beside_a_live_leader(monkeypatch):
    join = Membership._join

    def careless(self, generation, message, now):
        with monkeypatch.context() as context:
            context.setattr(FailureDetector, "leader_is_live", lambda detector, now: False)
            return join(self, generation, message, now)

    monkeypatch.setattr(Membership, "_join", careless)


def form_a_generation_without_waiting(monkeypatch):
    monkeypatch.setattr(
        Bootstrap,
        "is_allowed",
        lambda self, now: self._state.hard.fresh and self._fresh_hosts(now) >= self._config.quorum,
    )


def campaign_with_half_a_replica(monkeypatch):
    tick = Election.tick

    def careless(self, now):
        if self._state.hard.installing is not None and now >= self._detector.deadline_ms:
            self.start(now, pre_vote=True)
        tick(self, now)

    monkeypatch.setattr(Election, "tick", careless)


def take_any_word_about_a_replica(monkeypatch):
    monkeypatch.setattr(Core, "part_answered", lambda self, sender, now: True)


BUGS = [
    (admit_who_is_level_once_a_majority_has_answered, late_words.a_vote_outlives_its_voter),
    (deal_with_whoever_speaks, late_words.an_acknowledgement_outlives_its_host),
    (count_answers_of_an_earlier_term, late_words.acknowledgements_of_an_earlier_term_come_late),
    (read_and_grant_on_after_handing_over, late_words.a_leader_has_handed_over),
    (count_a_fresh_host_at_level_once, late_words.a_change_at_once_meets_a_fresh_host),
    (give_a_real_vote_in_spite_of_a_live_leader, late_words.a_candidate_asks_beside_a_live_leader),
    (forget_the_leader_on_restart, late_words.a_voter_that_restarted_is_asked_at_once),
    (join_another_generation_beside_a_live_leader, late_words.a_generation_that_is_gone_speaks_late),
    (form_a_generation_without_waiting, late_words.a_majority_is_lost_beside_a_leader_that_reads),
    (campaign_with_half_a_replica, late_words.a_leader_is_lost_while_a_follower_has_half_a_replica),
    (take_any_word_about_a_replica, late_words.a_host_that_lost_half_a_replica_is_asked_how_far_it_is),
]


@pytest.mark.parametrize(("bug", "script"), BUGS, ids=lambda given: given.__name__)
def test_a_deliberate_bug_is_found_by_its_script(monkeypatch, stage, bug, script):
    bug(monkeypatch)
    with pytest.raises((InvariantBroken, AssertionError)) as caught:
        for seed in SEEDS:
            script(stage(seed=seed, **PLANS[script]))
    assert isinstance(caught.value, InvariantBroken), caught.value


def test_a_late_refusal_that_counts_makes_nobody_begin_anew(monkeypatch, stage):
    """It is no bug that could be found: a refusal only moves the place from which the leader tries again, never below
    what the follower has acknowledged, and a follower with that place in its log keeps what it has."""
    on_append_ack = LeaderReplication.on_append_ack

    def careless(self, progress, ack, now):
        if not ack.success:
            progress.in_flight = ack.prev_index
        on_append_ack(self, progress, ack, now)

    monkeypatch.setattr(LeaderReplication, "on_append_ack", careless)
    for seed in SEEDS:
        late_words.a_refusal_of_a_level_follower_comes_late(stage(seed=seed, log_bytes=3000))


def test_who_was_admitted_by_another_leader_has_said_nothing_that_counts_before(stage):
    """What it acknowledged as a fresh host may be cut off its log since: the other leader need not have it."""
    cluster = stage()
    leader = cluster.settle()
    peer, _ = cluster.followers()
    core, now, hard = leader.core, leader.clock(), leader.core.hard
    fresh = Sender(peer.addr, "another", hard.generation, True)
    member = fresh._replace(fresh=False)
    last = core.state.log.last_index
    core.receive(fresh, Probe(), now)
    cluster.run(200)
    now = leader.clock()
    core.receive(fresh, Pong(hard.term, 10_000, now, 1, 0), now)
    core.receive(fresh, AppendAck(hard.term, True, last, 0, 0), now)
    progress: Progress = progress_of(leader, peer)
    assert (progress.incarnation, progress.match_index, progress.counts()) == ("another", last, False)
    core.receive(member, Probe(), now)
    progress = progress_of(leader, peer)
    assert progress.counts()
    assert (progress.match_index, progress.answered_ms) == (0, NEVER)
    # And what it said as a fresh one and comes only now is no more than that.
    core.receive(fresh, AppendAck(hard.term, True, last, 0, 0), now)
    core.receive(fresh, Pong(hard.term, 10_000, now, 2, 0), now)
    assert (progress.match_index, progress.answered_ms) == (0, NEVER)


def test_a_late_heartbeat_takes_nothing_back_of_a_lease(stage):
    cluster = stage()
    leader = cluster.settle()
    follower, _ = cluster.followers()
    pings = []
    cluster.filters.append(
        lambda source, target, m: (
            not (isinstance(m, Ping) and target == follower.addr and pings.append(m)) or True
        )
    )
    cluster.run(500)
    assert len({ping.echo_ms for ping in pings}) > 3
    for late in pings:
        follower.core.receive(leader.core.sender(), late, follower.clock())
        ready = follower.core.take_ready()
        assert ready.lease_until_ms is None
        assert not ready.lease_revoked


def test_a_restarted_voter_does_not_slow_the_election_that_others_have_evidence_for(stage):
    """A leader dies; the two that have not restarted need not wait for anything."""
    cluster = stage(5)
    leader = cluster.settle()
    first, second, third, restarted = cluster.followers()
    leader.crash()
    restarted.crash()
    cluster.restart(restarted)
    began = cluster.now
    for host in (first, second, third):
        cluster.connection_refused(host.addr, leader.addr)
    assert cluster.leader() is not leader
    assert cluster.now - began < 500


def test_a_fresh_host_is_admitted_with_an_entry_that_was_ordered_after_it_came(stage):
    """None comes by itself where nobody writes: the leader orders an empty one, once."""
    cluster = stage()
    leader = cluster.settle()
    lost, other = cluster.followers()
    cluster.run(500)
    last = leader.core.state.log.last_index
    lost.crash(wipe=True)
    cluster.restart(lost)
    # Nothing that a majority without it has, no admission: its word alone commits nothing.
    cluster.filters.append(
        lambda source, target, m: not (isinstance(m, Append) and m.entries and target == other.addr)
    )
    cluster.run(1000)
    assert lost.core.state.log.last_index == last + 1
    assert lost.disk.hard.fresh
    cluster.filters.clear()
    cluster.settle()
    cluster.run(1000)
    assert leader.core.state.log.last_index == last + 1
