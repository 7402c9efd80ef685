"""The turn of the event loop: takes the core's Ready, stores it, then tells what follows from it.

Where it cannot store, it ends the node: the core counts on what it said. It knows the Ready, and of each other room the
one thing that this room does with it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from django_hacache.consensus.state import Role
from django_hacache.exceptions import ReplicaBroken, ReplicaError, ReplicaFull
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.process.turns import Turns
from django_hacache.node.report import role_of
from django_hacache.replica.clock import MS, now_ms

if TYPE_CHECKING:
    from django_hacache.consensus.core import Core
    from django_hacache.consensus.messages import Generation
    from django_hacache.consensus.ready import Ready
    from django_hacache.link.server import LinkServer
    from django_hacache.node.evaluation.evaluator import Evaluator
    from django_hacache.node.housekeeping import Housekeeping
    from django_hacache.node.requests.request_handler import RequestHandler
    from django_hacache.node.storage.parts import Arrived
    from django_hacache.node.storage.snapshots import SnapshotSender
    from django_hacache.node.storage.storage import Storage
    from django_hacache.node.storage.succession import Succession
    from django_hacache.node.transport.transport import Transport
    from django_hacache.replica.control import ControlPage
    from django_hacache.replica.replica import Replica

logger = logging.getLogger("django_hacache.node")

WRITABLE_MS = 1000
# How late the loop may do what is due: to ask the core when that is takes longer than many a step.
SOON_MS = 10
# How often to look whether a file is still there: a busy node has a tick every few milliseconds.
LOOKS_EVERY_MS = 100


class Loop:
    """Runs from the first `carry_out` until the node fails or is stopped."""

    def __init__(
        self,
        core: Core,
        evaluator: Evaluator,
        replica: Replica,
        storage: Storage,
        page: ControlPage,
        succession: Succession,
        housekeeping: Housekeeping,
        transport: Transport,
        snapshots: SnapshotSender,
        request_handler: RequestHandler,
        link: LinkServer,
    ) -> None:
        self._core = core
        self._evaluator = evaluator
        self._replica = replica
        self._storage = storage
        self._page = page
        self._succession = succession
        self._housekeeping = housekeeping
        self._transport = transport
        self._snapshots = snapshots
        self._request_handler = request_handler
        self._link = link
        self.failed = asyncio.Event()
        # The node failed because nothing fits: it starts again with nothing.
        self.starts_over = False
        self.handed_over = asyncio.Event()
        self.stopping = False
        self.turns = Turns()
        self._throttle = LogThrottle(logger)
        self._events = asyncio.get_running_loop()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0
        self._looks_at = 0
        self._noted: tuple[int, Generation | None] | None = None
        self._shown = ""

    @property
    def addr(self) -> str:
        return self._core.config.addr

    def begin_turn(self) -> None:
        """Start the clock of a turn, unless one is under way. Call it before anything is given to the core."""
        if not self._scheduled:
            self.turns.begin()

    def kick(self) -> None:
        """Call carry_out() once the core has been given everything that has arrived by now."""
        if not self._scheduled:
            self._scheduled = True
            self._events.call_soon(self.carry_out)

    def end(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    # the core's Ready

    def carry_out(self, arrived: Arrived | None = None) -> None:
        if not self._scheduled:
            self.turns.begin()
        self._scheduled = False
        if self.failed.is_set():
            return
        core = self._core
        try:
            ready = core.take_ready()
            if ready.lease_revoked:
                self._page.revoke()
            self._storage.write(ready, core.hard, core.table.floor, arrived)
            if ready.role_changed and core.leader is not None:
                self._succession.note()
        except Exception as error:  # noqa: BLE001 - whatever it is, it was not stored
            self.fail(error)
            return
        if ready.apply:
            self._evaluator.applied(core.state.applied)
            if self._housekeeping.applied(ready.apply) and self._housekeeping.step(now_ms()):
                self.kick()
        self._note_applied()
        if ready.lease_until_ms is not None:
            self._page.grant(ready.lease_until_ms * MS)
        self._tell(ready)
        if self.stopping and not core.handing_over:
            self.handed_over.set()
        if ready.role_changed or (self._shown != "leader" and core.role is Role.LEADER):
            self._role_changed()
        self._set_timer()
        self.turns.end(ready)
        if self._scheduled or core.unfinished:
            self.turns.begin()
            self.kick()

    def _note_applied(self) -> None:
        state = self._core.state
        noted = state.applied, state.hard.generation
        if noted != self._noted:
            self._noted = noted
            applied, generation = noted
            self._page.note_applied(applied, 0 if generation is None else generation.mark)

    def _tell(self, ready: Ready) -> None:
        for peer, why in ready.refused:
            self._throttle.say(
                f"{peer} claims", f"{peer} sent what no node can mean, and it is ignored: {why}"
            )
        for peer, message in ready.messages:
            self._transport.routes.send(peer, message)
        for peer in ready.snapshots_to:
            self._snapshots.start(peer, self._core.hard.term)
        for completion in ready.completions:
            self._request_handler.complete(completion)
        if ready.gave_way:
            logger.warning(
                "%s gives the leadership up: it is heard, and no majority takes what it puts into the order",
                self.addr,
            )

    def fail(self, error: Exception) -> None:
        """End the node: what cannot be stored must not be promised, and the core already counts on it.

        Whatever the cause is, going on would break promises: the process starts again from what is stored.
        """
        expected = isinstance(error, ReplicaError)
        logger.critical(
            "%s stops: it cannot store what it must remember: %s", self.addr, error, exc_info=not expected
        )
        self._page.revoke()
        self.starts_over = isinstance(error, ReplicaFull)
        if isinstance(error, ReplicaBroken):
            try:
                self._replica.set_aside(error)
            except ReplicaError as whole:
                logger.warning("%s", whole)
        self.failed.set()
        self.handed_over.set()

    def _role_changed(self) -> None:
        core = self._core
        role = role_of(core)
        shown = f"{role} of {core.leader}" if role == "follower" else role
        if shown != self._shown:
            self._shown = shown
            logger.info("%s is now %s (term %d)", self.addr, shown.replace("_", " "), core.hard.term)
        if core.role is not Role.LEADER:
            self._snapshots.cancel_all()

    # what is due

    def _set_timer(self) -> None:
        now = now_ms()
        if now < self._wakes_at <= now + SOON_MS and not self._core.accept_due:
            return  # that tick sets the timer again
        wakeup = self._core.next_wakeup_ms(now)
        if self._timer is not None:
            if wakeup >= self._wakes_at:
                return
            self._timer.cancel()
        self._wakes_at = wakeup
        self._timer = self._events.call_later((wakeup - now) / 1000, self._tick)

    def _tick(self) -> None:
        self.begin_turn()
        self._timer = None
        self._wakes_at = 0
        core, now = self._core, now_ms()
        try:
            if core.role is Role.LEADER:
                for peer in self._transport.peers:
                    if self._transport.routes.append_moves(peer):
                        core.append_moves(peer, now)
            if self._transport.roster.others:
                core.hosts_differ(now)
            if now >= self._looks_at:
                self._looks_at = now + LOOKS_EVERY_MS
                self._look_for_losses()
            core.tick(now)
            self._housekeeping.run(now)
        except Exception as error:  # noqa: BLE001 - a node that went on would have no timer any more
            self.fail(error)
            return
        self._set_writable(now)
        self._page.note_alive(now * MS)
        self.carry_out()

    def _look_for_losses(self) -> None:
        """Raise ReplicaError where a file was taken away that workers need."""
        self._replica.recheck()
        where = self._replica.directory
        if self._page.stale():
            raise ReplicaError(f"the control page in {where} was removed while it was in use")
        if self._link.lost():
            raise ReplicaError(f"the socket in {where} was removed while it was in use")

    def _set_writable(self, now: int) -> None:
        core, transport = self._core, self._transport
        leader = core.leader
        led = leader is not None and leader in transport.peers and transport.routes.connected(leader)
        able = core.accepts or led
        able = able and core.has_quorum(now) and not self.stopping
        if able:
            self._page.set_writable_until((now + WRITABLE_MS) * MS)
        else:
            self._page.note_unwritable()
