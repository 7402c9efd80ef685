"""What goes wrong in a random life, and who works meanwhile."""

from __future__ import annotations

from random import Random

from django_hacache.consensus.messages import AckLevel

from .cluster import Cluster
from .host import Host
from .invariants import InvariantBroken
from .kv import Command

LEVELS = (AckLevel.LEADER, AckLevel.ONCE, AckLevel.QUORUM, AckLevel.ALL)
COUNTERS = ("hits", "visits")
HANDED_OVER_EVERY = 20.0


class Nemesis:
    """Strikes at random times; strike number n is the same whichever of the others are left out."""

    def __init__(self, cluster: Cluster, without: frozenset[int] = frozenset()) -> None:
        self._cluster = cluster
        self._without = without
        self.strikes = 0
        self._times = Random(cluster.rng.getrandbits(64))
        self._seed = cluster.rng.getrandbits(64)
        self._mean = cluster.plan.fault_interval
        self.over = False
        kinds = {
            self._crash: 5,
            self._cut_link: 4,
            self._isolate: 3,
            self._partition: 2,
            self._hand_over: 1,
            self._stop: 1,
            self._reconnect: 1,
            self._fill: 1,
        }
        if cluster.plan.false_evidence:
            kinds[self._false_evidence] = 1
        if cluster.plan.pauses:
            kinds[self._pause] = 4
        self._kinds, self._weights = list(kinds), list(kinds.values())
        self._next()

    def _next(self) -> None:
        self._cluster.after(self._times.expovariate(1 / self._mean), self._strike)

    def _strike(self) -> None:
        if self.over:
            return
        self._rng = Random(self._seed + self.strikes)
        kind = self._rng.choices(self._kinds, self._weights)[0]
        if self.strikes not in self._without:
            kind()
        self.strikes += 1
        self._next()

    def _host(self) -> Host:
        leaders = self._cluster.leaders
        if leaders and self._rng.random() < 0.3:
            return self._rng.choice(leaders)
        return self._cluster.hosts[self._rng.choice(self._cluster.addrs)]

    def _peer_of(self, host: Host) -> str | None:
        others = [addr for addr in self._cluster.addrs if addr != host.addr]
        return self._rng.choice(others) if others else None

    def _duration(self) -> float:
        """Short ones, ones about as long as a lease, and ones past an election."""
        plan = self._cluster.plan
        return self._rng.choice((self._rng.uniform(1, 200), plan.lease, plan.election_timeout * 1.5)) * (
            self._rng.uniform(0.5, 1.5)
        )

    # the kinds

    def _crash(self) -> None:
        cluster, rng = self._cluster, self._rng
        host = self._host()
        if host.core is None:
            return
        wipe = rng.random() < 0.4 and cluster.invariants.may_lose(host)
        if not wipe and rng.random() < 0.6:
            host.armed = rng.choice(("before", "after"))
        else:
            cluster.trace(host, "crashes", "and loses its directory" if wipe else "")
            host.crash(wipe=wipe)
        cluster.after(rng.choice((5, 100, self._duration())), self._restart, host)
        for peer in cluster.addrs:
            if peer != host.addr and rng.random() < 0.7 and cluster.network.reaches(host.addr, peer):
                cluster.after(rng.uniform(1, 50), self._refused, peer, host)

    def _refused(self, peer: str, host: Host) -> None:
        # Who is frozen finds out later, when it may not be true any more.
        if host.core is None and not self._cluster.hosts[peer].paused:
            self._cluster.connection_refused(peer, host.addr)

    def _restart(self, host: Host) -> None:
        host.armed = None
        self._cluster.restart(host)

    def _pause(self) -> None:
        host = self._host()
        if host.running:
            self._cluster.trace(host, "freezes")
            host.pause()
            self._cluster.after(self._duration(), self._resume, host, host.process)

    def _resume(self, host: Host, process: int) -> None:
        if host.process == process:
            self._cluster.trace(host, "thaws")
            host.resume()

    def _cut(self, source: str, target: str, duration: float) -> None:
        network = self._cluster.network
        network.cut(source, target)
        self._cluster.after(duration, network.mend, source, target)

    def _cut_link(self) -> None:
        host = self._host()
        peer = self._peer_of(host)
        if peer is None:
            return
        duration = self._duration()
        self._cluster.trace(host, "cut off from", peer, "for", round(duration))
        self._cut(host.addr, peer, duration)
        if self._rng.random() < 0.5:
            self._cut(peer, host.addr, duration)

    def _isolate(self) -> None:
        host = self._host()
        duration, way = self._duration(), self._rng.choice(("in", "out", "both"))
        self._cluster.trace(host, "isolated", way, "for", round(duration))
        for peer in self._cluster.addrs:
            if peer != host.addr:
                if way != "in":
                    self._cut(host.addr, peer, duration)
                if way != "out":
                    self._cut(peer, host.addr, duration)

    def _partition(self) -> None:
        addrs = list(self._cluster.addrs)
        self._rng.shuffle(addrs)
        size = self._rng.randrange(len(addrs)) if len(addrs) > 1 else 0
        duration = self._duration()
        self._cluster.trace(None, "partition", addrs[:size], addrs[size:], "for", round(duration))
        for one in addrs[:size]:
            for other in addrs[size:]:
                self._cut(one, other, duration)
                self._cut(other, one, duration)

    def _hand_over(self) -> None:
        for host in self._cluster.leaders:
            if host.running:
                self._cluster.trace(host, "hands over")
                host.hand_over()

    def _stop(self) -> None:
        """A node is stopped: it hands over what it leads, ends the lease of its page, and is started again."""
        host = self._host()
        if host.running:
            self._cluster.trace(host, "is to stop")
            host.hand_over()
            self._cluster.after(HANDED_OVER_EVERY, self._stopping, host, host.process, self._duration())

    def _stopping(self, host: Host, process: int, left: float) -> None:
        if host.process != process or host.core is None:
            return
        if left > 0 and (host.core.handing_over or not host.running):
            self._cluster.after(HANDED_OVER_EVERY, self._stopping, host, process, left - HANDED_OVER_EVERY)
            return
        self._cluster.trace(host, "stops")
        host.stop()
        self._cluster.after(HANDED_OVER_EVERY * 5, self._restart, host)

    def _fill(self) -> None:
        """Somebody else fills the file system: the node drops entries of its own, then starts over, or ends."""
        host, rng = self._host(), self._rng
        if host.disk.room is not None:
            return
        host.disk.room = rng.choice((0, rng.randrange(2000)))
        self._cluster.trace(host, "has room for", host.disk.room, "bytes")
        self._cluster.after(self._duration(), self._make_room, host)

    def _make_room(self, host: Host) -> None:
        host.disk.room = None

    def _reconnect(self) -> None:
        host = self._host()
        peer = self._peer_of(host)
        if peer is not None:
            host.arrive(host.peer_connected, peer)

    def _false_evidence(self) -> None:
        host = self._host()
        peer = self._peer_of(host)
        if peer is not None:
            self._cluster.connection_refused(host.addr, peer)

    def stop(self) -> None:
        """Heal everything and start everybody."""
        self.over = True
        cluster = self._cluster
        cluster.network.heal()
        for host in cluster.hosts.values():
            host.armed = host.disk.room = None
            host.resume()
            cluster.restart(host)


