"""The page in Markdown: the targets and what they came to, then every measurement as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, BACKENDS, REFERENCE
from benchmarks.scale import VALUE_BYTES
from benchmarks.targets import TARGETS
from benchmarks.words import milliseconds, number, times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Results = dict[str, Any]
Measured = dict[str, Any]
Cells = tuple[str, ...]

TIMED = {
    "get": "`get` of a key that is there",
    "get_many": "`get_many` of 100 keys",
    "aget": "`aget` in a coroutine",
    "set": "`set`",
    "add": "`add` of a new key",
    "incr": "`incr`",
    "delete": "`delete` of a key that is there",
    "set_many": "`set_many` of 1,000 entries",
}
COUNTED = {
    "mixed_1": "Mixed calls, 1 process",
    "mixed_4": "Mixed calls, 4 processes",
    "mixed_16": "Mixed calls, 16 processes",
    "quorum_writes_4": "`set`, 4 processes",
    "quorum_writes_16": "`set`, 16 processes",
    "pages": "Pages of a Django site, 1 process",
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
        title, table = _section(name, measured, results["scale"])
        pictures = "\n\n".join(f"![{text}]({file})" for text, file in drawn.get(name, ()))
        sections.append("\n\n".join(part for part in (f"## {title}", pictures, table) if part))
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
    rows: list[Cells] = []
    for target in TARGETS:
        if not target.can_be_told(results["measurements"]):
            continue
        figure = target.figure(results["measurements"])
        span = " to ".join(target.in_words(one) for one in figure.span) if figure.span else ""
        rows.append(
            (
                target.what.format(**results["scale"]),
                figure.made_of,
                f"**{target.in_words(figure.value)}**",
                span,
                f"at {'least' if target.at_least else 'most'} {target.bound:g}{target.unit and f' {target.unit}'}",
                "met" if target.is_met(figure) else "**MISSED**",
            )
        )
    table = _table(("what", "from", "measured", "in the rounds", "target", ""), rows)
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
  are {scale["rounds"]} rounds. What a call returns is checked after its time was taken.
- Calls go through Django's `cache`, as in a site. A time is the median of all calls of all rounds, p99 the time that
  one call in a hundred exceeds, a ratio that of two medians. "In the rounds" are its lowest and highest value in any
  one round.
- What is counted a second is counted over {scale["counting_seconds"]:g} s in which all processes work, after
  {scale["counting_warm_up_seconds"]:g} s that do not count; the median of the rounds.
- Redis and memcached listen on the loopback interface and write nothing to a disk. "Redis + WAIT 1" has two replicas,
  and its `SET` and `WAIT 1` leave in one packet. Files of diskcache, FileBasedCache and SQLite are in memory (tmpfs),
  as is django_hacache's directory.
- Writes to three nodes are acknowledged at quorum, the default. TLS is off, as it is for Redis.
- "Mixed" is 95 reads to 5 writes over {scale["zipf_entries"]:,} keys, chosen by Zipf's law with exponent 0.99.
- A page is made by Django's WSGI handler from the request on, with a session. Every other page comes from `cache_page`;
  the rest are made of a cached query and a template with three cached fragments.
- "Memory" is that of a host's server or node and one worker: the proportional share (PSS) of each process, so shared
  pages count once, and the whole directory in shared memory. "Per byte of values" counts what was added to an empty
  cache by {scale["memory_entries"]:,} entries.
- "Start-up" is measured in {scale["fresh_processes"]} new processes for each backend, which have loaded Django and the
  site before, with an empty cache: what a worker maps of a full replica is shared with all others.
- Before {scale["many_entries"]:,} entries are compared with {scale["entries"]:,}, each worker has read all of its own
  once. The first read of a page of shared memory by a process costs a page fault."""


