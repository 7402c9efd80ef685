"""The page in Markdown: the targets and what they came to, then every measurement as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import tables
from benchmarks.objections import OBJECTIONS
from benchmarks.scale import VALUE_BYTES
from benchmarks.targets import TARGETS
from benchmarks.words import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Results = dict[str, Any]

# By measurement: its title, in which numbers of the scale are put, and what makes its table.
SECTIONS: dict[str, tuple[str, Callable[[tables.Measured], str]]] = {
    "get": ("`get` of a key that is there", tables.call_times),
    "get_many": ("`get_many` of 100 keys", tables.call_times),
    "aget": ("`aget` in a coroutine", tables.call_times),
    "set": ("`set`", tables.call_times),
    "add": ("`add` of a new key", tables.call_times),
    "incr": ("`incr`", tables.call_times),
    "delete": ("`delete` of a key that is there", tables.call_times),
    "set_many": ("`set_many` of 1,000 entries", tables.call_times),
    "growth": ("{many_entries:,} entries against {entries:,}", tables.growth),
    "mixed_1": ("Mixed calls, 1 process", tables.rates),
    "mixed_4": ("Mixed calls, 4 processes", tables.rates),
    "mixed_16": ("Mixed calls, 16 processes", tables.rates),
    "writes_4": ("`set` on one machine, 4 processes", tables.rates),
    "writes_16": ("`set` on one machine, 16 processes", tables.rates),
    "quorum_writes_4": ("`set` in a cluster, 4 processes", tables.rates),
    "quorum_writes_16": ("`set` in a cluster, 16 processes", tables.rates),
    "levels": ("`set` at each level, 1 process", tables.levels),
    "levels_16": ("`set` at each level, 16 processes", tables.levels),
    "write_cost": ("CPU time of an acknowledged write", tables.costs),
    "pages": ("Pages that read, 1 process", tables.rates),
    "pages_half": ("Pages of which every other saves its session, 1 process", tables.rates),
    "pages_half_16": ("Pages of which every other saves its session, 16 processes", tables.rates),
    "pages_all": ("Pages that save their session, 1 process", tables.rates),
    "pages_ten": ("Pages that write ten entries, 1 process", tables.rates),
    "api_counted": ("API whose throttle counts, 1 process", tables.rates),
    "api_listed": ("API whose throttle keeps a list, 1 process", tables.rates),
    "pauses": ("A worker that sleeps between two calls", tables.pauses),
    "hosts": ("Three hosts with a network between them", tables.hosts),
    "memory": ("Memory of one host, {memory_entries:,} entries", tables.memory),
    "start_up": ("What a backend adds to a worker", tables.start_up),
    "idle": ("Three nodes while nobody calls", tables.idle),
}

INTRODUCTION = """\
What django_hacache does beside the caches that a site would use instead, measured in one run on one machine that ran
everything: clients, servers and all nodes. Take the ratios rather than the times."""
MEASURED = """\
Measured on {date} in {minutes} minutes by `{command}`, which wrote this page: {machine}, {programs}. The raw figures
are in [results.json](results.json)."""


def page(
    results: Results, drawn: Mapping[str, Sequence[tuple[str, str]]], companions: Mapping[str, str]
) -> str:
    """All of it. `drawn` has the charts of each measurement: their titles and files."""
    seen = results["measurements"]
    sections = [_head(results, companions), _targets(results), _method(results)]
    for name, measured in seen.items():
        title, table = SECTIONS[name]
        pictures = "\n\n".join(f"![{text}]({file})" for text, file in drawn.get(name, ()))
        parts = (
            f"## {title.format(**results['scale'])}",
            f"*What a user of Redis would object to:* {OBJECTIONS[name]}",
            pictures,
            table(measured),
        )
        sections.append("\n\n".join(part for part in parts if part))
    return "\n\n".join(sections) + "\n"


def _head(results: Results, companions: Mapping[str, str]) -> str:
    facts = dict(results["facts"])
    machine = f"{facts.pop('cores')} cores, {facts.pop('memory_gb')} GB of memory"
    programs = ", ".join(f"{name} {version}" for name, version in facts.items())
    parts = [
        "# Performance",
        INTRODUCTION,
        MEASURED.format(
            **{name: results[name] for name in ("date", "command")},
            minutes=number(results["seconds"] / 60),
            machine=machine,
            programs=programs,
        ),
        *(f"- [{title}]({file})" for file, title in companions.items()),
    ]
    if results["quick"]:
        parts.insert(
            1, "**A quick run: it shows that everything can be measured. Its figures mean nothing.**"
        )
    parts += [f"**{remark}**" for remark in results["remarks"]]
    return "\n\n".join(parts)


def _targets(results: Results) -> str:
    rows: list[tables.Cells] = []
    for target in TARGETS:
        figure = target.told(results["measurements"])
        if figure is None:
            continue
        span = " to ".join(target.in_words(one) for one in figure.span) if figure.span else ""
        rows.append(
            (
                target.what.format(**results["scale"]),
                figure.made_of,
                f"**{target.in_words(figure.value)}**",
                span,
                f"at {'least' if target.at_least else 'most'} {f'{target.bound:,g} {target.unit}'.rstrip()}",
                "met" if target.is_met(figure) else "**MISSED**",
            )
        )
    table = tables.table(("what", "from", "measured", "in the rounds", "target", ""), rows)
    met = sum(row[-1] == "met" for row in rows)
    return f"## Targets\n\n{met} of {len(rows)} are met.\n\n{table}"


def _method(results: Results) -> str:
    scale = results["scale"]
    return f"""\
