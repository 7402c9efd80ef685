"""What must hold after every step of every life. A violation raises; its message says what and where."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.consensus.messages import AckLevel, Entry, ForwardReply, Generation, LeaderReqAck
from django_hacache.consensus.ready import Ready
from django_hacache.consensus.state import Role

from .disk import Disk
from .reference import Reference

if TYPE_CHECKING:
    from .cluster import Cluster, Operation
    from .host import Host


class InvariantBroken(AssertionError):
    pass


class Committed(NamedTuple):
    entry: Entry
    seen_in_term: int
    digest: int


class History:
    """One generation: its order of committed entries, and what was acknowledged in it.

    Args:
        formed: how many generations formed before it. Its own number can be smaller than an earlier one's: when
            everybody who knew that one has lost its directory, only the hosts' wall clocks are left to go by.
    """

    def __init__(self, formed: int) -> None:
        self.formed = formed
        self.order: list[Committed] = []
        self.reference = Reference()
        self.req_ids: dict[str, int] = {}
        self.leaders: dict[int, str] = {}
        # (index, term) -> the entry and the term before it: log matching, by induction.
        self.entries: dict[tuple[int, int], tuple[bytes, str, int]] = {}
        # Of what waits for level once: the members that have stored it.
        self.held_once: dict[tuple[int, int], set[str]] = {}
        self.acked_at_all = 0
        self.quorum_times: list[float] = []
        self.quorum_indexes: list[int] = []


class Monotonic(NamedTuple):
    incarnation: str
    term: int
    commit: int
    applied: int


class Invariants:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.histories: dict[Generation, History] = {}
        self._seen: dict[str, Monotonic] = {}
        self._last_read: dict[str, tuple[Generation, int]] = {}
        # What each host held as a member before it lost its directory.
        self._lost: dict[str, Disk] = {}
        # When the leader of a term decided what stands at an index.
        self._decided: dict[tuple[Generation, int, int], tuple[float, bool]] = {}
        self.leaderships = 0
        self.generations_led: list[Generation] = []
        self.refused: dict[str, str] = {}
        self.acknowledged = 0
        self.reads = 0
        # True once a majority was without its state at one time after entries were committed.
        self.majority_lost = False

    def _require(self, holds: bool, *sentence: object) -> None:
        if not holds:
            raise InvariantBroken(" ".join(str(part) for part in sentence))

    def _history(self, generation: Generation) -> History:
        history = self.histories.get(generation)
        if history is None:
            history = self.histories[generation] = History(len(self.histories))
        return history

    # the life of a process

    def started(self, host: Host) -> None:
        self._seen.pop(host.addr, None)

    def wiped(self, host: Host) -> None:
        if not host.disk.hard.fresh:
            self._lost[host.addr] = host.disk
        self._seen.pop(host.addr, None)

    def without_state(self) -> set[str]:
        """Hosts that hold nothing of the generation that lives: fresh ones, and those in one that came to nothing."""
        led = reversed(self.generations_led)
        lives = next((generation for generation in led if self.histories[generation].order), None)
        return {
            host.addr
            for host in self._cluster.hosts.values()
            if host.disk.hard.fresh or lives not in (None, host.disk.hard.generation)
        }

    def majority_without(self, host: Host) -> bool:
        """Whether a majority is without its state once this directory is lost, too."""
        return len(self.without_state() | {host.addr}) > self._cluster.plan.nodes - self._cluster.quorum

    def may_lose(self, host: Host) -> bool:
        """Whether this directory may be lost now: in most lives, only a minority's at a time."""
        if host.disk.hard.fresh:
            return True
        lost = self.majority_without(host)
        if lost and self._cluster.plan.disaster:
            self.majority_lost = True
        return self._cluster.plan.disaster or not lost

    # a step

    def stepped(self, host: Host, ready: Ready) -> None:
        core = host.core
        state, hard = core.state, core.hard
        if host.disk.hard is not hard:
            self._require(host.disk.hard == hard, host.addr, "stored", host.disk.hard, "but is", hard)
        if host.disk.applied != state.applied:
            raise InvariantBroken(f"{host.addr} stored {host.disk.applied}, but is at {state.applied}")
        if ready.hard_state is not None or ready.apply or ready.entries:
            self._monotonic(host)
            self._bounds(host)
        if hard.generation is not None:
            history = self._history(hard.generation)
            if ready.entries:
                self._log_matching(host, history, ready)
            if ready.apply:
                self._applies(host, history, ready)
            if ready.role_changed and state.role is Role.LEADER:
                self._leads(host, history)
            if ready.reset_log is not None or ready.truncate_from is not None:
                self._still_committed(history, hard.generation)
            if ready.hard_state is not None and not hard.fresh:
                self._still_committed(history, hard.generation)
        if hard.installing and host.may_read():
            raise InvariantBroken(f"{host.addr} may read while a snapshot replaces its replica")
        for _, message in ready.messages:
            if type(message) is LeaderReqAck and message.granted and not message.pre_vote:
                voted_rightly = not hard.fresh or hard.forming is not None
                self._require(voted_rightly, host.addr, "voted although it is fresh")
            elif type(message) is ForwardReply and message.refusal is None:
                self._once(host, message.req_id, message.index)
        for completion in ready.completions:
            if completion.refusal is None and state.role is Role.LEADER:
                self._once(host, completion.token.operation.req_id, completion.index)

    def _still_committed(self, history: History, generation: Generation) -> None:
        """A member that gives up a part of its log, or is admitted, takes nothing from what is committed."""
        if history.order and not self.majority_lost:
            entry = history.order[-1].entry
            holders = self._holders(generation, entry)
            self._require(
                holders >= self._cluster.quorum, entry, "was committed, and only", holders, "hold it"
            )

    def _once(self, host: Host, req_id: str, index: int) -> None:
        """The leader acknowledges a change at level once: another member has it, or had it before its log was cut."""
        if not self._cluster.waits_for_one(req_id) or self._cluster.plan.nodes == 1:
            return
        state, generation = host.core.state, host.core.hard.generation
        if index <= max(state.commit, state.log.base_index):
            return
        [entry] = state.log.between(index, index)
        known = self._history(generation).held_once.get((index, entry.term), set()) - {host.addr}
        holds = known or any(
            self._holds(each, generation, entry) for each in self._cluster.hosts.values() if each is not host
        )
        self._require(bool(holds), req_id, "is acknowledged at level once, and no other member has it")

    def _monotonic(self, host: Host) -> None:
        state, hard = host.core.state, host.core.hard
        now = Monotonic(hard.incarnation, hard.term, state.commit, state.applied)
        before = self._seen.get(host.addr)
        self._seen[host.addr] = now
        if before is None or before.incarnation != now.incarnation or host.core.hard.fresh:
            return
        self._require(before.term <= now.term, host.addr, "term went back", before, now)
        # One that helped to form a generation enters it with its incarnation: with nothing, at nothing.
        entered = now.commit == 0 or state.log.base_index == 0 == now.applied
        if not entered and not (before.commit <= now.commit and before.applied <= now.applied):
            raise InvariantBroken(f"{host.addr} commit or applied went back: {before} {now}")

    def _bounds(self, host: Host) -> None:
        core = host.core
        plan = self._cluster.plan
        log = core.state.log
        if log.bytes > plan.log_bytes:
            unapplied = sum(entry.size for entry in log.between(core.state.applied + 1, log.last_index))
            self._require(log.bytes - unapplied <= plan.log_bytes, host.addr, "log has", log.bytes, "bytes")
        table = core.table
        fits = len(table) <= plan.request_table and table.bytes <= plan.request_table_bytes
        self._require(fits, host.addr, "remembers", len(table), "requests of", table.bytes, "bytes")
        waiting = core.pending <= plan.pending_requests and core.pending_bytes <= plan.pending_bytes
        self._require(
            waiting, host.addr, "has", core.pending, "changes of", core.pending_bytes, "bytes waiting"
        )

    def _log_matching(self, host: Host, history: History, ready: Ready) -> None:
        log, member = host.core.state.log, not host.core.hard.fresh
        for entry in ready.entries:
            if member and self._cluster.waits_for_one(entry.req_id):
                history.held_once.setdefault((entry.index, entry.term), set()).add(host.addr)
            before = log.term_at(entry.index - 1) if entry.index > log.base_index else None
            known = history.entries.get((entry.index, entry.term))
            if known is None:
                if before is not None:
                    history.entries[entry.index, entry.term] = (entry.effect, entry.req_id, before)
                continue
            same = known[:2] == (entry.effect, entry.req_id) and before in (None, known[2])
            self._require(same, host.addr, "log matching: differs at", entry.index, entry.term)

    def _applies(self, host: Host, history: History, ready: Ready) -> None:
        order = history.order
        term = host.core.hard.term
        for entry in ready.apply:
            if entry.index > len(order):
                self._require(entry.index == len(order) + 1, host.addr, "committed past a gap", entry)
                self._first_commit(host, history, entry, term)
            known = order[entry.index - 1].entry
            same = (known.term, known.effect, known.req_id) == (entry.term, entry.effect, entry.req_id)
            self._require(same, host.addr, "applied", entry, "where", known, "was committed")
        if host.disk.hard.installing:
            return
        contents, plan = host.disk.contents, self._cluster.plan
        if contents.bytes > plan.most_bytes and not self._cluster.dropped:
            raise InvariantBroken(
                f"{host.addr} holds {contents.bytes} bytes, expected {plan.most_bytes} at most"
            )
        digest = order[host.disk.applied - 1].digest
        self._require(host.disk.contents.digest == digest, host.addr, "differs at", host.disk.applied)

    def _first_commit(self, host: Host, history: History, entry: Entry, term: int) -> None:
        generation = host.core.hard.generation
        self._require(not host.core.hard.fresh or term > 0, host.addr, "committed alone although fresh")
        holders = self._holders(generation, entry)
        needed = self._cluster.quorum
        self._require(holders >= needed, host.addr, "committed", entry, "which only", holders, "members hold")
        if entry.req_id:
            earlier = history.req_ids.get(entry.req_id)
            self._require(earlier is None, entry.req_id, "takes effect at", earlier, "and at", entry.index)
            history.req_ids[entry.req_id] = entry.index
            self._require(
                entry.req_id not in self.refused, entry.req_id, "was refused as not done, and is done"
            )
        decided = self._decided.pop((generation, entry.term, entry.index), (self._cluster.now, False))
        decided_at, dropped = decided
        if entry.req_id:
            command = self._cluster.commands[entry.req_id]
            wrong = history.reference.wrong(command, entry, decided_at, dropped=dropped)
            self._require(wrong is None, wrong)
        history.reference.apply(entry.effect, decided_at, self._cluster.plan)
        history.order.append(Committed(entry, term, history.reference.digest))

    def decided(self, host: Host, index: int, *, dropped: bool = False) -> None:
        """The leader has decided on what will stand at `index`; `dropped`: its host has dropped the key."""
        hard = host.core.hard
        assert hard.generation is not None
        self._decided[hard.generation, hard.term, index] = (self._cluster.now, dropped)

    def _holders(self, generation: Generation | None, entry: Entry) -> int:
        return sum(self._holds(each, generation, entry) for each in self._cluster.hosts.values())

    def _holds(self, host: Host, generation: Generation | None, entry: Entry) -> bool:
        if host.disk.holds(generation, entry.index, entry.term):
            return True
        # Its answer may have been on its way when it lost its directory: as if it were lost a moment later. That is so
        # until it is admitted; then it counts as what it is.
        lost = self._lost.get(host.addr) if host.disk.hard.fresh else None
        return lost is not None and lost.holds(generation, entry.index, entry.term)

    # leaders

    def _leads(self, host: Host, history: History) -> None:
        state = host.core.state
        generation, term = host.core.hard.generation, host.core.hard.term
        self.leaderships += 1
        other = history.leaders.setdefault(term, host.addr)
        self._require(other == host.addr, other, "and", host.addr, "lead term", term, "of", generation)
        if not self.generations_led or self.generations_led[-1] != generation:
            if not self.majority_lost:
                for earlier, its in self.histories.items():
                    committed = earlier != generation and its.quorum_indexes
                    self._require(not committed, host.addr, "leads", generation, "although", earlier, "holds")
            self.generations_led.append(generation)
        log = state.log
        for committed in self._committed_before(history, term, log.base_index):
            entry = committed.entry
            self._require(
                log.term_at(entry.index) == entry.term, host.addr, "leads term", term, "without", entry
            )

    @staticmethod
    def _committed_before(history: History, term: int, base: int) -> Iterator[Committed]:
        return (each for each in history.order[max(base - 1, 0) :] if each.seen_in_term < term)

    # leases and reads

    def granted(self, host: Host) -> None:
        """A lease was granted to the workers of `host`."""
        if not host.may_read():
            return
        generation = host.core.hard.generation
        self._require(not host.core.hard.installing, host.addr, "holds a lease over half a replica")
        for other, history in self.histories.items():
            if other == generation:
                reached = host.disk.applied >= history.acked_at_all
                self._require(
                    reached, host.addr, "may read at", host.disk.applied, "before", history.acked_at_all
                )
            elif history.formed > self._history(generation).formed and history.acked_at_all:
                raise InvariantBroken(
                    f"{host.addr} may read in {generation}, but {other} has acknowledged at all"
                )

    def read(self, host: Host) -> None:
        """A worker of `host` reads under its lease; nobody asks the node."""
        self.reads += 1
        fault = self.fault_of_read(host)
        if fault:
            raise InvariantBroken(fault)
        generation, applied = host.disk.hard.generation, host.disk.applied
        last = self._last_read.get(host.addr)
        if last is not None and last[0] == generation:
            self._require(last[1] <= applied, host.addr, "reads", applied, "after", last[1])
        elif last is not None:
            earlier = self._history(last[0]).formed < self._history(generation).formed
            self._require(earlier, host.addr, "reads", generation, "after", last[0])
        self._last_read[host.addr] = (generation, applied)

    def fault_of_read(self, host: Host) -> str:
        """What is wrong with what a worker of `host` finds now, whether it may use it or not; empty: nothing."""
        disk = host.disk
        generation, applied = disk.hard.generation, disk.applied
        if generation is None or disk.hard.fresh:
            return f"{host.addr} is fresh and read"
        if disk.hard.installing:
            return f"{host.addr} reads half a replica"
        history = self._history(generation)
        order = history.order
        digest = order[applied - 1].digest if applied else 0
        if disk.contents.digest != digest:
            return f"{host.addr} reads what is not at {applied}"
        if applied < history.acked_at_all:
            return f"{host.addr} reads {applied} after {history.acked_at_all} at level all"
        # Whatever was acknowledged at quorum more than a lease ago, on any clock, is here.
        plan = self._cluster.plan
        since = self._cluster.now - plan.lease * (1 + plan.clock_rate_error) - 2
        position = bisect_right(history.quorum_times, since)
        if position and applied < history.quorum_indexes[position - 1]:
            return f"{host.addr} reads {applied} a lease after {history.quorum_indexes[position - 1]}"
        if applied == len(order) and disk.contents.ends:
            return history.reference.wrong_ends(host)
        return ""

    # answers

    def not_done(self, operation: Operation) -> None:
        self.refused[operation.req_id] = operation.req_id
        for history in self.histories.values():
            done = operation.req_id in history.req_ids
            self._require(not done, operation.req_id, "was refused as not done, and is done")

    def acknowledges(self, host: Host, operation: Operation, index: int, outcome: bytes) -> None:
        self.acknowledged += 1
        if operation.level in (AckLevel.LEADER, AckLevel.ONCE):
            return
        # A change that was under way when its generation was lost may have taken effect in the next one, too.
        known = [history for history in self.histories.values() if operation.req_id in history.req_ids]
        own = self._history(host.disk.hard.generation)
        history = own if own in known else next(iter(known), None)
        self._require(history is not None, operation.req_id, "acknowledged and not committed")
        index_of_it = history.req_ids[operation.req_id]
        self._require(
            index == index_of_it, operation.req_id, "acknowledged at", index, "but is at", index_of_it
        )
        entry = history.order[index - 1].entry
        self._require(
            entry.outcome == outcome, operation.req_id, "answered", outcome, "decided", entry.outcome
        )
        if self._history(host.disk.hard.generation) is not history:
            return  # the generation that knew it was lost meanwhile
        self._require(host.disk.applied >= index, host.addr, "cannot read its own write at", index)
        if not history.quorum_indexes or index > history.quorum_indexes[-1]:
            history.quorum_times.append(self._cluster.now)
            history.quorum_indexes.append(index)
        self._leaders_have_applied(history, entry)
        if operation.level is AckLevel.ALL:
            history.acked_at_all = max(history.acked_at_all, index)
            for each in self._cluster.hosts.values():
                if each.may_read() and each.disk.hard.generation is not None:
                    self._reads_all(each, history, index)
                for generation, applied, lease_until in each.left_behind:
                    over = lease_until <= each.clock() or (
                        self._history(generation) is history and applied >= index
                    )
                    self._require(over, each.addr, "lost a replica that is read at", applied, "while", index)

    def _leaders_have_applied(self, history: History, entry: Entry) -> None:
        """Reads on the leader's host are linearizable: whoever answers, it has applied it before.

        So has every host that reads under a lease that it got as leader, be it replaced or frozen since: as long as
        that holds, no other one may commit. The exception is evidence of its death that is false.
        """
        reading = [host for host in self._cluster.hosts.values() if host.reads_as_leader and host.may_read()]
        if self._cluster.plan.false_evidence:
            newest = max((h.core.hard.term for h in self._cluster.leaders), default=0)
            reading = [h for h in reading if h.core.accepts and h.core.hard.term == newest >= entry.term]
        for host in reading:
            same = self._history(host.disk.hard.generation) is history
            reached = same and host.disk.applied >= entry.index
            self._require(
                reached,
                host.addr,
                "reads as leader at",
                host.disk.applied,
                "while",
                entry.index,
                "is acknowledged",
            )

    def _reads_all(self, host: Host, history: History, index: int) -> None:
        same = self._history(host.disk.hard.generation) is history
        reached = same and host.disk.applied >= index
        self._require(
            reached, host.addr, "may read at", host.disk.applied, "while", index, "is acknowledged at all"
        )

    def equal(self, hosts: list[Host]) -> bool:
        """Whether every replica holds the same generation at the same index."""
        places = {(h.disk.hard.generation, h.disk.applied, h.disk.hard.installing) for h in hosts}
        return len(places) == 1 and len({h.disk.contents.digest for h in hosts}) == 1
