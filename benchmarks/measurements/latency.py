"""How long one call takes: one worker for each backend, calls back to back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.backends import OURS, PEERS, REFERENCE
from benchmarks.rounds import in_turns, summary_of_times

if TYPE_CHECKING:
    from benchmarks.stage import Stage

CALLS = {
    "get": (*OURS, *PEERS),
    "get_many": (*OURS, *PEERS),
    "aget": (*OURS, REFERENCE, "redis", "locmem"),
    "set": (*OURS, *PEERS, "redis-wait"),
    "add": (*OURS, *PEERS),
    "incr": (*OURS, *PEERS),
    "delete": (*OURS, *PEERS),
    # Half a second and more a call: the others of PEERS store one entry after the other in a file.
    "set_many": (*OURS, REFERENCE, "redis", "pymemcache", "pylibmc", "locmem", "diskcache"),
}


def time_calls(call: str, stage: Stage) -> dict[str, Any]:
    scale = stage.scale
    # A call for a thousand entries is no block of a thousand calls.
    count, warm_up = (
        (scale.block_calls // 20, 2) if call == "set_many" else (scale.block_calls, scale.warm_up_calls)
    )
    do = "time_awaited_calls" if call == "aget" else "time_calls"

    stage.open_crews(CALLS[call])

    def block(name: str) -> list[int]:
        return stage.crew(name).ask(
            do, call=call, count=count, warm_up=warm_up, seconds=scale.block_seconds, entries=scale.entries
        )[0]

    seen = in_turns(CALLS[call], scale.rounds, block)
    return {name: summary_of_times(rounds) for name, rounds in seen.items()}


MEASUREMENTS = {call: partial(time_calls, call) for call in CALLS}