class Clients:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._rng = Random(cluster.rng.getrandbits(64))
        self.over = False
        self._value = 0
        self._call()
        self._read()
        if cluster.plan.ask_again_interval:
            self._ask_again()

    def _call(self) -> None:
        if self.over:
            return
        cluster, rng = self._cluster, self._rng
        host = cluster.hosts[rng.choice(cluster.addrs)]
        if host.running:
            cluster.submit(
                host.addr, self._command(), rng.choice(LEVELS), timeout=rng.choice((50, 300, 1500, 4000))
            )
        cluster.after(rng.expovariate(1 / cluster.plan.client_interval), self._call)

    def _command(self) -> Command:
        rng, plan = self._rng, self._cluster.plan
        self._value += 1
        if rng.random() < 0.4:
            return Command("incr", rng.choice(COUNTERS), 1)
        kind = rng.choice(("set", "set", "set", "add", "delete", "touch" if plan.ttl else "set"))
        ttl = plan.ttl if plan.ttl and rng.random() < 0.6 else 0
        return Command(kind, f"k{rng.randrange(plan.keys)}", self._value, ttl, plan.padding)

    def _ask_again(self) -> None:
        """A worker loses its connection, or is impatient."""
        cluster = self._cluster
        if cluster.operations:
            cluster.ask_again(self._rng.choice(list(cluster.operations.values())))
        if not self.over:
            cluster.after(self._rng.expovariate(1 / cluster.plan.ask_again_interval), self._ask_again)

    def _read(self) -> None:
        """Every host reads; a worker that is frozen between the value and the look at the lease uses it later."""
        cluster = self._cluster
        for host in cluster.hosts.values():
            if host.may_read():
                cluster.invariants.read(host)
            elif self._rng.random() < 0.2:
                fault = cluster.invariants.fault_of_read(host)
                if fault:
                    wait = self._rng.uniform(0, 2 * cluster.plan.election_timeout)
                    cluster.after(wait, self._use, host, host.epoch, fault)
        if not self.over:
            cluster.after(self._rng.expovariate(1 / cluster.plan.read_interval), self._read)

    def _use(self, host: Host, epoch: int, fault: str) -> None:
        """Use a value that was found while nothing vouched for it, if the page says what it said then."""
        if host.epoch == epoch and host.may_read():
            raise InvariantBroken(f"a worker froze; later the page is as it was: {fault}")