def _section(name: str, measured: Measured, scale: Mapping[str, Any]) -> tuple[str, str]:
    if name in TIMED:
        return TIMED[name], _time_table(measured)
    if name in COUNTED:
        return COUNTED[name], _rate_table(measured)
    match name:
        case "memory":
            return f"Memory of one host, {scale['memory_entries']:,} entries", _memory_table(measured)
        case "start_up":
            return "What a backend adds to a worker", _start_up_table(measured)
        case "idle":
            return "Three nodes while nobody calls", _idle_table(measured)
        case "write_cost":
            return "CPU time of a write at quorum, three nodes, all hosts", _cost_table(measured)
        case "growth":
            title = f"{scale['many_entries']:,} entries against {scale['entries']:,}"
            return title, _growth_table(measured)
    raise KeyError(name)


def _reference(measured: Measured) -> str:
    """What the others of a table are compared with."""
    return REFERENCE if REFERENCE in measured else ACKNOWLEDGED


def _time_table(measured: Measured) -> str:
    against = measured[REFERENCE]["p50"]
    rows = [
        (
            _label(name),
            times(one["p50"]),
            times(one["p99"]),
            f"{number(against / one['p50'])} times",
            f"{one['calls']:,}",
        )
        for name, one in measured.items()
    ]
    return _table(("", "p50", "p99", f"as fast as {REFERENCE}", "calls"), rows)


def _cost_table(measured: Measured) -> str:
    rows = [
        (
            name,
            number(one["rate"]),
            *(f"{number(one[f'{who}_us'])} µs" for who in ("leader", "follower", "worker")),
        )
        for name, one in measured.items()
    ]
    return _table(("", "a second", "leader", "each follower", "worker"), rows)


def _rate_table(measured: Measured) -> str:
    against = measured[REFERENCE]["rate"]
    rows = [
        (
            _label(name),
            number(one["rate"]),
            f"{number(min(one['rate_of_rounds']))} to {number(max(one['rate_of_rounds']))}",
            f"{number(one['rate'] / against)} times",
        )
        for name, one in measured.items()
    ]
    return _table(("", "a second", "in the rounds", f"as many as {REFERENCE}"), rows)


def _memory_table(measured: Measured) -> str:
    rows = [
        (
            _label(name),
            _megabytes(one["resident_empty"]) if one["resident_empty"] else "no process",
            _megabytes(one["empty"]),
            _megabytes(one["full"]),
            f"{number(one['times_payload'])} bytes",
        )
        for name, one in measured.items()
    ]
    head = (
        "",
        "server or node, empty (RSS)",
        "with a worker, empty",
        "with a worker, full",
        "per byte of values",
    )
    return _table(head, rows)


def _start_up_table(measured: Measured) -> str:
    rows = [
        (
            _label(name),
            milliseconds(one["import_ms"]),
            milliseconds(one["first_use_ms"]),
            f"{number(one['resident_mb'])} MB",
            f"{number(one['private_mb'])} MB",
        )
        for name, one in measured.items()
    ]
    return _table(("", "import", "first `set` and `get`", "resident memory", "private memory"), rows)


def _idle_table(measured: Measured) -> str:
    rows = [
        (name, f"{number(one['cpu_percent'])} %", f"{number(one['seconds'])} s")
        for name, one in measured.items()
    ]
    return _table(("", "share of a core", "over"), rows)


def _growth_table(measured: Measured) -> str:
    rows = [
        (
            _label(name),
            f"`{call}`",
            *(times(one[f"{call}_{size}"]["p50"]) for size in ("few", "many")),
            f"{number(one[f'{call}_many']['p50'] / one[f'{call}_few']['p50'])} times",
        )
        for name, one in measured.items()
        for call in ("get", "set")
    ]
    return _table(("", "", "p50 among few", "p50 among many", "many against few"), rows)


def _label(name: str) -> str:
    backend = BACKENDS[name]
    return f"**{backend.label}**" if backend.is_ours else backend.label


def _megabytes(count: int) -> str:
    return f"{number(count / 1e6)} MB"


def _table(head: Cells, rows: Iterable[Cells]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
