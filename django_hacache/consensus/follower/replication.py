"""Raft's log replication, the follower's side (Raft thesis, sections 3.5 and 3.6).

A follower accepts entries only where the entry before them matches, drops a tail that conflicts, and answers with what
surely equals the leader's log. It applies what is committed at once where somebody waits for that, else after a moment:
many entries cost little more than one.
"""

from __future__ import annotations

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.dedup import RequestTable
from django_hacache.consensus.messages import Append, AppendAck, Entry
from django_hacache.consensus.state import ALWAYS_LATER, NodeState, Role

# So many committed entries are not left waiting.
APPLY_AT_ONCE = 256


class FollowerReplication:
    def __init__(self, config: CoreConfig, state: NodeState, table: RequestTable) -> None:
        self._config = config
        self._state = state
        self._table = table
        # When to apply at the latest what is committed.
        self.apply_due_at_ms = ALWAYS_LATER
        # A term, and the last index up to which the log surely equals that of the leader of that term.
        self.verified = (0, 0)

    def forget_verified(self) -> None:
        """The log begins anew: what equalled a leader's log before says nothing."""
        self.verified = (0, 0)

    # Appends

    def on_append(self, append: Append, leader: str, now_ms: int, *, apply_at_once: bool) -> None:
        """Accept or refuse, and answer. The caller follows that leader in this term.

        Without `apply_at_once` what is committed may wait for more of it: see `apply_due_at_ms`.
        """
        state = self._state
        assert state.role is not Role.LEADER, "a term has one leader"
        taken_back = self._committed_and_other(append)
        if taken_back is not None:
            what = f"another entry at {taken_back}, where one is committed"
            state.ready.refused.append((leader, what))
            return
        known = state.log.term_at(append.prev_index)
        # Before the log's base both are equal: that part is in the replica, and so committed.
        # Protected: accept_without_looking_at_the_entry_before
        if known == append.prev_term or append.prev_index < state.log.base_index:
            self.accept_and_acknowledge(append, leader, now_ms, apply_at_once=apply_at_once)
        else:
            self._acknowledge(leader, append, False, self._hint(append, known))

    def refuse(self, append: Append, leader: str) -> None:
        """Answer an Append of a term that is over."""
        refused = AppendAck(self._state.term, False, 0, self._state.applied, append.prev_index)
        self._state.send(leader, refused)

    def _committed_and_other(self, append: Append) -> int | None:
        """The index of an entry that is to take the place of a committed one; no leader has such."""
        log, commit = self._state.log, self._state.commit
        for entry in append.entries:
            if entry.index > commit:
                return None
            if entry.index > log.base_index and log.term_at(entry.index) != entry.term:
                return entry.index
        return None

    def accept_and_acknowledge(
        self, append: Append, leader: str, now_ms: int, *, apply_at_once: bool
    ) -> None:
        match = self.accept(append, now_ms)
        term, verified = self.verified
        self.verified = (append.term, max(match, verified) if term == append.term else match)
        self.commit_known(append.commit_index)
        self.apply_now_or_soon(now_ms, at_once=apply_at_once)
        self._acknowledge(leader, append, True, match)

    def accept(self, append: Append, now_ms: int) -> int:
        """Store the entries; return up to where the log is the leader's now."""
        state = self._state
        log = state.log
        match = append.prev_index
        for entry, age_ms in zip(append.entries, append.ages_ms, strict=True):
            match = entry.index
            if entry.index <= log.base_index:
                continue
            known = log.term_at(entry.index)
            if known == entry.term:
                continue
            if known is not None:
                self._cut_off(entry.index)
            # Times to live count from there, on this host's clock.
            # Protected: let_times_to_live_begin_anew_on_every_host
            born_ms = now_ms - age_ms
            # Written out: dataclasses.replace() takes three times as long.
            kept = Entry(entry.index, entry.term, entry.effect, entry.req_id, entry.outcome, born_ms)
            log.append(kept)
            state.ready.entries.append(kept)
        return match

    def _cut_off(self, index: int) -> None:
        """Drop the log's tail: the leader of this term has another entry there."""
        state = self._state
        assert index > state.commit, "a committed entry is never taken back"
        self._table.forget(state.log.truncate_from(index))
        ready = state.ready
        ready.entries = [entry for entry in ready.entries if entry.index < index]
        ready.truncate_from = index if ready.truncate_from is None else min(ready.truncate_from, index)

    def _hint(self, append: Append, known: int | None) -> int:
        """The last index that may match: before our log's end, before the term that conflicts."""
        log = self._state.log
        if known is None:
            return min(log.last_index, append.prev_index - 1)
        index = append.prev_index - 1
        while index > max(log.base_index, self._state.commit) and log.term_at(index) == known:
            index -= 1
        return index

    def _acknowledge(self, leader: str, append: Append, success: bool, match: int) -> None:
        state = self._state
        installing = state.hard.installing is not None
        ack = AppendAck(
            state.term, success, match, state.surely_committed, append.prev_index, installing=installing
        )
        state.send(leader, ack)

    # committing and applying

    def commit_known(self, index: int) -> None:
        """The leader of this term has committed up to `index`: so is what surely equals its log."""
        term, verified = self.verified
        if term == self._state.term:
            # Protected: apply_before_commit
            self._state.commit_to(min(index, verified))

    def apply_now_or_soon(self, now_ms: int, *, at_once: bool) -> None:
        state = self._state
        at_once = at_once or state.more_to_apply
        if at_once or now_ms >= self.apply_due_at_ms or state.applicable - state.applied >= APPLY_AT_ONCE:
            state.apply_committed()
            self.apply_due_at_ms = ALWAYS_LATER
        elif state.applied < state.applicable and self.apply_due_at_ms == ALWAYS_LATER:
            self.apply_due_at_ms = now_ms + self._config.commit_delay_ms
