"""The network between simulated hosts: delay, loss, duplication, reordering, cuts in one or both directions."""

from __future__ import annotations

from random import Random

from .plan import Plan


class Network:
    def __init__(self, plan: Plan, rng: Random) -> None:
        self._rng = rng
        self._low, self._spread = plan.delay[0], plan.delay[1] - plan.delay[0]
        self.loss = plan.loss
        self.duplication = plan.duplication
        self.tails, self._longest = plan.tails, plan.longest_tail
        self._cuts: dict[tuple[str, str], int] = {}

    def reaches(self, source: str, target: str) -> bool:
        return (source, target) not in self._cuts

    def cut(self, source: str, target: str) -> None:
        self._cuts[source, target] = self._cuts.get((source, target), 0) + 1

    def mend(self, source: str, target: str) -> None:
        """End one cut; another one of the same direction may go on."""
        left = self._cuts.pop((source, target), 0) - 1
        if left > 0:
            self._cuts[source, target] = left

    def heal(self) -> None:
        """Nothing is lost, nor late, from now on."""
        self._cuts.clear()
        self.loss = self.duplication = self.tails = 0.0

    def delay(self) -> float:
        usual = self._low + self._spread * self._rng.random()
        if self.tails and self._rng.random() < self.tails:
            return usual + self._longest * self._rng.random()
        return usual

    def lost(self) -> bool:
        return self.loss > 0 and self._rng.random() < self.loss

    def duplicated(self) -> bool:
        return self.duplication > 0 and self._rng.random() < self.duplication
