"""How long one call takes: one worker for each backend, calls back to back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, ASYNCHRONOUS, OURS, PEERS, REFERENCE, SIGNED
from benchmarks.rounds import in_turns, summary_of_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.stage import Stage

QUICK_PEERS = tuple(name for name in PEERS if name not in ("database", "filebased"))
CALLS = {
    "get": (*OURS, SIGNED, *PEERS),
    "get_many": (*OURS, SIGNED, *PEERS),
    "aget": (*OURS, REFERENCE, "redis", ASYNCHRONOUS, "locmem"),
    "set": (*OURS, SIGNED, *PEERS, ACKNOWLEDGED),
    # The two peers that are left out of the rest are measured with set already, and take long.
    "add": (*OURS, *QUICK_PEERS),
    "incr": (*OURS, SIGNED, *QUICK_PEERS),
    "delete": (*OURS, *QUICK_PEERS),
    "set_many": (*OURS, *QUICK_PEERS),
}


def time_call(call: str, stage: Stage) -> dict[str, Any]:
    """One method of the cache, with every backend that has a row for it."""
    return time_calls(call, CALLS[call], stage.scale.rounds, stage)


def time_calls(call: str, names: Sequence[str], rounds: int, stage: Stage) -> dict[str, Any]:
    stage.open_crews(names)
    if call == "get":
        for name in names:
            stage.crew(name).ask("read_each", entries=stage.entries)
    seen = in_turns(names, rounds, lambda name: time_block(stage, name, call))
    return {name: summary_of_times(blocks) for name, blocks in seen.items()}


def time_aget(stage: Stage) -> dict[str, Any]:
    """`aget`, and right after each block of it one of `get` to compare it with."""
    names = CALLS["aget"]
    stage.open_crews(names)
    rounds = in_turns(
        names, stage.scale.rounds, lambda name: [time_block(stage, name, call) for call in ("aget", "get")]
    )
    return {
        name: summary_of_times([awaited for awaited, _ in blocks])
        | {"get": summary_of_times([blocking for _, blocking in blocks])}
        for name, blocks in rounds.items()
    }


def time_block(stage: Stage, name: str, call: str, **options: Any) -> list[int]:
    """Nanoseconds of the calls of one block; `options` are further arguments of the task or the call."""
    scale = stage.scale
    count, warm_up = scale.block_calls, scale.warm_up_calls
    # Many entries a call: fewer calls say as much.
    if call == "set_many":
        count, warm_up = count // 40, 1
    elif call == "get_many":
        count, warm_up = count // 4, warm_up // 4
    taken: list[int]
    [taken] = stage.crew(name).ask(
        "time_awaited_calls" if call == "aget" else "time_calls",
        call=call,
        count=count,
        warm_up=warm_up,
        seconds=scale.block_seconds,
        entries=stage.entries,
        **options,
    )
    return taken


MEASUREMENTS = {call: partial(time_call, call) for call in CALLS} | {"aget": time_aget}
