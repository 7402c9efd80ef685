"""What goes wrong in a random life, and who works meanwhile."""

from __future__ import annotations

from random import Random

from django_hacache.consensus.messages import AckLevel

from .cluster import Cluster
from .host import Host
from .kv import Command

LEVELS = (AckLevel.LEADER, AckLevel.ONCE, AckLevel.QUORUM, AckLevel.ALL)
COUNTERS = ("hits", "visits")
KEYS = ("a", "b", "c", "d")


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
            self._reconnect: 1,
            self._false_evidence: 1,
        }
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

    def _may_lose(self, host: Host) -> bool:
        """Whether this directory may be lost now: in most lives, only a minority's at a time."""
        cluster = self._cluster
        if cluster.plan.disaster:
            return True
        if host.disk.hard.fresh:
            return True
        return not self._majority_without(host)

    def _majority_without(self, host: Host) -> bool:
        """Whether a majority is without its state once this directory is lost, too."""
        cluster = self._cluster
        return len(cluster.invariants.without_state() | {host.addr}) > cluster.plan.nodes - cluster.quorum

    def _crash(self) -> None:
        cluster, rng = self._cluster, self._rng
        host = self._host()
        if host.core is None:
            return
        wipe = rng.random() < 0.4 and self._may_lose(host)
        if wipe and cluster.plan.disaster and not host.disk.hard.fresh:
            cluster.invariants.majority_lost |= self._majority_without(host)
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
        if host.core is None:
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
            host.armed = None
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
        rng = self._rng
        self._value += 1
        if rng.random() < 0.4:
            return Command("incr", rng.choice(COUNTERS), 1)
        return Command(rng.choice(("set", "set", "add", "delete")), rng.choice(KEYS), self._value)

    def _read(self) -> None:
        cluster = self._cluster
        for host in cluster.hosts.values():
            if host.may_read():
                cluster.invariants.read(host)
        if not self.over:
            cluster.after(self._rng.expovariate(1 / cluster.plan.read_interval), self._read)
