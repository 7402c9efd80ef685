"""Raft's log replication: the leader's side and the follower's (Raft thesis, section 3.5 and 3.6).

Rules: a follower accepts entries only where the entry before them matches; a leader commits only entries of its
own term by counting; while an Append to a peer is in flight new entries gather, and the next one takes them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .messages import Append, AppendAck, Entry, Sender
from .progress import Mode, Progress
from .quorum import reached_by
from .state import ALWAYS_LATER, NodeState, Role
from .window import Window

if TYPE_CHECKING:
    from collections.abc import Collection

    from .config import CoreConfig

# So many committed entries are not left waiting by a follower.
APPLY_AT_ONCE = 256
# While an Append is on its way nothing else of the log is, and other things stand behind it: over a link of a Mbit/s it
# is as large as takes a fraction of a second. It ends then long before it would be sent again.
LEAST_APPEND_BYTES = 32 << 10
APPEND_MS = 400
# One that may be refused, or sent twice since a connection is just coming up, carries nothing heavy.
PROBE_BYTES = 4 << 10


class Replication:
    def __init__(self, config: CoreConfig, state: NodeState) -> None:
        self._config = config
        self._state = state
        self.progress: dict[str, Progress] = {}
        # Of this leadership: the bytes that are in the order and not committed.
        self.tail_bytes = 0
        # Other incarnations of a peer than the one in `progress`, and when this leader first heard of them.
        self._newcomers: dict[str, tuple[str, int]] = {}
        # The Appends of this turn, by their place and what limits their size.
        self._sent: dict[tuple[int, int, int], Append] = {}
        # When a follower applies at the latest what is committed.
        self.apply_due_at = ALWAYS_LATER
        # The last index that surely equals the log of the leader of that term.
        self._verified = (0, 0)

    # the leader's side

    def lead(self) -> None:
        """Forget what an earlier leadership knew of the peers."""
        state = self._state
        self.progress = {peer: self._progress_of(view.sender) for peer, view in state.peers.items()}
        self.tail_bytes = sum(
            entry.size for entry in state.log.between(state.commit + 1, state.log.last_index)
        )
        self._newcomers.clear()

    def _progress_of(self, sender: Sender) -> Progress:
        most = self._config.append_bytes
        return Progress(
            incarnation=sender.incarnation,
            met_before=self._state.log.last_index + 1,
            next_index=self._state.log.last_index + 1,
            window=Window(min(LEAST_APPEND_BYTES, most), most, APPEND_MS),
            fresh=sender.fresh,
        )

    def meet(self, sender: Sender, now: int) -> bool:
        """Note who sent a message; True where it is another incarnation of its host than those known.

        It does not count by that: the message may be late, and its sender gone. Its answer to a heartbeat will tell.
        """
        known = self.progress.get(sender.addr)
        if known is None:
            self.progress[sender.addr] = self._progress_of(sender)
        elif known.incarnation == sender.incarnation:
            if known.fresh and not sender.fresh:
                self._became_member(sender, known)
        elif self._newcomers.get(sender.addr, ("", 0))[0] != sender.incarnation:
            self._newcomers[sender.addr] = (sender.incarnation, now)
            return True
        return False

    def _became_member(self, sender: Sender, known: Progress) -> None:
        if known.admitted:
            known.fresh = False
        else:
            # Another leader admitted it: what it said to this one before, it said as one that does not count.
            self._replace(sender, known)

    def met_alive(self, sender: Sender, heartbeat_at: int) -> None:
        """A peer answered the heartbeat that was sent at that time: it lived then.

        So a newcomer is the later one of the two, if that heartbeat was sent after the leader had heard of it: it
        had heard the other one before.
        """
        incarnation, met_at = self._newcomers.get(sender.addr, ("", 0))
        if incarnation == sender.incarnation and heartbeat_at > met_at:
            self._replace(sender, self.progress[sender.addr])

    def only_receives(self, peer: str) -> bool:
        """Whether nothing but entries and a replica is for the peer yet, and no newcomer waits to be found alive."""
        known = self.progress.get(peer)
        return known is not None and known.only_receives() and peer not in self._newcomers

    def _replace(self, sender: Sender, before: Progress) -> None:
        """Begin with nothing that the incarnation before, or this one when it did not count, has said."""
        self._newcomers.pop(sender.addr, None)
        progress = self.progress[sender.addr] = self._progress_of(sender)
        # Whatever the new incarnation applies, they do not see it.
        progress.lost_lease_until = max(before.lease_until, before.lost_lease_until)

    def progress_of(self, sender: Sender) -> Progress | None:
        """The progress of the very incarnation that speaks, None where its word does not count."""
        known = self.progress.get(sender.addr)
        if known is None or known.incarnation != sender.incarnation:
            return None
        if sender.fresh and not known.fresh and not known.admitted:
            return None  # it said so before another leader admitted it
        return known

    def append(self, effect: bytes, req_id: str, outcome: bytes, now: int) -> Entry:
        """Put an entry into the order; the next Append to each peer carries it."""
        state = self._state
        entry = Entry(state.log.last_index + 1, state.term, effect, req_id, outcome, now)
        state.log.append(entry)
        state.ready.entries.append(entry)
        self.tail_bytes += entry.size
        return entry

    def has_room(self, *, times: int = 1) -> bool:
        """Whether one more entry, of whatever size, may go into the order before others are committed."""
        state, config = self._state, self._config
        entries = state.log.last_index - state.commit
        return entries < times * config.uncommitted_entries and self.tail_bytes < times * config.log_bytes

    def replicate(self, now: int, awaited: Collection[str] | None) -> None:
        """Send to every peer what it lacks and may be sent now.

        A majority gets it at once, of which as many as possible are `awaited`: hosts with changes of their own on
        the way. The others get all that has gathered after `commit_delay`, and the same where the majority does not
        answer within that time. None: all are awaited.
        """
        spare = self._spare(now, awaited)
        for peer, progress in self.progress.items():
            if progress.installing and not progress.transferring:
                progress.transferring = True
                self._state.ready.snapshots_to.append(peer)
            if peer in spare and now - progress.sent_at < self._config.commit_delay:
                continue
            if progress.in_flight is not None:
                if now - max(progress.sent_at, progress.append_moved_at) < progress.patience:
                    continue
                # Lost, or stuck: go back to what it surely has, and knows.
                progress.next_index = max(progress.match_index + 1, self._state.log.base_index + 1)
                progress.sent_commit = 0
                progress.window.shrink()
            self._replicate_to(peer, progress, now)
        self._sent.clear()

    def _replicate_to(self, peer: str, progress: Progress, now: int) -> None:
        state, config = self._state, self._config
        again = progress.in_flight is not None
        behind = progress.next_index <= state.log.last_index
        commit_due = progress.sent_commit < state.applied and now - progress.sent_at >= config.commit_delay
        if not (behind or commit_due or progress.mode is Mode.PROBE):
            return
        if progress.mode is Mode.PROBE and not behind and now - progress.sent_at < config.heartbeat:
            return
        prev_index = progress.next_index - 1
        prev_term = state.log.term_at(prev_index)
        if prev_term is None:
            append = self._anew()
            # Whatever was under way was for the replica of before.
            progress.begins_at = append.prev_index
            progress.installing = progress.transferring = False
        else:
            probing = progress.mode is Mode.PROBE
            limit = min(PROBE_BYTES, config.append_bytes) if probing else progress.window.size
            append = self._append_after(prev_index, prev_term, limit, now, least=0 if probing else 1)
        state.send(peer, append)
        prev_index = append.prev_index
        progress.in_flight = prev_index
        progress.sent_at = now
        # Only one that is alone in its message may be large: see append_bytes.
        progress.patience = config.patience(append.entries[0].size if len(append.entries) == 1 else 0)
        progress.sent_bytes = None if again else sum(entry.size for entry in append.entries)
        progress.sent_commit = append.commit_index
        progress.next_index = prev_index + 1 + len(append.entries)

    def _anew(self) -> Append:
        """What lets a peer begin here that the log no longer reaches."""
        state = self._state
        term = state.log.term_at(state.applied)
        assert term is not None, "the log reaches back to what is applied"
        return Append(state.term, state.applied, term, state.applied, anew=True)

    def _spare(self, now: int, awaited: Collection[str] | None) -> Collection[str]:
        """The peers without which a majority is likely to answer soon."""
        needed = self._config.quorum - 1
        if awaited is None or needed == len(self.progress):
            return ()
        quick = [
            peer
            for peer, progress in self.progress.items()
            if progress.mode is Mode.REPLICATE
            and not (progress.fresh or progress.installing)
            and (progress.in_flight is None or now - progress.sent_at < self._config.commit_delay)
        ]
        if len(quick) <= needed:
            return ()
        # Whoever is furthest stays the one that is asked first.
        quick.sort(key=lambda peer: (peer in awaited, self.progress[peer].match_index), reverse=True)
        return [peer for peer in quick[needed:] if peer not in awaited]

    def _append_after(self, prev_index: int, prev_term: int, limit: int, now: int, *, least: int) -> Append:
        """What follows `prev_index`: one message for all peers that are at the same place."""
        append = self._sent.get((prev_index, limit, least))
        if append is None:
            state = self._state
            entries = state.log.batch_from(prev_index + 1, limit, least)
            ages = tuple(max(now - entry.born, 0) for entry in entries)
            # What is committed and not applied here is not told yet: see leases.ping.
            append = Append(state.term, prev_index, prev_term, state.applied, entries, ages)
            self._sent[prev_index, limit, least] = append
        return append

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
        if progress is not None and progress.transferring:
            progress.transferring = False
            progress.installing = progress.installing and not complete

    def on_append_ack(self, progress: Progress, ack: AppendAck, now: int) -> None:
        state = self._state
        self.on_applied(progress, ack.applied_index)
        # A refusal counts only for the Append in flight: a late one must not empty a replica that is level.
        current = progress.in_flight == ack.prev_index
        if current:
            progress.append_answered(now)
        if ack.success:
            # What it said before it began anew was of less, or a refusal.
            if ack.match_index >= max(progress.match_index, progress.begins_at):
                progress.installing = ack.installing
            progress.acknowledged(min(ack.match_index, state.log.last_index))
            if current:
                # It may answer an earlier, shorter Append from the same place: what it does not cover goes again.
                progress.next_index = progress.match_index + 1
        elif current and ack.prev_index > progress.match_index:
            # The peer's hint is where its log ends or its conflicting term begins.
            progress.mode = Mode.PROBE
            progress.next_index = max(min(ack.match_index + 1, ack.prev_index), progress.match_index + 1, 1)

    def has_more_to_send(self) -> bool:
        """Whether a peer that is not busy has yet to get an entry, or to hear of the commit index."""
        last, commit = self._state.log.last_index, self._state.applied
        for p in self.progress.values():
            if (
                p.in_flight is None
                and p.mode is Mode.REPLICATE
                and (p.sent_commit < commit or p.next_index <= last)
            ):
                return True
        return False

    def counted_matches(self) -> list[int]:
        own = [] if self._state.hard.fresh else [self._state.log.last_index]
        return own + [p.match_index for p in self.progress.values() if p.holds()]

    def advance_commit(self) -> bool:
        """Commit what a majority has, of this term only (Raft thesis, figure 3.7)."""
        state = self._state
        if state.commit == state.log.last_index:
            return False
        reached = min(reached_by(self.counted_matches(), self._config.quorum), state.log.last_index)
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
        return any(p.holds() and p.match_index >= index for p in self.progress.values())

    # the follower's side

    def forget_verified(self) -> None:
        """The log begins anew: what equalled a leader's log before says nothing."""
        self._verified = (0, 0)

    def on_append(self, append: Append, leader: str, now: int, *, apply_at_once: bool) -> None:
        """Accept, refuse, and answer. The caller has made sure that the term is ours.

        Without `apply_at_once` what is committed may wait for more of it: see `apply_due_at`.
        """
        state = self._state
        assert state.role is not Role.LEADER, "a term has one leader"
        taken_back = self._committed_and_other(append)
        if taken_back is not None:
            what = f"another entry at {taken_back}, where one is committed"
            state.ready.refused.append((leader, what))
            return
        known = state.log.term_at(append.prev_index)
        if append.prev_index < state.log.base_index:
            # Part of it is in the replica already, committed and so equal.
            self._accept_and_acknowledge(append, leader, now, apply_at_once=apply_at_once)
        elif known != append.prev_term:
            self._acknowledge(leader, append, False, self._hint(append, known))
        else:
            self._accept_and_acknowledge(append, leader, now, apply_at_once=apply_at_once)

    def _committed_and_other(self, append: Append) -> int | None:
        """The index of an entry that is to take the place of a committed one; no leader has such."""
        log, commit = self._state.log, self._state.commit
        for entry in append.entries:
            if entry.index > commit:
                return None
            if entry.index > log.base_index and log.term_at(entry.index) != entry.term:
                return entry.index
        return None

    def commit_known(self, index: int) -> None:
        """The leader of this term has committed up to `index`: so is what surely equals its log."""
        term, verified = self._verified
        if term == self._state.term:
            self._state.commit_to(min(index, verified))

    def _accept_and_acknowledge(self, append: Append, leader: str, now: int, *, apply_at_once: bool) -> None:
        match = self._accept(append, now)
        term, verified = self._verified
        self._verified = (append.term, max(match, verified) if term == append.term else match)
        self.commit_known(append.commit_index)
        self.apply_now_or_soon(now, at_once=apply_at_once)
        self._acknowledge(leader, append, True, match)

    def apply_now_or_soon(self, now: int, *, at_once: bool) -> None:
        """Apply what is committed, or leave it for a moment: many entries cost little more than one."""
        state = self._state
        at_once = at_once or state.more_to_apply
        if at_once or now >= self.apply_due_at or state.applicable - state.applied >= APPLY_AT_ONCE:
            state.apply_committed()
            self.apply_due_at = ALWAYS_LATER
        elif state.applied < state.applicable and self.apply_due_at == ALWAYS_LATER:
            self.apply_due_at = now + self._config.commit_delay

    def _hint(self, append: Append, known: int | None) -> int:
        """The last index that may match: before our log's end, before the term that conflicts."""
        log = self._state.log
        if known is None:
            return min(log.last_index, append.prev_index - 1)
        index = append.prev_index - 1
        while index > max(log.base_index, self._state.commit) and log.term_at(index) == known:
            index -= 1
        return index

    def _accept(self, append: Append, now: int) -> int:
        state = self._state
        log = state.log
        match = append.prev_index
        for entry, age in zip(append.entries, append.ages, strict=True):
            match = entry.index
            if entry.index <= log.base_index:
                continue
            known = log.term_at(entry.index)
            if known == entry.term:
                continue
            if known is not None:
                assert entry.index > state.commit, "a committed entry is never taken back"
                log.truncate_from(entry.index)
                state.ready.entries = [e for e in state.ready.entries if e.index < entry.index]
                cut = state.ready.truncate_from
                state.ready.truncate_from = entry.index if cut is None else min(cut, entry.index)
            # Written out: dataclasses.replace() takes three times as long.
            kept = Entry(entry.index, entry.term, entry.effect, entry.req_id, entry.outcome, now - age)
            log.append(kept)
            state.ready.entries.append(kept)
        return match

    def _acknowledge(self, leader: str, append: Append, success: bool, match: int) -> None:
        state = self._state
        state.send(
            leader,
            AppendAck(
                state.term,
                success,
                match,
                state.surely_committed,
                append.prev_index,
                installing=state.hard.installing is not None,
            ),
        )
