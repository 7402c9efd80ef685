"""Raft's log replication, the leader's side (Raft thesis, sections 3.5 and 3.6).

While an Append to a peer is in flight new entries gather, and the next one takes them all. The leader commits only
entries of its own term by counting. Whose word counts is admission.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.leader.progress import Mode, Progress
from django_hacache.consensus.messages import Append, AppendAck, Entry, Sender
from django_hacache.consensus.quorum import reached_by
from django_hacache.consensus.state import NodeState
from django_hacache.consensus.window import Window

if TYPE_CHECKING:
    from collections.abc import Collection

# While an Append is on its way nothing else of the log is, and other things stand behind it: over a link of a Mbit/s it
# is as large as takes a fraction of a second. It ends then long before it would be sent again.
LEAST_APPEND_BYTES = 32 << 10
APPEND_MS = 400
# One that may be refused, or sent twice since a connection is just coming up, carries nothing heavy.
PROBE_BYTES = 4 << 10


class LeaderReplication:
    def __init__(self, config: CoreConfig, state: NodeState) -> None:
        self._config = config
        self._state = state
        self.progress: dict[str, Progress] = {}
        # Of this leadership: the bytes that are in the order and not committed.
        self.tail_bytes = 0
        # The Appends of this turn, by their place and what limits their size.
        self._sent: dict[tuple[int, int, int], Append] = {}

    def begin(self) -> None:
        """Forget what an earlier leadership knew of the peers."""
        state = self._state
        self.progress = {peer: self.new_progress(view.sender) for peer, view in state.peers.items()}
        self.tail_bytes = sum(
            entry.size for entry in state.log.between(state.commit + 1, state.log.last_index)
        )

    def new_progress(self, sender: Sender) -> Progress:
        """What the leader knows of an incarnation that it has just heard of."""
        most = self._config.append_bytes
        return Progress(
            incarnation=sender.incarnation,
            met_before=self._state.log.last_index + 1,
            next_index=self._state.log.last_index + 1,
            window=Window(min(LEAST_APPEND_BYTES, most), most, APPEND_MS),
            fresh=sender.fresh,
        )

    # the order

    def append(self, effect: bytes, req_id: str, outcome: bytes, now_ms: int) -> Entry:
        """Put an entry into the order; the next Append to each peer carries it."""
        state = self._state
        entry = Entry(state.log.last_index + 1, state.term, effect, req_id, outcome, now_ms)
        state.log.append(entry)
        state.ready.entries.append(entry)
        self.tail_bytes += entry.size
        return entry

    def has_room(self, *, times: int = 1) -> bool:
        """Whether one more entry, of whatever size, may go into the order before others are committed."""
        state, config = self._state, self._config
        entries = state.log.last_index - state.commit
        return entries < times * config.uncommitted_entries and self.tail_bytes < times * config.log_bytes

    # sending

    def replicate(self, now_ms: int, awaited: Collection[str] | None) -> None:
        """Send to every peer what it lacks and may be sent now.

        A majority gets it at once, of which as many as possible are `awaited`: hosts with changes of their own on
        the way. The others get all that has gathered after `commit_delay_ms`, and the same where the majority does not
        answer within that time. None: all are awaited, and everybody is told at once what is committed, too.
        """
        at_once = awaited is None
        spare = self._spare(now_ms, awaited)
        for peer, progress in self.progress.items():
            if progress.installing and not progress.transferring:
                progress.transferring = True
                self._state.ready.snapshots_to.append(peer)
            if peer in spare and now_ms - progress.sent_at_ms < self._config.commit_delay_ms:
                continue
            if progress.in_flight is not None:
                if now_ms - max(progress.sent_at_ms, progress.append_moved_at_ms) < progress.patience_ms:
                    continue
                progress.append_lost(self._state.log.base_index)
            self._replicate_to(peer, progress, now_ms, at_once=at_once)
        self._sent.clear()

    def _spare(self, now_ms: int, awaited: Collection[str] | None) -> Collection[str]:
        """The peers without which a majority is likely to answer soon."""
        needed = self._config.quorum - 1
        if awaited is None or needed == len(self.progress):
            return ()
        quick = [
            peer
            for peer, progress in self.progress.items()
            if progress.mode is Mode.REPLICATE
            and not (progress.fresh or progress.installing)
            and (progress.in_flight is None or now_ms - progress.sent_at_ms < self._config.commit_delay_ms)
        ]
        if len(quick) <= needed:
            return ()
        # Whoever is furthest stays the one that is asked first.
        quick.sort(key=lambda peer: (peer in awaited, self.progress[peer].match_index), reverse=True)
        return [peer for peer in quick[needed:] if peer not in awaited]

    def _replicate_to(self, peer: str, progress: Progress, now_ms: int, *, at_once: bool) -> None:
        if not self._has_something_for(progress, now_ms, at_once=at_once):
            return
        prev_index = progress.next_index - 1
        prev_term = self._state.log.term_at(prev_index)
        if prev_term is None:
            append = self._anew()
            progress.begin_anew(append.prev_index)
        elif progress.mode is Mode.PROBE:
            limit = min(PROBE_BYTES, self._config.append_bytes)
            append = self._append_after(prev_index, prev_term, limit, now_ms, least=0, at_once=at_once)
        else:
            limit = progress.window.size
            append = self._append_after(prev_index, prev_term, limit, now_ms, least=1, at_once=at_once)
        self._state.send(peer, append)
        # Only one that is alone in its message may be large: see append_bytes.
        alone_bytes = append.entries[0].size if len(append.entries) == 1 else 0
        progress.append_sent(append, now_ms, patience_ms=self._config.patience_ms(alone_bytes))

    def _has_something_for(self, progress: Progress, now_ms: int, *, at_once: bool) -> bool:
        """Whether the peer lacks entries, or the commit index, or is to be probed."""
        since_ms = now_ms - progress.sent_at_ms
        if progress.next_index <= self._state.log.last_index:
            return True
        if progress.mode is Mode.PROBE:
            return since_ms >= self._config.heartbeat_ms
        if progress.sent_commit >= self._state.applied:
            return False
        # Protected: test_a_write_at_level_all_takes_two_round_trips
        return at_once or since_ms >= self._config.commit_delay_ms

    def _anew(self) -> Append:
        """What lets a peer begin here that the log no longer reaches."""
        state = self._state
        term = state.log.term_at(state.applied)
        assert term is not None, "the log reaches back to what is applied"
        return Append(state.term, state.applied, term, state.applied, anew=True)

    def _append_after(
        self, prev_index: int, prev_term: int, limit: int, now_ms: int, *, least: int, at_once: bool
    ) -> Append:
        """What follows `prev_index`: one message for all peers that are at the same place."""
        append = self._sent.get((prev_index, limit, least))
        if append is None:
            state = self._state
            entries = state.log.batch_from(prev_index + 1, limit, least)
            ages_ms = tuple(max(now_ms - entry.born_ms, 0) for entry in entries)
            # What is committed and not applied here is not told yet: see heartbeats.send.
            append = Append(
                state.term, prev_index, prev_term, state.applied, entries, ages_ms, awaited=at_once
            )
            self._sent[prev_index, limit, least] = append
        return append

    def has_more_to_send(self) -> bool:
        """Whether a peer that is not busy has yet to get an entry, or to hear of the commit index."""
        last, commit = self._state.log.last_index, self._state.applied
        for progress in self.progress.values():
            if (
                progress.in_flight is None
                and progress.mode is Mode.REPLICATE
                and (progress.sent_commit < commit or progress.next_index <= last)
            ):
                return True
        return False

    # answers

    def on_applied(self, progress: Progress, index: int) -> None:
        """A follower says what it has applied, or has a part from: that was committed, be it before this leader's term.

        This leader has it, and may know it long before it commits anything of its own: an incomplete replica that was
        sent a part from there can be sent no other one by whoever has applied less. Such a replica gives no reads: so
        its word is as good at level all as if it had applied that.
        """
        progress.applied_index = max(progress.applied_index, min(index, self._state.log.last_index))
        self._commit(progress.applied_index)
        if progress.in_flight is None:
            # It may have been restarted since it was told what is committed.
            progress.sent_commit = min(progress.sent_commit, index)

    def transfer_ended(self, peer: str, *, complete: bool) -> None:
        """The shell is no longer at sending to `peer`, which has said that its replica is complete, or has not."""
        progress = self.progress.get(peer)
        # One to an incarnation that is gone, or to one that has begun anew since, says nothing of what is there now.
        # Protected: a_follower_begins_anew_before_it_is_heard_that_it_was_whole
        if progress is not None and progress.transferring:
            progress.transferring = False
            progress.installing = progress.installing and not complete

    def on_append_ack(self, progress: Progress, ack: AppendAck, now_ms: int) -> None:
        state = self._state
        self.on_applied(progress, ack.applied_index)
        # A refusal counts only for the Append in flight: a late one must not empty a replica that has caught up.
        # Protected: a_refusal_of_a_level_follower_comes_late
        current = progress.in_flight == ack.prev_index
        if current:
            progress.append_answered(now_ms)
        if ack.success:
            # What it said before it began anew was of less, or a refusal.
            # Protected: test_an_acknowledgement_from_before_a_host_began_anew_says_nothing_of_now
            if ack.match_index >= max(progress.match_index, progress.begins_at):
                progress.installing = ack.installing
            progress.become_replicate(min(ack.match_index, state.log.last_index))
            if current:
                # It may answer an earlier, shorter Append from the same place: what it does not cover goes again.
                progress.next_index = progress.match_index + 1
        elif current and ack.prev_index > progress.match_index:
            # The peer's hint is where its log ends or its conflicting term begins.
            progress.become_probe(min(ack.match_index + 1, ack.prev_index))

    # commit

    def counted_matches(self) -> list[int]:
        """Up to where each one's log is the leader's, of those whose word counts."""
        own = [] if self._state.hard.fresh else [self._state.log.last_index]
        return own + [progress.match_index for progress in self.progress.values() if progress.holds()]

    def advance_commit(self) -> bool:
        """Commit what a majority has, of this term only (Raft thesis, figure 3.7)."""
        state = self._state
        if state.commit == state.log.last_index:
            return False
        # Protected: commit_without_a_majority
        reached = min(reached_by(self.counted_matches(), self._config.quorum), state.log.last_index)
        # An entry of an earlier term may be on a majority, and still be overwritten by a leader of a term between.
        # Protected: an_entry_of_an_earlier_term_is_on_a_majority
        if reached <= state.commit or state.log.term_at(reached) != state.term:
            return False
        self._commit(reached)
        return True

    def _commit(self, index: int) -> None:
        state = self._state
        if index > state.commit:
            if index == state.log.last_index:
                self.tail_bytes = 0
            else:
                self.tail_bytes -= sum(entry.size for entry in state.log.between(state.commit + 1, index))
            state.commit_to(index)

    def on_second_node(self, index: int) -> bool:
        """Whether one node besides the leader has the entry; a cluster of one has no other."""
        if not self._config.peers:
            return self._state.commit >= index
        # Protected: a_change_at_once_meets_a_fresh_host, count_a_fresh_host_at_level_once
        return any(progress.holds() and progress.match_index >= index for progress in self.progress.values())