## How it is measured

- Every value is {VALUE_BYTES} random bytes under a key of some twenty characters, and expires after a day. Memcached's
  clients store bytes as they are; all others pickle them.
- Every backend has a worker process of its own, which stays alive. The rounds go over all backends in turn, each round
  beginning with another one. In its turn a worker makes up to {scale["block_calls"]:,} calls back to back, after
  {scale["warm_up_calls"]:,} that do not count; a turn of a slow backend ends after {scale["block_seconds"]:g} s. There
  are {scale["rounds"]} rounds, and {scale["long_rounds"]} of what takes longer: calls counted a second, levels, pauses,
  hosts. What a call returns is checked after its time was taken.
- Calls go through Django's `cache`, as in a site. A time is the median of all calls of all rounds, p99 the time that
  one call in a hundred exceeds, a ratio that of two medians. "In the rounds" are its lowest and highest value in any
  one round.
- What is counted a second is counted over {scale["counting_seconds"]:g} s in which all processes work, after
  {scale["counting_warm_up_seconds"]:g} s that do not count; the median of the rounds.
- Redis and memcached listen on the loopback interface and write nothing to a disk. "Redis + WAIT 1" has two replicas,
  and its `SET` and `WAIT 1` leave in one packet; so do its `add` and `incr`. All clients of Redis have hiredis. Files
  of diskcache, FileBasedCache and SQLite are in memory (tmpfs), as is django_hacache's directory.
- Writes to three nodes are acknowledged at quorum, the default, where no level is named. TLS is off, as for Redis.
- "All hosts" spreads the processes over the hosts, each of which asks its own node. Without a network between them all
  hosts are this machine.
- "Mixed" is 95 reads to 5 writes over {scale["zipf_entries"]:,} keys, chosen by Zipf's law with exponent 0.99.
- A page is made by Django's WSGI handler from the request on, with a session. Every other page comes from `cache_page`;
  the rest are made of a cached query and a template with three cached fragments. Every page reads the session; where it
  is saved, that is one `set`.
- "Together" is the same host with `TogetherMiddleware`: the writes of a request are waited for once, at its end.
- The throttled API returns a cached query. Its list is read, prolonged and stored as Django REST framework's
  `SimpleRateThrottle` does, with twenty requests in it; its counter is one `add` and, as a rule, one `incr`.
- Between two calls of "a worker that sleeps" pass {scale["pause_seconds"] * 1000:g} ms on average; the first calls of a
  turn do not count there either.
- The three hosts with a network are network namespaces of the one machine, joined by a bridge. Redis has its primary
  on the first and a replica on each of the others. A packet is delayed on its way to another host, whoever sends it.
- "Memory" is that of a host's server or node and one worker: the proportional share (PSS) of each process, so shared
  pages count once, and the whole directory in shared memory. "Per byte of values" counts what was added to an empty
  cache by {scale["memory_entries"]:,} entries.
- "Start-up" is measured in {scale["fresh_processes"]} new processes for each backend, which have loaded Django and the
  site before, with an empty cache: what a worker maps of a full replica is shared with all others.
- Before {scale["many_entries"]:,} entries are compared with {scale["entries"]:,}, each worker has read all of its own
  once. The first read of a page of shared memory by a process costs a page fault."""
