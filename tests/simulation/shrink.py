"""Makes a failing life as small as possible: it ends with the failure, and only the strikes that it takes are left."""

from __future__ import annotations

from dataclasses import dataclass

from .life import LifeEnded, live


@dataclass(frozen=True, slots=True)
class Shrunk:
    seed: int
    duration: int
    without: frozenset[int]
    strikes: int
    failure: LifeEnded
    tails: bool = False

    def as_test(self) -> str:
        """A test that fails as the life does."""
        left_out = f", without=frozenset({sorted(self.without)})" if self.without else ""
        left_out += ", tails=True" if self.tails else ""
        return (
            f"def test_seed_{self.seed}():\n"
            f"    # {self.failure.__cause__}\n"
            f"    live({self.seed}, {self.duration:_}{left_out})\n"
        )


def failure_of(seed: int, duration: int, without: frozenset[int], *, tails: bool = False) -> LifeEnded | None:
    try:
        live(seed, duration, without=without, tails=tails)
    except LifeEnded as ended:
        return ended
    return None


def shrink(seed: int, duration: int, *, tails: bool = False) -> Shrunk:
    """Shrink a life that fails; ValueError where it does not."""
    without: frozenset[int] = frozenset()
    failure = failure_of(seed, duration, without, tails=tails)
    if failure is None:
        raise ValueError(f"seed {seed} does not fail within {duration} ms")
    duration, failure = _ended_early(seed, duration, without, failure, tails)
    chunk = max(failure.strikes // 2, 1)
    while True:
        kept = [number for number in range(failure.strikes) if number not in without]
        removed = False
        for start in range(0, len(kept), chunk):
            attempt = without | frozenset(kept[start : start + chunk])
            found = failure_of(seed, duration, attempt, tails=tails)
            if found is not None:
                without, failure, removed = attempt, found, True
                duration, failure = _ended_early(seed, duration, without, failure, tails)
        if chunk == 1 and not removed:
            break
        chunk = max(chunk // 2, 1)
    # Strikes after the failure need no mention.
    without = frozenset(number for number in without if number < failure.strikes)
    return Shrunk(seed, duration, without, failure.strikes - len(without), failure, tails)


def _ended_early(
    seed: int, duration: int, without: frozenset[int], failure: LifeEnded, tails: bool
) -> tuple[int, LifeEnded]:
    """End the life where it fails, if it still does then."""
    earlier = min(int(failure.time) + 1, duration)
    found = failure_of(seed, earlier, without, tails=tails) if earlier < duration else None
    return (earlier, found) if found is not None else (duration, failure)
