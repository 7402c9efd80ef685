"""The installation of the leader's replica in place of this node's own, part by part: transfer.py has the theory.

It begins with an Append that says `anew`, and ends when all parts have come and the log is applied up to the latest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.dedup import Recorded, RequestTable
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.follower.replication import FollowerReplication
from django_hacache.consensus.hard_state import Installing
from django_hacache.consensus.messages import Append
from django_hacache.consensus.state import NodeState
from django_hacache.consensus.transfer import HELD_LOGS, Part

if TYPE_CHECKING:
    from collections.abc import Iterable


class Installation:
    def __init__(
        self,
        config: CoreConfig,
        state: NodeState,
        table: RequestTable,
        replication: FollowerReplication,
        lease: HostLease,
    ) -> None:
        self._config = config
        self._state = state
        self._table = table
        self._replication = replication
        self._lease = lease

    def begin(self, append: Append) -> None:
        """The log of this node's leader no longer reaches it: make room for the leader's replica.

        The log that goes is of no use: what of it was committed is in the leader's, before prev_index. A late copy of
        this Append finds prev_index in the log, or committed, and changes nothing: it could undo an acknowledgement.
        """
        # Protected: test_a_late_message_to_begin_anew_takes_nothing_from_a_member,
        # a_late_message_to_begin_anew_is_of_what_the_log_has_dropped
        if not self._is_known(append):
            self.empty(append.prev_index, append.prev_term)
            self._state.harden(installing=Installing(b"", append.prev_index))

    def _is_known(self, append: Append) -> bool:
        state = self._state
        return state.log.term_at(append.prev_index) == append.prev_term or append.prev_index <= state.commit

    def empty(self, index: int, term: int) -> None:
        """Go on with nothing in the replica, and a log that begins after (index, term)."""
        self._state.start_over(index, term)
        # What it knows of requests was of the log that goes, committed or not.
        # Protected: a_host_begins_anew_with_a_change_that_was_never_committed
        self._table.clear()
        self._replication.forget_verified()
        # Its workers read that replica.
        # Protected: a_reader_is_sent_a_replica, keep_the_lease_while_the_replica_is_replaced
        self._lease.revoke()

    def take(self, part: Part, requests: Iterable[tuple[str, Recorded]]) -> bool:
        """Take the part that is the next one; False where it is not.

        requests: with the last part, all that have come.
        """
        installing = self._state.hard.installing
        # One of an earlier transfer has a place of its own. Protected: a_part_comes_after_the_transfer_began_anew
        if installing is None or not part.follows(installing):
            return False
        self._state.harden(installing=Installing(part.upto, part.index, part.last))
        if part.last:
            # Those of the log since it began anew are in the table already, or were and had to go: the log may be much
            # further than it was where the part was read. Protected: the_last_part_comes_when_the_log_is_further,
            # the_joiner_forgets_requests_before_the_last_part_comes
            floor = max(part.floor, self._table.floor)
            known = {**dict(requests), **dict(self._table.items())}
            kept = [one for one in known.items() if one[1].index > floor]
            self._table.replace(sorted(kept, key=lambda one: one[1].index), floor)
        return True

    def finish(self) -> None:
        """A replica of which all parts are here is whole once it has reached the latest of them."""
        state, installing = self._state, self._state.hard.installing
        if installing is None:
            return
        # The last part may be ahead of the log. Protected: the_parts_are_there_before_the_log
        if installing.whole and state.applied >= installing.reached:
            state.harden(installing=None)
        elif state.log.bytes > HELD_LOGS * self._config.log_bytes and state.commit > installing.reached:
            # The next part takes too long: go on without it. It is read once more, at a later index.
            state.harden(installing=installing._replace(reached=state.commit))
            state.apply_committed()
