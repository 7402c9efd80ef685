"""The checkers find what is wrong in histories made by hand, accept what is right, and agree with each other."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.faults.consistency import lost, miscounted, violations
from tests.faults.history import Operation
from tests.faults.linearizable import blind_register, counter, register, register_violation, wgl

MS = 1_000_000


def op(kind, value, begin, end, *, process="p", host="h", outcome="ok", level="quorum", key="k"):
    """An operation with times in milliseconds."""
    return Operation(process, host, key, kind, value, begin * MS, end * MS, level, outcome)


def found(*history):
    return violations(sorted(history, key=lambda one: one.begin))


GOOD = {
    "reads follow writes": [
        op("set", "a", 0, 1),
        op("get", "a", 2, 3),
        op("set", "b", 4, 5),
        op("get", "b", 6, 7),
    ],
    "a miss at any time": [op("set", "a", 0, 1, level="all"), op("get", None, 2, 3, outcome="miss")],
    "a read beside a write": [
        op("set", "a", 0, 1, level="all"),
        op("set", "b", 10, 20, level="all"),
        op("get", "b", 11, 12, process="q"),
        op("get", "a", 13, 14, process="r", host="other"),
    ],
    "another host within a lease": [
        op("set", "a", 0, 1),
        op("set", "b", 10, 11),
        op("get", "a", 900, 901, process="q", host="other"),
    ],
    "a write of unknown outcome, late": [
        op("set", "u", 0, 1, outcome="unknown"),
        op("set", "a", 10, 11, level="all"),
        op("get", "a", 12, 13, process="q", host="other"),
        op("get", "u", 5000, 5001, process="q", host="other"),
    ],
    "concurrent writes in either order": [
        op("set", "a", 0, 10, level="all"),
        op("set", "b", 5, 15, level="all", process="q"),
        op("get", "a", 20, 21),
    ],
}

BAD = {
    "a value of nobody": [op("get", "x", 0, 1)],
    "a change that did not happen": [op("set", "a", 0, 1, outcome="error"), op("get", "a", 2, 3)],
    "a value of the future": [op("get", "a", 0, 1), op("set", "a", 2, 3)],
    "stale after all": [
        op("set", "a", 0, 1),
        op("set", "b", 10, 11, level="all"),
        op("get", "a", 12, 13, process="q", host="other"),
    ],
    "stale after a delete at all": [
        op("set", "a", 0, 1),
        op("delete", None, 10, 11, level="all"),
        op("get", "a", 12, 13, process="q", host="other"),
    ],
    "stale after a lease": [
        op("set", "a", 0, 1),
        op("set", "b", 10, 11),
        op("get", "a", 1012, 1013, process="q", host="other"),
    ],
    "an unknown write that was seen, and came back": [
        op("set", "u", 0, 1, outcome="unknown"),
        op("get", "u", 2, 3, process="r"),
        op("set", "a", 10, 11, level="all"),
        op("get", "u", 12, 13, process="q", host="other"),
    ],
    "a process goes back": [
        op("set", "a", 0, 1),
        op("set", "b", 10, 11),
        op("get", "b", 12, 13, process="q", host="other"),
        op("get", "a", 14, 15, process="q", host="other"),
    ],
    "own write not read": [op("set", "a", 0, 1), op("set", "b", 10, 11), op("get", "a", 12, 13)],
    "a write of the same host not read": [
        op("set", "a", 0, 1),
        op("set", "b", 10, 11),
        op("get", "a", 12, 13, process="q"),
    ],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_what_keeps_every_promise_is_accepted(history):
    assert found(*history) == []


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_what_breaks_a_promise_is_found(history):
    assert len(set(found(*history))) >= 1


def test_reads_at_the_leader_are_linearizable_though_others_may_lag():
    history = [
        op("set", "a", 0, 1, process="w", host="one"),
        op("set", "b", 10, 11, process="w", host="one"),
        op("get", "a", 20, 21, process="r", host="two"),
    ]
    assert violations(history, leader_reads=lambda one: one.host == "one") == []
    assert violations(history, leader_reads=lambda one: one.host == "two") != []


def test_keys_do_not_touch_each_other():
    assert found(op("set", "a", 0, 1), op("set", "b", 2, 3, key="j", level="all"), op("get", "a", 4, 5)) == []


def test_what_was_acknowledged_must_be_there_at_the_end():
    a, b = op("set", "a", 0, 1), op("set", "b", 2, 3)
    assert lost([a, b], {"k": "b"}) == []
    assert lost([a, b], {"k": "a"}) != []
    assert lost([a, b], {"k": "x"}) != []
    assert lost([a, b], {}) != []
    assert lost([a, replace(b, outcome="unknown")], {"k": "a"}) == []
    assert lost([a, replace(b, level="leader")], {"k": "a"}) == []
    assert lost([a, op("delete", None, 2, 3)], {}) == []
    assert lost([a, op("delete", None, 2, 3)], {"k": "a"}) != []
    assert lost([op("delete", None, 0, 1), b], {}) != []
    assert lost([op("delete", None, 0, 1, outcome="unknown"), b], {}) == []


def test_every_acknowledged_increment_counts_once_and_an_unknown_one_at_most_once():
    one, two = op("incr", 1, 0, 1), op("incr", 2, 2, 3)
    unknown = op("incr", None, 4, 5, outcome="unknown")
    assert miscounted([one, two], 0, 2) == []
    assert miscounted([one, two, unknown], 0, 2) == []
    assert miscounted([one, two, unknown], 0, 3) == []
    assert miscounted([one, two, unknown], 0, 4) != []
    assert miscounted([one, two], 0, 1) != []
    assert miscounted([one, two], 0, 3) != []
    assert miscounted([one, replace(two, value=1)], 0, 2) != []
    assert miscounted([replace(one, value=2), replace(two, value=1)], 0, 2) != []
    assert miscounted([one, two, replace(unknown, outcome="no")], 0, 2) != []


def random_history(rng, length):
    """Operations at random times; the reads see what a register would have shown, or now and then anything."""
    history, written = [], []
    for number in range(length):
        begin = rng.randrange(40)
        end = begin + rng.randrange(1, 15)
        if not written or rng.random() < 0.5:
            kind = rng.choice(["set", "set", "set", "delete"])
            value = None if kind == "delete" else f"v{number}"
            if value:
                written.append(value)
            outcome = rng.choice(["ok", "ok", "ok", "unknown", "error"])
            history.append(op(kind, value, begin, end, outcome=outcome))
        else:
            history.append(op("get", rng.choice(written), begin, end))
    return history


def atomic_history(rng, length):
    """What a register really shows: every operation takes effect at an instant inside its time."""
    operations = []
    for number in range(length):
        begin = rng.randrange(60)
        end = begin + rng.randrange(1, 20)
        kind = rng.choice(["set", "get", "get"])
        operations.append((rng.uniform(begin, end), op(kind, f"v{number}", begin, end)))
    value, history = None, []
    for _, one in sorted(operations, key=lambda pair: pair[0]):
        if one.kind == "set":
            unknown = rng.random() < 0.2
            if not unknown or rng.random() < 0.5:
                value = one.value
            history.append(replace(one, outcome="unknown") if unknown else one)
        elif value is not None:
            history.append(replace(one, value=value))
    return history


@pytest.mark.parametrize("make", [random_history, atomic_history])
def test_the_fast_checker_agrees_with_the_general_one(make):
    rng = random.Random(1997)
    judged = {True: 0, False: 0}
    for _ in range(4000):
        history = make(rng, rng.randrange(2, 9))
        # Deletes have no unique value: the state after one is the delete itself.
        fast = register_violation(history) is None
        assert fast == wgl(history, blind_register, None), history
        judged[fast] += 1
    assert judged[True] > 200
    assert make is atomic_history or judged[False] > 200
    assert make is random_history or judged[False] == 0


def test_the_general_checker_knows_adds():
    won, late = op("add", "a", 0, 1), op("add", "b", 2, 3)
    assert wgl([won, replace(late, outcome="no")], register, None)
    assert not wgl([won, late], register, None)
    assert wgl([won, replace(late, begin=won.begin), op("delete", None, 0, 9)], register, None)
    assert not wgl([replace(won, outcome="no"), late], register, None)
    assert wgl([replace(won, outcome="unknown"), replace(late, outcome="no")], register, None)


def test_the_general_checker_agrees_about_counters():
    rng = random.Random(1993)
    judged = {True: 0, False: 0}
    for _ in range(2000):
        calls = []
        for number in range(rng.randrange(1, 6)):
            begin = rng.randrange(20)
            unknown = rng.random() < 0.2
            value = None if unknown else number + 1 if rng.random() < 0.8 else rng.randrange(1, 6)
            end, outcome = begin + rng.randrange(1, 15), "unknown" if unknown else "ok"
            calls.append(op("incr", value, begin, end, outcome=outcome))
        numbers = [one.value for one in calls if one.value]
        end = max([*numbers, len(numbers)])
        final = op("get", end, 100, 101)
        right = wgl([*calls, final], counter, 0)
        # The fast check may accept what is impossible, never the other way round.
        if right:
            assert miscounted(calls, 0, end) == [], calls
        judged[miscounted(calls, 0, end) == []] += 1
    assert min(judged.values()) > 200


def test_many_operations_are_judged_at_once():
    history = []
    for number in range(20_000):
        at = number * 3
        history += [op("set", f"v{number}", at, at + 1, level="all"), op("get", f"v{number}", at + 2, at + 3)]
    assert violations(history, leader_reads=lambda one: True) == []
    history[-1] = replace(history[-1], value="v19998")
    assert violations(history, leader_reads=lambda one: True) != []
