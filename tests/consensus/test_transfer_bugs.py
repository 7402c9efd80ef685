"""Replicas on their way, and the bugs that walk into these schedules."""

from __future__ import annotations

import pytest

from django_hacache.consensus.core import Core
from django_hacache.consensus.dedup import RequestTable
from django_hacache.consensus.election import Election
from django_hacache.consensus.follower.installation import Installation
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.leader.progress import Progress
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.state import NodeState
from django_hacache.consensus.transfer import Part
from tests.consensus import test_transfers
from tests.consensus.transfers import (
    a_host_begins_anew_with_a_change_that_was_never_committed,
    a_late_message_to_begin_anew_is_of_what_the_log_has_dropped,
    a_part_comes_after_the_transfer_began_anew,
    a_reader_is_sent_a_replica,
    an_incomplete_replica_is_alone_with_the_other,
    the_joiner_forgets_requests_and_restarts,
    the_joiner_forgets_requests_before_the_last_part_comes,
    the_joiner_has_a_part_from_ahead_and_the_leader_loses_its_directory,
    the_joiner_has_a_part_from_ahead_of_what_the_next_leader_knows,
    the_last_part_comes_when_the_log_is_further,
    the_log_is_there_before_the_parts,
    the_parts_are_there_before_the_log,
)


def forget_the_log_after_the_last_part(monkeypatch):
    arrives = Core.part_arrives

    def forgetful(self, sender, term, part, now, requests=()):
        taken = arrives(self, sender, term, part, now, requests)
        if taken and part is not None and part.last:
            self.table.forget(self.state.log.between(part.index + 1, self.state.log.last_index))
        return taken

    monkeypatch.setattr(Core, "part_arrives", forgetful)


def take_a_part_from_before_what_is_there(monkeypatch):
    monkeypatch.setattr(
        Part, "follows", lambda self, installing: not installing.whole and self.after == installing.position
    )


def begin_anew_whatever_the_log_holds(monkeypatch):
    monkeypatch.setattr(Installation, "_is_known", lambda self, append: False)


def begin_anew_at_what_the_log_has_dropped(monkeypatch):
    is_known = Installation._is_known

    def trusting(self, append):
        return append.prev_index >= self._state.log.base_index and is_known(self, append)

    monkeypatch.setattr(Installation, "_is_known", trusting)


def begin_anew_without(monkeypatch, kind, method):
    """What a host has to do when its replica goes, it leaves out then."""
    begin = Installation.begin

    def careless(self, append):
        with monkeypatch.context() as patch:
            patch.setattr(kind, method, lambda self: None)
            begin(self, append)

    monkeypatch.setattr(Installation, "begin", careless)


def keep_the_requests_when_the_replica_goes(monkeypatch):
    begin_anew_without(monkeypatch, RequestTable, "clear")


def keep_the_lease_when_the_replica_goes(monkeypatch):
    monkeypatch.setattr(HostLease, "revoke", lambda self: None)


def vote_by_the_whole_log(monkeypatch):
    monkeypatch.setattr(
        NodeState,
        "up_to_date",
        lambda self, last_index, last_term: self.log.up_to_date(last_index, last_term),
    )


def vote_for_anybody_while_installing(monkeypatch):
    up_to_date = NodeState.up_to_date

    def careless(self, last_index, last_term):
        return self.hard.installing is not None or up_to_date(self, last_index, last_term)

    monkeypatch.setattr(NodeState, "up_to_date", careless)


def campaign_while_installing(monkeypatch):
    tick = Election.tick

    def eager(self, now):
        tick(self, now)
        hard = self._state.hard
        if hard.installing and not hard.fresh and now >= self._detector.deadline_ms:
            self.start(now, pre_vote=True)

    monkeypatch.setattr(Election, "tick", eager)


def count_an_incomplete_replica(monkeypatch):
    monkeypatch.setattr(Progress, "holds", lambda self: not self.fresh)


def believe_a_late_acknowledgement(monkeypatch):
    on_append_ack = LeaderReplication.on_append_ack

    def trusting(self, progress, ack, now):
        on_append_ack(self, progress, ack, now)
        progress.installing = ack.installing

    monkeypatch.setattr(LeaderReplication, "on_append_ack", trusting)


def apply_beyond_the_latest_part(monkeypatch):
    monkeypatch.setattr(NodeState, "applicable", property(lambda self: self.commit))


def be_whole_with_the_last_part(monkeypatch):
    def finish(self):
        installing = self._state.hard.installing
        if installing is not None and installing.whole:
            self._state.harden(installing=None)

    monkeypatch.setattr(Installation, "finish", finish)


def go_back_to_the_floor_of_the_last_part(monkeypatch):
    arrives = Core.part_arrives

    def going_back(self, sender, term, part, now, requests=()):
        if part is not None and part.last:
            self.table.floor = min(self.table.floor, part.floor)
        return arrives(self, sender, term, part, now, requests)

    monkeypatch.setattr(Core, "part_arrives", going_back)


def say_only_what_is_applied(monkeypatch):
    monkeypatch.setattr(NodeState, "surely_committed", property(lambda self: self.applied))


SCHEDULES = [
    a_late_message_to_begin_anew_is_of_what_the_log_has_dropped,
    a_host_begins_anew_with_a_change_that_was_never_committed,
    the_last_part_comes_when_the_log_is_further,
    the_joiner_forgets_requests_before_the_last_part_comes,
    the_joiner_forgets_requests_and_restarts,
    the_joiner_has_a_part_from_ahead_of_what_the_next_leader_knows,
    the_joiner_has_a_part_from_ahead_and_the_leader_loses_its_directory,
    a_part_comes_after_the_transfer_began_anew,
    a_reader_is_sent_a_replica,
    the_log_is_there_before_the_parts,
    the_parts_are_there_before_the_log,
    an_incomplete_replica_is_alone_with_the_other,
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.__name__)
def test_no_invariant_breaks_in(stage, schedule):
    schedule(stage)


BUGS = [
    (forget_the_log_after_the_last_part, the_last_part_comes_when_the_log_is_further),
    (take_a_part_from_before_what_is_there, a_part_comes_after_the_transfer_began_anew),
    (
        begin_anew_whatever_the_log_holds,
        test_transfers.test_a_late_message_to_begin_anew_takes_nothing_from_a_member,
    ),
    (begin_anew_at_what_the_log_has_dropped, a_late_message_to_begin_anew_is_of_what_the_log_has_dropped),
    (keep_the_requests_when_the_replica_goes, a_host_begins_anew_with_a_change_that_was_never_committed),
    (keep_the_lease_when_the_replica_goes, a_reader_is_sent_a_replica),
    (
        vote_by_the_whole_log,
        test_transfers.test_an_incomplete_replica_does_not_keep_a_cluster_without_a_leader,
    ),
    (
        vote_for_anybody_while_installing,
        test_transfers.test_a_vote_of_an_incomplete_replica_is_for_who_has_all_it_applied,
    ),
    (campaign_while_installing, an_incomplete_replica_is_alone_with_the_other),
    (
        count_an_incomplete_replica,
        test_transfers.test_an_incomplete_replica_does_not_keep_a_cluster_without_a_leader,
    ),
    (
        believe_a_late_acknowledgement,
        test_transfers.test_an_acknowledgement_from_before_a_host_began_anew_says_nothing_of_now,
    ),
    (apply_beyond_the_latest_part, the_log_is_there_before_the_parts),
    (be_whole_with_the_last_part, the_parts_are_there_before_the_log),
    (go_back_to_the_floor_of_the_last_part, the_joiner_forgets_requests_before_the_last_part_comes),
    (say_only_what_is_applied, the_joiner_has_a_part_from_ahead_of_what_the_next_leader_knows),
    (say_only_what_is_applied, the_joiner_has_a_part_from_ahead_and_the_leader_loses_its_directory),
]


@pytest.mark.parametrize(("bug", "schedule"), BUGS, ids=lambda given: given.__name__)
def test_a_deliberate_bug_is_found_by_its_schedule(monkeypatch, stage, bug, schedule):
    bug(monkeypatch)
    with pytest.raises(AssertionError) as caught:
        schedule(stage)
    # The core's own assertions may stop what they should not have to.
    assert "tests" in caught.traceback[-1].path.parts
